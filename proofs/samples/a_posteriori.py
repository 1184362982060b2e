r"""Theorem 3 with the deviations that a run has had, whichever test it ran."""

from __future__ import annotations

import sympy

from proofs.adam.multipliers import NORMS_S
from proofs.adam.symbols import PROBLEM, alpha, gap, noise
from proofs.composition import cite, composed
from proofs.l1.theorem3 import BY_COSTS, COSTS_S, NEEDED, theorem_3
from proofs.steps import Derivation, identity, proves
from theory.l1.theorem3 import bound_terms
from theory.samples import a_posteriori as theory
from theory.samples.adam import kept_descent

__all__ = ["measured_deviations"]

gain, weight, lipschitz, start, size, deviations = sympy.symbols("J lambda Lambda P s_t D", positive=True)


@proves(
    "Theorem 3 after the run",
    "the averaged l1 ratio that a run has had is enough",
    r"Let a certificate of the kind l1 be given and $D = \sum_kE\sum_i\mathrm{sd}_{k,i}$, for any batches, "
    r"whether they pass a test or not. Then $J\sum_kE\|G_k\|_1 \le \lambda D + \Delta/\alpha + \alpha "
    r"KLd\,(s_t^2/2+\Lambda s_t) + P$, which is Theorem 3's bound at $\eta_{\mathrm{eff}} = "
    r"D/\sum_kE\|G_k\|_1$.",
    source="this project",
    uses=("Theorem 3 (given a certificate)",),
)
def measured_deviations() -> Derivation:
    """Theorem 3's sums with D in place of eta S, and back."""
    right = sum(bound_terms(PROBLEM, alpha, lipschitz, size).values()) + start
    found = theory.measured_sum(right, deviations, gain, weight)
    yield composed(BY_COSTS, (cite(theorem_3),), (NORMS_S, COSTS_S), NEEDED, reason="D for the sum of x")
    yield identity(
        r"J\cdot\text{bound} - \lambda D = \text{right side}", gain * found - weight * deviations, right
    )
    total = right / kept_descent(gain, weight, noise)
    yield identity(
        r"D = \eta_{\mathrm{eff}}S: \; S = \text{right side}/(J-\lambda\eta_{\mathrm{eff}})",
        theory.measured_sum(right, noise * total, gain, weight),
        total,
        "Theorem 3 at eta_eff",
    )
    yield identity(
        r"\text{the bound falls to } \text{right side}/J \text{ without noise}",
        found.subs(deviations, 0) * gain - gap / alpha,
        right - gap / alpha,
    )
