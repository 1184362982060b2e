r"""The corrected Theorem 1: lemmas L1 to L8 put together."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import cache

import sympy

from proofs.adam.assembly import (
    ADMISSIBLE,
    DESCENT,
    GROWTH,
    KAPPA,
    QBAR,
    START,
    TESTED,
    closing,
    preconditioned_bound,
    self_bounding,
)
from proofs.adam.l4_swap import RHO_IS
from proofs.adam.l6_descent import KAPPA_IS
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BUDGET,
    GAMMA_IS,
    KAPPA_RHO,
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
from proofs.composition import Conclusion
from proofs.relations import Relation, equation
from proofs.steps import Derivation, Step, identity, proves, vanishing
from proofs.sums import PRECONDITIONED
from theory.adam import constants, theorem1

__all__ = ["bound_1", "theorem_1"]


BOUND_1 = Relation(
    PRECONDITIONED,
    "<=",
    QBAR,
    {QBAR: BUDGET / ((1 - BETA1) * KAPPA_RHO), **GAMMA_IS, **KAPPA_IS, **RHO_IS},
    ADMISSIBLE,
)


@proves(
    "Theorem 1 (corrected)",
    "Adam under the coordinate-wise norm test",
    r"For all $\alpha > 0$ and $K \ge 1$ three bounds hold: (1) the one below, on the preconditioned sum; (2) "
    r"$\sum_k E\|G_k\|_1 \le \frac12(B\bar Q + \sqrt{B^2\bar Q^2+4A\bar Q})$; and (3) at the step size "
    r"$\alpha = \sqrt{\Delta/(KLd\,\Gamma)}$, $\frac1K\sum_k E\|G_k\|_1 \le "
    r"\frac{2\gamma}{\kappa}\bigl(1+\tau\tfrac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\bigr)\sqrt{Ld\Delta/K} + "
    r"\frac{A}{BK}$. Bound (1):",
    concludes=(Conclusion(BOUND_1, TESTED),),
    source="a correction of Theorem 1 and Theorem B.1 of arXiv 2412.21124",
    uses=("descent lemma", "L1", "L3", "L4", "L6", "L7", "L8"),
)
def theorem_1() -> Derivation:
    """Gamma, the bounds (1), (2) and (3), and the step size of (3)."""
    bound = yield from _bound_1()
    yield closing(bound)
    yield from _bound_2()
    yield from _bound_3()
    yield _sign_descent()


@cache
def bound_1() -> Step:
    """Bound (1), for every epsilon >= 0."""
    return preconditioned_bound(BOUND_1)


def _bound_1() -> Generator[Step, Step, Step]:
    """Descent lemma, summed: alpha (1 - beta1) kappa Q <= Delta + alpha^2 K L d Gamma."""
    bound = yield bound_1()
    yield same(
        r"\alpha(1-\beta_1)\kappa\,\bar Q = \Delta + \alpha^2 K L d\,\Gamma",
        (alpha * (1 - BETA1) * KAPPA * theorem1.preconditioned_sum_bound(PROBLEM, ADAM).value, DESCENT),
    )
    yield equation(
        sympy.cancel(KAPPA) * (1 + noise**2) * (1 - r), 1 - r - noise**2, "kappa > 0 exactly where eta^2 < 1 - r"
    )
    return bound


def _bound_2() -> Derivation:
    """Bound (2) is L8's solution with this theorem's A, B and Qbar."""
    found = theorem1.gradient_norm_sum_bound(PROBLEM, ADAM).value
    q_bar = theorem1.preconditioned_sum_bound(PROBLEM, ADAM).value
    yield from self_bounding(found, q_bar)


def _bound_3() -> Derivation:
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
