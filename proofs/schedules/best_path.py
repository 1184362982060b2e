r"""The best path: Cauchy-Schwarz, a bound on r, and linear decay for the last iterate."""

from __future__ import annotations

import sympy

from proofs.composition import Conclusion, composed, from_step, hypothesis, summed
from proofs.relations import Range, Relation, equation, inequality, named, tiled
from proofs.schedules.symbols import ratio, samples, time
from proofs.sequences import Terms
from proofs.steps import Derivation, proves
from theory.schedules import best_path as theory
from theory.schedules.path import LearningRatePath
from theory.schedules.shapes import Power

__all__ = ["best_path", "linear_decay"]

root, ROOTS = named("root_w", r"\sqrt w", nonnegative=True), named("roots", r"\int_0^T\sqrt w\,du", positive=True)
cost, COST = named("w/r", "w/r", nonnegative=True), named("cost", r"\int_0^T(w/r)\,du", nonnegative=True)
level = sympy.Symbol("y", positive=True)
multiple, smallest = sympy.Symbol("m", positive=True), named("r_lo", r"r_{\mathrm{lo}}", positive=True)
best = named("w/r*", "w/r^*", nonnegative=True)
COST_OF_BEST = named("cost*", r"\int_0^T(w/r^*)\,du", nonnegative=True)
own = named("r*", "r^*", positive=True)


@proves(
    "best path",
    "the best path for a cost of its noise",
    r"Let $w(u) \ge 0$ not depend on $r$, and $\int_0^Tr\,du = D$. The first bound is an equality exactly "
    r"where $r = D\sqrt w/\int_0^T\sqrt w\,du$. The second is for paths with $r \ge r_{\mathrm{lo}}$: of "
    r"these $r^* = \max(r_{\mathrm{lo}}, m\sqrt w)$, with the $m$ that makes $\int_0^Tr^*\,du = D$, costs "
    r"least.",
    concludes=(
        Conclusion(Relation(COST, ">=", ROOTS**2 / samples)),
        Conclusion(Relation(COST, ">=", COST_OF_BEST, ranges=(Range(ratio, smallest),))),
    ),
    source="Cauchy-Schwarz; Karush, Kuhn and Tucker",
)
def best_path() -> Derivation:
    """A square at every u, integrated; with the bound, the tangent of w / r at r*."""
    rest = named("rest", r"(\sqrt w-yr)^2/r", nonnegative=True)
    perfect = yield equation(
        cost,
        2 * level * root - level**2 * ratio + rest,
        "equality iff r = sqrt(w) / y",
        {cost: root**2 / ratio, rest: (root - level * ratio) ** 2 / ratio},
    )
    each = yield composed(
        Relation(cost, ">=", 2 * level * root - level**2 * ratio),
        (perfect, hypothesis(Relation(rest, ">=", 0))),
        (cost, root, ratio, rest),
    )
    whole = yield summed(each, {cost: COST, root: ROOTS, ratio: samples}, reason="integrated over u")
    free, bounded = (conclusion.relation for conclusion in best_path.lemma.conclusions)
    yield composed(free, (from_step(whole, at={level: ROOTS / samples}),), (COST,))
    root_of_cell, of_cell = sympy.symbols("root_w_j u_j", positive=True)
    sums = {root_of_cell * of_cell: ROOTS}
    roots, lengths = Terms(root_of_cell, sums), Terms(of_cell, sums)
    for name, found in (
        (r"\sum_j(w_j/r_j)u_j", theory.noise_cost(roots**2, roots * samples / ROOTS, lengths)),
        (r"(\sum_j\sqrt{w_j}u_j)^2/D", theory.least_noise_cost(roots**2, lengths, samples)),
    ):
        of_cells = named(name, name, positive=True)
        reason = "the function, of any number of cells, at r = D sqrt(w) / int sqrt(w)"
        yield equation(of_cells, ROOTS**2 / samples, reason, {of_cells: found})
    yield from _bounded_below(bounded)


def _bounded_below(goal: Relation) -> Derivation:
    """w / r >= w / r* - (r - r*) / m^2 at every u: where r* = r_lo >= m sqrt w, and where r* = m sqrt w."""
    line = Relation(cost, ">=", best - (ratio - own) / multiple**2, ranges=(Range(ratio, smallest),))
    held = {own: smallest, best: root**2 / smallest, cost: root**2 / ratio}
    ranges = (Range(ratio, smallest), Range(root, 0, smallest / multiple))
    at_bound = yield inequality(
        cost, ">=", line.right, ranges, r"where $r^* = r_{\mathrm{lo}}$, as $r \ge r_{\mathrm{lo}}$", held
    )
    free = {own: multiple * root, best: root / multiple, cost: root**2 / ratio}
    rest = named("above_line", r"(r-m\sqrt w)^2/(m^2r)", nonnegative=True)
    perfect = yield equation(
        cost, line.right + rest, where={**free, rest: (ratio - multiple * root) ** 2 / (multiple**2 * ratio)}
    )
    above = yield composed(
        Relation(cost, ">=", line.right, free, (Range(root, smallest / multiple),)),
        (perfect, hypothesis(Relation(rest, ">=", 0))),
        (cost, best, own, ratio, rest),
        reason="where r* = m sqrt(w)",
    )
    each = yield tiled(line, root, (at_bound, above), sympy.Integer(0), sympy.oo)
    sums = {cost: COST, best: COST_OF_BEST, ratio: samples, own: samples}
    whole = yield summed(each, sums, reason="integrated over u: both use D samples")
    yield composed(goal, (whole,), (COST, COST_OF_BEST))


@proves(
    "linear decay",
    "the best path for the last iterate is linear decay",
    r"Let a path be fixed before the run, and let $a_kL \le \theta$ hold without being asked for. For the "
    r"last iterate of SGD, $w = 1/(T-u)$: the best path is linear decay, $r^* = r_0/(1-x)$, and "
    r"$\int_0^Tw/r^*\,du = 4T/D$. For $w = (1+T-u)^{-k}$ with $0 < k < 2$ it has the shape $p = "
    r"((c+1-x)/(c+1))^{k/(2-k)}$ with $c = 1/((1+T)^{1-k/2}-1)$, which tends to $(1-x)^{k/(2-k)}$ as $T \to "
    r"\infty$.",
    source="Defazio et al., arXiv 2310.07831, for linear decay; functional scaling laws",
    uses=("best path",),
)
def linear_decay() -> Derivation:
    """sqrt(w) along the path, in the share of the samples that is left, y = 1 - x."""
    left = sympy.Symbol("y", positive=True)
    path = LearningRatePath(shape=Power(sympy.Integer(1)), samples=samples, initial_ratio=samples / (2 * time))
    ahead = path.time_left(samples * (1 - left))
    taken = named("r*", "r^*", positive=True)
    whole = 2 * sympy.sqrt(time)  # int_0^T (T - u)^{-1/2} du
    beyond = sympy.Symbol("v", positive=True)
    yield equation(
        ROOTS, whole, "in v = T - u", {ROOTS: sympy.Integral(1 / sympy.sqrt(beyond), (beyond, 0, time)).doit()}
    )
    yield equation(
        taken,
        1 / path.density(samples * (1 - left)),
        "r* = D sqrt(w) / int sqrt(w) is r of linear decay, T - u being what it has left",
        {taken: samples / sympy.sqrt(ahead) / whole},
    )
    cost_of_path = named("cost of linear decay", r"\int_0^T(w/r)\,du, \; r = r_0/(1-x)", real=True)
    yield equation(
        cost_of_path, whole**2 / samples, "the least: (int sqrt w)^2 / D", {cost_of_path: path.last_iterate_noise}
    )
    power, start = sympy.symbols("h z_0", positive=True)
    share = 1 + left * (start**power - 1)
    slope, exponent = named("dz/dx", r"-\frac{dz}{dx}", real=True), 2 * (1 - power)
    yield equation(
        slope,
        (start**power - 1) / power * share ** (1 / power) / share,
        "z = 1 + T - u: z^h = 1 + y (z_0^h - 1) with h = 1 - k/2 has dz/dx proportional to z^{k/2}",
        {slope: sympy.diff(share ** (1 / power), left)},
    )
    yield equation(
        exponent / (2 - exponent), (1 - power) / power, "so p = (z / z_0)^{k/2} = (z^h / z_0^h)^{k/(2-k)}"
    )
    limit = named("limit of p", r"\lim z^h/z_0^h", real=True)
    large = sympy.Symbol("Z", positive=True)  # z_0^h
    yield equation(
        limit, left, "T to infinity", {limit: sympy.limit((1 + left * (large - 1)) / large, large, sympy.oo)}
    )
