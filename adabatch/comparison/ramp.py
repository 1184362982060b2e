"""The hand-made ramp with as many steps as an adaptive run."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from adabatch.building import build_layout, build_schedule
from adabatch.settings import ScheduleSettings, Settings

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
    budget, schedule = settings.run.samples, settings.schedule
    ranks = settings.parallel.ranks // settings.parallel.tensor_parallel
    longest = 2 * budget * (schedule.max_batch - schedule.initial_batch + 1)  # moves the last batch by under 1/2
    count = _Steps(schedule, ranks, budget, longest)
    enough = bisect_left(count, min(steps, count[longest - 1]))  # the shortest that makes as many steps
    if enough > 0 and steps - count[enough - 1] <= count[enough] - steps:
        enough = bisect_left(count, count[enough - 1])  # the shortest of those that make fewer
    return enough + 1


def ramp_steps(schedule: ScheduleSettings, ranks: int, samples: int, ramp_samples: int) -> int:
    """Steps of a linear ramp over the budget, by carrying out its schedule."""
    ramp = replace(schedule, schedule="linear-ramp", ramp_samples=ramp_samples)
    machine = build_schedule(ramp, build_layout(ramp, ranks), samples)
    while machine.samples < samples:
        machine.update()
    return machine.steps


class _Steps:
    """The number of steps for each length of the ramp, as a sorted sequence for bisection: [i] is length i + 1."""

    def __init__(self, schedule: ScheduleSettings, ranks: int, samples: int, longest: int) -> None:
        self._arguments = (schedule, ranks, samples)
        self._longest = longest

    def __len__(self) -> int:
        return self._longest

    def __getitem__(self, index: int) -> int:
        return ramp_steps(*self._arguments, index + 1)
