r"""Step multipliers: the sums of the corrected Theorem 1, weighted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import sympy

from proofs.adam.assembly import QBAR, closing
from proofs.adam.descent import descent_lemma
from proofs.adam.l6_descent import KAPPA_IS
from proofs.adam.l7_denominators import C_IS, ROOT_C, TAU_IS, tau
from proofs.adam.multipliers import (
    ALIGNED_S,
    DENOMINATORS_S,
    EARLY,
    ENERGY,
    FROZEN_EARLY,
    FROZEN_S,
    NORMS_S,
    PRECONDITIONED_S,
    PROGRESS_S,
    SQUARES_S,
    START_S,
    STEPS_S,
    lookahead,
    weighted_denominators,
    weighted_sums,
)
from proofs.adam.symbols import (
    BETA1,
    BETA2,
    BETAS,
    GAMMA,
    GAMMA_IS,
    KAPPA_RHO,
    RHO,
    SETTING,
    A,
    B,
    alpha,
    dimension,
    gap,
    noise,
    q,
    r,
    smoothness,
)
from proofs.composition import Assumption, Ground, cite, composed, from_step, granted
from proofs.relations import Range, Relation, named
from proofs.steps import Derivation, Evidence, Step, checked, proves, vanishing
from proofs.sums import PROGRESS, SQUARES, epsilon
from theory.adam.discounted_sums import discounted_sums
from theory.problem import AdamParameters, Problem
from theory.training import step_schedules as theory

__all__ = ["step_schedules"]


FROZEN_LATE = named("F_late", r"{\textstyle\sum_{j\ge k_0}}E\,\theta_jG_jg_j", real=True)
ADMISSIBLE = (*BETAS, Range(RHO, 1), Range(noise, 0, sympy.sqrt(1 / RHO), power=2, strict=True))


def _at_k_0() -> dict[Any, Any]:
    """A sum over the steps, of those before k_0 and of the others."""
    k, start, end = sympy.symbols("k k_0 K", integer=True, positive=True)
    term = sympy.Function("f", real=True)(k)
    limits = {FROZEN_S: (1, end), FROZEN_EARLY: (1, start - 1), FROZEN_LATE: (start, end)}
    return {name: sympy.Sum(term, (k, *ends)) for name, ends in limits.items()}


@proves(
    "step schedules",
    "Adam with warm-up, decay and bias correction",
    r"For Adam with the step sizes $\alpha s_k$, $s_k > 0$, and every $k_0 \ge 1$ for which $\rho_s\eta^2 < "
    r"1$: $\sum_{k \ge k_0} s_k E\|G_k\|_1 \le \frac12(BQ+\sqrt{B^2Q^2+4AQ})$ with $Q = "
    r"P/((1-\beta_1)\kappa_s)$ and the symbols of this proof.",
    source="this project",
    uses=("descent lemma", "weighted sums", "weighted denominators", "L8"),
)
def step_schedules() -> Derivation:
    """The sums over the schedule, and the bound."""
    drift = alpha * smoothness * dimension * GAMMA * ENERGY
    budget = gap / alpha + drift + (1 - BETA1) * EARLY / ROOT_C
    late, assumes = {FROZEN_S: FROZEN_LATE}, SETTING | {Assumption.COORDINATE_TEST}
    bound = yield composed(
        Relation(
            (1 - BETA1) * KAPPA_RHO * PRECONDITIONED_S, "<=", budget, {**GAMMA_IS, **KAPPA_IS, **C_IS}, ADMISSIBLE
        ),
        (
            cite(descent_lemma, {PROGRESS: PROGRESS_S, SQUARES: SQUARES_S}),
            cite(weighted_sums),
            cite(weighted_sums, part=1),
            granted(Relation(FROZEN_S, "=", FROZEN_EARLY + FROZEN_LATE), Ground.SPLIT, meaning=_at_k_0()),
            cite(weighted_sums, part=4),
            cite(weighted_sums, late, part=2),
            cite(weighted_sums, part=3),
        ),
        (PROGRESS_S, SQUARES_S, FROZEN_S, FROZEN_EARLY, FROZEN_LATE, ALIGNED_S, PRECONDITIONED_S, EARLY, ENERGY),
        assumes,
    )
    in_name = yield composed(
        replace(bound.relation, right=QBAR, where={QBAR: budget, **bound.relation.where}),
        (bound,),
        (PRECONDITIONED_S,),
        assumes,
    )
    start, growth = START_S + dimension * epsilon * STEPS_S, ROOT_C * (1 + tau * q * lookahead)
    denominators = yield composed(
        Relation(DENOMINATORS_S, "<=", A + B * NORMS_S, {A: start, B: growth, **C_IS, **TAU_IS}, BETAS[1:]),
        (cite(weighted_denominators),),
        (DENOMINATORS_S, NORMS_S),
        assumes,
    )
    yield closing(
        in_name,
        from_step(denominators, opaque=(A, B)),
        share=(1 - BETA1) * KAPPA_RHO,
        sums=(PRECONDITIONED_S, DENOMINATORS_S, NORMS_S),
    )
    yield _recursions()
    yield _warm_up()
    yield _against_direct_sums()


def _recursions() -> Step:
    """T_k = s_k + r T_{k+1} and Z_k = s_k + q Z_{k+1}: one step from any value; theory's sums are such steps."""
    one, two, after = sympy.symbols("s_k s_{k+1} R", positive=True)

    def residuals() -> list[Any]:
        found = [
            (partial(theory.momentum_sums, beta1=BETA1, beta2=BETA2), r),
            (partial(theory.second_moment_sums, beta2=BETA2), q),
        ]
        return [
            residual
            for sums, ratio in found
            for residual in (
                discounted_sums([one], ratio, after)[0] - one - ratio * after,
                sums([one, two])[0] - discounted_sums([one], ratio, sums([two])[0])[0],
                sums([one])[0] - one,
            )
        ]

    return vanishing(
        r"T_k = s_k + rT_{k+1}, \; Z_k = s_k + \sqrt{\beta_2}Z_{k+1}: "
        r"\text{ theory's sums, from any next value}",
        residuals,
        "from the last step on, where they are s_K: by induction for any number of steps",
    )


def _warm_up() -> Step:
    """sum_n (1 + n/k0) r^n by telescoping."""
    n, first = sympy.symbols("n k_0", positive=True)
    tail = r**n * ((1 + n / first) / (1 - r) + r / (first * (1 - r) ** 2))
    return vanishing(
        r"\sum_n \frac{k_0+n}{k_0}r^n = \rho + \frac{r}{(1-r)^2k_0}",
        lambda: [
            (tail - tail.subs(n, n + 1)) / r**n - (1 + n / first),
            tail.subs(n, 0) - theory.warmup_amplification(BETA1, BETA2, first),
        ],
        "linear warm-up from step k0, and no rise afterwards: an upper bound on rho_s",
    )


def _against_direct_sums() -> Step:
    """The bound returned, against the theorem's sums written out, on one rising and falling schedule."""
    s, first, beta1, beta2, eta = np.array([0.2, 0.5, 1.0, 0.7, 0.3]), 3, 0.5, 0.81, 0.2

    def check() -> Evidence:
        problem = Problem(smoothness=2.0, dimension=3, initial_gap=1.5, steps=5, initial_gradient_norm=0.7)
        adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta, step_size=0.1, sum_sqrt_v0=0.4, epsilon=0.01)
        found = theory.schedule_bound(problem, adam, s, first=first)
        q_direct, start, growth = _direct(s, first, beta1, beta2, eta)
        total = found.value
        residual = total**2 - q_direct * (start + growth * total)
        return Evidence(abs(residual) < 1e-12 * total**2, f"relative residual {residual / total**2:.2e}")

    return checked(
        r"S_+^2 = Q(A + B S_+) \text{ with } Q, A, B \text{ summed term by term}",
        check,
        "the function, on one schedule of five steps, $k_0 = 3$: the sums are those of the steps before",
    )


def _direct(s: Any, first: int, beta1: float, beta2: float, eta: float) -> tuple[float, float, float]:
    """Q, A and B by double loops: L = 2, d = 3, Delta = 1.5, alpha = .1, ||G_1||_1 = .7, V_0 = .4, eps = .01."""
    ratio, root, c, tau_value = beta1 / beta2**0.5, beta2**0.5, 1 - beta2, (1 + eta**2) ** 0.5
    count = len(s)
    step = (1 - beta1) / (c * (1 - ratio**2)) ** 0.5
    gamma = step**2 / 2 + step * (1 - beta1) * ratio / (c**0.5 * (1 - ratio) ** 2)
    theta = [sum(s[k] * ratio ** (k - j) for k in range(j, count)) for j in range(count)]
    norms = [0.7 + 0.1 * 2 * 3 * step * sum(s[:j]) for j in range(first - 1)]
    budget = 1.5 / 0.1 + 0.1 * 2 * 3 * gamma * sum(x * x for x in s)
    budget += (1 - beta1) / c**0.5 * sum(theta[j] * norms[j] for j in range(first - 1))
    rho = max(theta[j] / s[j] for j in range(first - 1, count))
    later = [sum(s[k] * root ** (k - 1 - j) for k in range(j + 1, count)) for j in range(count)]
    growth = c**0.5 * (1 + tau_value * root * max(later[j] / s[j] for j in range(first - 1, count)))
    old = root ** (first - 1) * 0.4
    old += c**0.5 * tau_value * sum(root ** (first - 2 - j) * norms[j] for j in range(first - 1))
    start = root * old * sum(s[k] * root ** (k - first + 1) for k in range(first - 1, count))
    start += 3 * 0.01 * sum(s[first - 1 :])
    return budget / ((1 - beta1) * (1 - rho * eta**2) / (1 + eta**2)), start, growth
