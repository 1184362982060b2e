"""What eta means: the batch that a norm test settled at, against the noise scale measured in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from adabatch.moments.noise_scale import noise_scale, stationary_batch_size
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings

__all__ = ["Equilibrium", "equilibrium"]


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
    if len(tested) < 4:
        return None
    trace = fmean([record["noise_trace"] for record in later])
    gradient = fmean([record["grad_sq_norm"] - record["noise_trace"] / record["batch_size"] for record in later])
    if gradient <= 0:
        return None
    scale = float(noise_scale(trace, gradient))
    predicted, schedule = None, settings.schedule
    if schedule.test == "scalar":
        ranks = settings.parallel.ranks // settings.parallel.tensor_parallel
        groups = ranks * fmean([record["accumulation"] for record in later])
        predicted = float(stationary_batch_size(scale, schedule.eta, schedule.estimator, groups))
    return Equilibrium(fmean([record["batch_size"] for record in later]), scale, predicted, len(later))
