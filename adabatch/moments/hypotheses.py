"""Hypotheses of theorems, checked: a violated one raises and says which, by how much, and what would do."""

from __future__ import annotations

from typing import Any

import numpy as np

from adabatch.moments.numeric import Value, is_symbolic

__all__ = ["HypothesisError", "describe", "require"]


class HypothesisError(ValueError):
    """A theorem or formula was asked for outside its hypotheses.

    Attributes:
        hypothesis: the violated condition, in words or as a formula.
        given: what was given.
        nearest: the nearest admissible value or what to do, if known.
    """

    def __init__(self, hypothesis: str, given: str, nearest: str = "") -> None:
        self.hypothesis, self.given, self.nearest = hypothesis, given, nearest
        advice = f"; {nearest}" if nearest else ""
        super().__init__(f"requires {hypothesis}, but {given}{advice}")


def require(condition: Value, hypothesis: str, given: str, nearest: str = "") -> None:
    """Raise :class:`HypothesisError` unless the condition holds (everywhere, for arrays).

    A symbolic condition that SymPy cannot decide is taken as assumed: proofs state their own assumptions.

    Args:
        condition: bool, array of bool or SymPy relation.
        hypothesis: what is required, for example ``"0 <= beta1 < sqrt(beta2)"``.
        given: what was given, for example ``"beta1 = 0.99, sqrt(beta2) = 0.975"``.
        nearest: the nearest admissible value or what to do.

    >>> require(2 > 1, "a > 1", "a = 2")
    >>> require(0.5 > 1, "a > 1", "a = 0.5", "take a above 1")
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires a > 1, but a = 0.5; take a above 1
    """
    if condition is True:  # of plain numbers, the usual case
        return
    if is_symbolic(condition):
        holds = bool(condition != False)  # noqa: E712  (SymPy's `false` equals False; a relation does not)
    else:
        holds = bool(np.all(condition))
    if not holds:
        raise HypothesisError(hypothesis, given, nearest)


def describe(name: str, value: Any) -> str:
    """``name = value`` with arrays shown by their range."""
    if isinstance(value, int | float) or is_symbolic(value) or np.ndim(value) == 0:
        return f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}"
    return f"{name} in [{np.min(value):.6g}, {np.max(value):.6g}]"
