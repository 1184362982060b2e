r"""Step multipliers: the sums of the corrected Theorem 1, weighted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy

from proofs.adam.assembly import closing
from proofs.adam.descent import descent_lemma
from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.l6_descent import lemma_l6
from proofs.adam.symbols import BETA1, BETA2, BETAS, SETTING, alpha, dimension, gap, q, r, smoothness
from proofs.composition import Assumption, Fact, cite, composed
from proofs.relations import Relation
from proofs.steps import Evidence, Step, by_lemma, checked, identity, nonnegative, prose, proves, vanishing
from proofs.sums import ALIGNED, FROZEN, PRECONDITIONED, PROGRESS, SQUARES
from theory.adam import constants
from theory.problem import AdamParameters, Problem
from theory.training import step_schedules as theory

__all__ = ["step_schedules"]


STEP_IS, FREEZING_IS = constants.normalized_step_bound(BETA1, BETA2), constants.freezing_constant(BETA1, BETA2)
DRIFT_IS = constants.drift_constant(BETA1, BETA2)
LENGTH = 4
"""K of the symbolic sums."""
FIRST = 2
"""k0 of the symbolic sums."""
multipliers = sympy.symbols(f"s1:{LENGTH + 1}", positive=True)
weight, tau = sympy.symbols("u tau", positive=True)  # u = sqrt(c)


@proves(
    "step schedules",
    "Adam with warm-up, decay and bias correction",
    r"For $s_k > 0$, $k_0 \ge 1$ and $\rho_s\eta^2 < 1$, with the symbols of this proof, "
    r"$\sum_{k \ge k_0} s_k E\|G_k\|_1 \le \frac12(BQ+\sqrt{B^2Q^2+4AQ})$, "
    r"$Q = P/((1-\beta_1)\kappa_s)$.",
    source="this project",
    uses=("L1", "L2", "L6", "L8"),
)
def step_schedules() -> Iterator[Step]:
    """The sums over the schedule, and the bound."""
    yield from _freezing()
    yield from _swap()
    yield by_lemma(
        r"E_j[(G_jg_j)^+ - \rho_s(G_jg_j)^-]/\sqrt{v_j} \ge \kappa_s G_j^2/\sqrt{D_j}, \quad j \ge k_0",
        lemma_l6,
        (_at_least_one(),),
    )
    yield _denominators()
    yield from _composed()
    yield _warm_up()
    yield _against_direct_sums()
    yield prose(
        r"\epsilon_k \le \epsilon \text{ adds } d\,\epsilon\sum_{k\ge k_0} s_k \text{ to } A",
        "theta_j keeps its range, as in the variants of the corrected Theorem 1",
    )


def _composed() -> Iterator[Step]:
    """Q_s <= P / ((1-beta1) kappa_s) from the weighted sums, and the root with L8."""
    squares, early, energy = sympy.symbols("N_s J_s Sigma_2", nonnegative=True)
    budget, share = sympy.Symbol("P", positive=True), sympy.Symbol("kappa_s", positive=True)
    rho = sympy.Symbol("rho_s", positive=True)
    gamma = {budget: gap / alpha + alpha * smoothness * dimension * DRIFT_IS * energy + (1 - BETA1) * early}
    yield composed(
        Relation((1 - BETA1) * share * PRECONDITIONED, "<=", budget, gamma, BETAS),
        (
            cite(descent_lemma),
            Fact(Relation(SQUARES, "<=", squares), "the steps are s_k u_k"),
            Fact(Relation(squares, "<=", dimension * STEP_IS**2 * energy), "L1, with sum s_k^2"),
            Fact(
                Relation(
                    PROGRESS,
                    ">=",
                    (1 - BETA1) * FROZEN - alpha * smoothness * dimension * STEP_IS * FREEZING_IS * energy,
                ),
                "the weighted freezing error",
            ),
            Fact(
                Relation(FROZEN, ">=", ALIGNED(rho) - early), "the weighted swap; steps before k0 climb at most J"
            ),
            Fact(Relation(ALIGNED(rho), ">=", share * PRECONDITIONED), "L6 at rho_s"),
        ),
        (PROGRESS, SQUARES, squares, FROZEN, ALIGNED(rho), PRECONDITIONED),
        SETTING | {Assumption.COORDINATE_TEST},
    )
    yield closing()


def _freezing() -> Iterator[Step]:
    """The freezing error's sum over the steps is at most r/(1-r)^2 sum s_k^2."""
    pairs = [(j, k) for k in range(LENGTH) for j in range(k)]
    products = sum(r ** (k - j) * multipliers[k] * sum(multipliers[j:k]) for j, k in pairs)
    halves = sum(
        r ** (k - j) * sum((multipliers[k] ** 2 + multipliers[i] ** 2) / 2 for i in range(j, k)) for j, k in pairs
    )
    whole = sum(n * r**n for n in range(LENGTH)) * sum(s**2 for s in multipliers)
    first, second = sympy.symbols("x y", real=True)
    yield by_lemma(r"\|w_{i+1}-w_i\| \le \alpha s_i\sqrt d\,C_m", lemma_l1)
    yield identity(
        r"\tfrac12(x^2+y^2) - xy = \tfrac12(x-y)^2",
        (first**2 + second**2) / 2 - first * second,
        (first - second) ** 2 / 2,
    )
    yield nonnegative(
        r"\sum_k\sum_{j<k} r^{k-j}s_k\sum_{i=j}^{k-1}s_i \le \sum_n n r^n\sum_k s_k^2, \quad K = 4",
        whole - halves,
        [r, *multipliers],
        reason="with s_k s_i <= (s_k^2 + s_i^2)/2: every step lies in n of the pairs of distance n at most",
    )
    yield vanishing(
        r"\text{both sides of it were the sums meant}",
        lambda: [(products - halves).subs(dict.fromkeys(multipliers, 1))],
        "they agree where all multipliers are equal",
    )


def _swap() -> Iterator[Step]:
    """sum_k s_k sum_{j<=k} beta1^{k-j} a_j / sqrt(v_k), with sqrt(v_{j+n}) >= sqrt(beta2)^n sqrt(v_j)."""
    terms = sympy.symbols(f"a1:{LENGTH + 1}", positive=True)
    sums = theory.momentum_sums(list(multipliers), BETA1, BETA2)
    double = sum(
        multipliers[k] * (BETA1 / q) ** (k - j) * terms[j] for k in range(LENGTH) for j in range(LENGTH) if j <= k
    )
    yield by_lemma(
        r"\beta_1^n/\sqrt{v_{j+n}} \le r^n/\sqrt{v_j}",
        lemma_l2,
        reason="so theta_j = sum_k beta1^{k-j} s_k/sqrt(v_k) lies in [s_j, sum_n s_{j+n} r^n]/sqrt(v_j)",
    )
    yield identity(
        r"\sum_k s_k\sum_{j\le k} r^{k-j}x_j = \sum_j x_j\sum_n s_{j+n}r^n",
        sympy.expand(double),
        sympy.expand(sum(x * t for x, t in zip(terms, sums, strict=True))),
        "K = 4; j >= k0: at most rho_s s_j. j < k0: |G_j g_j|/sqrt(v_j) <= c^{-1/2}|G_j|, counted in P",
    )


def _at_least_one() -> Step:
    """rho_s >= 1, as L5 asks."""
    sums = theory.momentum_sums(list(multipliers), BETA1, BETA2)
    return nonnegative(r"\rho_s \ge 1", sums[1] / multipliers[1] - 1, [r, *multipliers])


def _denominators() -> Step:
    """L7, weighted: with E sqrt(v_{k-1}) <= q^{k-1} V_0 + sqrt(c) tau sum_j q^{k-1-j} G_j."""
    gradients, start = sympy.symbols(f"G1:{LENGTH + 1}", positive=True), sympy.Symbol("V_0", positive=True)
    sums = [*theory.second_moment_sums(list(multipliers), BETA2), 0]
    total = sympy.Integer(0)
    for k in range(FIRST - 1, LENGTH):
        kept = q**k * start + weight * tau * sum(q ** (k - 1 - j) * gradients[j] for j in range(k))
        total += multipliers[k] * (q * kept + weight * gradients[k])
    early = q ** (FIRST - 1) * start + weight * tau * sum(
        q ** (FIRST - 2 - j) * gradients[j] for j in range(FIRST - 1)
    )
    claimed = q * early * sums[FIRST - 1] + sum(
        (weight * multipliers[j] + weight * tau * q * sums[j + 1]) * gradients[j] for j in range(FIRST - 1, LENGTH)
    )
    return identity(
        r"\sum_{k\ge k_0} s_k E\sqrt{D_k} \le A + \sqrt c\sum_{j\ge k_0}"
        r"(s_j + \tau\sqrt{\beta_2}\sum_n s_{j+1+n}\beta_2^{n/2})\,G_j \le A + B\,S",
        sympy.expand(total),
        sympy.expand(claimed),
        "K = 4, k0 = 2; the inner sum is at most z_s s_j",
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

    return checked(r"S_+^2 = Q(A + B S_+) \text{ with } Q, A, B \text{ summed term by term}", check)


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
