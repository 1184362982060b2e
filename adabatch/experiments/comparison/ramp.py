"""The hand-made ramp with as many steps as an adaptive run."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

from adabatch.settings import Settings
from adabatch.training.building import build_layout, build_schedule

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
    schedule = settings.schedule
    # Longer ones would move the last batch by less than half a sample.
    longest = 2 * settings.run.samples * (schedule.max_batch - schedule.initial_batch + 1)
    count = _Steps(settings, longest)
    enough = bisect_left(count, min(steps, count[longest - 1]))  # the shortest that makes as many steps
    if enough > 0 and steps - count[enough - 1] <= count[enough] - steps:
        enough = bisect_left(count, count[enough - 1])  # the shortest of those that make fewer
    return enough + 1


def ramp_steps(settings: Settings, ramp_samples: int) -> int:
    """Steps of a linear ramp over the run's budget, by executing its schedule."""
    ramp = replace(
        settings, schedule=replace(settings.schedule, schedule="linear-ramp", ramp_samples=ramp_samples)
    )
    ranks = settings.parallel.ranks // settings.parallel.tensor_parallel
    machine = build_schedule(ramp, build_layout(ramp.schedule, ranks))
    while machine.samples < settings.run.samples:
        machine.update()
    return machine.steps


@dataclass(frozen=True)
class _Steps:
    """The number of steps for each length of the ramp, as a sorted sequence for bisection: [i] is length i + 1."""

    settings: Settings
    longest: int

    def __len__(self) -> int:
        return self.longest

    def __getitem__(self, index: int) -> int:
        return ramp_steps(self.settings, index + 1)
