"""The course of the noise scale over a run, and how well the run tells it.

B_noise = tr Sigma / ||G||^2 is the ratio of two noisy numbers, of which the second is a small difference. So the
run is cut into parts, and each part gives one ratio of means, in which a step counts by the samples since the one
measured before. A part is halved as long as both halves are resolved: parts are short where ||G||^2 stands out of
the noise, at the start as a rule, where it also changes most.

How far chance moves the result: each part is cut into sixteen blocks of consecutive measurements, and the
differences between neighbouring blocks count as noise, since what changes over the part as a whole hardly enters
them. They give the covariance of the part's two means, from which draws are made (a parametric bootstrap). To draw
the blocks themselves again, with replacement, would count the fall of ||G||^2 within a part as noise, and at the
start that is a hundredfold.

References:
    von Neumann, Distribution of the ratio of the mean square successive difference to the variance, Annals of
    Mathematical Statistics 12 (1941).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adabatch.moments.noise_scale import noise_scale
from adabatch.worth.evidence import Evidence

__all__ = ["NoiseCourse", "noise_course"]

LEAST_HALVINGS, MOST_HALVINGS = 2, 6
"""A run is cut into four parts at least and 64 at most."""

LEAST_STEPS, BLOCKS, DRAWS, SEED = 8, 16, 1000, 0
"""Measured steps of a part at least; its blocks at most; how many draws."""

LARGEST_ERROR, LARGEST_OF_QUARTER = 0.25, 0.5
"""Relative standard error of both means up to which a part is resolved; for a quarter of the run that will do."""

FLOOR = 0.1
"""A draw's means are at least this share of the part's own, which keeps the ratio finite."""

LARGEST_WEIGHT = 10.0
"""Times the part's median, so that the first step after a gap does not stand for all of it."""

TINY = 1e-12
"""A relative variance that changes no figure."""


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


@dataclass(frozen=True)
class _Part:
    """Means of trace and squared gradient of the steps in (start, end], and their covariance."""

    start: float
    end: float
    means: np.ndarray
    covariance: np.ndarray

    def resolved(self, largest: float) -> bool:
        """Whether both means are positive, with relative standard errors up to this one."""
        errors = np.sqrt(np.diag(self.covariance))
        return bool((self.means > 0).all() and (errors <= largest * self.means).all())


def noise_course(evidence: Evidence) -> NoiseCourse:
    """The noise scale by the parts of a run.

    Raises:
        ValueError: if not even the quarters of the run are resolved.
    """
    # records of a resumed loop may begin late
    begin, end = float(evidence.samples[0] - evidence.batches[0]), float(evidence.samples[-1])
    measured = evidence.measured
    samples = evidence.samples[measured]
    moments = np.stack([evidence.trace[measured], evidence.squared_gradient[measured]])
    moments /= np.abs(moments).max() or 1.0  # squares of small units would not be floats
    weights = np.diff(samples, prepend=begin)
    parts = _halved(samples, moments, weights, (begin, end), 0)
    if parts is None:
        _require_measurements(evidence.name, samples, np.linspace(begin, end, 2**LEAST_HALVINGS + 1))
        raise ValueError(
            f"the noise scale of {evidence.name} is never resolved: on batches of {evidence.span} the gradient "
            "cannot be told from its noise in each quarter of the run; measure on larger batches, or over more "
            "steps"
        )
    random = np.random.default_rng(SEED)
    scales = []
    for part in parts:
        # relative to the means; a variance of 0, of moments without noise, is kept positive
        relative = part.covariance / np.outer(part.means, part.means) + TINY * np.eye(2)
        drawn = random.multivariate_normal(np.ones(2), relative, DRAWS, method="cholesky")
        trace, squared_gradient = (np.maximum(np.vstack([np.ones(2), drawn]), FLOOR) * part.means).T
        scales.append(noise_scale(trace, squared_gradient))
    return NoiseCourse(np.array([begin, *(part.end for part in parts)]), np.stack(scales, axis=1))


def _require_measurements(name: str, samples: np.ndarray, edges: np.ndarray) -> None:
    """Raise ValueError for a quarter of the run in which hardly any step has statistics."""
    counts = np.diff(np.searchsorted(samples, edges, side="right"))
    least = int(counts.argmin())
    if counts[least] < LEAST_STEPS:
        raise ValueError(
            f"{name} has gradient statistics of {counts[least]} steps from {edges[least]:.0f} to "
            f"{edges[least + 1]:.0f} samples, and at least {LEAST_STEPS} in each quarter are needed (a norm test "
            "at its maximum measures nothing): train with --monitor-interval 1, or for longer"
        )


def _halved(
    samples: np.ndarray, moments: np.ndarray, weights: np.ndarray, span: tuple[float, float], halvings: int
) -> list[_Part] | None:
    """The parts of a span of the run that are resolved; None if it is not."""
    start, end = span
    inside = slice(*np.searchsorted(samples, span, side="right"))
    if inside.stop - inside.start < LEAST_STEPS:
        return None
    if halvings < MOST_HALVINGS:
        middle = (start + end) / 2
        halves = [
            _halved(samples, moments, weights, half, halvings + 1) for half in ((start, middle), (middle, end))
        ]
        if halves[0] is not None and halves[1] is not None:
            return halves[0] + halves[1]
    most = LARGEST_WEIGHT * np.median(weights[inside])
    part = _Part(start, end, *_mean(moments[:, inside], np.minimum(weights[inside], most)))
    largest = LARGEST_ERROR if halvings > LEAST_HALVINGS else LARGEST_OF_QUARTER
    return [part] if halvings >= LEAST_HALVINGS and part.resolved(largest) else None


def _mean(moments: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weighted mean of both moments, and its covariance by the differences between neighbouring blocks."""
    blocks = np.array_split(np.arange(len(weights)), min(BLOCKS, len(weights)))
    totals = np.array([weights[block].sum() for block in blocks])
    means = np.array([moments[:, block] @ weights[block] for block in blocks]) / totals[:, None]
    # Each block has the variance that its own differences tell: where the gradient falls steeply and batches are
    # small, blocks differ much and count for little.
    differences = np.diff(means, axis=0)
    around = np.concatenate([differences[:1], differences, differences[-1:]])
    before, after = (totals[:, None] * half for half in (around[:-1], around[1:]))
    covariance = (before.T @ before + after.T @ after) / 4 / totals.sum() ** 2
    return totals @ means / totals.sum(), covariance
