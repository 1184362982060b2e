r"""Theorem 3 and its twin: a certificate's inequality implies a bound under the averaged test of its kind.

The inequality itself is not proven here: it is a hypothesis, which :mod:`proofs.certificates` verifies for
certificates with a record, and supports numerically for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import sympy

from proofs.adam.descent import descent_lemma
from proofs.adam.l1_step import lemma_l1
from proofs.adam.multipliers import (
    ENERGY,
    NORMS_S,
    PROGRESS_S,
    SQUARES_S,
    product_of,
    s,
    s_2,
    times,
    weighted_sums,
)
from proofs.adam.symbols import (
    BETA1,
    BETA2,
    BETAS,
    C_M,
    PROBLEM,
    alpha,
    dimension,
    noise,
    q,
    smoothness,
    steps,
)
from proofs.composition import (
    Assumption,
    Conclusion,
    Ground,
    assumed,
    cite,
    composed,
    from_step,
    granted,
    hypothesis,
    stated,
    summed,
)
from proofs.grounds import norm as norm_2
from proofs.grounds import norm_1
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import (
    Derivation,
    Evidence,
    Step,
    all_of,
    by_lemma,
    cauchy_schwarz,
    checked,
    identity,
    nonnegative,
    prose,
    proves,
    vanishing,
)
from proofs.sums import PROGRESS, SQUARES, length, norm, progress
from theory.adam.constants import normalized_step_bound, second_moment_weight
from theory.adam_sharp.constants import gradient_energy, mean_step
from theory.l1 import theorem3 as theory
from theory.l1.costs import Kind, kept_gain

__all__ = [
    "BY_COSTS",
    "COSTS_S",
    "NEEDED",
    "STEP_IS",
    "certificate_potential",
    "certificate_telescoping",
    "theorem_3",
    "two_point_laws",
]

Function = Callable[..., Any]
SOURCE = "a theorem for the l1 norm test, a correction of the scalar test of arXiv 2412.21124"
gradient, second_moment, s_max, slope = sympy.symbols("G v s_max C", positive=True)
gain, noise_weight, lipschitz, start = sympy.symbols("J lambda Lambda P", positive=True)
cost = named("x_term", "x_k", nonnegative=True)
change = named("change", "|G_{k+1} - G_k|", nonnegative=True)
here = named("psi_here", r"-\Phi_k(G_k)", nonnegative=True)
before = named("psi_before", r"-\Phi_{k-1}(G_k)", nonnegative=True)
there = named("psi_there", r"-\Phi_k(G_{k+1})", nonnegative=True)
s_next = named("s_next", "s_{k+1}", nonnegative=True)
FALLING = Range(s_next, 0, s)
COSTS_S = named("X_s", r"{\textstyle\sum_k} s_kE{\textstyle\sum_i}x_{k,i}", nonnegative=True)
CHANGES_S = named("C_s", r"{\textstyle\sum_k} s_{k+1}E\|G_{k+1}-G_k\|_1", nonnegative=True)
LIPSCHITZ = Relation(there, "<=", here + lipschitz * change)
TELESCOPED = Relation(PROGRESS_S, ">=", gain * NORMS_S - noise_weight * COSTS_S - lipschitz * CHANGES_S - start)
CERTIFIED = frozenset(
    {
        Assumption.CERTIFICATE, Assumption.ADAM, Assumption.UNBIASED, Assumption.KNOWN_BEFORE,
        Assumption.FALLING_STEPS,
    }
)  # fmt: skip
NEEDED = CERTIFIED | {Assumption.SMOOTH, Assumption.BOUNDED_BELOW}
STEP_IS = {C_M: normalized_step_bound(BETA1, BETA2)}
BY_COSTS = Relation(
    gain * NORMS_S,
    "<=",
    noise_weight * COSTS_S + sum(theory.bound_terms(PROBLEM, alpha, lipschitz, C_M, ENERGY).values()) + start,
    STEP_IS,
    BETAS,
)


# ----------------------------------------------------------------------------------------------------
# Two-point laws suffice.


@proves(
    "two-point laws",
    "which laws a certificate must be checked for",
    r"If $E\varphi(X) + \lambda x \ge t$, with $x = \mathrm{sd}(X)$ or $x = \mathrm{Var}(X)$, for all laws with "
    r"mean 1 on at most two points $1-a$, $1+b$, with weights $b/(a+b)$, $a/(a+b)$ and $\mathrm{Var} = ab$, then "
    r"it holds for all laws with mean 1 ($\varphi$ bounded below by a linear function).",
    source=SOURCE,
)
def two_point_laws(
    low_weight: Function = lambda a, b: b / (a + b), variance: Function = lambda a, b: a * b
) -> Derivation:
    """The certificate inequality needs to be checked for two-point laws only."""
    a, b, deviation, scale = sympy.symbols("a b x q", positive=True)
    weight = low_weight(a, b)
    yield identity(r"E X = 1", weight * (1 - a) + (1 - weight) * (1 + b), 1)
    yield identity(r"\mathrm{Var} X = ab", weight * a**2 + (1 - weight) * b**2, variance(a, b))
    yield identity(
        r"\frac{x^2}{2q} + \frac q2 - x = \frac{(x-q)^2}{2q}",
        deviation**2 / (2 * scale) + scale / 2 - deviation,
        (deviation - scale) ** 2 / (2 * scale),
        "lambda sd = min over q > 0 of lambda (Var/(2q) + q/2), which is linear in the law",
    )
    yield prose(
        r"\inf_{E X = 1} E\psi(X) \text{ is the convex envelope of } \psi \text{ at } 1, \; "
        r"\psi(x) = \varphi(x) + \lambda(x-1)^2/(2q)",
        "on the line it is approached by mixtures of two points (Caratheodory), for every q; Var is q = 1/2",
    )


# ----------------------------------------------------------------------------------------------------
# The potential |G| h(sgn(G) m / sqrt(v), v / G^2), as a function of G.


@proves(
    "certificate potential",
    "the potential is Lipschitz in the gradient",
    r"$\Phi(G) = |G|\,h(\mathrm{sgn}(G)\,m/\sqrt v, v/G^2)$, $\Phi(0) = -C\sqrt v$, is Lipschitz with "
    r"constant $\Lambda = \sup|h - 2 s h_s|$:",
    concludes=(Conclusion(LIPSCHITZ),),
    source=SOURCE,
)
def certificate_potential() -> Derivation:
    """It is Lipschitz in G with constant Lambda = sup |h - 2 s h_s|, across G = 0 too."""
    slopes = yield from all_of(_slopes())
    yield stated(granted(LIPSCHITZ, Ground.CALCULUS, *slopes))


def _slopes() -> Derivation:
    s, z, boundary, other = sympy.symbols("s z h_1 h_2", real=True)
    positive_s = sympy.Symbol("s", positive=True)
    h = sympy.Function("h")
    ratio = second_moment / gradient**2
    formula = theory.scaling_derivative(h(z, s), s, sympy.diff(h(z, s), s)).subs(s, ratio).doit()
    in_tail = theory.tail_potential(boundary, slope, positive_s, s_max)
    scaled_tail = gradient * theory.tail_potential(boundary, slope, ratio, s_max)
    yield identity(
        r"\frac{d}{dG}\,G\,h(z, v/G^2) = (h - 2 s h_s)(z, v/G^2)",
        sympy.diff(gradient * h(z, ratio), gradient).doit(),
        formula,
        "G > 0; for G < 0 with z = -m/sqrt(v)",
    )
    yield identity(
        r"h - 2sh_s = h(z,s_{\max}) + C\sqrt{s_{\max}} \text{ in the tail}",
        theory.scaling_derivative(in_tail, positive_s, sympy.diff(in_tail, positive_s)),
        boundary + slope * sympy.sqrt(s_max),
        "constant in s, so that the slope is bounded up to G = 0",
    )
    yield vanishing(
        r"\lim_{G\to0} G\,h(\cdot, v/G^2) = -C\sqrt v \text{ from either side}",
        lambda: [
            sympy.limit(sympy.expand(scaled_tail), gradient, 0, "+") + slope * sympy.sqrt(second_moment),
        ],
    )
    yield identity(r"h \text{ is continuous at } s_{\max}", in_tail.subs(positive_s, s_max), boundary)
    yield identity(
        r"h - 2sh_s \text{ is bilinear in } (z, \log s) \text{ where } h \text{ is: extreme at corners}",
        *_bilinear(),
    )
    yield nonnegative(r"h \le 0 \text{ above } s_{\max} \text{ too}", *_tail_sign(other))


def _bilinear() -> tuple[Any, Any]:
    """h - 2 s h_s where h is bilinear in z and u = log s: bilinear again."""
    z, u = sympy.symbols("z u", real=True)
    constant, in_z, in_u, mixed = sympy.symbols("p_0 p_1 p_2 p_3", real=True)
    h = constant + in_z * z + in_u * u + mixed * z * u
    scaled = sympy.expand(theory.scaling_derivative(h, sympy.exp(u), sympy.diff(h, u) * sympy.exp(-u)))
    bilinear = constant - 2 * in_u + (in_z - 2 * mixed) * z + in_u * u + mixed * z * u
    return scaled, bilinear


def _tail_sign(boundary: Any) -> tuple[Any, list[sympy.Symbol]]:
    """-h above s_max = root^2, at sqrt(s) = root + extra and boundary = -depth: a sum of nonnegative terms."""
    root, extra, depth, factor = sympy.symbols("rho_s e t C", nonnegative=True)
    replaced = theory.tail_potential(-depth, factor, sympy.Symbol("x") ** 2, sympy.Symbol("y") ** 2)
    opened = sympy.powdenest(replaced, force=True).subs({sympy.Symbol("x"): root + extra, sympy.Symbol("y"): root})
    return -opened, [root, extra, depth, factor]


# ----------------------------------------------------------------------------------------------------
# One step, and the sum over the steps.


@proves(
    "certificate telescoping",
    "the certificate inequality summed over the steps",
    r"For $s_1 \ge s_2 \ge \dots > 0$, $x_{k,i} = \mathrm{sd}_{k,i}$ (l1) or $\mathrm{sd}_{k,i}^2/|G_{k,i}|$ "
    r"(variance) and $P = s_1\sum_i|G_{1,i}|(-h(0, v_{0,i}/G_{1,i}^2))$:",
    concludes=(Conclusion(TELESCOPED, CERTIFIED),),
    source=SOURCE,
    uses=("certificate potential", "two-point laws"),
)
def certificate_telescoping() -> Derivation:
    """Summed over the steps, the certificate inequality bounds the alignment of Adam's step with the gradient."""
    yield from _one_step()
    yield from _zero_gradient()
    named_terms = yield from all_of(
        times(progress, r"s_k\langle G_k,u_k\rangle", s, progress),
        times(norm, "s_k|G_k|", s, norm),
        times(cost, "s_kx_k", s, cost),
        times(before, r"-s_k\Phi_{k-1}(G_k)", s, before),
        times(change, "s_{k+1}|G_{k+1} - G_k|", s_next, change),
        times(there, r"-s_{k+1}\Phi_k(G_{k+1})", s_next, there),
    )
    aligned, norms, costs, old, moved, new = map(product_of, named_terms)
    each = yield composed(
        Relation(
            aligned, ">=", gain * norms - noise_weight * costs - lipschitz * moved - old + new, ranges=(FALLING,)
        ),
        (
            assumed(
                Relation(progress - here + noise_weight * cost, ">=", gain * norm - before), Assumption.CERTIFICATE
            ),
            cite(certificate_potential),
            hypothesis(Relation(here, ">=", 0)),
            *named_terms,
        ),
        (progress, norm, cost, before, change, there, here, aligned, norms, costs, old, moved, new),
        CERTIFIED,
        reason="the certificate inequality times s_k |G_k|; h <= 0 and s_{k+1} <= s_k",
    )
    total = yield summed(
        each, {aligned: PROGRESS_S, norms: NORMS_S, costs: COSTS_S, moved: CHANGES_S}, {(old, new): start}
    )
    falls = yield from _falls()
    yield composed(
        TELESCOPED, (from_step(total, {s_next: falls}),), (PROGRESS_S, NORMS_S, COSTS_S, CHANGES_S), CERTIFIED
    )


def _falls() -> Generator[Step, Step, tuple[Step, Step]]:
    """0 <= s_{k+1} <= s_k."""
    falling = stated(assumed(Relation(s_next, "<=", s), Assumption.FALLING_STEPS))
    positive = inequality(s_next, ">=", 0)
    yield falling
    yield positive
    return falling, positive


def _one_step() -> Derivation:
    """(z', s') is Adam's new state, and |z| <= C_m where L1 holds."""
    momentum, x = sympy.symbols("m x", real=True)
    new_momentum = BETA1 * momentum + (1 - BETA1) * x * gradient
    new_moment = BETA2 * second_moment + second_moment_weight(BETA2) * (x * gradient) ** 2
    z, s = momentum / sympy.sqrt(second_moment), second_moment / gradient**2
    new_z, new_s = theory.next_state(BETA1, BETA2, z, s, x)
    yield by_lemma(r"|z| \le C_m", lemma_l1, reason="states beyond C_m do not occur")
    yield identity(r"s' = v_k/G^2", sympy.expand(new_s * gradient**2), sympy.expand(new_moment))
    yield identity(
        r"z'\sqrt{s'} = m_k/G, \text{ so } |G|\,z' = G\,m_k/\sqrt{v_k}",
        sympy.expand(new_z * sympy.sqrt(new_s) * gradient),
        sympy.expand(new_momentum),
        "G > 0; for G < 0 with g and m of the other sign",
    )
    yield by_lemma(
        r"E_k[G m_k/\sqrt{v_k} + \Phi_k(G)] + \lambda x_k \ge J|G| + \Phi_{k-1}(G)",
        two_point_laws(),
        reason="the certificate inequality times |G|: the deviation of X = g/G is sd(g)/|G|",
    )
    deviation = sympy.Symbol("sigma", positive=True)
    for kind, statement, expected in (
        (Kind.L1, r"|G|\,\mathrm{sd}(g/G) = \mathrm{sd}(g)", deviation),
        (Kind.VARIANCE, r"|G|\,\mathrm{Var}(g/G) = \mathrm{Var}(g)/|G|", deviation**2 / gradient),
    ):
        yield identity(statement, gradient * kind.cost((deviation / gradient) ** 2), expected)


def _zero_gradient() -> Derivation:
    """G = 0: -C E sqrt(v_k) + lambda sd >= -C sqrt(v_{k-1}), by lambda >= C sqrt(c); or there is no noise."""
    root, size, extra = sympy.symbols("p g h", nonnegative=True)
    c = sympy.Symbol("c", positive=True)
    yield nonnegative(
        r"\sqrt{\beta_2 v + c\,g^2} \le \sqrt v + \sqrt c\,|g|, \text{ squared}",
        ((root + c * size) ** 2 - (BETA2 * root**2 + c**2 * size**2)).subs(q, 1 / (1 + extra)),
        [root, size, extra, c],
        reason="with p = sqrt(v), and c for sqrt(c)",
    )
    yield nonnegative(
        r"G = 0: -C(\sqrt v + \sqrt c\,\mathrm{sd}) + \lambda\,\mathrm{sd} + C\sqrt v \ge 0, \; \lambda = "
        r"C\sqrt c + h",
        -slope * (root + c * size) + (slope * c + extra) * size + slope * root,
        [root, size, extra, slope],
        reason="E|g| <= sd at G = 0",
    )
    yield nonnegative(
        r"G = 0 \text{ under the coordinate-wise test}: g = 0, \; C\sqrt v - C\sqrt{\beta_2 v} \ge 0",
        (slope * root - slope * q * root).subs(q, 1 / (1 + extra)),
        [root, extra, slope],
    )


@proves(
    "Theorem 3 (given a certificate)",
    "Adam under the averaged l1 test, or the averaged coordinate-wise test",
    r"Let a certificate be given, and $x_{k,i} = \mathrm{sd}_{k,i}$, $J' = J - \lambda\eta > 0$ (l1) or "
    r"$x_{k,i} = \mathrm{sd}_{k,i}^2/|G_{k,i}|$, $J' = J - \lambda\eta^2 > 0$ (variance). If the step size has "
    r"multipliers $s_1 \ge s_2 \ge \dots > 0$ and $\sum_k s_k E\sum_i x_{k,i} \le \eta^p\sum_k s_k E\|G_k\|_1$ "
    r"with $p = 1$ (l1) or $2$ (variance): $J'\sum_k s_k E\|G_k\|_1 \le \Delta/\alpha + \alpha L d\sum_k s_k^2\,"
    r"(s_t^2/2 + \Lambda s_t) + s_1\sum_i |G_{1,i}|(-h(0, v_{0,i}/G_{1,i}^2))$, $s_t = C_m$ unless $s_k = 1$. The "
    r"inequality is verified for certificates with a record, and supported numerically for the others. For any "
    r"$x_{k,i}$, with $s_t = C_m$:",
    concludes=(Conclusion(BY_COSTS, NEEDED, (NORMS_S, COSTS_S, ENERGY)),),
    source=SOURCE,
    uses=("descent lemma", "L1", "weighted sums", "certificate telescoping"),
)
def theorem_3() -> Derivation:
    """The bound, from the telescoped inequality and the descent lemma."""
    changes = yield from _changes()
    bound = yield composed(
        BY_COSTS,
        (
            cite(descent_lemma, {PROGRESS: PROGRESS_S, SQUARES: SQUARES_S}),
            cite(weighted_sums),
            cite(certificate_telescoping),
            changes,
        ),
        (PROGRESS_S, SQUARES_S, NORMS_S, COSTS_S, CHANGES_S, ENERGY),
        NEEDED,
    )
    right = sum(theory.bound_terms(PROBLEM, alpha, lipschitz, C_M, ENERGY).values()) + start
    for kind, power, test in (
        (Kind.L1, 1, Assumption.L1_TEST),
        (Kind.VARIANCE, 2, Assumption.COORDINATE_TEST),
    ):
        yield composed(
            Relation(kept_gain(kind, gain, noise_weight, noise) * NORMS_S, "<=", right, STEP_IS, BETAS),
            (bound, assumed(Relation(COSTS_S, "<=", noise**power * NORMS_S), test)),
            (NORMS_S, COSTS_S),
            NEEDED | {test},
            reason=f"on average: p = {power}",
        )
    yield from _mean_step()


def _changes() -> Generator[Step, Step, Step]:
    """s_{k+1} ||G_{k+1} - G_k||_1 <= s_k^2 alpha L d C_m."""
    distance = named("grad_distance", r"\|G_{k+1}-G_k\|_2", nonnegative=True)
    hop = named("one_hop", r"\|w_{k+1}-w_k\|_2", nonnegative=True)
    change_1 = named("change_1", r"\|G_{k+1}-G_k\|_1", nonnegative=True)
    product = times(change_1, r"s_{k+1}\|G_{k+1}-G_k\|_1", s_next, change_1)
    square_of_s = equation(s_2, s**2, where={s_2: s**2})
    yield product
    yield square_of_s
    moved, step = sympy.symbols("G_{k+1}-G_k u_k", real=True)
    of_length = yield equation(
        hop, alpha * s * length, "a step is alpha s_k u_k", {hop: norm_2(alpha * s * step), length: norm_2(step)}
    )
    each = yield composed(
        Relation(
            product_of(product), "<=", alpha * smoothness * dimension * C_M * s_2, STEP_IS, (*BETAS, FALLING)
        ),
        (
            product,
            granted(
                Relation(change_1, "<=", sympy.sqrt(dimension) * distance),
                Ground.CAUCHY_SCHWARZ,
                meaning={change_1: norm_1(moved), distance: norm_2(moved)},
            ),
            assumed(Relation(distance, "<=", smoothness * hop), Assumption.SMOOTH),
            from_step(of_length, opaque=(hop, length)),
            cite(lemma_l1, part=2),
            square_of_s,
        ),
        (product_of(product), change_1, distance, hop, length, s_2),
        NEEDED,
    )
    total = yield summed(each, {product_of(product): CHANGES_S, s_2: ENERGY})
    falls = yield from _falls()
    kept = yield composed(
        Relation(CHANGES_S, "<=", alpha * smoothness * dimension * C_M * ENERGY, STEP_IS, BETAS),
        (from_step(total, {s_next: falls}),),
        (CHANGES_S, ENERGY),
        NEEDED,
    )
    return kept


def _mean_step() -> Derivation:
    """sum_k E||u_k|| <= K sqrt(d) s_t and sum_k E||u_k||^2 <= K d s_t^2 for both members of the minimum."""
    without = mean_step(gradient_energy(steps, dimension, BETA2), steps, dimension, BETA1, BETA2)
    c_m = normalized_step_bound(BETA1, BETA2)
    yield by_lemma(r"\|u_k\| \le \sqrt d\,C_m, \quad u_k = m_k/\sqrt{v_k}", lemma_l1)
    yield cauchy_schwarz(
        r"(\textstyle\sum_k\|u_k\|)^2 \le K\sum_k\|u_k\|^2", "which is at most K ((1-beta1)/(1-r))^2 H by lemma H"
    )
    yield checked(
        r"s_t \le C_m, \text{ with equality where nothing is known of } v", lambda: _step_is(without, c_m)
    )


def _step_is(found: Any, expected: Any) -> Evidence:
    """At rational betas, 50 digits: the minimum's value."""
    symbols = sorted(sympy.sympify(found).free_symbols | expected.free_symbols, key=str)
    for numerator in (1, 3, 7):
        point = {symbol: sympy.Rational(numerator, 8) for symbol in symbols}
        difference = sympy.N(found.subs(point) - expected.subs(point), 50)
        if abs(difference) > sympy.Float("1e-40"):
            return Evidence(False, f"differs by {difference} at {point}")
    return Evidence(True, "3 points, 50 digits")
