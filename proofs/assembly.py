r"""The last steps that the theorems on training share: from the preconditioned sum to the bound returned.

The bounds are long expressions with nested roots of the betas. They are compared with the lemmas at betas where
all roots are rational (Pythagorean triples for sqrt(1 - beta2) and sqrt(1 - r^2), and for tau), and with symbols
for everything else, so that the comparison is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import sympy

from proofs.adam.l7_denominators import lemma_l7
from proofs.adam.l8_self_bounding import lemma_l8
from proofs.adam.symbols import ADAM, PROBLEM, alpha, initial_sum
from proofs.steps import Evidence, Step, by_lemma, checked
from theory.adam.constants import (
    alignment,
    descent_budget,
    drift_constant,
    preconditioner_growth,
    preconditioner_start,
)
from theory.bound import Bound
from theory.problem import AdamParameters

__all__ = ["POINTS", "Point", "budget_step", "equal_at_points", "self_bounding"]


@dataclass(frozen=True)
class Point:
    """Betas and an eta at which all roots are rational.

    Attributes:
        r: beta1 / sqrt(beta2).
        root: sqrt(beta2).
        eta: of the test.
    """

    r: sympy.Rational
    root: sympy.Rational
    eta: sympy.Rational

    @property
    def beta1(self) -> Any:
        """r sqrt(beta2)."""
        return self.r * self.root

    @property
    def beta2(self) -> Any:
        """The square of ``root``."""
        return self.root**2

    @property
    def adam(self) -> AdamParameters:
        """Adam at these betas and this eta."""
        return replace(ADAM, beta1=self.beta1, beta2=self.beta2, eta=self.eta)

    @property
    def start(self) -> Any:
        """A of lemma L7."""
        return preconditioner_start(self.beta2, initial_sum)

    @property
    def growth(self) -> Any:
        """B of lemma L7."""
        return preconditioner_growth(self.beta2, self.eta)

    @property
    def alignment(self) -> Any:
        """kappa of lemma L6."""
        return alignment(self.beta1, self.beta2, self.eta)

    @property
    def descent(self) -> Any:
        """Delta + alpha^2 K L d Gamma: what the descent lemma leaves, summed over the steps."""
        return alpha * descent_budget(PROBLEM, ADAM, drift_constant(self.beta1, self.beta2))


def _rational(numerator: int, denominator: int) -> sympy.Rational:
    return sympy.Rational(numerator, denominator)


POINTS = (
    Point(_rational(3, 5), _rational(12, 13), _rational(5, 12)),
    Point(_rational(5, 13), _rational(35, 37), _rational(8, 15)),
    Point(_rational(0, 1), _rational(3, 5), _rational(3, 4)),
)


def equal_at_points(
    statement: str, sides: Callable[[Point], tuple[Any, Any]], reason: str = "", points: tuple[Point, ...] = POINTS
) -> Step:
    """``left = right`` at every point, exactly, with symbols for what is not fixed by it."""

    def check() -> Evidence:
        for point in points:
            left, right = sides(point)
            residual = sympy.expand(left - right)
            if residual != 0 and sympy.cancel(sympy.together(residual)) != 0:
                return Evidence(False, f"differs at r = {point.r}, sqrt(beta2) = {point.root}, eta = {point.eta}")
        return Evidence(True, f"residual 0 at {len(points)} pairs of betas with rational roots")

    return checked(statement, check, reason)


def budget_step(
    found: Callable[[Point], Bound], kappa: Callable[[Point], Any], descent: Callable[[Point], Any]
) -> Step:
    """alpha (1 - beta1) kappa Qbar is the descent budget."""
    return equal_at_points(
        r"\alpha(1-\beta_1)\,\kappa\,\bar Q = \text{ the descent summed over the steps}",
        lambda point: (alpha * (1 - point.beta1) * kappa(point) * found(point).terms["Qbar"], descent(point)),
        "the descent lemma, L3, L4, and the expectation",
    )


def self_bounding(
    found: Callable[[Point], Bound],
    q: Callable[[Bound], Any],
    extra_start: Callable[[Point], Any] = lambda point: 0,
) -> Iterator[Step]:
    """L7 and L8, and that the bound is the larger root of S^2 = Q (A + ``extra_start`` + B S)."""

    def sides(point: Point) -> tuple[Any, Any]:
        bound = found(point)
        start = point.start + extra_start(point)
        return (2 * bound.value - point.growth * q(bound)) ** 2, (point.growth * q(bound)) ** 2 + 4 * start * q(
            bound
        )

    yield by_lemma(r"\sum_k\sum_i E\sqrt{D_{k,i}} \le A + B\,S", lemma_l7)
    yield by_lemma(r"S^2 \le \bar Q(A+BS), \text{ solved}", lemma_l8)
    yield equal_at_points(r"\text{the bound } S_+ \text{ has } (2S_+ - B\bar Q)^2 = B^2\bar Q^2 + 4A\bar Q", sides)
