r"""The corrected Theorem 1: lemmas L1 to L8 put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy

from proofs.adam.assembly import DESCENT, GROWTH, KAPPA, START
from proofs.adam.l1_step import lemma_l1
from proofs.adam.l3_freeze import lemma_l3
from proofs.adam.l4_swap import lemma_l4
from proofs.adam.l6_descent import lemma_l6
from proofs.adam.l7_denominators import lemma_l7
from proofs.adam.l8_self_bounding import lemma_l8
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    PROBLEM,
    alpha,
    dimension,
    gap,
    noise,
    q,
    r,
    same,
    smoothness,
    steps,
)
from proofs.steps import Step, by_lemma, identity, prose, proves, vanishing
from theory.adam import constants, theorem1

__all__ = ["theorem_1"]


@proves(
    "Theorem 1 (corrected)",
    "Adam under the coordinate-wise norm test",
    r"Under the coordinate-wise norm test with $\eta^2 < 1-\beta_1/\sqrt{\beta_2}$, for all $\alpha > 0$ "
    r"and $K \ge 1$: (1) $\sum_k\sum_i E[G_{k,i}^2/\sqrt{D_{k,i}}] \le \bar Q = "
    r"(\Delta/\alpha + \alpha K L d\,\Gamma)/((1-\beta_1)\kappa)$; "
    r"(2) $\sum_k E\|G_k\|_1 \le \frac12(B\bar Q + \sqrt{B^2\bar Q^2+4A\bar Q})$; "
    r"(3) at $\alpha = \sqrt{\Delta/(KLd\,\Gamma)}$, $\frac1K\sum_k E\|G_k\|_1 \le \frac{2\gamma}{\kappa}"
    r"\bigl(1+\tau\tfrac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\bigr)\sqrt{Ld\Delta/K} + \frac{A}{BK}$.",
    source="a correction of Theorem 1 and Theorem B.1 of arXiv 2412.21124",
    uses=("L1", "L3", "L4", "L6", "L7", "L8"),
)
def theorem_1() -> Iterator[Step]:
    """Gamma, the bounds (1), (2) and (3), and the step size of (3)."""
    yield from _bound_1()
    yield from _bound_2()
    yield from _bound_3()
    yield _sign_descent()


def _bound_1() -> Iterator[Step]:
    """Descent lemma, summed: alpha (1 - beta1) kappa Q <= Delta + alpha^2 K L d Gamma."""
    step, freezing = constants.normalized_step_bound(BETA1, BETA2), constants.freezing_constant(BETA1, BETA2)
    total = theorem1.preconditioned_sum_bound(PROBLEM, ADAM).value
    yield prose(
        r"L(w_{k+1}) \le L(w_k) - \alpha\langle G_k, u_k\rangle + \tfrac12 L\alpha^2\|u_k\|^2, "
        r"\quad u_k = m_k/\sqrt{v_k}",
        "descent lemma; its sum over k telescopes to at most Delta",
    )
    yield by_lemma(r"\|u_k\|^2 \le d\,C_m^2", lemma_l1)
    yield by_lemma(r"\langle G_k, u_k\rangle \text{ with frozen gradients, up to } E_1", lemma_l3)
    yield by_lemma(r"\text{the sums over } k \text{ and } j \text{ swapped}", lemma_l4)
    yield by_lemma(r"E_j[(G_j g_j)^+ - \rho (G_j g_j)^-]/\sqrt{v_j} \ge \kappa G_j^2/\sqrt{D_j}", lemma_l6)
    yield same(
        r"\Gamma = \tfrac12 C_m^2 + C_m (1-\beta_1)\, r/(\sqrt c\,(1-r)^2)",
        (constants.drift_constant(BETA1, BETA2), step**2 / 2 + step * freezing),
        reason="the descent lemma's square and the freezing error E_1, per alpha^2 L d",
    )
    yield same(
        r"\alpha(1-\beta_1)\kappa\,\bar Q = \Delta + \alpha^2 K L d\,\Gamma",
        (alpha * (1 - BETA1) * KAPPA * total, DESCENT),
    )
    yield identity(
        r"\kappa (1+\eta^2)(1-r) = 1 - r - \eta^2",
        sympy.cancel(KAPPA) * (1 + noise**2) * (1 - r),
        1 - r - noise**2,
        "so kappa > 0 exactly where eta^2 < 1 - r",
    )


def _bound_2() -> Iterator[Step]:
    """Bound (2) is L8's solution with this theorem's A, B and Qbar."""
    found = theorem1.gradient_norm_sum_bound(PROBLEM, ADAM).value
    q_bar = theorem1.preconditioned_sum_bound(PROBLEM, ADAM).value
    yield by_lemma(r"\sum_k\sum_i E\sqrt{D_{k,i}} \le A + B\,S", lemma_l7)
    yield by_lemma(r"S^2 \le \bar Q (A + B S), \text{ solved}", lemma_l8)
    yield same(
        r"\text{bound (2)} = \tfrac12 (B\bar Q + \sqrt{B^2\bar Q^2 + 4A\bar Q})",
        (found, constants.solve_self_bounding(GROWTH, START, q_bar)),
    )


def _bound_3() -> Iterator[Step]:
    """The best step size, and bound (3) in closed form."""
    drift = sympy.Symbol("Gamma", positive=True)
    least = constants.least_descent_budget(PROBLEM, drift)
    budget = constants.descent_budget(PROBLEM, ADAM, drift)
    best = theorem1.best_step_size(PROBLEM, ADAM)
    found = theorem1.average_gradient_norm_bound(PROBLEM, ADAM)
    variance = constants.step_variance(BETA1, BETA2)
    ratio = 1 + sympy.sqrt(1 + noise**2) * q / (1 - q)
    yield identity(
        r"\Delta/\alpha + \alpha K L d\Gamma = 2\sqrt{\Delta K L d\Gamma} "
        r"+ (\sqrt{\Delta/\alpha} - \sqrt{\alpha K L d\Gamma})^2",
        budget,
        least
        + sympy.expand(
            (sympy.sqrt(gap / alpha) - sympy.sqrt(alpha * steps * smoothness * dimension * drift)) ** 2
        ),
        "the best step size",
    )
    yield same(
        r"\alpha^2 K L d\Gamma = \Delta \text{ at the best step size}",
        (best**2 * steps * smoothness * dimension * constants.drift_constant(BETA1, BETA2), gap),
        reason="the square vanishes",
    )
    yield same(
        r"\text{leading term} = \frac{2\gamma}{\kappa}"
        r"\Bigl(1+\tau\frac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\Bigr) \sqrt{Ld\Delta/K}, \text{ squared}",
        (
            found.terms["leading"] ** 2,
            (2 / KAPPA * ratio) ** 2 * variance * smoothness * dimension * gap / steps,
        ),
        reason="both sides are positive",
    )
    yield same(r"\text{remaining term} = A/(BK)", (found.value - found.terms["leading"], START / (GROWTH * steps)))


def _sign_descent() -> Step:
    """beta1 = 0, beta2 -> 0, eta = 0."""
    value = theorem1.average_gradient_norm_bound(PROBLEM, replace(ADAM, beta1=0, eta=0)).value
    expected = sympy.sqrt(2 * smoothness * dimension * gap / steps)
    return vanishing(
        r"\beta_1 = 0, \eta = 0, \beta_2 \to 0: \text{(3) tends to } \sqrt{2Ld\Delta/K}",
        lambda: [sympy.limit(value, q, 0, "+") - expected],
    )
