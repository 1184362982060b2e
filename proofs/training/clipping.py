r"""Clipping: the corrected Theorem 1 with a floor on the clipping factor, and the counterexample without."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import sympy

from proofs.adam.assembly import DESCENT, KAPPA, QBAR, closing, preconditioned_bound, self_bounding
from proofs.adam.l1_step import lemma_l1
from proofs.adam.l4_swap import RHO_IS
from proofs.adam.l5_epsilon import lemma_l5_epsilon
from proofs.adam.l5_key_inequality import rho as amplification
from proofs.adam.l6_descent import in_units
from proofs.adam.normalized_step import MeanSteps, mean_step, within
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BETAS,
    BUDGET,
    GAMMA_IS,
    PROBLEM,
    RHO,
    SETTING,
    alpha,
    noise,
    r,
    same,
)
from proofs.composition import Assumption, Ground, cite, composed, granted, summed
from proofs.relations import Range, Relation, named
from proofs.steps import Derivation, Step, all_of, by_lemma, identity, nonnegative, prose, proves
from proofs.sums import ALIGNED, PRECONDITIONED, aligned, preconditioned, response_e, root_of_one_e
from theory.adam.constants import momentum_amplification, normalized_step_bound
from theory.adam.key_inequality import normalized_response
from theory.adam.normalized_step import rare_value, rare_variance
from theory.training import clipping as theory

__all__ = ["clipping_counterexample", "clipping_theorem"]


s, a, e = sympy.symbols("s a e", nonnegative=True)
x, floor, rho, delta, eta = sympy.symbols("x phi_0 rho delta eta", positive=True)
beta1, beta2, ratio, count = sympy.symbols("beta_1 beta_2 f n", positive=True)
INSTANCE = {
    beta1: sympy.Rational(9, 10),
    beta2: sympy.Rational(999, 1000),
    eta: sympy.Rational(3, 10),
    delta: sympy.Rational(1, 10),
    ratio: sympy.Integer(200),
    count: sympy.Integer(4 * 10**8),
}
CLIPPED = (
    *BETAS,
    Range(floor, 0, 1, strict=True),
    Range(noise, 0, sympy.sqrt(floor * (1 - r)), power=2, strict=True),
)
NEEDED = (SETTING - {Assumption.UNBIASED}) | {Assumption.NORMALIZED, Assumption.SECOND_MOMENT}
"""The clipped gradients that Adam sees are biased; the test holds before clipping."""
CLIPPED_AT = (Range(noise, 0, 1, power=2), Range(floor, 0, 1, strict=True), Range(RHO, 1))
CLIPPED_SHARE = named("kappa_phi", r"\kappa_\phi", positive=True)
clipped_response = named("clipped", r"E f_{s,e}(\phi X)", real=True)


@proves(
    "clipping",
    "Adam on clipped gradients",
    r"Let Adam run on the clipped gradients $\phi_k g_k$, with factors $\phi_k \in [\phi_0, 1]$ that may "
    r"depend on $g_k$, and let $\eta^2 < \phi_0(1-r)$. Then the corrected Theorem 1 holds with $\kappa_\phi = "
    r"(\phi_0-\rho\eta^2)/(1+\eta^2)$ in the place of $\kappa$.",
    source="this project",
    uses=("L1", "L3", "L4", "L5 with epsilon", "L7", "L8"),
)
def clipping_theorem() -> Derivation:
    """kappa_phi and the bound. L1 to L4 are about any gradients; E (phi g)^2 <= E g^2, as L7 needs."""
    pointwise = yield from all_of(_response())
    aligned_at_floor = yield from _expectation(pointwise)
    yield from _assembly(aligned_at_floor)


def _response() -> Derivation:
    """f(phi x) >= phi0 f(x) for x >= 0, and f(phi x) >= f(x) for x <= 0."""
    factor, least = 1 / (1 + e), 1 / ((1 + e) * (1 + a))
    yield nonnegative(
        r"x \ge 0: f_s(\phi x)^2 \ge \phi_0^2 f_s(x)^2, \quad \phi_0 \le \phi \le 1",
        normalized_response(factor * x, s) ** 2 - (least * normalized_response(x, s)) ** 2,
        [s, a, e, x],
    )
    yield nonnegative(
        r"x \le 0: f_s(\phi x)^2 \le f_s(x)^2",
        normalized_response(x, s) ** 2 - normalized_response(factor * x, s) ** 2,
        [s, e, x],
        reason="what points uphill shrinks, or stays",
    )
    yield identity(
        r"\phi_0 f^+ - \rho f^- = \phi_0\,[f^+ - (\rho/\phi_0) f^-]",
        floor * (x - rho / floor * s),
        floor * x - rho * s,
    )


def _expectation(pointwise: Sequence[Step]) -> Generator[Step, Step, Step]:
    """L5 at the amplification rho / phi0, in the units of one coordinate, summed."""
    share = theory.clipped_alignment(RHO, noise, floor)
    terms, at_one = yield from in_units(clipped_response)
    each = yield composed(
        Relation(aligned, ">=", CLIPPED_SHARE * preconditioned, {CLIPPED_SHARE: share}, CLIPPED_AT),
        (
            terms,
            at_one,
            granted(
                Relation(clipped_response, ">=", floor * response_e(RHO / floor)), Ground.EXPECTATION, *pointwise
            ),
            cite(lemma_l5_epsilon, {amplification: RHO / floor}),
        ),
        (aligned, preconditioned, clipped_response, response_e(RHO / floor), root_of_one_e),
        NEEDED,
    )
    total = yield summed(each, {aligned: ALIGNED(RHO), preconditioned: PRECONDITIONED})
    return total


def _assembly(clipped: Step) -> Derivation:
    """The bound returned is the root of S^2 = Q (A + B S) with this kappa."""
    found = theory.clipped_bound(PROBLEM, ADAM, floor=floor)
    kappa = theory.clipped_alignment(momentum_amplification(BETA1, BETA2), noise, floor)
    share = {CLIPPED_SHARE: theory.clipped_alignment(RHO, noise, floor)}
    bound = yield preconditioned_bound(
        Relation(
            PRECONDITIONED,
            "<=",
            QBAR,
            {QBAR: BUDGET / ((1 - BETA1) * CLIPPED_SHARE), **GAMMA_IS, **share, **RHO_IS},
            CLIPPED,
        ),
        (clipped,),
        assumes=NEEDED,
    )
    yield closing(bound, assumes=NEEDED)
    yield same(
        r"\alpha(1-\beta_1)\,\kappa\,\bar Q = \text{ the descent summed over the steps}",
        (alpha * (1 - BETA1) * kappa * found.terms["Qbar"], DESCENT),
    )
    yield from self_bounding(found.value, found.terms["Qbar"])
    yield identity(
        r"\kappa_\phi = 0 \text{ at the largest } \eta = \sqrt{\phi_0(1-r)}",
        theory.clipped_alignment(1 / (1 - r), sympy.sqrt(floor * (1 - r)), floor),
        0,
    )
    yield same(
        r"\eta_{\max}^2 = \phi_0(1-r)", (theory.largest_admissible_eta(BETA1, BETA2, floor) ** 2, floor * (1 - r))
    )
    yield nonnegative(
        r"\kappa_\phi \text{ falls with } \eta^2",
        -sympy.diff(theory.clipped_alignment(rho, sympy.sqrt(s), floor), s),
        [s, rho, floor],
    )
    yield same(r"\kappa_\phi = \kappa \text{ at } \phi_0 = 1", (kappa.subs(floor, 1), KAPPA))


@proves(
    "clipping, counterexample",
    "clipping can turn Adam around",
    r"With $q = \eta^2/(\eta^2+(1+\delta)^2)$ the coordinate-wise test is met by "
    r"$X_1 \in \{0, 1/(1-q)\}$ and $X_i \in \{-\delta, (1+q\delta)/(1-q)\}$; a factor below "
    r"$\delta q/(1+\delta q)$ on the second values alone makes the mean of $X_i$ negative. On Huber's function of "
    r"$a\cdot w$, $a = (f\sqrt n, 1, \dots, 1)$, clipped at $C = \delta\sqrt n$, the steps do not depend on the "
    r"path while $a\cdot w \ge 1$; at $(.9,.999)$, $\eta = .3$, $f = 200$, $n = 4\cdot10^8$ their stationary mean "
    r"is uphill, and $a\cdot w \to \infty$ with a probability that tends to 1 as $\alpha \to 0$, from every start "
    r"above 1.",
    source="this project",
    uses=("L1", "mean step"),
)
def clipping_counterexample(size_ratio: Any = INSTANCE[ratio]) -> Derivation:
    """The test is met with the probability q, and clipping below the reversing factor turns the mean around."""
    q = theory.wrong_probability(eta, delta)
    right, right_1 = rare_value(delta, 1 - q), rare_value(0, 1 - q)
    slack = sympy.Symbol("h", positive=True)
    yield identity(r"E X_i = -q\delta + (1-q)\,x = 1", -q * delta + (1 - q) * right, 1)
    yield identity(r"\mathrm{Var} X_i = \eta^2: \text{equality in the test}", rare_variance(delta, 1 - q), eta**2)
    yield identity(r"E X_1 = 1", (1 - q) * right_1, 1)
    yield nonnegative(
        r"\mathrm{Var} X_1 = \eta^2/(1+\delta)^2 \le \eta^2", eta**2 - rare_variance(0, 1 - q), [eta, delta]
    )
    yield identity(
        r"-q\delta + (1-q)\phi x = -h(1+q\delta) \text{ at } \phi = \delta q/(1+\delta q) - h",
        -q * delta + (1 - q) * (theory.reversing_factor(eta, delta) - slack) * right,
        -slack * (1 + q * delta),
        "negative for every h > 0",
    )
    yield identity(
        r"\frac{\eta^2}{4} - \frac{\delta q}{1+\delta q} = \frac{\eta^2}{4}\cdot"
        r"\frac{(1-\delta)^2+\eta^2(1+\delta)}{(1+\delta)(1+\delta+\eta^2)} \ge 0",
        eta**2 / 4 - theory.reversing_factor(eta, delta),
        eta**2 * ((1 - delta) ** 2 + eta**2 * (1 + delta)) / (4 * (1 + delta) * (1 + delta + eta**2)),
        "of the order of eta^2, as is the theorem's condition phi0 > rho eta^2",
    )
    yield identity(
        r"\text{the rare event is not clipped: its norm is } \delta\sqrt n = C",
        theory.clip_factor(sympy.sqrt(count) * delta, sympy.sqrt(count) * delta),
        1,
        "where a.w >= 1, and less elsewhere",
    )
    yield from _climbs({**INSTANCE, ratio: size_ratio})


def _climbs(at: dict[Any, Any]) -> Derivation:
    """The mean step of the n coordinates by intervals; that of the first one is at most C_m."""
    q = theory.wrong_probability(at[eta], at[delta])
    right, right_1 = rare_value(at[delta], 1 - q), rare_value(0, 1 - q)
    norm = sympy.sqrt(at[count] * ((at[ratio] * right_1) ** 2 + right**2))
    factor = theory.clip_factor(norm, at[delta] * sympy.sqrt(at[count]))
    step_bound = normalized_step_bound(at[beta1], at[beta2])
    clipped = (-at[delta], factor * right), (q, 1 - q)
    noisy = MeanSteps(*clipped, at[beta1], at[beta2], steps=15_000, log_step=sympy.Rational(1, 2))

    def drift() -> tuple[float, float]:
        ends = [
            theory.clipped_drift(1, at[count], at[ratio], u, step_bound) / at[count] for u in noisy.stationary()
        ]
        return min(map(float, ends)), max(map(float, ends))

    yield by_lemma(r"u = \lim E\,m_k/\sqrt{v_k}: \text{ quadrature and forgetting}", mean_step)
    yield within("u", ("-0.27", "-0.22"), noisy.stationary, at, "of the n coordinates, clipped")
    yield by_lemma(r"|m_k|/\sqrt{v_k} \le C_m, \text{ the first coordinate's}", lemma_l1)
    yield within(r"|u| - f\,C_m/\sqrt n", ("0.14", "0.2"), drift, at, "at most the drift over alpha n: uphill")
    yield prose(
        r"a\cdot w_k \ge 1 \text{ for all } k, \quad \lim (a\cdot w_k)/(\alpha k) \ge n|u|-f\sqrt n\,C_m > 0",
        "the ergodic theorem for the steps at the gradient a, one event each: their sums over alpha tend to oo, "
        "so that the least of them is finite, and times alpha above 1 - a.w_1 for small alpha",
    )
