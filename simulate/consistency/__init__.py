r"""Whether an objective is what it says: its gradient, L and infimum against its values, before any verdict.

Theorems are told L, Delta = L(w_1) - inf L and the gradients of a run. Where one of them is wrong, so is every
verdict, in silence. The checks search: a violation that is found is certain, none found is not a proof.

Algorithm:
    Basics (:mod:`~simulate.consistency.basics`) -> points of the kind that runs visit
    (:mod:`~simulate.consistency.points`) -> gradient against value (:mod:`~simulate.consistency.gradient`) -> L
    against gradient (:mod:`~simulate.consistency.smoothness`) -> infimum against values, gradient descent's among
    them (:mod:`~simulate.consistency.infimum`) -> gradient and L again where the descent ended.

Example:
    >>> from simulate.objectives import Quadratic
    >>> require_consistent("quadratic", Quadratic)
    >>> class Wrong(Quadratic):
    ...     smoothness = 0.01
    >>> require_consistent("wrong", Wrong)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: objective 'wrong': smoothness 0.01 is too small: ... times as much
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulate.consistency.basics import built, require_basics
from simulate.consistency.gradient import require_gradient
from simulate.consistency.infimum import descend, require_infimum
from simulate.consistency.points import visited_points
from simulate.consistency.probe import Probe
from simulate.consistency.smoothness import require_smoothness
from simulate.objectives import Objective
from simulate.streams import Array

__all__ = ["require_consistent", "require_consistent_at"]


def require_consistent(name: str, build: Callable[..., Objective]) -> None:
    """Compare an objective's gradient, L and infimum with its values.

    Args:
        name: its name in :data:`simulate.objectives.OBJECTIVES`.
        build: what the registry has under it; called without arguments, as experiments do.

    Raises:
        ValueError: for the first check that fails, in one sentence: which objective, where and by how much.
    """
    probe = Probe(name, built(name, build))
    require_basics(probe, built(name, build))
    points, scale = visited_points(probe)
    require_gradient(probe, points, scale)
    curvature = require_smoothness(probe, points, scale)
    require_infimum(probe, points)
    ends = descend(probe, points, curvature)
    require_gradient(probe, ends, scale)
    require_smoothness(probe, ends, scale)


def require_consistent_at(name: str, objective: Objective, points: Array) -> None:
    """Compare gradient, L and infimum at points that a run came to.

    Args:
        name: of the objective, for messages.
        objective: that was run.
        points: shape [points, d].

    Raises:
        ValueError: see :func:`require_consistent`.
    """
    probe = Probe(name, objective)
    scale = float(np.abs(points - probe.start).max()) or 1.0
    require_gradient(probe, points, scale)
    require_smoothness(probe, points, scale)
    require_infimum(probe, points)
