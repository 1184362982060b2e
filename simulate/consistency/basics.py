"""Shapes and constants; and that an objective is one function of one point, whenever it is built and asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from simulate.consistency.infimum import require_infimum
from simulate.consistency.probe import Probe, point
from simulate.objectives import Objective

__all__ = ["built", "require_basics"]


def built(name: str, build: Callable[..., Objective]) -> Objective:
    """What the registry's entry makes without arguments.

    Raises:
        ValueError: if it needs arguments, or makes something else than an objective.
    """
    try:
        objective: Any = build()
    except TypeError as error:
        raise ValueError(f"objective {name!r} cannot be built without arguments: {error}") from error
    if not isinstance(objective, Objective):
        kind = type(objective).__name__
        raise ValueError(f"objective {name!r} must be a simulate.objectives.Objective, not a {kind}")
    return objective


def require_basics(probe: Probe, again: Objective) -> None:
    """Look at the constants, and at values and gradients around the start.

    Args:
        probe: the objective.
        again: the same, built a second time.

    Raises:
        ValueError: for what is not as the class :class:`~simulate.objectives.Objective` promises.
    """
    objective = probe.objective
    if not (np.isfinite(objective.smoothness) and objective.smoothness > 0):
        raise probe.refusal(f"smoothness must be a positive number, not {objective.smoothness}")
    if not np.isfinite(objective.infimum):
        raise probe.refusal(f"infimum must be a number, not {objective.infimum}")
    start = np.asarray(objective.start())
    _require_shape(probe, "start()", start, (objective.dimension,))
    if not np.isfinite(start).all():
        raise probe.refusal(f"start() must be finite, not {point(start)}")
    for constant in ("dimension", "smoothness", "infimum"):
        _require_same(probe, constant, getattr(objective, constant), getattr(again, constant))
    _require_same(probe, "start()", objective.start(), again.start())
    _require_function(probe, again, "value", ())
    _require_function(probe, again, "gradient", (objective.dimension,))
    require_infimum(probe, probe.start[None])
    if objective.problem(1) != Objective.problem(objective, 1):
        raise probe.refusal("problem(steps) must have what smoothness, infimum, value and gradient say")


def _require_function(probe: Probe, again: Objective, method: str, shape: tuple[int, ...]) -> None:
    """Of three points: the shape is right, w is left alone, and each result depends on its own point only."""
    w = probe.start + np.array([[0.0], [0.1], [-0.1]])
    given = w.copy()
    found = np.array(getattr(probe.objective, method)(w))
    _require_shape(probe, f"{method}(w) of w of the shape {w.shape}", found, (len(w), *shape))
    if (w != given).any():
        raise probe.refusal(f"{method}(w) must leave w as it is")
    rows = np.concatenate([np.array(getattr(probe.objective, method)(row[None].copy())) for row in w])
    if not np.allclose(found, rows, rtol=1e-6, atol=1e-9 * np.abs(found).max(), equal_nan=True):
        raise probe.refusal(f"{method}(w) of a point must not depend on the other points")
    _require_same(probe, f"{method}(w)", found, getattr(again, method)(w))


def _require_shape(probe: Probe, what: str, found: Any, shape: tuple[int, ...]) -> None:
    if found.shape != shape:
        raise probe.refusal(f"{what} must have the shape {shape}, not {found.shape}")


def _require_same(probe: Probe, what: str, first: Any, second: Any) -> None:
    if not np.allclose(first, second, rtol=1e-12, atol=0, equal_nan=True):
        raise probe.refusal(f"{what} must be the same each time the objective is built")
