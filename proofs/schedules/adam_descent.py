r"""An idealised Adam on any smooth objective: descent along a path, and what each noise scale keeps of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.composition import (
    Assumption,
    Conclusion,
    Ground,
    assumed,
    cite,
    composed,
    defined,
    from_step,
    granted,
    hypothesis,
    rooted,
    stated,
    summed,
)
from proofs.relations import Range, Relation, equation, inequality, named, written
from proofs.schedules.path import all_steps, noise_of_a_step
from proofs.schedules.symbols import PATH, batch, noise_of_path, rate, time
from proofs.sequences import Terms
from proofs.steps import Derivation, Step, identity, proves
from theory.schedules import adam_descent as theory
from theory.schedules.adam_descent import NoiseScale

__all__ = ["criteria_below_the_noise_scale", "descent_on_a_path", "order_of_noise_scales", "what_a_batch_keeps"]

gap, smoothness = sympy.symbols("Delta", nonnegative=True), named("L_sum", r"\sum_iL_i", nonnegative=True)
PROBLEM = theory.CoordinateProblem(initial_gap=gap, coordinate_smoothness=smoothness)
gradient, variance = named("|G_i|", "|G_i|", positive=True), named("V_i", "V_i", positive=True)
curvature = named("L_i", "L_i", nonnegative=True)
eta, root_of_batch = sympy.symbols("eta beta", positive=True)
"""b = beta^2."""
rate_of_learning = rate / sympy.sqrt(batch)
term = named("drift_i", r"G_i^2/\sqrt{V_i+bG_i^2}", nonnegative=True)
DRIFT = named("drift", "W_b", nonnegative=True)
"""sum_i G_i^2 / sqrt(V_i + b G_i^2)."""
SETTING = (
    r"Let $f$ be bounded below, with $f(w+d) \le f(w)+\langle\nabla f(w),d\rangle+\frac12\sum_iL_id_i^2$ for "
    r"all $w$ and $d$, as where its Hessian is at most $\mathrm{diag}(L_i)$. The idealised Adam divides by "
    r"the exact second moment: $w_{k+1,i} = w_{k,i}-\mathrm{lr}\,g_i/\sqrt{E_kg_i^2}$ with $E_kg = G = \nabla "
    r"f(w_k)$ and $E_k(g_i-G_i)^2 = V_i/b_k$, $V_i > 0$. Its effective rate $a_k = \mathrm{lr}\sqrt{b_k}$ "
    r"follows rule (R) on a path in samples that is fixed before the run; $b_k$ may depend on the past, not "
    r"on its own samples. Let $W_b = \sum_iG_i^2/\sqrt{V_i+bG_i^2}$ at $w_k$."
)

ASSUMED = frozenset({Assumption.COORDINATE_SMOOTH})
BELOW = ASSUMED | {Assumption.BELOW_NOISE_SCALE}
value, next_value = named("f_gap", "f_k", nonnegative=True), named("f_gap_next", r"E_kf_{k+1}", real=True)
inner_term = named("inner_i", r"E[G_id_i]", real=True)
INNER = named("inner_sum", r"E\langle G,d\rangle", real=True)
size_term = named("size_i", r"L_iE\,d_i^2", nonnegative=True)
SIZES = named("size_sum", r"\sum_iL_iE\,d_i^2", nonnegative=True)
weighted = named("a W", r"a_kW_{b_k}", nonnegative=True)
DRIFTS = named("drift_sum", r"\sum_k E\,a_kW_{b_k}", nonnegative=True)


@proves(
    "descent of Adam on a path",
    "an idealised Adam on any smooth f: the descent along a path, for any batches",
    SETTING,
    concludes=(Conclusion(Relation(DRIFTS, "<=", theory.descent_sum_bound(PROBLEM, PATH).value), ASSUMED),),
    source="this project",
    uses=("noise of a step",),
)
def descent_on_a_path() -> Derivation:
    """One coordinate, all of them, and the steps."""
    second = gradient**2 + variance / batch
    one = yield equation(
        inner_term,
        -rate * term,
        "E_k g_i = G_i; the learning rate is a_k / sqrt(b_k)",
        {
            inner_term: -rate_of_learning * gradient**2 / sympy.sqrt(second),
            term: gradient**2 / sympy.sqrt(variance + batch * gradient**2),
        },
    )
    moved = yield equation(
        size_term,
        rate**2 / batch * curvature,
        r"$E\,d_i^2=\mathrm{lr}^2\,E_kg_i^2/E_kg_i^2=\mathrm{lr}^2=a_k^2/b_k$",
        {size_term: curvature * rate_of_learning**2 * second / second},
    )
    inner = yield summed(one, {inner_term: INNER, term: DRIFT}, reason="summed over the coordinates")
    sizes = yield summed(moved, {size_term: SIZES, curvature: smoothness}, reason="summed over the coordinates")
    exact = yield composed(
        Relation(next_value, "<=", value + theory.expected_change(DRIFT, rate, batch, smoothness)),
        (
            assumed(Relation(next_value, "<=", value + INNER + SIZES / 2), Assumption.COORDINATE_SMOOTH),
            inner,
            sizes,
        ),
        (next_value, value, INNER, SIZES, DRIFT),
        ASSUMED,
    )
    each = yield composed(
        Relation(next_value + weighted, "<=", value + smoothness / 2 * noise_of_path),
        (exact, defined(weighted, rate * DRIFT), cite(noise_of_a_step)),
        (next_value, value, DRIFT, weighted, noise_of_path),
    )
    yield from all_steps(each, weighted, DRIFTS, (value, next_value, gap), descent_on_a_path)


weight = named("omega_i", r"\omega_i", nonnegative=True)
"""G_i^2 / sqrt(V_i)."""
WEIGHTS, FOURTHS = named("W_0", "W_0", positive=True), named("fourth", r"\sum_iG_i^4V_i^{-3/2}", positive=True)
fourth = named("fourth_i", r"G_i^4V_i^{-3/2}", nonnegative=True)
NORM = named("norm_1", r"\|G\|_1", positive=True)
DEVIATIONS = named("deviations", r"\sum_i\sqrt{V_i}", positive=True)
SQUARES, TRACE = named("norm_2", r"\|G\|^2", positive=True), named("trace", r"\sum_iV_i", positive=True)
deviation = named("root_V", r"\sqrt{V_i}", positive=True)
own_square = named("G_i_square", "G_i^2", nonnegative=True)
SCALES = {
    NoiseScale.WEIGHTED: (WEIGHTS, FOURTHS / WEIGHTS),
    NoiseScale.L1: (NORM**2 / DEVIATIONS, (NORM / DEVIATIONS) ** 2),
    NoiseScale.TRACE: (SQUARES / sympy.sqrt(TRACE), SQUARES / TRACE),
}
"""The criterion and 1 / B of each scale."""


def _kept(scale: NoiseScale) -> Relation:
    criterion, inverse = SCALES[scale]
    return Relation(DRIFT, ">=", criterion * scale.kept(batch * inverse))


@proves(
    "what a batch keeps",
    "the drift at any batch, by three noise scales",
    r"With $W_0 = \sum_iG_i^2/\sqrt{V_i}$, by the weighted, the l1 and the trace noise scale, in this order:",
    concludes=tuple(Conclusion(_kept(scale), universal=(batch,)) for scale in SCALES),
    source="Jensen's and Cauchy-Schwarz's inequalities; this project",
)
def what_a_batch_keeps() -> Derivation:
    """A tangent, summed over the coordinates; the other two coordinate by coordinate."""
    yield from _weighted()
    yield from _l1()
    yield from _trace()
    yield from _formulas()


def _weighted() -> Derivation:
    """(1 + b y)^{-1/2} above its tangent at 1/B, in p = (1 + b y)^{-1/2} and P = (1 + b/B)^{-1/2}."""
    p, whole = sympy.symbols("p P", positive=True)
    tangent = sympy.Rational(3, 2) * whole - whole**3 / (2 * p**2)
    yield equation(
        p - tangent, (p - whole) ** 2 * (2 * p + whole) / (2 * p**2), "so p lies above its tangent at P"
    )
    level = sympy.Symbol("P", positive=True)
    root = sympy.sqrt(variance + batch * gradient**2)
    definitions = {
        term: gradient**2 / root,
        weight: gradient**2 / sympy.sqrt(variance),
        fourth: gradient**4 / sympy.sqrt(variance) ** 3,
    }
    share = named("p_i", "p_i", positive=True)
    excess = named("above", r"\omega_i(p_i-P)^2(2p_i+P)/(2p_i^2)", nonnegative=True)
    exactly = yield equation(
        term,
        weight * sympy.Rational(3, 2) * level - level**3 / 2 * (weight + batch * fourth) + excess,
        "omega_i p_i, by 1 / p_i^2 = 1 + b G_i^2 / V_i",
        {
            excess: weight * (share - level) ** 2 * (2 * share + level) / (2 * share**2),
            share: sympy.sqrt(variance) / root,
            **definitions,
        },
    )
    each = yield composed(
        Relation(term, ">=", weight * sympy.Rational(3, 2) * level - level**3 / 2 * (weight + batch * fourth)),
        (exactly, hypothesis(Relation(excess, ">=", 0))),
        (term, weight, fourth, excess),
    )
    found = yield summed(
        each, {term: DRIFT, weight: WEIGHTS, fourth: FOURTHS}, reason="summed over the coordinates"
    )
    at = 1 / sympy.sqrt(1 + batch * FOURTHS / WEIGHTS)
    yield composed(_kept(NoiseScale.WEIGHTED), (from_step(found, at={level: at}),), (DRIFT,))


def _l1() -> Derivation:
    """G^2 / s >= 2 t |G| - t^2 s for s = sqrt(V + b G^2) <= sqrt V + sqrt b |G|, at the best t."""
    tangent, root = sympy.Symbol("y", positive=True), named("s_root", r"\sqrt{V_i+bG_i^2}", positive=True)
    sides = deviation + root_of_batch * gradient
    root_square = named("s_root_2", "V_i+bG_i^2", nonnegative=True)
    triangle = yield inequality(
        root_square,
        "<=",
        sides**2,
        reason="b = beta^2",
        where={root_square: deviation**2 + root_of_batch**2 * gradient**2},
    )
    shorter = yield rooted(triangle, root_square, root, sides)
    rest = named("rest_i", r"(|G_i|-y\sqrt{V_i+bG_i^2})^2/\sqrt{V_i+bG_i^2}", nonnegative=True)
    perfect = yield equation(
        term,
        2 * tangent * gradient - tangent**2 * root + rest,
        where={term: gradient**2 / root, rest: (gradient - tangent * root) ** 2 / root},
    )
    each = yield composed(
        Relation(term, ">=", 2 * tangent * gradient - tangent**2 * sides),
        (perfect, hypothesis(Relation(rest, ">=", 0)), shorter),
        (term, rest, root, gradient, deviation),
    )
    found = yield summed(
        each, {term: DRIFT, gradient: NORM, deviation: DEVIATIONS}, reason="summed over the coordinates"
    )
    best = NORM / (DEVIATIONS + sympy.sqrt(batch) * NORM)
    yield composed(
        _kept(NoiseScale.L1), (from_step(found, at={tangent: best, root_of_batch: sympy.sqrt(batch)}),), (DRIFT,)
    )


def _trace() -> Derivation:
    """V_i <= tr Sigma and G_i^2 <= ||G||^2 under the root."""
    root, bound = named("s_root", r"\sqrt{V_i+bG_i^2}", positive=True), named("s_whole", r"s", positive=True)
    square = named("s_root_2", "V_i+bG_i^2", nonnegative=True)
    part = yield stated(granted(Relation(square, "<=", bound**2), Ground.PART, meaning=_terms(square, bound)))
    shorter = yield rooted(part, square, root, bound)
    larger = yield inequality(
        own_square / bound, "<=", own_square / root, (Range(root, 0, bound),), "s = sqrt(tr + b ||G||^2)"
    )
    meaning = {
        own_square: gradient**2,
        root: sympy.sqrt(variance + batch * gradient**2),
        term: gradient**2 / sympy.sqrt(variance + batch * gradient**2),
    }
    each = yield composed(
        Relation(term, ">=", own_square / bound),
        (
            granted(Relation(term, "=", own_square / root), Ground.DEFINITION, meaning=meaning),
            from_step(larger, {root: (shorter,)}),
        ),
        (term, own_square),
    )
    found = yield summed(each, {term: DRIFT, own_square: SQUARES}, reason="summed over the coordinates")
    whole = sympy.sqrt(TRACE + batch * SQUARES)
    yield composed(_kept(NoiseScale.TRACE), (from_step(found, at={bound: whole}),), (DRIFT,))


def _terms(term: Any, root: Any) -> dict[Any, Any]:
    """V_i + b G_i^2 in one coordinate, and s^2 in all of them."""
    i, last = sympy.symbols("i N", integer=True, nonnegative=True)
    squares = sympy.Function("x", positive=True)
    return {term: squares(0), root: sympy.sqrt(sympy.Sum(squares(i), (i, 0, last)))}


def _formulas() -> Derivation:
    """The functions that schedules and bounds use are these sums, for any number of coordinates."""
    root = sympy.sqrt(variance)
    sums = {
        gradient**2 / root: WEIGHTS,
        gradient**4 / root**3: FOURTHS,
        gradient: NORM,
        root: DEVIATIONS,
        gradient**2: SQUARES,
        variance: TRACE,
    }
    squares, variances = Terms(gradient**2, sums), Terms(variance, sums)
    for scale, (amount, inverse) in SCALES.items():
        for name, found, value in (
            ("C", scale.criterion(squares, variances), amount),
            ("B", scale.of(squares, variances), 1 / inverse),
        ):
            yield identity(
                rf"{name} = {written(value)}: \text{{ the function, {scale}}}",
                found,
                value,
                "any number of coordinates",
            )


@proves(
    "order of noise scales",
    "the weighted noise scale is at most the l1 scale, and its criterion the largest",
    concludes=(Conclusion(Relation(FOURTHS / WEIGHTS, ">=", (NORM / DEVIATIONS) ** 2)),),
    source="power means; this project",
)
def order_of_noise_scales() -> Derivation:
    """Means of y = |G_i| / sqrt(V_i) with the weights sqrt(V_i): y^4 against y^2, y^2 against y."""
    level = sympy.Symbol("y", positive=True)
    found = []
    for upper, middle, lower in (
        (fourth, weight, deviation),
        (weight, gradient, deviation),
    ):
        values = {fourth: gradient**4 / deviation**3, weight: gradient**2 / deviation}
        rest = named(
            f"rest of {upper}",
            rf"\left({written(middle)}-y{written(lower)}\right)^2/{written(lower)}",
            nonnegative=True,
        )
        perfect = yield equation(
            upper,
            2 * level * middle - level**2 * lower + rest,
            where={rest: (middle - level * lower) ** 2 / lower, **values},
        )
        each = yield composed(
            Relation(upper, ">=", 2 * level * middle - level**2 * lower),
            (perfect, hypothesis(Relation(rest, ">=", 0))),
            (upper, middle, lower, rest),
        )
        sums = {fourth: FOURTHS, weight: WEIGHTS, gradient: NORM, deviation: DEVIATIONS}
        terms = {name: sums[name] for name in (upper, middle, lower)}
        found.append(summed(each, terms, reason="summed over the coordinates"))
        yield found[-1]
    yield composed(
        order_of_noise_scales.lemma.conclusions[0].relation,
        (
            from_step(found[0], at={level: WEIGHTS / DEVIATIONS}),
            from_step(found[1], at={level: NORM / DEVIATIONS}),
        ),
        (FOURTHS, NORM**2),
        reason="at y the weighted mean",
    )


WRITTEN = {
    NoiseScale.WEIGHTED: "a_kW_0",
    NoiseScale.L1: r"a_k\|G\|_1^2/\sum_i\sqrt{V_i}",
    NoiseScale.TRACE: r"a_k\|G\|^2/\sqrt{\sum_iV_i}",
}
CRITERIA = {
    scale: named(f"criteria {scale}", rf"\sum_k E\,{text}", nonnegative=True) for scale, text in WRITTEN.items()
}
"""Of each scale, over the run."""
kept, least = named("kept", r"\kappa_b", positive=True), named("least", r"\kappa", positive=True)
least_square = named("least_2", r"\kappa^{2}", positive=True)


@proves(
    "descent below a noise scale",
    "an idealised Adam below a noise scale: what the ceiling costs in that scale's criterion",
    SETTING + r" Let $B_k$ be the weighted, the l1 or the trace noise scale at $w_k$. Then, in this order:",
    concludes=tuple(
        Conclusion(
            Relation(
                CRITERIA[scale] / time, "<=", theory.criterion_bound(PROBLEM, PATH, eta=eta, scale=scale).value
            ),
            BELOW,
        )
        for scale in SCALES
    ),
    source="this project",
    uses=("descent of Adam on a path", "what a batch keeps"),
)
def criteria_below_the_noise_scale() -> Derivation:
    """The drift keeps at least what it keeps at the ceiling."""
    for part, scale in enumerate(SCALES):
        amount, inverse = SCALES[scale]
        now, bound = scale.kept(root_of_batch**2 * inverse), scale.kept(1 / eta**2)
        ceiling, at_least = yield from _at_the_ceiling(scale, now, bound)
        criterion = named(f"criterion {scale}", WRITTEN[scale], nonnegative=True)
        keeps = yield composed(
            Relation(DRIFT, ">=", amount * kept, {kept: now}),
            (cite(what_a_batch_keeps, {batch: root_of_batch**2}, part),),
            (DRIFT,),
        )
        each = yield composed(
            Relation(weighted, ">=", least * criterion, {least: bound}),
            (
                defined(weighted, rate * DRIFT),
                defined(criterion, rate * amount),
                keeps,
                from_step(at_least, {root_of_batch: (ceiling,)}),
            ),
            (weighted, DRIFT, criterion, kept),
        )
        whole = yield summed(
            each, {weighted: DRIFTS, criterion: CRITERIA[scale]}, reason="summed over the steps, in expectation"
        )
        goal = criteria_below_the_noise_scale.lemma.conclusions[part].relation
        yield composed(goal, (cite(descent_on_a_path), whole), (DRIFTS, CRITERIA[scale]), BELOW)


def _at_the_ceiling(scale: NoiseScale, now: Any, bound: Any) -> Generator[Step, Step, tuple[Step, Step]]:
    """The ceiling; and what is kept falls with the batch, so that it is least there."""
    _, inverse = SCALES[scale]
    top = 1 / (sympy.sqrt(inverse) * eta)
    ceiling = yield stated(assumed(Relation(root_of_batch, "<=", top), Assumption.BELOW_NOISE_SCALE))
    if scale is NoiseScale.L1:
        at_least = yield inequality(
            least, "<=", kept, (Range(root_of_batch, 0, top),), "b <= B / eta^2", {least: bound, kept: now}
        )
        return ceiling, at_least
    squares = yield inequality(
        least_square,
        "<=",
        kept**2,
        (Range(root_of_batch, 0, top, power=2),),
        "b <= B / eta^2",
        {least_square: bound**2, kept: now},
    )
    at_least = yield rooted(squares, least_square, least, kept)
    return ceiling, at_least
