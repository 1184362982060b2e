"""What is compared: schedules as settings over the base settings, the built-in ones and the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adabatch.settings import Settings, options, overlay
from adabatch.settings.loading import settings_in_file
from adabatch.training.building import build_schedule

__all__ = [
    "Schedule",
    "choose_schedules",
    "constant_batch",
    "constant_schedule",
    "own_schedule",
    "standard_schedules",
]

Kind = Literal["constant", "fixed", "adaptive"]

COMMON = frozenset({"data", "parallel", "run"})
"""Sections that all schedules share: what another schedule had of them would not be comparable."""

SHARED = frozenset({"model", "sequence_length", "epsilon", "beta1"})


@dataclass(frozen=True)
class Schedule:
    """One schedule of the comparison.

    Attributes:
        name: on the command line and in files.
        label: in tables and figures.
        kind: constant ones make the frontier; fixed ones do not look at gradients; adaptive ones do.
        overrides: settings by field name, over the base settings. What they set is not tuned.
    """

    name: str
    label: str
    kind: Kind
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def moves_rate(self, base: Settings) -> bool:
        """Whether the learning rate follows the batch, so that a gain may be the rate's."""
        settings = overlay(base, self.overrides)
        scaling = build_schedule(settings).learning_rate_scaling or settings.optimizer.lr_scaling
        return self.kind != "constant" and (scaling != "none" or settings.schedule.noise_limit > 0)


def standard_schedules(base: Settings, constant_batches: Sequence[int] = ()) -> list[Schedule]:
    """The schedules that ``adabatch compare`` knows, in the order in which they are trained.

    Args:
        base: gives the first batch, the largest one and the settings of the norm test.
        constant_batches: of the constant schedules; by default 1, 2, 3, 4, 6 and 8 times the first batch.

    Raises:
        ValueError: for fewer than two different constant batches.

    >>> [schedule.name for schedule in standard_schedules(Settings(), (4, 8))][:3]
    ['constant-4', 'constant-8', 'norm-test-1']
    """
    first = base.schedule.initial_batch
    sizes = sorted(set(constant_batches or (first * times for times in (1, 2, 3, 4, 6, 8))))
    if len(sizes) < 2 or sizes[0] < 1:
        raise ValueError(
            f"the frontier needs at least two different constant batches of at least 1, but got "
            f"{', '.join(map(str, constant_batches))} (--constant-batches)"
        )
    twice = constant_batch(base, 2 * first)
    most, sqrt = 8 * first, {"lr_scaling": "sqrt"}
    whole_budget = {"schedule": "linear-ramp", "ramp_samples": base.run.samples, "max_batch": most}
    stages = {"schedule": "stagewise", "stage_batches": (first, 2 * first, 4 * first)}
    halves = f"{max(2, base.data.sequence_length // 2)}:0.3,{base.data.sequence_length}:1"
    return [
        *(constant_schedule(base, size) for size in sizes),
        _norm_test("norm-test-1", "norm test, eta 1", eta=1.0),
        _norm_test("norm-test-1-sqrt", "norm test, eta 1, sqrt rate", eta=1.0, **sqrt),
        _norm_test("norm-test-0.7", "norm test, eta 0.7", eta=0.7),
        _norm_test("norm-test-0.7-sqrt", "norm test, eta 0.7, sqrt rate", eta=0.7, **sqrt),
        *(_goodput(size) for size in (first, 4 * first, 16 * first)),
        _goodput(4 * first, **sqrt),
        Schedule("ramp-sqrt", f"ramp {first} to {most}, sqrt rate", "fixed", whole_budget | sqrt),
        Schedule("stagewise", "stagewise 2.5-2.5-95", "fixed", stages),
        Schedule("seesaw", "Seesaw", "fixed", {"schedule": "seesaw"}),
        _exchange("exchange-half", "exchange, share 1/2", exchange_share=0.5),
        _exchange("exchange", "exchange, share 1", exchange_share=1.0),
        _exchange("exchange-limited", "exchange, share 1, limit 1", exchange_share=1.0, noise_limit=1.0),
        Schedule("late", f"late, {4 * first} at 75%", "fixed", {"schedule": "late", "switch_batch": 4 * first}),
        Schedule("cyclic", f"constant {2 * first}, cyclic", "fixed", twice | {"lr_path": "cyclic"}),
        Schedule("lengths", f"constant {2 * first}, lengths", "fixed", twice | {"length_stages": halves}),
    ]


def own_schedule(text: str) -> Schedule:
    """A schedule of the user's: ``name:key=value,key=value`` or ``name:file.toml``.

    Args:
        text: as given with ``--variant``. In a settings file only the sections that schedules differ in count, in
            which it may name anything.

    Raises:
        ValueError: for text of another form, an unknown setting, and one that all schedules must share.

    >>> own_schedule("careful:eta=0.5,stage_batches=8,16").overrides
    {'eta': '0.5', 'stage_batches': '8,16'}
    """
    name, colon, given = text.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or not given:
        raise ValueError(
            f"--variant takes a name of letters and digits, a colon, and settings or a settings file, such as "
            f"careful:schedule=norm-test,eta=0.5 or careful:mine.toml, not {text!r}"
        )
    if given.endswith(".toml"):
        overrides = settings_in_file(Path(given))
    else:
        parts = [part.partition("=") for part in re.split(r",(?=\w+=)", given)]
        if not all(equals and value for _, equals, value in parts):
            raise ValueError(f"--variant {name}: settings are key=value, separated by commas, not {given!r}")
        overrides = {key.strip().replace("-", "_"): value for key, _, value in parts}
    sections = {item.name: section for section, item, _ in options()}
    shared = [key for key in overrides if sections.get(key) in COMMON or key in SHARED]
    if shared:
        raise ValueError(
            f"--variant {name} sets {', '.join(shared)}, which all schedules of a comparison must share: leave it "
            "out there, and give it to the comparison itself"
        )
    adaptive = overrides.get("schedule", "norm-test") in ("norm-test", "goodput")
    return Schedule(name, name, "adaptive" if adaptive else "fixed", overrides)


def choose_schedules(known: Sequence[Schedule], names: Sequence[str]) -> list[Schedule]:
    """The schedules of these names and all constant ones, in the order of ``known``; all if none.

    Raises:
        ValueError: for an unknown name.
    """
    by_name = {schedule.name: schedule for schedule in known}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(
            f"the schedule {unknown[0]!r} is not known: take one or more of {', '.join(by_name)} (--schedules), or "
            "describe it with --variant"
        )
    chosen = set(names or by_name)
    return [schedule for schedule in known if schedule.name in chosen or schedule.kind == "constant"]


def constant_schedule(base: Settings, size: int) -> Schedule:
    """A constant batch."""
    return Schedule(f"constant-{size}", f"constant {size}", "constant", constant_batch(base, size))


def constant_batch(base: Settings, size: int) -> dict[str, Any]:
    """A constant batch in the largest micro-batches that make it up."""
    per_rank = max(1, size // base.parallel.ranks)
    largest = min(per_rank, base.schedule.max_micro_batch)
    micro_batch = next(m for m in range(largest, 0, -1) if per_rank % m == 0)
    return {"schedule": "constant", "initial_batch": size, "max_batch": size, "micro_batch": micro_batch}


def _norm_test(name: str, label: str, **overrides: Any) -> Schedule:
    return Schedule(name, label, "adaptive", {"schedule": "norm-test"} | overrides)


def _goodput(saturation: int, **overrides: Any) -> Schedule:
    """On hardware of a given B_sat = t0 / t1."""
    scaled = ("-sqrt", ", sqrt rate") if overrides else ("", "")
    given = {"schedule": "goodput", "step_time": f"{saturation},1"} | overrides
    return Schedule(
        f"goodput-{saturation}{scaled[0]}", f"goodput, B_sat {saturation}{scaled[1]}", "adaptive", given
    )


def _exchange(name: str, label: str, **overrides: Any) -> Schedule:
    return Schedule(name, label, "fixed", {"schedule": "exchange"} | overrides)
