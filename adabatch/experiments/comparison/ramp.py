"""The hand-made ramp with as many steps as an adaptive run."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial

from adabatch.settings import Settings, overlay
from adabatch.training.building import build_micro_batching, build_schedule

__all__ = ["matching_ramp", "ramp_steps"]


def matching_ramp(settings: Settings, steps: int) -> int:
    """The ``ramp_samples`` with which a linear ramp makes a number of steps, or as nearly as it can.

    The ramp goes from the initial to the largest batch; the longer it takes, the more steps the same samples make.
    It may be longer than the run. Of lengths that miss by as much, the shortest is taken.

    Args:
        settings: of the run; its schedule's initial and largest batch, layout and budget count.
        steps: wanted.

    >>> from adabatch.settings import load_settings
    >>> settings = load_settings(overrides={"initial_batch": 4, "max_batch": 8, "samples": 64})
    >>> matching_ramp(settings, 8), matching_ramp(settings, 10), matching_ramp(settings, 16)
    (1, 64, 448)
    """
    count, schedule = partial(ramp_steps, settings), settings.schedule
    # Longer ones would move the last batch by less than half a sample.
    lengths = range(1, 2 * settings.run.samples * (schedule.max_batch - schedule.initial_batch + 1) + 1)
    # Steps never fall with the length: the shortest that makes as many steps.
    enough = lengths[bisect_left(lengths, min(steps, count(lengths[-1])), key=count)]
    if enough > 1 and steps - count(enough - 1) <= count(enough) - steps:
        enough = lengths[bisect_left(lengths, count(enough - 1), key=count)]  # the shortest of those with fewer
    return enough


def ramp_steps(settings: Settings, ramp_samples: int) -> int:
    """Steps of a linear ramp over the run's budget, by executing its schedule."""
    schedule = build_schedule(overlay(settings, {"schedule": "linear-ramp", "ramp_samples": ramp_samples}))
    ranks = settings.parallel.ranks // settings.parallel.tensor_parallel
    schedule.round_by(build_micro_batching(settings.schedule, schedule.batch_size, ranks))
    while schedule.samples < settings.run.samples:
        schedule.update()
    return schedule.steps
