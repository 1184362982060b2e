"""The noise scale along the runs: against the batches that are compared, and against the batch of a norm test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, median
from typing import TYPE_CHECKING

import numpy as np

from adabatch.moments.noise_scale import noise_scale, stationary_batch_size
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings

if TYPE_CHECKING:  # it and its own imports take a second, which the table of runs need not wait for
    from adabatch.experiments.comparison.results import Comparison

__all__ = ["Equilibrium", "NoiseRange", "equilibrium", "late_noise_scale", "noise_scale_of", "noise_scales"]

LEAST_TESTS = 4
"""Of fewer measured steps nothing is said."""


@dataclass(frozen=True)
class NoiseRange:
    """The noise scale along the runs of a comparison, against its constant batches.

    Where the noise scale lies outside of the batches, the comparison does not show what a batch size costs: all of
    them are too small to save steps, or all too large to save samples.

    Attributes:
        quarters: medians over all runs in each quarter of the samples; infinite where in most runs the noise hides
            the gradient.
        smallest_batch: of the constant schedules.
        largest_batch: of the constant schedules.
    """

    quarters: tuple[float, ...]
    smallest_batch: int
    largest_batch: int

    @property
    def lowest(self) -> float:
        """Of the quarters."""
        return min(self.quarters)

    @property
    def highest(self) -> float:
        """Of the quarters."""
        return max(self.quarters)

    @property
    def within(self) -> bool:
        """Whether all quarters lie between the smallest and the largest batch."""
        return self.smallest_batch <= self.lowest and self.highest <= self.largest_batch

    @classmethod
    def of(cls, comparison: Comparison) -> NoiseRange | None:
        """From the runs of adaptive schedules with scalar tests; None if they measured nothing in a quarter."""
        adaptive = [schedule.name for schedule in comparison.schedules if schedule.kind == "adaptive"]
        runs = chain.from_iterable(comparison.results[name].values() for name in adaptive)
        scales = [noise_scales(run.records()) for run in runs if run.settings.schedule.test == "scalar"]
        measured = [[scale for scale in quarter if not math.isnan(scale)] for quarter in zip(*scales, strict=True)]
        batches = [int(constant.overrides["initial_batch"]) for constant in comparison.constants]
        if not batches or not measured or not all(measured):
            return None
        return cls(tuple(map(median, measured)), batches[0], batches[-1])


def noise_scales(records: Sequence[Record]) -> list[float]:
    """B_noise in each quarter of a run's samples: tr Sigma and ||G||^2 are averaged apart, then divided.

    ||G||^2 is ||g||^2 - tr Sigma / b, which is unbiased but may be negative in a single step.

    Args:
        records: of a run's steps.

    Returns:
        Four numbers; not a number where fewer than four steps were measured, infinite where the mean ||G||^2 is at
        most twice its standard error: there it may be noise alone, and no ratio is to be trusted.

    >>> step = {"batch_size": 4, "noise_trace": 16.0, "grad_sq_norm": 6.0}
    >>> noise_scales([step | {"samples": 4 * number} for number in range(1, 17)])
    [8.0, 8.0, 8.0, 8.0]
    """
    quarters: list[list[Record]] = [[], [], [], []]
    for record in records:
        before = record["samples"] - record["batch_size"]
        quarters[4 * before // records[-1]["samples"]].append(record)
    return [noise_scale_of(quarter) for quarter in quarters]


def late_noise_scale(records: Sequence[Record]) -> float:
    """B_noise over the later half of the measured steps, as in :func:`noise_scales`."""
    measured = [record for record in records if None not in map(record.get, ("noise_trace", "grad_sq_norm"))]
    return noise_scale_of(measured[len(measured) // 2 :])


def noise_scale_of(records: Sequence[Record]) -> float:
    """B_noise over the measured steps among these, as in :func:`noise_scales`."""
    measured = [record for record in records if record.get("noise_trace") is not None]
    if len(measured) < LEAST_TESTS:
        return math.nan
    gradients = [_squared_gradient(record) for record in measured]
    if not fmean(gradients) > 2 * float(np.std(gradients, ddof=1)) / math.sqrt(len(gradients)):
        return math.inf
    return float(noise_scale(fmean(record["noise_trace"] for record in measured), fmean(gradients)))


def _squared_gradient(record: Record) -> float:
    """||g||^2 - tr Sigma / b, whose mean is ||G||^2."""
    return float(record["grad_sq_norm"] - record["noise_trace"] / record["batch_size"])


@dataclass(frozen=True)
class Equilibrium:
    """Means over the later half of the tested steps of a run.

    Attributes:
        batch: b.
        noise_scale: B_noise = tr Sigma / ||G||^2, both averaged before the division.
        predicted: b* of :func:`adabatch.moments.noise_scale.stationary_batch_size` at that noise scale; None for
            tests on coordinates.
        tests: their number.
    """

    batch: float
    noise_scale: float
    predicted: float | None
    tests: int


def equilibrium(records: Sequence[Record], settings: Settings) -> Equilibrium | None:
    """Batch and noise scale where the test still ran; None if it ran less than four times or nothing was resolved.

    At the largest batch no test runs: what is measured is the approach to it. ||G||^2 is ||g||^2 - tr Sigma / b,
    as in the estimator ``debiased``.

    >>> from adabatch.settings import load_settings
    >>> step = {"batch_size": 4, "noise_trace": 16.0, "grad_sq_norm": 6.0, "accumulation": 2}
    >>> found = equilibrium([step] * 4, load_settings(overrides={"eta": 0.5, "estimator": "debiased"}))
    >>> found.batch, found.noise_scale, found.predicted
    (4.0, 8.0, 32.0)
    """
    tested = [record for record in records if record.get("noise_trace") is not None]
    later = tested[len(tested) // 2 :]
    if len(tested) < LEAST_TESTS:
        return None
    trace = fmean([record["noise_trace"] for record in later])
    gradient = fmean(map(_squared_gradient, later))
    if gradient <= 0:
        return None
    scale = float(noise_scale(trace, gradient))
    predicted, schedule = None, settings.schedule
    if schedule.test == "scalar":
        ranks = settings.parallel.ranks // settings.parallel.tensor_parallel
        groups = ranks * fmean([record["accumulation"] for record in later])
        predicted = float(stationary_batch_size(scale, schedule.eta, schedule.estimator, groups))
    return Equilibrium(fmean([record["batch_size"] for record in later]), scale, predicted, len(later))
