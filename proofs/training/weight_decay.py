r"""Decoupled weight decay: the bound, what it may cost, and what cannot be covered."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.assembly import ADMISSIBLE, GROWTH, KAPPA, QBAR, START, closing
from proofs.adam.assembly import TESTED as ADAM_TESTED
from proofs.adam.descent import descent_lemma
from proofs.adam.l1_step import lemma_l1
from proofs.adam.l3_freeze import lemma_l3, travel
from proofs.adam.l4_swap import RHO_IS, lemma_l4
from proofs.adam.l6_descent import KAPPA_IS, lemma_l6
from proofs.adam.l7_denominators import C_IS, ROOT_C
from proofs.adam.l8_self_bounding import lemma_l8
from proofs.adam.normalized_step import MeanSteps, mean_step, within
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BETAS,
    C_M,
    KAPPA_RHO,
    PROBLEM,
    RHO,
    UNIT_INTERVALS,
    a,
    alpha,
    b,
    dimension,
    r,
    same,
    smoothness,
    steps,
)
from proofs.adam.symbols import SETTING as ADAM_SETTING
from proofs.composition import Assumption, Ground, assumed, cite, composed, from_step, granted, summed
from proofs.grounds import inner, norm, norm_1, norm_max
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import Derivation, Step, by_lemma, identity, nonnegative, proves
from proofs.sums import (
    ALIGNED,
    FROZEN,
    NORMS,
    PRECONDITIONED,
    PROGRESS,
    SQUARES,
    length,
    past,
    progress,
    travelled,
)
from theory.adam import constants
from theory.adam.normalized_step import rare_value, rare_variance
from theory.training import weight_decay as theory
from theory.training.clipping import wrong_probability

__all__ = ["weight_bound", "weight_decay_gap", "weight_decay_theorem"]


pull = sympy.Symbol("l", nonnegative=True)  # lambda W
start, growth, budget, total, margin, descent = sympy.symbols("A B P S h D", positive=True)
n = sympy.Symbol("n", integer=True, nonnegative=True)
whole = named("u_decayed", r"\|u_k + \lambda w_k\|", nonnegative=True)
whole_2 = named("u_decayed_2", r"\|u_k + \lambda w_k\|^2", nonnegative=True)
size_of_w = named("lambda_w", r"\|\lambda w_k\|", nonnegative=True)
INNER = named("H_sum", r"{\textstyle\sum_k} E\langle G_k,\lambda w_k\rangle", real=True)
ADAM_PART = named("I_adam", r"{\textstyle\sum_k} E\langle G_k, m_k/(\sqrt{v_k}+\epsilon)\rangle", real=True)
DECAYED = named("decayed_moved", r"\|{\textstyle\sum_{j=k-n}^{k-1}} \alpha(u_j+\lambda w_j)\|", nonnegative=True)
size, DRIFT = named("s_W", "s", positive=True), named("Gamma_W", r"\Gamma_W", positive=True)
LARGEST = constants.normalized_step_bound(BETA1, BETA2) + pull
step, decay = (sympy.Symbol(name, real=True) for name in ("u_k", r"\lambda w_k"))
largest_w = named("lambda_w_max", r"\|\lambda w_k\|_\infty", nonnegative=True)
BOUNDED = frozenset({Assumption.BOUNDED_WEIGHTS})
SETTING, TESTED = ADAM_SETTING | BOUNDED, ADAM_TESTED | BOUNDED
LITTLE = assumed(Relation(largest_w, "<=", pull), *BOUNDED)
AT_SIZE = {size: C_M + pull, C_M: constants.normalized_step_bound(BETA1, BETA2)}


@proves(
    "weight decay",
    "AdamW under the coordinate-wise norm test",
    r"Let Adam decay its weights, $w_{k+1} = w_k-\alpha(m_k/\sqrt{v_k}+\lambda w_k)$. If $\|w_k\|_\infty \le "
    r"W$ for all $k$ and $\lambda W < (1-\beta_1)\kappa/B$, then $S = \sum_kE\|G_k\|_1$ satisfies "
    r"$(1-\beta_1)\kappa S^2 \le (P_W + \lambda W S)(A + B S)$ with $P_W = \Delta/\alpha + \alpha K L "
    r"d\,[s^2/2 + (1-\beta_1)sr/(\sqrt c(1-r)^2)]$ and $s = C_m + \lambda W$.",
    source="this project",
    uses=("descent lemma", "L1", "L3", "L4", "L6", "L7", "L8"),
)
def weight_decay_theorem() -> Derivation:
    """The bound and its second-order cost."""
    length_w = yield from _steps()
    squares = yield from _squares(length_w)
    adam = yield from _adam_part(length_w)
    yield identity(
        r"\Gamma_W = s^2/2 + s\,(1-\beta_1)r/(\sqrt c(1-r)^2)",
        theory.decayed_drift(BETA1, BETA2, pull),
        LARGEST**2 / 2 + LARGEST * constants.freezing_constant(BETA1, BETA2),
    )
    yield same(
        r"\Gamma_W = \Gamma \text{ at } \lambda = 0",
        (theory.decayed_drift(BETA1, BETA2, 0), constants.drift_constant(BETA1, BETA2)),
    )
    bound = yield _bound(squares, adam, *(yield from _decayed()))
    yield closing(bound, climb=pull, share=(1 - BETA1) * KAPPA_RHO)
    yield from _root()
    yield from _simpler()


def _steps() -> Generator[Step, Step, Step]:
    """A step is at most sqrt(d) s: L1, and |w_k| <= W in every coordinate."""
    length_w = yield composed(
        Relation(whole, "<=", sympy.sqrt(dimension) * size, AT_SIZE, BETAS),
        (
            granted(
                Relation(whole, "<=", length + size_of_w),
                Ground.MINKOWSKI,
                meaning={whole: norm(step + decay), length: norm(step), size_of_w: norm(decay)},
            ),
            cite(lemma_l1, part=2),
            granted(
                Relation(size_of_w, "<=", sympy.sqrt(dimension) * largest_w),
                Ground.HOELDER,
                meaning={size_of_w: norm(decay), largest_w: norm_max(decay)},
            ),
            LITTLE,
        ),
        (whole, length, size_of_w, largest_w),
        SETTING,
    )
    return length_w


def _squares(length_w: Step) -> Generator[Step, Step, Step]:
    largest = sympy.sqrt(dimension) * size
    positive = yield inequality(whole, ">=", 0)
    at = {whole_2: whole**2}
    squared = yield inequality(whole_2, "<=", dimension * size**2, (Range(whole, 0, largest),), where=at)
    each = yield composed(
        Relation(whole_2, "<=", dimension * size**2, AT_SIZE, BETAS),
        (from_step(squared, {whole: (positive, length_w)}),),
        (whole_2,),
        SETTING,
    )
    total = yield summed(each, {whole_2: SQUARES}, count=steps)
    return total


def _adam_part(length_w: Step) -> Generator[Step, Step, Step]:
    """L3, whose steps are at most alpha sqrt(d) s here."""
    scaled = yield composed(
        Relation(alpha * whole, "<=", alpha * sympy.sqrt(dimension) * size, AT_SIZE, BETAS),
        (length_w,),
        (whole,),
        SETTING,
    )
    moves = yield summed(
        scaled, {whole: DECAYED / alpha}, count=n, reason="over n steps, by the triangle inequality"
    )
    far = yield from travel(size, DECAYED, from_step(moves))
    freezing = alpha * smoothness * dimension * size * constants.freezing_constant(BETA1, BETA2)
    each = yield composed(
        Relation(progress, ">=", (1 - BETA1) * past - freezing, AT_SIZE, BETAS),
        (cite(lemma_l3, part=1), far),
        (progress, past, travelled),
        SETTING,
    )
    total = yield summed(each, {progress: ADAM_PART, past: FROZEN}, count=steps)
    return total


def _decayed() -> Generator[Step, Step, tuple[Step, Step]]:
    """<G, u + lambda w> in its two parts, of which the second is at least -lambda W ||G||_1."""
    of_adam = named("i_adam", r"\langle G_k, m_k/(\sqrt{v_k}+\epsilon)\rangle", real=True)
    of_w = named("h_term", r"\langle G_k,\lambda w_k\rangle", real=True)
    size_1, true = named("G_k_l1", r"\|G_k\|_1", nonnegative=True), sympy.Symbol("G_k", real=True)
    split = yield equation(
        progress,
        of_adam + of_w,
        "a step is that of Adam and lambda w",
        {progress: true * (step + decay), of_adam: true * step, of_w: true * decay},
    )
    parts = yield summed(split, {progress: PROGRESS, of_adam: ADAM_PART, of_w: INNER})
    least = yield composed(
        Relation(of_w, ">=", -pull * size_1),
        (
            granted(
                Relation(of_w, ">=", -size_1 * largest_w),
                Ground.HOELDER,
                meaning={of_w: inner(true, decay), size_1: norm_1(true), largest_w: norm_max(decay)},
            ),
            LITTLE,
        ),
        (of_w, largest_w),
        BOUNDED,
    )
    inner_part = yield summed(least, {of_w: INNER, size_1: NORMS})
    return parts, inner_part


def _bound(squares: Step, adam: Step, parts: Step, inner_part: Step) -> Step:
    """(1 - beta1) kappa Q <= P_W + lambda W S."""
    drift = size**2 / 2 + (1 - BETA1) * size * r * RHO**2 / ROOT_C
    budget = constants.descent_budget(PROBLEM, ADAM, DRIFT)
    where = {QBAR: budget, DRIFT: drift, **AT_SIZE, **KAPPA_IS, **RHO_IS, **C_IS}
    return composed(
        Relation((1 - BETA1) * KAPPA_RHO * PRECONDITIONED, "<=", QBAR + pull * NORMS, where, ADMISSIBLE),
        (cite(descent_lemma), parts, squares, inner_part, adam, cite(lemma_l4), cite(lemma_l6)),
        (PROGRESS, ADAM_PART, INNER, SQUARES, FROZEN, ALIGNED(RHO), PRECONDITIONED, NORMS),
        TESTED,
    )


def _root() -> Derivation:
    """The bound solves (1 - beta1) kappa S^2 = (P_W + lambda W S)(A + B S)."""
    rate, width = sympy.symbols("lambda W", positive=True)
    found = theory.weight_decay_bound(PROBLEM, ADAM, weight_decay=rate, largest_weight=width)
    drift = theory.decayed_drift(BETA1, BETA2, rate * width)
    square = (1 - BETA1) * KAPPA - rate * width * GROWTH
    linear = found.terms["P_W"] * GROWTH + rate * width * START
    root = constants.solve_self_bounding(linear / square, found.terms["P_W"] * START / square, 1)
    yield same(
        r"\alpha P_W = \Delta + \alpha^2 KLd\,\Gamma_W",
        (found.terms["P_W"], constants.descent_budget(PROBLEM, ADAM, drift)),
    )
    yield by_lemma(r"S^2 \le A' + B'S, \text{ solved}", lemma_l8, reason="with Q = 1")
    yield same(
        r"\text{the bound solves } S^2 = A' + B'S, A' = P_WA/(D-lB), B' = (P_WB+lA)/(D-lB)",
        (found.value, root),
        reason="D = (1 - beta1) kappa, l = lambda W: the quadratic divided by its leading coefficient",
    )


def _simpler() -> Derivation:
    """(P + D A / B^2) / (D / B - l), D = (1 - beta1) kappa, is not below the root."""
    simple = (budget + descent * start / growth**2) / (descent / growth - pull)
    remaining = descent * simple**2 - (budget + pull * simple) * (start + growth * simple)
    yield nonnegative(
        r"D S^2 \ge (P+lS)(A+BS) \text{ at the simpler form}, \quad l < D/B",
        remaining,
        [start, growth, budget, margin, pull],
        {descent: growth * (pull + margin)},
        "the quadratic is not negative there, and its leading coefficient D - l B is positive",
    )


@proves(
    "weight decay, size of the weights",
    "AdamW stays in a box",
    r"If $\alpha\lambda \le 1$, Adam with weight decay has $\|w_{K+1}\|_\infty \le \max(w, q^Kw + "
    r"(1-q^K)C_m/\lambda)$, with $q = 1-\alpha\lambda$ and $w = \|w_1\|_\infty$. This bound does not give "
    r"what the theorem on weight decay asks for, $\lambda W < (1-\beta_1)\kappa/B$: its limit $C_m/\lambda$ "
    r"as $W$ would need $C_m < (1-\beta_1)\kappa/B$, and $C_m$ is larger.",
    source="this project",
    uses=("L1",),
)
def weight_bound() -> Derivation:
    """|w_{k+1}| <= q |w_k| + alpha C_m, solved; and the condition never covers the whole box."""
    rate, step_size, first, share, power = sympy.symbols("lambda alpha w n p", positive=True)  # p = q^k
    box = constants.normalized_step_bound(BETA1, BETA2) / rate
    kept = 1 - step_size * rate

    def bounded(power: Any) -> Any:
        return power * first + (1 - power) * box

    slack = (
        constants.normalized_step_bound(BETA1, BETA2) ** 2
        - ((1 - BETA1) / constants.preconditioner_growth(BETA2, 0)) ** 2
    )
    yield by_lemma(r"|w_{k+1}| \le (1-\alpha\lambda)|w_k| + \alpha C_m", lemma_l1)
    yield identity(
        r"x_{k+1} = q x_k + \alpha C_m \text{ for } x_k = q^kw + (1-q^k)C_m/\lambda",
        bounded(kept * power),
        kept * bounded(power) + step_size * rate * box,
    )
    yield identity(
        r"x_{k+1} - x_k = q^k\,\alpha\lambda\,(C_m/\lambda - w)",
        bounded(kept * power) - bounded(power),
        power * step_size * rate * (box - first),
        "monotone, so that max(w, x_K) bounds all k <= K",
    )
    yield identity(
        r"\max(w, x_K): \text{ the function}",
        theory.weight_bound(BETA1, BETA2, rate, first, step_size, steps),
        sympy.Max(first, bounded(kept**steps)),
    )
    yield nonnegative(
        r"C_m^2 \ge ((1-\beta_1)/B)^2 \text{ at } \eta = 0",
        sympy.simplify(slack),
        [a, b, share],
        UNIT_INTERVALS,
        "kappa <= 1, and B grows with eta: lambda W = C_m is never admissible",
    )


@proves(
    "weight decay, gap",
    "the Frank-Wolfe gap that noise leaves to AdamW",
    r"Let Adam with weight decay run on $L(w) = H(w-w^*)$, with $H$ Huber's function and $w^* > 1 + "
    r"C_m/\lambda$, from $w_1 = 0$, under a noise that meets the coordinate-wise test. Then $E\lambda w_k \to "
    r"u = \lim E\,m_k/\sqrt{v_k}$ at every step size $\alpha \le 1/\lambda$, and the Frank-Wolfe gap "
    r"$\|G\|_1/\lambda + \langle G, w\rangle$ over the box $\|w\|_\infty \le 1/\lambda$, times $\lambda$, "
    r"tends to $(1-u)\|G\|_1$ in expectation; at $(.9,.95)$ and $\eta = .2$ there is a noise with $1 - u \ge "
    r".0196$.",
    source="this project",
    uses=("mean step", "weight decay, size of the weights"),
)
def weight_decay_gap(least: str = "0.0196") -> Derivation:
    """The recursion of E w at a gradient of -1, and its limit by intervals."""
    rate, step_size, weight, u = sympy.symbols("lambda alpha w u", positive=True)
    beta1, beta2, eta, delta = sympy.symbols("beta_1 beta_2 eta delta", positive=True)
    q, ninth = sympy.Rational(19, 20), sympy.Rational(9, 10)
    at = {beta1: ninth, beta2: q, eta: sympy.Rational(1, 5), delta: sympy.Rational(1, 1000)}
    rare = 1 - wrong_probability(eta, delta)
    yield by_lemma(r"|w_k| \le C_m/\lambda < w^* - 1, \text{ so that } G = -1", weight_bound)
    yield identity(r"\mathrm{Var} X = \eta^2: \text{ equality in the test}", rare_variance(delta, rare), eta**2)
    yield identity(
        r"E w_{k+1} = (1-\alpha\lambda)E w_k + \alpha u_k \text{ has the limit } w = u/\lambda",
        sympy.solve(sympy.Eq(weight, (1 - step_size * rate) * weight + step_size * u), weight)[0],
        u / rate,
        "m, v do not depend on w; |1 - alpha lambda| < 1 and u_k -> u",
    )
    yield identity(r"\lambda\,\mathrm{gap} = 1 - \lambda w", rate * (-weight + 1 / rate), 1 - rate * weight)
    law = (-at[delta], rare_value(delta, rare).subs(at)), (1 - rare.subs(at), rare.subs(at))
    noisy = MeanSteps(*law, ninth, q, steps=800, log_step=sympy.Rational(1, 8))
    yield by_lemma(r"u: \text{ quadrature and forgetting}", mean_step)
    yield within(r"1 - u", (least, "0.0198"), lambda: _one_minus(noisy.stationary()), at)


def _one_minus(interval: tuple[float, float]) -> tuple[float, float]:
    return 1 - interval[1] - 1e-15, 1 - interval[0] + 1e-15
