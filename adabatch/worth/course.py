"""The course of the noise scale over a run, and how well the run tells it.

B_noise = tr Sigma / ||G||^2 is the ratio of two noisy numbers, of which the second is a small difference. So the
run is cut into consecutive parts of equal numbers of samples, and each part gives one ratio of means, in which a
step counts by the samples since the one measured before. There are as many parts as the run resolves.

How far chance moves the result is found by bootstrap: each part is cut into ten blocks of consecutive measurements
(which are correlated in time), and parts are made again from blocks that are drawn with replacement.

References:
    Künsch, The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17 (1989).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adabatch.worth.evidence import Evidence

__all__ = ["NoiseCourse", "noise_course"]

PARTS = (40, 30, 20, 15, 10, 7, 5)
"""Numbers of parts to try, in order."""

LEAST_STEPS, BLOCKS, DRAWS, SEED = 8, 10, 1000, 0
"""Measured steps of a part at least; blocks of a part at most; draws of the bootstrap."""

LARGEST_ERROR = 0.25
"""Relative standard error of ||G||^2 up to which a part is resolved."""

FLOOR = 0.1
"""A draw's ||G||^2 is at least this share of the part's own, which keeps the ratio finite."""


@dataclass(frozen=True)
class NoiseCourse:
    """The noise scale by parts of a run.

    Attributes:
        edges: samples at which the parts begin and end, one more than there are parts.
        scales: B_noise of each part in samples, (1 + draws, parts); the first row is the estimate.
    """

    edges: np.ndarray
    scales: np.ndarray

    @property
    def middles(self) -> np.ndarray:
        """Samples in the middle of each part."""
        middles: np.ndarray = (self.edges[1:] + self.edges[:-1]) / 2
        return middles

    def part_of(self, samples: np.ndarray) -> np.ndarray:
        """In which part each number of samples lies."""
        part: np.ndarray = np.searchsorted(self.edges[1:-1], samples, side="left")
        return part


def noise_course(evidence: Evidence) -> NoiseCourse:
    """The noise scale by as many parts of the run as are resolved.

    Raises:
        ValueError: if not even five are.
    """
    for parts in PARTS:
        course = _course_in(evidence, parts)
        if course is not None:
            return course
    smallest, largest = evidence.batches.min(), evidence.batches.max()
    raise ValueError(
        f"the noise scale of {evidence.name} is never resolved: on batches of {smallest:.0f} to {largest:.0f} the "
        "gradient cannot be told from its noise in each fifth of the run; measure on larger batches, or over more "
        "steps"
    )


def _course_in(evidence: Evidence, parts: int) -> NoiseCourse | None:
    """The course in this many parts; None if one of them has too few steps or too much noise."""
    measured = np.flatnonzero(evidence.measured)
    samples = evidence.samples[measured]
    course = NoiseCourse(np.linspace(0, evidence.samples[-1], parts + 1), np.empty(0))
    random = np.random.default_rng(SEED)
    weights = np.diff(samples, prepend=0)
    scales = []
    part_of = course.part_of(samples)
    for steps in (np.flatnonzero(part_of == part) for part in range(parts)):
        if len(steps) < LEAST_STEPS:
            return None
        moments = np.stack([evidence.trace[measured[steps]], evidence.squared_gradient[measured[steps]]])
        means = _resampled_means(moments, weights[steps], random)
        trace, squared_gradient = means[0]
        if trace <= 0 or squared_gradient <= 0 or means[:, 1].std() > LARGEST_ERROR * squared_gradient:
            return None
        scales.append(np.maximum(means[:, 0], FLOOR * trace) / np.maximum(means[:, 1], FLOOR * squared_gradient))
    return NoiseCourse(course.edges, np.stack(scales, axis=1))


def _resampled_means(moments: np.ndarray, weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Weighted means of both moments: the estimate, then each draw's. (1 + draws, 2)."""
    blocks = np.array_split(np.arange(len(weights)), min(BLOCKS, len(weights)))
    sums = np.array([[*(moments[:, block] @ weights[block]), weights[block].sum()] for block in blocks])
    drawn = sums[random.integers(len(blocks), size=(DRAWS, len(blocks)))].sum(axis=1)
    totals = np.concatenate([sums.sum(axis=0)[None], drawn])
    means: np.ndarray = totals[:, :2] / totals[:, 2:]
    return means
