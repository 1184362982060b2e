r"""Decoupled weight decay: the bound, what it may cost, and what cannot be covered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy

from proofs.adam.assembly import ADMISSIBLE, GROWTH, KAPPA, QBAR, START, TESTED, closing
from proofs.adam.descent import descent_lemma
from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.l4_swap import RHO_IS, lemma_l4
from proofs.adam.l6_descent import KAPPA_IS, lemma_l6
from proofs.adam.l7_denominators import lemma_l7
from proofs.adam.l8_self_bounding import lemma_l8
from proofs.adam.normalized_step import MeanSteps, mean_step, within
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    KAPPA_RHO,
    PROBLEM,
    RHO,
    UNIT_INTERVALS,
    a,
    alpha,
    b,
    dimension,
    same,
    smoothness,
    steps,
)
from proofs.composition import Fact, cite, composed
from proofs.relations import Relation, named
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from proofs.sums import ALIGNED, FROZEN, NORMS, PRECONDITIONED, PROGRESS, SQUARES
from theory.adam import constants
from theory.adam.normalized_step import rare_value, rare_variance
from theory.training import weight_decay as theory
from theory.training.clipping import wrong_probability

__all__ = ["weight_bound", "weight_decay_gap", "weight_decay_theorem"]


pull = sympy.Symbol("l", nonnegative=True)  # lambda W
start, growth, budget, total, margin, descent = sympy.symbols("A B P S h D", positive=True)


@proves(
    "weight decay",
    "AdamW under the coordinate-wise norm test",
    r"If $\sup_k\|w_k\|_\infty \le W$ and $\lambda W < (1-\beta_1)\kappa/B$, then "
    r"$(1-\beta_1)\kappa S^2 \le (P_W + \lambda W S)(A + B S)$ with $P_W = \Delta/\alpha + \alpha K L d\,"
    r"[s^2/2 + (1-\beta_1)sr/(\sqrt c(1-r)^2)]$, $s = C_m + \lambda W$.",
    source="this project",
    uses=("L1", "L2", "L4", "L6", "L7", "L8"),
)
def weight_decay_theorem() -> Iterator[Step]:
    """The bound and its second-order cost."""
    yield by_lemma(r"\|m_k/\sqrt{v_k} + \lambda w_k\| \le \sqrt d\,s", lemma_l1, reason="|w_k| <= W")
    yield prose(
        r"\langle G_k, \lambda w_k\rangle \ge -\lambda W\|G_k\|_1", "Hoelder; its sum over k is at most lambda W S"
    )
    yield from _drift()
    yield from _composed()
    yield from _root()
    yield from _simpler()


def _composed() -> Iterator[Step]:
    """(1 - beta1) kappa Q <= P_W + lambda W S, and its root with L7 and L8."""
    inner, adam_part = (
        named("H_sum", r"{\textstyle\sum_k} E\langle G_k,\lambda w_k\rangle", real=True),
        named("I_adam", r"{\textstyle\sum_k} E\langle G_k, m_k/\sqrt{v_k}\rangle", real=True),
    )
    size, freezing = named("s_W", "s", positive=True), constants.freezing_constant(BETA1, BETA2)
    rate, width = sympy.symbols("lambda W", positive=True)
    budget_w = theory.weight_decay_bound(PROBLEM, ADAM, weight_decay=rate, largest_weight=width).terms["P_W"]
    at_size = {QBAR: budget_w, size: constants.normalized_step_bound(BETA1, BETA2) + rate * width}
    yield composed(
        Relation(
            (1 - BETA1) * KAPPA_RHO * PRECONDITIONED,
            "<=",
            QBAR + rate * width * NORMS,
            {**at_size, **KAPPA_IS, **RHO_IS},
            ADMISSIBLE,
        ),
        (
            cite(descent_lemma),
            Fact(Relation(PROGRESS, "=", adam_part + inner), "u_k = m_k / sqrt(v_k) + lambda w_k"),
            Fact(Relation(SQUARES, "<=", steps * dimension * size**2, at_size), "L1 and |w_k| <= W"),
            Fact(Relation(inner, ">=", -rate * width * NORMS), "Hoelder"),
            Fact(
                Relation(
                    adam_part,
                    ">=",
                    (1 - BETA1) * FROZEN - steps * alpha * smoothness * dimension * size * freezing,
                    at_size,
                ),
                "L3 with steps of size s",
            ),
            cite(lemma_l4),
            cite(lemma_l6),
        ),
        (PROGRESS, adam_part, inner, SQUARES, FROZEN, ALIGNED(RHO), PRECONDITIONED, NORMS),
        TESTED,
    )
    yield closing(cite(lemma_l7), pull)


def _drift() -> Iterator[Step]:
    """The square of a step, and the freezing error with steps of size s."""
    step = constants.normalized_step_bound(BETA1, BETA2) + pull
    yield by_lemma(
        r"|g_j|/\sqrt{v_k} \le c^{-1/2}\beta_2^{-(k-j)/2}", lemma_l2, reason="v has no weight decay in it"
    )
    yield identity(
        r"\Gamma_W = s^2/2 + s\,(1-\beta_1)r/(\sqrt c(1-r)^2)",
        theory.decayed_drift(BETA1, BETA2, pull),
        step**2 / 2 + step * constants.freezing_constant(BETA1, BETA2),
        "the descent lemma's square, and L3's sum with s in the place of C_m",
    )
    yield same(
        r"\Gamma_W = \Gamma \text{ at } \lambda = 0",
        (theory.decayed_drift(BETA1, BETA2, 0), constants.drift_constant(BETA1, BETA2)),
    )


def _root() -> Iterator[Step]:
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


def _simpler() -> Iterator[Step]:
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
    r"If $\alpha\lambda \le 1$, $\|w_{K+1}\|_\infty \le \max(w, q^Kw + (1-q^K)C_m/\lambda)$, "
    r"$q = 1-\alpha\lambda$, $w = \|w_1\|_\infty$; and $C_m > (1-\beta_1)\kappa/B$.",
    source="this project",
    uses=("L1",),
)
def weight_bound() -> Iterator[Step]:
    """|w_{k+1}| <= q |w_k| + alpha C_m, solved; and the condition never covers the whole box."""
    rate, step_size, first, share = sympy.symbols("lambda alpha w n", positive=True)
    box = constants.normalized_step_bound(BETA1, BETA2) / rate
    kept = 1 - step_size * rate

    def last(count: Any) -> Any:
        return kept**count * first + (1 - kept**count) * box

    found = theory.weight_bound(BETA1, BETA2, rate, first, step_size, 3)
    slack = (
        constants.normalized_step_bound(BETA1, BETA2) ** 2
        - ((1 - BETA1) / constants.preconditioner_growth(BETA2, 0)) ** 2
    )
    yield by_lemma(r"|w_{k+1}| \le (1-\alpha\lambda)|w_k| + \alpha C_m", lemma_l1)
    yield identity(
        r"x_{k+1} = q x_k + \alpha C_m \text{ for } x_k = q^kw + (1-q^k)C_m/\lambda",
        sympy.expand(last(3)),
        sympy.expand(kept * last(2) + step_size * rate * box),
    )
    yield identity(
        r"\text{the bound is } \max(w, x_K)", found, sympy.Max(first, last(3)), "K = 3; x_k is monotone"
    )
    yield identity(
        r"x_{k+1} - x_k = q^k\,\alpha\lambda\,(C_m/\lambda - w)",
        sympy.expand(last(3) - last(2)),
        sympy.expand(kept**2 * step_size * rate * (box - first)),
        "monotone, so that max(w, x_K) bounds all k <= K",
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
    r"On $H(w-w^*)$, $H$ Huber's function, $w^* > 1 + C_m/\lambda$, from $w_1 = 0$, under noise that meets the "
    r"coordinate-wise test, $E\lambda w_k \to u = \lim E\,m_k/\sqrt{v_k}$ at every step size "
    r"$\alpha \le 1/\lambda$, and the mean of $\lambda$ times the gap tends to $(1-u)\|G\|_1$; at $(.9,.95)$, "
    r"$\eta = .2$, $1 - u \ge .0196$.",
    source="this project",
    uses=("mean step", "weight decay, size of the weights"),
)
def weight_decay_gap(least: str = "0.0196") -> Iterator[Step]:
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
