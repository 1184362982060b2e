"""What the statistics of the branches say at a point: noise scales, a norm test's batch, the goodput rule's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from scipy.stats import sem

from adabatch.experiments.comparison.noise import noise_scale_of
from adabatch.moments.l1 import l1_statistic
from adabatch.moments.noise_scale import noise_scale, stationary_batch_size
from adabatch.moments.worth import best_batch
from adabatch.reporting.metrics import Record, step_seconds
from adabatch.schedules.goodput import KAPPA
from adabatch.schedules.step_times import StepTimes
from adabatch.settings import ScheduleSettings

__all__ = ["ETAS", "SCALES", "goodput_batch", "noise_scales_of", "part_scales", "stationary_batches"]

SCALES = ("plug-in", "B_noise", "B_1")
"""tr Sigma / ||g||^2 of the batch's own gradient, the same with a debiased ||G||^2, and the l1 noise scale."""

ETAS = (0.5, 0.7, 0.9, 1.0, 1.4, 2.0)
"""Of the norm test whose batch is shown; those at which the estimator never grows are left out."""

LEAST_STEPS = 4
"""Of fewer measured steps nothing is said."""


def noise_scales_of(records: Sequence[Record]) -> dict[str, float]:
    """:data:`SCALES` over the measured steps; averages are taken before the division.

    NaN where too few steps were measured, infinite where noise hides the gradient.

    >>> step = {"batch_size": 4, "noise_trace": 16.0, "grad_sq_norm": 6.0, "sum_of_deviations": 6.0,
    ...         "grad_l1_norm_conservative": 2.0}
    >>> noise_scales_of([step] * 4)
    {'plug-in': 2.6666666666666665, 'B_noise': 8.0, 'B_1': 9.0}
    """
    measured = [record for record in records if record.get("noise_trace") is not None]
    if len(measured) < LEAST_STEPS:
        return dict.fromkeys(SCALES, math.nan)
    trace, squared = (fmean(record[name] for record in measured) for name in ("noise_trace", "grad_sq_norm"))
    values = (float(noise_scale(trace, squared)), noise_scale_of(measured), _l1_scale(measured))
    return dict(zip(SCALES, values, strict=True))


def _l1_scale(records: Sequence[Record]) -> float:
    """(sum_i sigma_i)^2 / ||G||_1^2: the l1 test's statistic at eta 1."""
    pairs = [(record.get("sum_of_deviations"), record.get("grad_l1_norm_conservative")) for record in records]
    known = [(float(sum_), float(norm)) for sum_, norm in pairs if sum_ is not None and norm is not None]
    if len(known) < LEAST_STEPS:
        return math.nan
    deviations, norms = zip(*known, strict=True)
    if not fmean(norms) > 2 * float(sem(norms)):
        return math.inf
    return float(l1_statistic(fmean(deviations), fmean(norms), 1.0))


def part_scales(records: Sequence[Record]) -> dict[str, float]:
    """B_noise of each layer and kind of parameter."""
    names = dict.fromkeys(name for record in records for name in record.get("parts", {}))
    return {name: noise_scale_of(list(_of_part(records, name))) for name in names}


def _of_part(records: Iterable[Record], name: str) -> Iterable[Record]:
    for record in records:
        if name in record.get("parts", {}):
            trace, squared = record["parts"][name]
            yield {"noise_trace": trace, "grad_sq_norm": squared, "batch_size": record["batch_size"]}


def stationary_batches(scale: float, schedule: ScheduleSettings, groups: int) -> dict[float, float]:
    """Where the norm test stops growing, by eta, with the run's estimator.

    Args:
        scale: B_noise.
        schedule: settings of the run.
        groups: ranks x micro-batches, which the published estimator depends on.
    """
    rule = schedule.estimator
    growing = [eta for eta in ETAS if stationary_batch_size(1.0, eta, rule, groups) > 0]
    if not math.isfinite(scale):
        return dict.fromkeys(growing, scale)
    return {eta: float(stationary_batch_size(scale, eta, rule, groups)) for eta in growing}


def goodput_batch(scale: float, branches: Iterable[Sequence[Record]]) -> float:
    """The batch that the goodput rule takes at this noise scale, with t0 and t1 fitted to these steps.

    NaN where the batches differ too little to tell t0 from t1.
    """
    times, length = StepTimes(), 0
    for records in branches:
        for record in records:
            length = int(record["sequence_length"])
            times.add(step_seconds(record), int(record["batch_size"]), int(record["micro_batch"]), length)
    fitted = times.fit(length=length)
    if fitted is None or not math.isfinite(scale):
        return math.nan
    return KAPPA * float(best_batch(scale, fitted.saturation))
