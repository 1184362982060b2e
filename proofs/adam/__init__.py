"""The corrected Theorem 1 for Adam: lemmas L1 to L8 and the theorem, one module each.

Example:
    >>> from proofs.steps import run
    >>> run(lemma_l1()).holds
    True
"""

from __future__ import annotations

from collections.abc import Callable

from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.l3_freeze import lemma_l3
from proofs.adam.l4_swap import lemma_l4
from proofs.adam.l5_key_inequality import lemma_l5
from proofs.adam.l6_descent import lemma_l6
from proofs.adam.l7_denominators import lemma_l7
from proofs.adam.l8_self_bounding import lemma_l8
from proofs.adam.theorem1 import theorem_1
from proofs.steps import Proof

__all__ = [
    "PROOFS",
    "lemma_l1",
    "lemma_l2",
    "lemma_l3",
    "lemma_l4",
    "lemma_l5",
    "lemma_l6",
    "lemma_l7",
    "lemma_l8",
    "theorem_1",
]

PROOFS: tuple[Callable[[], Proof], ...] = (
    lemma_l1,
    lemma_l2,
    lemma_l3,
    lemma_l4,
    lemma_l5,
    lemma_l6,
    lemma_l7,
    lemma_l8,
    theorem_1,
)
"""In the order in which they build on each other."""
