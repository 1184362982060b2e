"""What a run's batches cost in time, and what a batch schedule could save, by :mod:`adabatch.moments.worth`.

Every figure is computed once for the run as measured and once for each draw of the bootstrap, as rows of arrays.
Noise in the noise scale looks like a noise scale that changes, and so like something to save: of prices and
savings, which it biases upwards, the bias that the draws show is subtracted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from adabatch.moments.worth import (
    best_batch,
    evenness,
    mean_noise_scale,
    progress,
    schedule_over_constant,
    time_of_progress,
)
from adabatch.schedules.goodput import KAPPA
from adabatch.schedules.step_times import StepTime
from adabatch.worth.course import SEED, NoiseCourse
from adabatch.worth.evidence import Evidence

__all__ = ["Assessment", "Estimate", "RuleInModel", "assess"]

LEVEL = 0.9
"""Nominal coverage of the intervals."""


class Estimate(NamedTuple):
    """A figure and its 90% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RuleInModel:
    """What a batch rule would take for the progress that the run made.

    Attributes:
        name: of the rule.
        smallest: batch, in samples.
        largest: batch, in samples.
        steps: of the rule.
        samples: of the rule.
        time: relative to the best constant batch's.
    """

    name: str
    smallest: float
    largest: float
    steps: float
    samples: float
    time: Estimate


@dataclass(frozen=True)
class Assessment:
    """All figures of ``adabatch worth``; batches and noise scales in samples.

    Attributes:
        run: its name.
        steps: of the run.
        measured: steps with statistics.
        left_out: values that were not finite.
        source: of t0 and t1: ``fitted``, ``--step-time`` or ``--saturation``.
        step_time: t0 and t1; in units of t1 where only their ratio was given.
        saturation: B_sat = t0 / t1.
        samples: seen in the middle of each part of the run.
        noise_scale: of each part.
        best_batch: b* of each part.
        rho: mean B / B_sat.
        s: mean sqrt(B) / sqrt(mean B).
        constant: the best constant batch.
        saving: the most that a batch schedule saves of the best constant batch's time, a share.
        lost: what the run's own batches took more than b*, a share of b*'s time.
        rules: batch rules in this run's place.
    """

    run: str
    steps: int
    measured: int
    left_out: int
    source: str
    step_time: StepTime
    saturation: Estimate
    samples: list[float]
    noise_scale: list[Estimate]
    best_batch: list[Estimate]
    rho: Estimate
    s: Estimate
    constant: Estimate
    saving: Estimate
    lost: Estimate
    rules: list[RuleInModel]

    def as_json(self) -> dict[str, Any]:
        """For JSON; intervals as value, low, high."""
        return asdict(self)


def assess(evidence: Evidence, course: NoiseCourse, step_time: StepTime, source: str) -> Assessment:
    """The figures of a run.

    Args:
        evidence: the run's steps.
        course: of its noise scale.
        step_time: t0 > 0 and t1.
        source: of t0 and t1, for the report.
    """
    scales = course.scales
    random = np.random.default_rng(SEED + 1)
    draws = np.exp(step_time.saturation_error * random.standard_normal((len(scales), 1)))
    draws[0] = 1.0
    saturation = step_time.saturation * draws
    weights = _progress_of_parts(evidence, course)
    batches = {
        "best constant batch": best_batch(mean_noise_scale(scales, weights), saturation[:, 0])[:, None],
        "best schedule, b*": best_batch(scales, saturation),
        f"goodput, {KAPPA:g} b*": KAPPA * best_batch(scales, saturation),
        "norm test at eta 1: b at least B": np.maximum.accumulate(scales, axis=1),
    }
    batches = {name: np.maximum(batch, 1.0) for name, batch in batches.items()}  # no step takes less
    constant = batches["best constant batch"]
    batches["best constant under noise limit 1: b at most B"] = np.minimum(constant, np.maximum(scales, 1.0))
    times = {name: _time(batch, scales, saturation, weights) for name, batch in batches.items()}
    own = saturation[:, 0] * len(evidence.batches) + evidence.batches.sum()
    least, best = times["best schedule, b*"], times["best constant batch"]
    rho = mean_noise_scale(scales, weights) / saturation[:, 0]
    s = evenness(scales, weights)
    rules = [
        RuleInModel(
            "the run's own",
            *_range(evidence.batches),
            steps=len(evidence.batches),
            samples=float(evidence.batches.sum()),
            time=_unbiased(own / best),
        )
    ]
    for name, batch in batches.items():
        first = np.broadcast_to(batch, scales.shape)[0]
        steps = weights[0] / progress(first, scales[0])
        time = _unbiased(times[name] / best)
        rules.append(RuleInModel(name, *_range(first), float(steps.sum()), float(steps @ first), time))
    return Assessment(
        run=evidence.name,
        steps=len(evidence.batches),
        measured=int(evidence.measured.sum()),
        left_out=evidence.left_out,
        source=source,
        step_time=step_time,
        saturation=_percentiles(saturation[:, 0]),
        samples=[float(x) for x in course.middles],
        noise_scale=[_percentiles(column) for column in scales.T],
        best_batch=[_percentiles(column) for column in batches["best schedule, b*"].T],
        rho=_percentiles(rho),
        s=_unbiased(s, 0.0, 1.0),
        constant=_percentiles(constant[:, 0]),
        saving=_unbiased(1 - schedule_over_constant(rho, s), 0.0, 1.0),
        lost=_unbiased(own / least - 1, 0.0),
        rules=rules,
    )


def _progress_of_parts(evidence: Evidence, course: NoiseCourse) -> np.ndarray:
    """The progress of all steps in each part, for each draw of its noise scale. (1 + draws, parts)."""
    part_of = course.part_of(evidence.samples)
    columns = []
    for part, scales in enumerate(course.scales.T):
        sizes, counts = np.unique(evidence.batches[part_of == part], return_counts=True)
        columns.append(progress(sizes, scales[:, None]) @ counts)
    return np.stack(columns, axis=1)


def _time(batch: np.ndarray, scales: np.ndarray, saturation: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The time of the run's progress with these batches, in units of t1. (1 + draws)."""
    return np.asarray((weights * time_of_progress(batch, scales, saturation, 1.0)).sum(axis=1))


def _range(batches: np.ndarray) -> tuple[float, float]:
    return float(batches.min()), float(batches.max())


def _percentiles(rows: np.ndarray) -> Estimate:
    """The estimate with the draws' middle 90%."""
    low, high = np.quantile(rows[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(rows[0]), float(low), float(high))


def _unbiased(rows: np.ndarray, least: float = -np.inf, most: float = np.inf) -> Estimate:
    """Twice the estimate minus the draws' mean, and minus their quantiles in turn (the basic bootstrap)."""
    low, high = np.quantile(rows[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    values = 2 * rows[0] - np.array([rows[1:].mean(), high, low])
    return Estimate(*(float(x) for x in np.clip(values, least, most)))
