r"""Lemma L8: from the preconditioned sum Q and the denominators A + B S to the sum of the gradient norms S."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.steps import Step, cauchy_schwarz, identity, nonnegative, prose, proves
from theory.adam.constants import solve_self_bounding

__all__ = ["lemma_l8"]


@proves(
    "L8",
    "self-bounding sum",
    r"$S^2 \le Q\,(A + B S)$, and so $S \le \frac12\bigl(BQ + \sqrt{B^2Q^2+4AQ}\bigr) \le BQ + A/B$.",
    source="corrected Theorem 1",
)
def lemma_l8() -> Iterator[Step]:
    """S^2 <= Q (A + B S) implies S <= ``solution(B, A, Q)`` <= B Q + A / B."""
    start, growth, q, total = sympy.symbols("A B Q S", positive=True)
    root = solve_self_bounding(growth, start, q)
    other = growth * q - root
    yield cauchy_schwarz(
        r"(x_1^2+x_2^2)(y_1^2+y_2^2) - (x_1y_1+x_2y_2)^2 = (x_1y_2-x_2y_1)^2",
        sympy.symbols("x_1:3", real=True),
        sympy.symbols("y_1:3", real=True),
        "Cauchy-Schwarz with |G| = (|G| / D^(1/4)) D^(1/4), two terms",
    )
    yield identity(
        r"S^2 - Q(A+BS) = (S-S_+)(S-S_-), \quad S_- = BQ - S_+",
        total**2 - q * (start + growth * total),
        (total - root) * (total - other),
        "negative exactly between the roots",
    )
    yield identity(r"S_+ S_- = -AQ \le 0", root * other, -start * q, "so S_- <= 0 <= S_+")
    yield nonnegative(
        r"(2(BQ+A/B) - BQ)^2 - (2 S_+ - BQ)^2 \ge 0",
        sympy.expand((growth * q + 2 * start / growth) ** 2 - sympy.expand((2 * root - growth * q) ** 2)),
        [start, growth, q],
        reason="S_+ <= B Q + A / B",
    )
    yield prose(r"\text{expectation and both sums: Cauchy-Schwarz for the product measure}")
