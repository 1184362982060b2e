r"""Clipping: the corrected Theorem 1 with a floor on the clipping factor, and the counterexample without."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import sympy

from proofs.adam.assembly import DESCENT, KAPPA, QBAR, closing, preconditioned_bound, self_bounding
from proofs.adam.l4_swap import RHO_IS
from proofs.adam.l5_epsilon import lemma_l5_epsilon
from proofs.adam.l5_key_inequality import rho as amplification
from proofs.adam.l6_descent import in_units
from proofs.adam.symbols import ADAM, BETA1, BETA2, BETAS, PROBLEM, RHO, SETTING, alpha, noise, r, same
from proofs.composition import Assumption, Ground, cite, composed, from_step, granted, summed
from proofs.relations import Range, Relation, named
from proofs.steps import Step, identity, nonnegative, prose, proves
from proofs.sums import ALIGNED, PRECONDITIONED, aligned, preconditioned, response_e, root_of_one_e
from theory.adam.constants import momentum_amplification
from theory.adam.key_inequality import normalized_response
from theory.adam.normalized_step import rare_value, rare_variance
from theory.training import clipping as theory

__all__ = ["clipping_counterexample", "clipping_theorem"]


s, a, e = sympy.symbols("s a e", nonnegative=True)
x, floor, rho, delta, eta = sympy.symbols("x phi_0 rho delta eta", positive=True)
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
    r"If the factor $\phi_k \in [\phi_0, 1]$ and $\eta^2 < \phi_0(1-r)$, the corrected Theorem 1 holds "
    r"for Adam on $\phi_k g_k$, with $\kappa_\phi = (\phi_0-\rho\eta^2)/(1+\eta^2)$ for $\kappa$.",
    source="this project",
    uses=("L1", "L3", "L4", "L5 with epsilon", "L7", "L8"),
)
def clipping_theorem() -> Iterator[Step]:
    """kappa_phi and the bound. L1 to L4 are about any gradients; E (phi g)^2 <= E g^2, as L7 needs."""
    pointwise = [*_response()]
    yield from pointwise
    aligned_at_floor = yield from _expectation(pointwise)
    yield from _assembly(aligned_at_floor)


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
    yield identity(
        r"\phi_0 f^+ - \rho f^- = \phi_0\,[f^+ - (\rho/\phi_0) f^-]",
        floor * (x - rho / floor * s),
        floor * x - rho * s,
    )


def _expectation(pointwise: Sequence[Step]) -> Generator[Step, None, Step]:
    """L5 at the amplification rho / phi0, in the units of one coordinate, summed."""
    share = theory.clipped_alignment(RHO, noise, floor)
    terms, at_one = yield from in_units(clipped_response)
    each = composed(
        Relation(aligned, ">=", CLIPPED_SHARE * preconditioned, {CLIPPED_SHARE: share}, CLIPPED_AT),
        (
            from_step(terms),
            from_step(at_one),
            granted(
                Relation(clipped_response, ">=", floor * response_e(RHO / floor)), Ground.EXPECTATION, *pointwise
            ),
            cite(lemma_l5_epsilon, {amplification: RHO / floor}),
        ),
        (aligned, preconditioned, clipped_response, response_e(RHO / floor), root_of_one_e),
        NEEDED,
    )
    yield each
    total = summed(each, {aligned: ALIGNED(RHO), preconditioned: PRECONDITIONED})
    yield total
    return total


def _assembly(clipped: Step) -> Iterator[Step]:
    """The bound returned is the root of S^2 = Q (A + B S) with this kappa."""
    found = theory.clipped_bound(PROBLEM, ADAM, floor=floor)
    kappa = theory.clipped_alignment(momentum_amplification(BETA1, BETA2), noise, floor)
    share = {CLIPPED_SHARE: theory.clipped_alignment(RHO, noise, floor)}
    bound = preconditioned_bound(
        Relation(PRECONDITIONED, "<=", QBAR, {QBAR: found.terms["Qbar"], **share, **RHO_IS}, CLIPPED),
        (from_step(clipped),),
        assumes=NEEDED,
    )
    yield bound
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
    r"$\delta q/(1+\delta q)$ on the second values alone makes the mean of $X_i$ negative.",
    source="this project",
)
def clipping_counterexample() -> Iterator[Step]:
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
    yield prose(
        r"\text{the rare event is not clipped: its norm is } \delta\sqrt n\,|H'| \le C = \delta\sqrt n",
        "|H'| < 1; the others' is at least f sqrt(n) |H'| / (1 - q)",
    )
