"""What is compared: schedules as settings over the base settings, the built-in ones and the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adabatch.experiments.run import CHANGEABLE
from adabatch.schedules import BatchSizeSchedule
from adabatch.schedules.learning_rate import rule_of_optimizer
from adabatch.settings import Settings, options, overlay, to_saved
from adabatch.settings.loading import settings_in_file

__all__ = [
    "Schedule",
    "choose_schedules",
    "constant_batch",
    "constant_schedule",
    "own_schedules",
    "standard_schedules",
]

Kind = Literal["constant", "fixed", "adaptive"]

COMMON = frozenset({"data", "parallel", "run"})
"""Sections that all schedules share: what another schedule had of them would not be comparable."""

OF_THE_COMPARISON = frozenset({"parallel", "run"})
"""Sections that a settings file may have, as that of a run does, but does not set: they are the comparison's."""

SHARED = frozenset({"model", "epsilon", "beta1", "optimizer", "momentum", "nesterov", "muon_momentum"})
"""Settings of other sections that all schedules share."""

TUNED = frozenset({"lr", "min_lr", "lr_path", "decay_fraction", "lr_cycles", "warmup_samples"})
"""Settings of the optimizer that are tuned for every schedule, or are a part of its path."""

SWITCHES = {"true": True, "false": False}


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

    def needs_control(self, base: Settings) -> bool:
        """Whether a gain over constant batches may be the optimizer's rather than that of the batches.

        It may be where the learning rate follows the batch, and where the schedule sets anything else of the
        optimizer than what is tuned for the constant batches too.
        """
        settings = overlay(base, self.overrides)
        own, common = vars(settings.optimizer), vars(base.optimizer)
        alone = any(own[name] != common[name] for name in own.keys() - TUNED)
        scaling = _built(base, self.overrides).learning_rate_scaling or settings.optimizer.lr_scaling
        follows = scaling != "none" or settings.schedule.noise_limit > 0
        return self.kind != "constant" and (follows or alone)


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
    rule = rule_of_optimizer(base.optimizer.optimizer)
    most, scaled = 8 * first, {"lr_scaling": rule}
    limited = {"exchange_share": 1.0, "noise_limit": 1.0}
    whole_budget = {"schedule": "linear-ramp", "ramp_samples": base.run.samples, "max_batch": most}
    stages = {"schedule": "stagewise", "stage_batches": (first, 2 * first, 4 * first)}
    halves = f"{max(2, base.data.sequence_length // 2)}:0.3,{base.data.sequence_length}:1"
    return [
        *(constant_schedule(base, size) for size in sizes),
        _norm_test("norm-test-1", "norm test, eta 1", eta=1.0),
        _norm_test(f"norm-test-1-{rule}", f"norm test, eta 1, {rule} rate", eta=1.0, **scaled),
        _norm_test("norm-test-0.7", "norm test, eta 0.7", eta=0.7),
        _norm_test(f"norm-test-0.7-{rule}", f"norm test, eta 0.7, {rule} rate", eta=0.7, **scaled),
        *(_goodput(size) for size in (first, 4 * first, 16 * first)),
        _goodput(4 * first, **scaled),
        Schedule(f"ramp-{rule}", f"ramp {first} to {most}, {rule} rate", "fixed", whole_budget | scaled),
        Schedule("stagewise", "stagewise 2.5-2.5-95", "fixed", stages),
        *([Schedule("seesaw", "Seesaw", "fixed", {"schedule": "seesaw"})] if rule == "sqrt" else []),
        _exchange("exchange-half", "exchange, share 1/2", exchange_share=0.5),
        _exchange("exchange", "exchange, share 1", exchange_share=1.0),
        _exchange("exchange-limited", "exchange, share 1, limit 1", kind="adaptive", **limited),
        Schedule("late", f"late, {4 * first} at 75%", "fixed", {"schedule": "late", "switch_batch": 4 * first}),
        Schedule("cyclic", f"constant {2 * first}, cyclic", "fixed", twice | {"lr_path": "cyclic"}),
        Schedule("lengths", f"constant {2 * first}, lengths", "fixed", twice | {"length_stages": halves}),
    ]


def own_schedules(texts: Sequence[str], base: Settings, known: Sequence[Schedule] = ()) -> list[Schedule]:
    """Schedules of the user's, each ``name:key=value,key=value`` or ``name:file.toml``.

    Args:
        texts: as given with ``--variant``. A settings file may be the ``config.toml`` of a run: its sections
            ``run`` and ``parallel`` and its seed are left out, since they are the comparison's to set.
        base: settings of all runs; what a schedule does not set is theirs.
        known: schedules whose names are taken.

    Raises:
        ValueError: for text of another form, a name that is taken, settings that no run can have, and those that
            all schedules must share.

    >>> (careful,) = own_schedules(["careful:schedule=stagewise,stage_batches=8,16,32"], Settings())
    >>> careful.kind, careful.overrides["stage_batches"]
    ('fixed', '8,16,32')
    """
    taken, own = {schedule.name for schedule in known}, []
    for text in texts:
        schedule = _own_schedule(text, base)
        if schedule.name in taken:
            raise ValueError(f"--variant {schedule.name}: there is a schedule of this name: take another one")
        taken.add(schedule.name)
        own.append(schedule)
    return own


def _own_schedule(text: str, base: Settings) -> Schedule:
    name, _, given = text.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or not given:
        raise ValueError(
            f"--variant takes a name of letters and digits, a colon, and settings or a settings file, such as "
            f"careful:schedule=norm-test,eta=0.5 or careful:mine.toml, not {text!r}"
        )
    try:
        overrides = _settings_of_file(Path(given)) if given.endswith(".toml") else _settings_in_text(given)
        overrides = _without_shared(overrides, base)
        schedule = _built(base, overrides)
    except ValueError as refusal:
        raise ValueError(f"--variant {name}: {refusal}") from None
    return Schedule(name, name, "adaptive" if schedule.groups_needed > 1 else "fixed", overrides)


def _settings_of_file(path: Path) -> dict[str, Any]:
    """What a settings file sets of a schedule, of its model and of its data."""
    sections = {item.name: section for section, item, _ in options()}
    values = settings_in_file(path).items()
    return {key: value for key, value in values if key != "seed" and sections[key] not in OF_THE_COMPARISON}


def _settings_in_text(text: str) -> dict[str, Any]:
    """The settings in ``key=value,key=value``; a value may have commas too."""
    parts = [part.partition("=") for part in re.split(r",(?=[\w-]+=)", text)]
    if not all(key and value for key, _, value in parts):
        raise ValueError(f"settings are key=value, separated by commas, not {text!r}")
    switches = {item.name for _, item, hint in options() if hint is bool}
    values: dict[str, Any] = {key.strip().replace("-", "_"): value.strip() for key, _, value in parts}
    for key in values.keys() & switches:
        if values[key] not in SWITCHES:
            raise ValueError(f"{key} is true or false, not {values[key]!r}")
        values[key] = SWITCHES[values[key]]
    return values


def _without_shared(overrides: Mapping[str, Any], base: Settings) -> dict[str, Any]:
    """Those that schedules may differ in.

    Raises:
        ValueError: if another one is not the base's.
    """
    sections = {item.name: section for section, item, _ in options()}
    values, wanted = to_saved(overlay(base, overrides)), to_saved(base)
    shared = [key for key in overrides if key in SHARED or sections[key] in COMMON]
    places = [(sections[key], key) for key in shared if key not in CHANGEABLE]
    differing = [
        f"{key} = {values[section][key]} (the comparison's is {wanted[section][key]})"
        for section, key in places
        if values[section][key] != wanted[section][key]
    ]
    if differing:
        raise ValueError(
            f"all schedules of a comparison share {', '.join(differing)}: leave that out, or give it to the "
            "comparison itself"
        )
    return {key: value for key, value in overrides.items() if key not in shared}


def choose_schedules(known: Sequence[Schedule], names: Sequence[str]) -> list[Schedule]:
    """The schedules of these names and all constant ones, in the order of ``known``; all if none.

    Raises:
        ValueError: for an unknown name.
    """
    by_name = {schedule.name: schedule for schedule in known}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(
            f"the schedule {unknown[0]!r} is not known: take one or more of {', '.join(by_name)} (--schedules), "
            "or describe it with --variant"
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
    rule = overrides.get("lr_scaling")
    scaled = (f"-{rule}", f", {rule} rate") if rule else ("", "")
    given = {"schedule": "goodput", "step_time": f"{saturation},1"} | overrides
    return Schedule(
        f"goodput-{saturation}{scaled[0]}", f"goodput, B_sat {saturation}{scaled[1]}", "adaptive", given
    )


def _exchange(name: str, label: str, kind: Kind = "fixed", **overrides: Any) -> Schedule:
    return Schedule(name, label, kind, {"schedule": "exchange"} | overrides)


def _built(base: Settings, overrides: Mapping[str, Any]) -> BatchSizeSchedule:
    """The batch schedule, with a warm-up that fits into any budget: it is tuned."""
    from adabatch.training.building import build_schedule  # torch, which the command's help need not wait for

    return build_schedule(overlay(base, {"warmup_samples": base.run.samples // 10} | dict(overrides)))
