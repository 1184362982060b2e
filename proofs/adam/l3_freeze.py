r"""Lemma L3: in <G_k, m_k / sqrt(v_k)> the gradients of the past may be replaced by their own true gradients.

The cost is that of smoothness (G_k - G_j), of steps that are bounded (L1) and of normalised gradients that are
bounded (L2); its sum over the past is an arithmetic-geometric series.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.symbols import BETA1, BETA2, UNIT_INTERVALS, a, alpha, b, dimension, q, r, smoothness
from proofs.steps import Step, by_lemma, cauchy_schwarz, identity, nonnegative, prose, proves
from theory.adam.constants import freezing_constant, momentum_ratio, normalized_step_bound, second_moment_weight

__all__ = ["lemma_l3"]

n = sympy.Symbol("n", integer=True, nonnegative=True)


@proves(
    "L3",
    "freezing the past",
    r"$\langle G_k, m_k/\sqrt{v_k}\rangle \ge (1-\beta_1)\sum_{j \le k}\beta_1^{k-j}"
    r"\sum_i G_{j,i}g_{j,i}/\sqrt{v_{k,i}} - E_1$ with "
    r"$E_1 = \alpha L d (1-\beta_1) C_m\, r/(\sqrt c\,(1-r)^2)$.",
    source="corrected Theorem 1",
    uses=("L1", "L2"),
)
def lemma_l3() -> Iterator[Step]:
    """The freezing error alpha L d C_m ``freezing(beta1, beta2)`` per step."""
    tail = r**n * (n / (1 - r) + r / (1 - r) ** 2)
    distance = smoothness * n * alpha * sympy.sqrt(dimension) * normalized_step_bound(BETA1, BETA2)
    direction = sympy.sqrt(dimension) / (sympy.sqrt(second_moment_weight(BETA2)) * q**n)
    term = (1 - BETA1) * BETA1**n * distance * direction
    error = alpha * smoothness * dimension * normalized_step_bound(BETA1, BETA2) * freezing_constant(BETA1, BETA2)
    per_unit = error / sympy.cancel(r / (1 - r) ** 2)
    yield _decomposition()
    yield cauchy_schwarz(
        r"\|x\|^2\|y\|^2 - \langle x,y\rangle^2 = \sum_{i<j}(x_i y_j - x_j y_i)^2 \ge 0",
        sympy.symbols("x1:4", real=True),
        sympy.symbols("y1:4", real=True),
        "Cauchy-Schwarz, d = 3",
    )
    yield by_lemma(r"\|G_k - G_j\| \le L\,(k-j)\,\alpha\sqrt d\,C_m", lemma_l1, reason="smoothness")
    yield by_lemma(
        r"\|g_j/\sqrt{v_k}\| \le \sqrt{d/c}\;\beta_2^{-(k-j)/2}",
        lemma_l2,
        (identity(r"\beta_1/\sqrt{\beta_2} = r", momentum_ratio(BETA1, BETA2), r),),
    )
    yield identity(
        r"n r^n = T(n) - T(n+1), \quad T(n) = r^n\left(\frac{n}{1-r} + \frac{r}{(1-r)^2}\right)",
        tail - tail.subs(n, n + 1),
        n * r**n,
        "the partial sums of n r^n telescope",
    )
    yield nonnegative(r"T(n) \ge 0, \text{ so } \sum_n n r^n \le T(0)", tail / r**n, [a, b, n], UNIT_INTERVALS)
    yield identity(
        r"(1-\beta_1)\beta_1^n \|G_k-G_j\|\,\|g_j/\sqrt{v_k}\| \le n r^n E_1 / T(0)",
        sympy.powsimp(sympy.expand_power_base(term), force=True),
        n * r**n * per_unit,
        "so that the sum over n = k - j is at most E_1",
    )
    yield prose(r"\text{norms: triangle inequality over the steps } j..k-1")


def _decomposition(length: int = 4) -> Step:
    """The inner product split exactly, for one coordinate and k = ``length``."""
    true = sympy.symbols(f"G1:{length + 1}", real=True)
    noisy = sympy.symbols(f"g1:{length + 1}", real=True)
    root = sympy.Symbol("u", positive=True)
    momentum = sympy.Integer(0)
    for gradient in noisy:
        momentum = BETA1 * momentum + (1 - BETA1) * gradient
    last = true[-1]
    weights = [(1 - BETA1) * BETA1 ** (length - 1 - j) for j in range(length)]
    frozen = sum(w * old * g / root for w, old, g in zip(weights, true, noisy, strict=True))
    drift = sum(w * (last - old) * g / root for w, old, g in zip(weights, true, noisy, strict=True))
    return identity(
        r"G_k m_k/\sqrt{v_k} = (1-\beta_1)\sum_j \beta_1^{k-j} [G_j + (G_k - G_j)] g_j/\sqrt{v_k}",
        last * momentum / root,
        frozen + drift,
        f"one coordinate, k = {length}",
    )
