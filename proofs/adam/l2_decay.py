"""Lemma L2: the second moment forgets no faster than beta2^n."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy

from proofs.steps import Step, identity, nonnegative, proves
from theory.adam.constants import second_moment_weight

__all__ = ["lemma_l2"]

beta2 = sympy.Symbol("beta2", positive=True)
weight, v = sympy.symbols("c v", nonnegative=True)


def _kept(n: int | sympy.Symbol, memory: sympy.Symbol) -> Any:
    """What is left of a second moment after n steps."""
    return memory**n


def _unrolled(age: int) -> Step:
    """v_{j+n} - c beta2^n g_j^2 as a polynomial in v_{j-1} and the squared gradients."""
    squares = sympy.symbols(f"h0:{age + 1}", nonnegative=True)
    unrolled = v
    for square in squares:
        unrolled = beta2 * unrolled + weight * square
    difference = sympy.expand(unrolled - weight * _kept(age, beta2) * squares[0])
    return nonnegative(
        rf"v_{{j+{age}}} \ge c\, \beta_2^{{{age}}} g_j^2 \text{{ (unrolled)}}",
        difference,
        [beta2, weight, v, *squares],
    )


@proves(
    "L2",
    "slow decay",
    r"$v_k \ge \beta_2^{k-j} v_j$ and $v_j \ge c\,g_j^2$, so "
    r"$|g_j|/\sqrt{v_k} \le c^{-1/2} \beta_2^{-(k-j)/2}$ for $j \le k$.",
    source="corrected Theorem 1",
)
def lemma_l2() -> Iterator[Step]:
    """v_{j+n} >= kept(n, beta2) v_j, hence g_j^2 / v_{j+n} <= 1 / (c kept(n, beta2))."""
    n = sympy.Symbol("n", integer=True, positive=True)
    old, g = sympy.symbols("v_old g", nonnegative=True)
    reference = sympy.Symbol("v_j", nonnegative=True)
    new = beta2 * old + second_moment_weight(beta2) * g**2
    yield identity(r"v_k \ge \beta_2^{k-j} v_j \text{ at } k = j", _kept(0, beta2), 1)
    yield identity(
        r"v_k - \beta_2^{n} v_j = \beta_2 (v_{k-1} - \beta_2^{n-1} v_j) + c\,g_k^2",
        new - _kept(n, beta2) * reference,
        beta2 * (old - _kept(n - 1, beta2) * reference) + second_moment_weight(beta2) * g**2,
        "induction over n = k - j",
    )
    yield identity(
        r"v_j - c\,g_j^2 = \beta_2 v_{j-1} \ge 0", new - second_moment_weight(beta2) * g**2, beta2 * old
    )
    yield from (_unrolled(age) for age in range(4))
