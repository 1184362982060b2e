"""Regression tasks with power laws: spectrum lambda_i ~ i^-a, energy lambda_i c_i ~ i^-q, and what a step costs.

Modes with a large index are taken together in blocks of equal modes, so that thousands of dimensions are some
forty numbers: the dynamics are exact for that spectrum, which keeps the trace and every block's energy.

Example:
    >>> tasks = sobol_tasks(4)
    >>> len(tasks), int(tasks.problem.multiplicities.sum()), tasks.errors.shape[1] < 50
    (4, 2000, True)
    >>> tasks.problem.risk(tasks.errors)
    array([1., 1., 1., 1.])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulate.own_code import own_attribute
from theory.schedules.second_moments import Regression

__all__ = ["Resource", "Tasks", "blocks", "own_tasks", "power_law_tasks", "sobol_tasks", "spectrum_task"]

Array = NDArray[np.float64]

DIMENSION = 2000

RANGES = {
    "spectrum": (1.1, 2.2),
    "energy": (1.1, 2.2),
    "noise": (0.003, 3.0),
    "duration": (200.0, 3000.0),
    "saturation": (2.0, 512.0),
}
"""What :func:`sobol_tasks` covers; the exponents uniformly, the others uniformly in the logarithm."""


class Resource(StrEnum):
    """What schedules are given equal amounts of; time in units of t0, the time of a step without samples."""

    TIME = "time"
    ROOFLINE = "roofline"
    SAMPLES = "samples"
    STEPS = "steps"


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks, one per row.

    Attributes:
        problem: eigenvalues [tasks, modes], label noise [tasks], multiplicities [modes].
        errors: c_i at the start, [tasks, modes].
        duration: the budget in step times t0, [tasks].
        saturation: B_sat = t0 / t1 in samples, [tasks].
        resource: what the budget is of. At equal steps it is ``duration`` steps; at equal samples what the batch
            B_sat takes in that time, ``duration saturation / 2`` samples.
    """

    problem: Regression
    errors: Array
    duration: Array
    saturation: Array
    resource: Resource = Resource.TIME

    def __len__(self) -> int:
        return len(self.duration)

    @property
    def budget(self) -> Array:
        """In the resource's unit, [tasks]."""
        return self.duration * self.saturation / 2 if self.resource is Resource.SAMPLES else self.duration

    def cost(self, batch: Array) -> Array:
        """Of a step on ``batch`` samples [..., tasks]: 1 + b / B_sat, max(1, b / B_sat), b or 1."""
        if self.resource is Resource.TIME:
            return 1 + batch / self.saturation
        if self.resource is Resource.ROOFLINE:
            return np.maximum(1.0, batch / self.saturation)
        return batch if self.resource is Resource.SAMPLES else np.ones_like(batch)

    def marginal_cost(self, batch: Array) -> Array:
        """d cost / d b."""
        if self.resource is Resource.TIME:
            return np.broadcast_to(1 / self.saturation, batch.shape)
        if self.resource is Resource.ROOFLINE:
            return np.where(batch > self.saturation, 1 / self.saturation, 0.0)
        return np.full_like(batch, float(self.resource is Resource.SAMPLES))

    def at(self, rows: Sequence[int] | NDArray[np.int64], duration: Array | float = 1.0) -> Tasks:
        """These rows (which may repeat), with budgets multiplied by ``duration``."""
        chosen = np.asarray(rows, dtype=int)
        problem = Regression(
            self.problem.eigenvalues[chosen], self.problem.noise[chosen], self.problem.multiplicities
        )
        durations = self.duration[chosen] * duration
        return Tasks(problem, self.errors[chosen], durations, self.saturation[chosen], self.resource)


def spectrum_task(
    eigenvalues: Sequence[float] | Array,
    errors: Sequence[float] | Array,
    noise: float,
    duration: float,
    saturation: float,
    resource: Resource = Resource.TIME,
) -> Tasks:
    """One task from any spectrum, every mode by itself.

    Args:
        eigenvalues: lambda_i of the inputs' covariance, [modes].
        errors: c_i = E (w_i - w*_i)^2 at the start, [modes].
        noise: sigma^2 of the labels.
        duration: see :class:`Tasks`.
        saturation: see :class:`Tasks`.
        resource: see :class:`Tasks`.

    >>> task = spectrum_task([1.0, 0.1], [1.0, 4.0], noise=0.5, duration=100, saturation=16)
    >>> len(task), task.problem.risk(task.errors)
    (1, array([1.4]))
    """
    modes = np.asarray(eigenvalues, dtype=float)[None]
    problem = Regression(modes, np.array([float(noise)]), np.ones(modes.shape[1], dtype=int))
    start = np.asarray(errors, dtype=float)[None]
    return Tasks(problem, start, np.array([float(duration)]), np.array([float(saturation)]), resource)


def own_tasks(name: str) -> Tasks:
    """Tasks of your own: what a function without arguments returns, from a module or a file.

    Args:
        name: as in ``mine.py:build``.

    Raises:
        ValueError: if it cannot be called, or does not return tasks that can be run.
    """
    found = own_attribute("task", name)()
    if not isinstance(found, Tasks):
        raise ValueError(
            f"task {name!r} must return simulate.exact.tasks.Tasks, as spectrum_task does, "
            f"not {type(found).__name__}"
        )
    problem = found.problem
    if problem.eigenvalues.shape != found.errors.shape:
        raise ValueError(
            f"task {name!r}: {problem.eigenvalues.shape[-1]} eigenvalues, but {found.errors.shape[-1]} errors; "
            "every mode needs both"
        )
    positive = {"eigenvalues": problem.eigenvalues, "duration": found.duration, "saturation": found.saturation}
    for label, values in positive.items():
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(
                f"task {name!r}: {label} must be above 0 and finite, but are from {values.min():g} on"
            )
    for label, values in {"errors": found.errors, "noise": problem.noise}.items():
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(
                f"task {name!r}: {label} must be 0 or more and finite, but are from {values.min():g} on"
            )
    if not found.errors.any(axis=1).all():
        raise ValueError(f"task {name!r}: all errors are 0 at the start: nothing is left to learn")
    return found


def blocks(dimension: int, singles: int = 12, per_octave: int = 4) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First index and size of blocks of neighbouring modes: the first ones alone, then wider and wider.

    >>> blocks(40, singles=4, per_octave=1)
    (array([ 0,  1,  2,  3,  4,  9, 19]), array([ 1,  1,  1,  1,  5, 10, 21]))
    """
    alone = np.arange(min(singles, dimension))
    count = 1 + max(1, round(per_octave * np.log2(dimension / singles))) if dimension > singles else 1
    edges = np.unique([*alone, *np.geomspace(min(singles, dimension), dimension, count).round().astype(int)])
    return edges[:-1], np.diff(edges)


def power_law_tasks(
    spectrum: Array,
    energy: Array,
    noise: Array,
    duration: Array,
    saturation: Array,
    dimension: int = DIMENSION,
    resource: Resource = Resource.TIME,
) -> Tasks:
    """Tasks whose risk is 1 at the start.

    Args:
        spectrum: a of lambda_i = i^-a, [tasks].
        energy: q of lambda_i c_i ~ i^-q, [tasks].
        noise: sigma^2, [tasks].
        duration: see :class:`Tasks`.
        saturation: see :class:`Tasks`.
        dimension: d.
        resource: see :class:`Tasks`.
    """
    first, sizes = blocks(dimension)
    index = np.arange(1.0, dimension + 1)

    def in_blocks(exponents: Array) -> Array:
        return np.add.reduceat(index ** -np.asarray(exponents)[:, None], first, axis=1) / sizes

    eigenvalues, energies = in_blocks(spectrum), in_blocks(energy)
    errors = energies / (energies @ sizes)[:, None] / eigenvalues
    problem = Regression(eigenvalues, np.asarray(noise, dtype=float), sizes)
    return Tasks(problem, errors, np.asarray(duration, float), np.asarray(saturation, float), resource)


def sobol_tasks(count: int, seed: int = 0, resource: Resource = Resource.TIME) -> Tasks:
    """Tasks that fill :data:`RANGES` evenly, by scrambled Sobol points; other seeds give fresh ones."""
    from scipy.stats import qmc

    points = qmc.Sobol(len(RANGES), seed=seed).random_base2(max(1, (count - 1).bit_length()))[:count]
    values = {}
    for (name, (low, high)), point in zip(RANGES.items(), points.T, strict=True):
        uniform = name in ("spectrum", "energy")
        values[name] = low + point * (high - low) if uniform else low * (high / low) ** point
    return power_law_tasks(**values, resource=resource)
