"""A bound of your own, and one that is wrong: Theorem 1 in its leading terms, and the same over 10,000.

From the command line: ``adabatch verify-bounds --bound examples/own_bound.py:LeadingTerms
--noise rademacher,eta=0.2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulate.laboratory import BoundRule, Run, study
from simulate.noise.exact_tests import Test
from theory.adam.theorem1 import gradient_norm_sum_bound


@dataclass(frozen=True)
class LeadingTerms(BoundRule):
    """sum_k E||G_k||_1 is at most Theorem 1's bound at v_0 = 0, over a factor."""

    name: ClassVar[str] = "leading-terms"
    test: ClassVar[Test | None] = "coordinate-wise"  # the noise is checked to meet it with its eta
    factor: float = 1.0

    def value(self, run: Run) -> float:
        """A positive number from the problem's constants and Adam's settings; raises where it does not apply."""
        return float(gradient_norm_sum_bound(run.problem, run.adam).value) / self.factor


if __name__ == "__main__":
    for factor in (1.0, 10_000.0):
        print(study("pseudo-huber", "rademacher,eta=0.2", "adam", LeadingTerms(factor), steps=256))
