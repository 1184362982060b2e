"""What goes with an optimizer: which settings it has none of, and which norm test is of its own norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adabatch.schedules import BatchSizeSchedule, NormTest
from adabatch.settings import ScheduleSettings, Settings

__all__ = ["FITTING_TESTS", "check_optimizer", "unfitting"]

FITTING_TESTS: Mapping[str, tuple[str, ...]] = {
    "adamw": ("scalar", "l1", "coordinate"),
    "sgd": ("scalar",),
    "adafactor": ("l1", "coordinate"),
    "muon": (),
}
"""The tests, and noise scales of the noise limit, that do not call for a warning.

SGD's step is measured by the Euclidean norm (scalar), one whose coordinates have a size of their own by the l1
norm, and Muon's by the nuclear norm of its matrices, of which there is no test. For AdamW the scalar test is the
paper's."""

WITHOUT_SHARDS = ("adafactor", "muon")
"""Optimizers that look at whole parameters, which tensor-parallel ranks do not gather."""


def check_optimizer(settings: Settings) -> None:
    """Raise ValueError for settings that the optimizer has no use for, or cannot go with."""
    given = settings.optimizer
    name, ranks = given.optimizer, settings.parallel.tensor_parallel
    if name in WITHOUT_SHARDS and ranks > 1:
        raise ValueError(
            f"--optimizer {name} looks at whole matrices, and does not go with --tensor-parallel {ranks}: take "
            "--parallel fsdp or hsdp without it, or --optimizer adamw or sgd"
        )
    if given.nesterov and (name != "sgd" or not given.momentum):
        raise ValueError("--nesterov is for --optimizer sgd with --momentum above 0: add these, or leave it out")
    if name in ("sgd", "adafactor"):
        asked = {"--beta2-half-life": given.beta2_half_life > 0, "--no-bias-correction": not given.bias_correction}
        if options := " and ".join(option for option, there in asked.items() if there):
            raise ValueError(
                f"{options} would change AdamW's moments, which --optimizer {name} does not have: leave it out"
            )


def unfitting(settings: Settings, schedule: BatchSizeSchedule) -> Iterator[str]:
    """What measures noise in another norm than the optimizer's, as warnings: it trains, but its theory is another.

    Args:
        settings: of the run.
        schedule: as they built it.
    """
    name, given = settings.optimizer.optimizer, settings.schedule
    for option, chosen in _measured(given, schedule):
        fitting = FITTING_TESTS[name]
        if {"trace": "scalar", "weighted": "coordinate"}.get(chosen, chosen) in fitting:
            continue
        if fitting:
            here = {"scalar": "trace"} if option == "--noise-limit-scale" else {}
            better = f"take {option} {here.get(fitting[0], fitting[0])}"
        else:
            better = "its nuclear-norm noise scale is recorded with --monitor-interval, and decides nothing"
        yield f"{option} {chosen} measures noise in another norm than --optimizer {name} steps in: {better}"


def _measured(given: ScheduleSettings, schedule: BatchSizeSchedule) -> Iterator[tuple[str, str]]:
    if any(isinstance(part, NormTest) for part in schedule.parts):
        yield "--test", given.test
    if given.noise_limit:
        yield "--noise-limit-scale", given.noise_limit_scale
