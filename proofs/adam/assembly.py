r"""The last steps that the theorems on training share: from the preconditioned sum to the bound returned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proofs.adam.l7_denominators import lemma_l7
from proofs.adam.l8_self_bounding import lemma_l8
from proofs.adam.symbols import ADAM, BETA1, BETA2, PROBLEM, alpha, initial_sum, noise, same
from proofs.steps import Step, by_lemma
from theory.adam import constants

__all__ = ["DESCENT", "GROWTH", "KAPPA", "START", "self_bounding"]

START = constants.preconditioner_start(BETA2, initial_sum)
"""A of lemma L7."""
GROWTH = constants.preconditioner_growth(BETA2, noise)
"""B of lemma L7."""
KAPPA = constants.alignment(BETA1, BETA2, noise)
"""kappa of lemma L6."""
DESCENT = alpha * constants.descent_budget(PROBLEM, ADAM, constants.drift_constant(BETA1, BETA2))
"""Delta + alpha^2 K L d Gamma: what the descent lemma leaves, summed over the steps."""


def self_bounding(value: Any, q: Any, start: Any = START) -> Iterator[Step]:
    """L7 and L8, and that the bound is the larger root of S^2 = Q (``start`` + B S)."""
    yield by_lemma(r"\sum_k\sum_i E\sqrt{D_{k,i}} \le A + B\,S", lemma_l7)
    yield by_lemma(r"S^2 \le \bar Q(A+BS), \text{ solved}", lemma_l8)
    yield same(
        r"\text{the bound } S_+ \text{ has } (2S_+ - B\bar Q)^2 = B^2\bar Q^2 + 4A\bar Q",
        ((2 * value - GROWTH * q) ** 2, (GROWTH * q) ** 2 + 4 * start * q),
    )
