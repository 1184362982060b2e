r"""Lemma L4: summed over the steps, each gradient is divided by its own second moment.

theta_j = sum_{k >= j} beta1^{k-j} / sqrt(v_k) lies between 1 and rho times 1 / sqrt(v_j): what points downhill
counts at least once, what points uphill at most rho times.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.l2_decay import lemma_l2
from proofs.adam.symbols import BETA1, BETA2, UNIT_INTERVALS, a, b, q, r
from proofs.steps import Step, by_lemma, identity, nonnegative, proves
from theory.adam.constants import momentum_amplification

__all__ = ["lemma_l4"]

n = sympy.Symbol("n", integer=True, nonnegative=True)


@proves(
    "L4",
    "swapping the sums",
    r"$\sum_k \sum_{j\le k}\beta_1^{k-j} G_j g_j/\sqrt{v_k} \ge \sum_j [(G_j g_j)^+ - \rho (G_j g_j)^-]"
    r"/\sqrt{v_j}$ with $\rho = 1/(1-r)$.",
    source="corrected Theorem 1",
    uses=("L2",),
)
def lemma_l4() -> Iterator[Step]:
    """The swap, at the cost of rho."""
    rho = sympy.cancel(momentum_amplification(BETA1, BETA2))
    tail = rho * r**n
    part = sympy.Symbol("x", nonnegative=True)
    share = sympy.Symbol("h", nonnegative=True)
    theta = 1 + (rho - 1) * (1 - 1 / (1 + share))
    yield _swapped()
    yield by_lemma(
        r"\beta_1^n/\sqrt{v_{j+n}} \le r^n/\sqrt{v_j}",
        lemma_l2,
        (identity(r"\beta_1^n \beta_2^{-n/2} = r^n", sympy.expand_power_base(BETA1**n) / q**n, r**n),),
    )
    yield identity(
        r"r^n = \rho r^n - \rho r^{n+1}",
        tail - tail.subs(n, n + 1),
        r**n,
        "the sum over n telescopes to at most rho, so theta_j lies in [1, rho] / sqrt(v_j)",
    )
    yield identity(r"\text{the sum starts at } \rho: T(0) = \rho", tail.subs(n, 0), 1 / (1 - r))
    yield nonnegative(
        r"a = G_j g_j \ge 0: a\,\theta_j\sqrt{v_j} \ge a", part * theta - part, [part, share, a, b], UNIT_INTERVALS
    )
    yield nonnegative(
        r"a = -x \le 0: a\,\theta_j\sqrt{v_j} \ge -\rho x",
        rho * part - part * theta,
        [part, share, a, b],
        UNIT_INTERVALS,
    )


def _swapped(length: int = 4) -> Step:
    """The double sum in both orders, for K = ``length``."""
    products = sympy.symbols(f"a1:{length + 1}", real=True)
    roots = sympy.symbols(f"u1:{length + 1}", positive=True)
    by_step = sum(
        BETA1 ** (k - j) * products[j] / roots[k] for k in range(length) for j in range(length) if j <= k
    )
    theta = [sum(BETA1 ** (k - j) / roots[k] for k in range(j, length)) for j in range(length)]
    return identity(
        r"\sum_k \sum_{j \le k} \beta_1^{k-j} a_j/\sqrt{v_k} = \sum_j a_j \theta_j",
        by_step,
        sum(product * weight for product, weight in zip(products, theta, strict=True)),
        f"K = {length}",
    )
