r"""Clipping: the corrected Theorem 1 with a floor on the clipping factor, and the counterexample without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy

from proofs.adam.assembly import DESCENT, KAPPA, QBAR, closing, preconditioned_bound, self_bounding
from proofs.adam.l1_step import lemma_l1
from proofs.adam.l3_freeze import lemma_l3
from proofs.adam.l4_swap import RHO_IS, lemma_l4
from proofs.adam.l5_key_inequality import lemma_l5
from proofs.adam.l7_denominators import lemma_l7
from proofs.adam.normalized_step import MeanSteps, mean_step, within
from proofs.adam.symbols import ADAM, BETA1, BETA2, BETAS, PROBLEM, RHO, alpha, noise, r, same
from proofs.composition import Fact, cite
from proofs.relations import Range, Relation, named
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from proofs.sums import ALIGNED, PRECONDITIONED
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


@proves(
    "clipping",
    "Adam on clipped gradients",
    r"If the factor $\phi_k \in [\phi_0, 1]$ and $\eta^2 < \phi_0(1-r)$, the corrected Theorem 1 holds "
    r"for Adam on $\phi_k g_k$, with $\kappa_\phi = (\phi_0-\rho\eta^2)/(1+\eta^2)$ for $\kappa$.",
    source="this project",
    uses=("L3", "L4", "L5", "L7", "L8"),
)
def clipping_theorem(least: Any = 1) -> Iterator[Step]:
    """kappa_phi and the bound; ``least`` is the least amplification L5 is applied at."""
    yield by_lemma(r"\text{freezing, for the gradients } \phi_j g_j", lemma_l3, reason="any gradients")
    yield by_lemma(r"\text{swapping, with } a_j = G_j \phi_j g_j", lemma_l4, reason="any reals")
    yield from _response()
    yield from _expectation(least)
    yield prose(
        r"E_k\sqrt{v_k} \le \sqrt{\beta_2 v_{k-1}} + \sqrt c\,\tau|G_k|",
        "phi <= 1, so E (phi g)^2 <= E g^2 <= tau^2 G^2: the denominators (L7) are as before",
    )
    yield from _assembly()


def _response() -> Iterator[Step]:
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


def _expectation(least: Any) -> Iterator[Step]:
    """L5 at the amplification rho / phi0."""
    yield identity(
        r"\phi_0 f^+ - \rho f^- = \phi_0\,[f^+ - (\rho/\phi_0) f^-]",
        floor * (x - rho / floor * s),
        floor * x - rho * s,
    )
    yield by_lemma(
        r"E[f^+ - (\rho/\phi_0) f^-] \ge \frac{1-(\rho/\phi_0)\eta^2}{1+\eta^2}\,/\sqrt{s+1}",
        lemma_l5(least_amplification=least),
        (nonnegative(r"\rho/\phi_0 \ge 1", rho / floor - least, [a, e], {rho: 1 + a, floor: 1 / (1 + e)}),),
        "eta^2 < phi0 (1 - r) <= 1",
    )
    yield identity(
        r"\phi_0\frac{1-(\rho/\phi_0)\eta^2}{1+\eta^2} = \kappa_\phi",
        theory.clipped_alignment(rho, noise, floor),
        (floor - rho * noise**2) / (1 + noise**2),
    )


def _assembly() -> Iterator[Step]:
    """The bound returned is the root of S^2 = Q (A + B S) with this kappa."""
    found = theory.clipped_bound(PROBLEM, ADAM, floor=floor)
    kappa = theory.clipped_alignment(momentum_amplification(BETA1, BETA2), noise, floor)
    share = named("kappa_phi", r"\kappa_\phi", positive=True)
    clipped = {share: theory.clipped_alignment(RHO, noise, floor)}
    yield preconditioned_bound(
        Relation(PRECONDITIONED, "<=", QBAR, {QBAR: found.terms["Qbar"], **clipped, **RHO_IS}, CLIPPED),
        (Fact(Relation(ALIGNED(RHO), ">=", share * PRECONDITIONED, clipped), "L5 at rho / phi_0"),),
    )
    yield closing(cite(lemma_l7))
    yield same(
        r"\alpha(1-\beta_1)\,\kappa\,\bar Q = \text{ the descent summed over the steps}",
        (alpha * (1 - BETA1) * kappa * found.terms["Qbar"], DESCENT),
        reason="the descent lemma, L3, L4, and the expectation",
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
def clipping_counterexample(size_ratio: Any = INSTANCE[ratio]) -> Iterator[Step]:
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


def _climbs(at: dict[Any, Any]) -> Iterator[Step]:
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
