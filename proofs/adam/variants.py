r"""The variants of the corrected Theorem 1: epsilon outside the root, step multipliers, bias correction.

Each proof says what changes in the lemmas; everything else is the theorem's proof as it stands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy

from proofs.adam.assembly import QBAR, TESTED, closing
from proofs.adam.descent import descent_lemma
from proofs.adam.l3_freeze import DEFINED as FROZEN_AT
from proofs.adam.l6_descent import KAPPA_IS
from proofs.adam.l7_denominators import AB_ARE, C_IS, TAU_IS
from proofs.adam.multipliers import (
    ALIGNED_S,
    ENERGY,
    FROZEN_S,
    PRECONDITIONED_S,
    PROGRESS_S,
    SQUARES_S,
    s,
    s_2,
    weighted_sums,
)
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BETAS,
    GAMMA,
    GAMMA_IS,
    KAPPA_RHO,
    PROBLEM,
    RHO,
    A,
    B,
    noise,
    r,
    same,
    steps,
)
from proofs.adam.theorem1 import bound_1
from proofs.composition import Ground, cite, composed, from_step, granted, hypothesis, stated, summed
from proofs.grounds import infimum, supremum
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import Derivation, Evidence, Step, checked, identity, nonnegative, prose, proves, vanishing
from proofs.sums import PRECONDITIONED, PROGRESS, SQUARES, epsilon, preconditioned
from theory.adam import variants as theory
from theory.adam.constants import alignment_at, descent_budget, drift_constant, solve_self_bounding

__all__ = ["bias_correction_proof", "epsilon_proof", "multiplier_proof"]

a, h, x = sympy.symbols("a h x", positive=True)


@proves(
    "epsilon",
    "epsilon outside the root",
    r"For Adam with the step $m_k/(\sqrt{v_k}+\epsilon)$ the corrected Theorem 1 holds with $A + Kd\epsilon$ "
    r"in the place of $A$; its bound on the average gradient norm grows by at most $\min(\sqrt{\bar Q "
    r"d\epsilon/K}, d\epsilon/B)$.",
    source="corrected Theorem 1, variants",
    uses=("Theorem 1 (corrected)", "L7", "L8"),
)
def epsilon_proof() -> Derivation:
    """Theorem 1's bound on Q holds for every epsilon, and lemma L7's A has K d epsilon in it."""
    found = theory.gradient_norm_sum_bound(PROBLEM, replace(ADAM, epsilon=epsilon)).constants
    yield same(r"A + Kd\epsilon \text{ is L7's}", (found["A + K d epsilon"], AB_ARE[A]))
    yield same(r"B \text{ is L7's}", (found["B"], AB_ARE[B].subs(C_IS | TAU_IS)))
    bound = bound_1()
    yield bound
    yield closing(bound)
    yield from _epsilon_cost()


def _epsilon_cost() -> Derivation:
    """S_+(A + E) - S_+(A) is at most sqrt(Q E) and at most E / B."""
    growth, start, q, extra = sympy.symbols("B A Q E", positive=True)
    old, new = solve_self_bounding(growth, start, q), solve_self_bounding(growth, start + extra, q)
    slope = sympy.diff(old, start)
    yield identity(
        r"(2 S_+(A+E) - BQ)^2 = (2 S_+(A) - BQ)^2 + 4QE",
        sympy.expand((2 * new - growth * q) ** 2),
        sympy.expand((2 * old - growth * q) ** 2) + 4 * q * extra,
        "sqrt(p + 4 Q E) <= sqrt(p) + 2 sqrt(Q E): at most sqrt(Q E) is added",
    )
    yield nonnegative(
        r"(dS_+/dA)^{-2} \ge B^2",
        sympy.expand(sympy.cancel(1 / slope**2)) - growth**2,
        [growth, start, q],
        reason="at most E / B is added; E = K d epsilon, and the average divides by K",
    )


@proves(
    "multipliers",
    "step multipliers",
    r"For Adam with the step sizes $\alpha s_k$ the corrected Theorem 1 holds with $\rho_s = \sup_j\sum_n "
    r"(s_{j+n}/s_j) r^n$ in the place of $\rho$ and with $\bar Q = (\Delta/\alpha + \alpha\,hi^2 "
    r"KLd\,\Gamma)/(lo\,(1-\beta_1)\kappa_s)$. Where the multipliers do not increase, $\rho_s \le \rho$.",
    source="corrected Theorem 1, variants",
    uses=("L4",),
)
def multiplier_proof() -> Derivation:
    """Step multipliers s_k, with rho_s from ``sums`` and Qbar from ``bound``."""
    lo, hi = sympy.symbols("lo hi", positive=True)
    found = theory.preconditioned_sum_bound(PROBLEM, ADAM, theory.StepMultipliers(RHO, lo, hi)).value
    total = descent_budget(PROBLEM, ADAM, hi**2 * GAMMA) / (lo * (1 - BETA1) * KAPPA_RHO)
    budget = descent_budget(PROBLEM, ADAM, hi**2 * drift_constant(BETA1, BETA2))
    yield _recursion()
    yield from _within(lo, hi, total)
    yield _extremes()
    yield same(
        r"lo\,(1-\beta_1)\kappa_s\,\bar Q = \Delta/\alpha + \alpha\,hi^2 KLd\,\Gamma",
        (lo * (1 - BETA1) * alignment_at(RHO, noise) * found, budget),
    )
    yield nonnegative(
        r"s_{j+1} \le s_j \Rightarrow \textstyle\sum_n (s_{j+n}/s_j) r^n \le \rho: \text{ induction step}",
        1 / (1 - r) - (1 + r * (1 - 1 / (1 + h)) / (1 - r)),
        [a, h],
        {r: 1 - 1 / (1 + a)},
        "R_j / s_j = 1 + r (s_{j+1} / s_j) (R_{j+1} / s_{j+1})",
    )


def _within(lo: Any, hi: Any, total: Any) -> Derivation:
    """The weighted sums with lo <= s_k <= hi: sum_k s_k^2 <= K hi^2, and Q_s >= lo Q."""
    most, least = (
        stated(granted(Relation(s, sense, end), Ground.EXTREMUM, meaning={end: of(s)}))
        for sense, end, of in (("<=", hi, supremum), (">=", lo, infimum))
    )
    of_squares = inequality(s_2, "<=", hi**2, (Range(s, 0, hi),), where={s_2: s**2})
    squared = composed(Relation(s_2, "<=", hi**2), (from_step(of_squares, {s: (most,)}),), (s_2,))
    yield most
    yield of_squares
    yield squared
    energy = yield summed(squared, {s_2: ENERGY}, count=steps)
    of_term = named("q_s", r"s_kG_k^2/\sqrt{D_k}", nonnegative=True)
    scaled = yield equation(of_term, s * preconditioned, where={of_term: s * preconditioned})
    above = yield composed(
        Relation(of_term, ">=", lo * preconditioned, ranges=(Range(lo, 0, strict=True), Range(s, lo))),
        (scaled, hypothesis(Relation(preconditioned, ">=", 0))),
        (of_term, preconditioned),
    )
    yield least
    weighted = yield summed(above, {of_term: PRECONDITIONED_S, preconditioned: PRECONDITIONED})
    bound = composed(
        Relation(
            PRECONDITIONED,
            "<=",
            QBAR,
            {QBAR: total, **GAMMA_IS, **KAPPA_IS, **FROZEN_AT},
            (*BETAS, Range(RHO, 1), Range(noise, 0, sympy.sqrt(1 / RHO), power=2, strict=True)),
        ),
        (
            cite(descent_lemma, {PROGRESS: PROGRESS_S, SQUARES: SQUARES_S}),
            *(cite(weighted_sums, part=part) for part in range(4)),
            energy,
            from_step(weighted, {s: (least,)}),
        ),
        (PROGRESS_S, SQUARES_S, FROZEN_S, ALIGNED_S, PRECONDITIONED_S, PRECONDITIONED, ENERGY),
        TESTED,
    )
    yield bound
    yield closing(bound)


def _extremes() -> Step:
    """The numbers that :func:`step_multipliers` returns bound every multiplier and are attained."""

    def check() -> Evidence:
        for given in ((1.0, 0.5, 2.0), (0.25, 0.25), (3.0, 1.0, 0.125, 7.0), (2.0,)):
            found = theory.step_multipliers(given, 0.5, 0.81)
            if (found.lowest, found.highest) != (min(given), max(given)):
                return Evidence(False, f"{given}: [{found.lowest}, {found.highest}]")
        return Evidence(True, "4 sequences")

    return checked(
        r"lo = \min_k s_k, \; hi = \max_k s_k", check, "the function, on four sequences of up to four multipliers"
    )


def _recursion() -> Step:
    """One step of the recursion, from any value, and that it goes from step to step: so it does for any number."""
    one, two, after = sympy.symbols("s_j s_{j+1} R", positive=True)
    return vanishing(
        r"R_j = s_j + rR_{j+1}: \text{ the function, at one step from any } R_{j+1}, \text{ and step after step}",
        lambda: [
            theory.amplifications([one], r, after)[0] * one - (one + r * after),
            theory.amplifications([one, two], r, after)[0] - theory.amplifications([one], r, two + r * after)[0],
        ],
        r"so by induction $R_j = \\sum_ns_{j+n}r^n$ for any number of steps",
    )


@proves(
    "bias correction",
    "bias correction as step multipliers",
    r"Adam with bias correction is Adam with step multipliers: $\hat m_k/(\sqrt{\hat v_k}+\epsilon) = s_k "
    r"m_k/(\sqrt{v_k}+\epsilon_k)$ with $s_k = \sqrt{1-\beta_2^k}/(1-\beta_1^k)$ and $\epsilon_k = "
    r"\epsilon\sqrt{1-\beta_2^k}$; and for every $J \ge 1$, $\sup_j\sum_n (s_{j+n}/s_j) r^n$ is at most "
    r"$1/(1-\beta_1^J)$ times the largest of its terms with $j \le J$.",
    source="corrected Theorem 1, variants",
)
def bias_correction_proof() -> Derivation:
    """Bias correction is the multiplier s_k = ``multiplier(k, beta1, beta2)`` and a growing epsilon."""
    k, beta1, beta2, m, v, epsilon = sympy.symbols("k beta1 beta2 m v epsilon", positive=True)
    corrected = (m / (1 - beta1**k)) / (sympy.sqrt(v / (1 - beta2**k)) + epsilon)
    power, kept = 1 - 1 / (1 + a), 1 - 1 / (1 + h)
    root = sympy.sqrt(1 - beta2**k)
    yield identity(
        r"\frac{m/(1-\beta_1^k)}{\sqrt{v/(1-\beta_2^k)}+\epsilon} = \frac{s_k m}{\sqrt v+\epsilon_k}",
        sympy.powdenest(1 / corrected, force=True),
        (sympy.sqrt(v) + epsilon * root) / (theory.bias_correction_multiplier(k, beta1, beta2) * m),
        "reciprocals",
    )
    ratio = (1 - power) / (1 - power * kept)
    for sides, slack in ((r"\le 1", 1 - ratio), (r"\ge 1-\beta_1^j", ratio - (1 - power))):
        yield nonnegative(
            rf"(1-\beta_1^j)/(1-\beta_1^{{j+n}}) {sides}", slack, [a, h], reason="p = beta1^j, beta1^n in (0, 1)"
        )
    yield nonnegative(
        r"(1-\beta_2^{j+n})/(1-\beta_2^j) \text{ falls with } j",
        sympy.diff((1 - x * kept) / (1 - x), x).subs(x, power),
        [a, h],
        reason="it rises with beta2^j. So for j >= J each s_{j+n}/s_j is at most its value at J over 1 - beta1^J",
    )
    yield nonnegative(
        r"\epsilon_{j+n} \ge \epsilon_j: \text{L4's } \sqrt{v_{j+n}}+\epsilon_{j+n} \ge "
        r"\beta_2^{n/2}(\sqrt{v_j}+\epsilon_j)",
        (1 - power * kept) - (1 - power),
        [a, h],
    )
    yield prose(r"\epsilon_k \le \epsilon: \text{L7 and L8 with } A + Kd\epsilon")
