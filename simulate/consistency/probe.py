"""An objective under its name in the registry, whose values are checked to be finite, and its refusals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulate.objectives import Objective
from simulate.streams import Array

__all__ = ["Probe", "point"]


@dataclass(frozen=True)
class Probe:
    """An objective that is being checked.

    Attributes:
        name: in the registry, for messages.
        objective: built without arguments.
    """

    name: str
    objective: Objective

    @property
    def start(self) -> Array:
        """w_1, shape [d]."""
        return np.asarray(self.objective.start(), dtype=float)

    def refusal(self, reason: str) -> ValueError:
        """The error of a check that fails."""
        return ValueError(f"objective {self.name!r}: {reason}")

    def values(self, w: Array) -> Array:
        """L(w), shape [points, d] -> [points].

        Raises:
            ValueError: where a value is not finite.
        """
        return self._finite("value", w, np.array(self.objective.value(w), dtype=float))

    def gradients(self, w: Array) -> Array:
        """grad L(w), shape [points, d] -> [points, d].

        Raises:
            ValueError: where a gradient is not finite.
        """
        return self._finite("gradient", w, np.array(self.objective.gradient(w), dtype=float))

    def _finite(self, what: str, w: Array, found: Array) -> Array:
        finite = np.isfinite(found.reshape(len(w), -1)).all(axis=1)
        if not finite.all():
            raise self.refusal(f"its {what} at {point(w[finite.argmin()])} is not finite")
        return found


def point(w: Array) -> str:
    """The first six coordinates of a point, for messages.

    >>> point(np.array([1.0, 0.25]))
    'w = (1, 0.25)'
    """
    shown = ", ".join(f"{value:.4g}" for value in w[:6])
    return f"w = ({shown}{', ...' if len(w) > 6 else ''})"
