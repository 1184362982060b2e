"""Equations along a learning-rate path, to whose solutions the schedules on it are compared.

Both sandwiches (:mod:`theory.schedules.sandwich_sgd`, :mod:`theory.schedules.sandwich_adam`) have the form

    dC/dS = -theta decay(C) / r + nu noise(C) / r^2,

with their own decay and noise of the errors C, and constants theta and nu for a whole run or for each step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from theory.schedules.path import LearningRatePath, PathSteps
from theory.schedules.second_moments import Regression

__all__ = ["Terms", "solution", "solution_over_steps"]

Array = NDArray[np.float64]

Terms = Callable[[Regression, Array], tuple[Array, Array]]
"""decay(C) and noise(C) of a problem, each of the shape of C."""


def solution(
    terms: Terms,
    problem: Regression,
    path: LearningRatePath,
    errors: Array,
    *,
    contraction: float = 1.0,
    noise: float = 1.0,
    ends: tuple[float, float] | None = None,
) -> Array:
    """The solution to ten digits, between the path's kinks one after the other.

    Args:
        terms: the equation's.
        problem: one regression.
        path: 1 / r.
        errors: C at the start, shape [modes].
        contraction: theta.
        noise: nu.
        ends: from and to how many samples; None: 0 and D.

    Returns:
        C at the end.

    >>> path = LearningRatePath(samples=100.0, initial_ratio=50.0)    # T = 1 on a path that falls linearly
    >>> only_decay = lambda problem, errors: (errors, 0 * errors)
    >>> solution(only_decay, Regression(np.ones(1), 1.0), path, np.ones(1)).round(9)    # 1 / e
    array([0.36787944])
    """

    def derivative(seen: float, errors: Array) -> Array:
        density, (decay, gained) = path.density(seen), terms(problem, errors)
        return np.asarray(-contraction * density * decay + noise * density**2 * gained)

    first, last = ends or (0.0, float(path.samples))
    kinks = [seen for x in path.shape.kinks if first < (seen := x * float(path.samples)) < last]
    for begin, end in itertools.pairwise([first, *kinks, last]):
        errors = _smooth(derivative, errors, begin, end)
    return errors


def solution_over_steps(
    terms: Terms,
    problem: Regression,
    steps: PathSteps,
    errors: Array,
    contractions: Iterable[float],
    noises: Iterable[float],
) -> Array:
    """The same at the end of a run, with a theta and a nu for each of its steps."""
    spans = itertools.pairwise(steps.ends)
    for ends, contraction, noise in zip(spans, contractions, noises, strict=True):
        errors = solution(terms, problem, steps.path, errors, contraction=contraction, noise=noise, ends=ends)
    return errors


def _smooth(derivative: Callable[[float, Array], Array], errors: Array, first: float, last: float) -> Array:
    scale = np.abs(errors) + (last - first) * np.abs(derivative(first, errors)) + 1e-300
    solved = solve_ivp(
        lambda seen, now: derivative(min(seen, last), now),  # the solver's last stage may round beyond the end
        (first, last),
        errors,
        method="DOP853",
        rtol=1e-10,
        atol=1e-14 * scale,
    )
    return np.asarray(solved.y[:, -1])
