"""What is compared: schedules as settings that replace the base settings, some derived from another's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from adabatch.settings import Settings

__all__ = ["ADAPTIVE", "Variant", "choose_variants", "standard_variants"]

Kind = Literal["constant", "fixed", "adaptive"]

ADAPTIVE = "unbiased-0.8"
"""The adaptive variant whose runs the ramp and the replay are derived from."""


@dataclass(frozen=True)
class Variant:
    """One schedule of the comparison.

    Attributes:
        name: on the command line and in folders.
        label: in tables and figures.
        kind: constant ones make the frontier; fixed ones do not look at gradients; adaptive ones do.
        overrides: settings by field name, over the base settings.
        derived: what more follows from the runs of :data:`ADAPTIVE` at the same learning rate. ``steps``: as many
            steps as its run of the same seed; ``replay``: the batch sizes of its run of another seed.
    """

    name: str
    label: str
    kind: Kind
    overrides: Mapping[str, Any] = field(default_factory=dict)
    derived: Literal["steps", "replay"] | None = None


def standard_variants(base: Settings, constant_batches: Sequence[int] = ()) -> list[Variant]:
    """The schedules that ``adabatch compare`` knows, in the order in which they run.

    Args:
        base: gives first and largest batch and the number of samples.
        constant_batches: of the constant schedules, ascending; by default 1, 2, 3 and 4 times the first batch.

    Raises:
        ValueError: for fewer than two different constant batches.

    >>> [variant.name for variant in standard_variants(Settings(), (4, 8))][:3]
    ['constant-4', 'constant-8', 'unbiased-0.8']
    """
    schedule = base.schedule
    first, largest = schedule.initial_batch, schedule.max_batch
    sizes = sorted(set(constant_batches or (first, 2 * first, 3 * first, 4 * first)))
    if len(sizes) < 2 or sizes[0] < 1:
        raise ValueError(
            f"the frontier needs at least two different constant batches of at least 1, but got "
            f"{', '.join(map(str, constant_batches))} (--constant-batches)"
        )
    longest = _constant(base, sizes[-1]) | {"warmup_samples": round(0.15 * base.run.samples)}
    stages = tuple(max(first, largest // part) for part in (4, 2, 1))
    return [
        *(Variant(f"constant-{size}", f"constant {size}", "constant", _constant(base, size)) for size in sizes),
        _norm_test("unbiased-0.8", "norm test, eta 0.8", eta=0.8),
        Variant("ramp", "linear ramp, equal steps", "fixed", {"schedule": "linear-ramp"}, "steps"),
        _norm_test("unbiased-0.9", "norm test, eta 0.9", eta=0.9),
        Variant("long-warmup", f"constant {sizes[-1]}, warm-up 15%", "fixed", longest),
        Variant("stagewise", "stagewise 2.5-2.5-95", "fixed", {"schedule": "stagewise", "stage_batches": stages}),
        Variant("seesaw", "Seesaw", "fixed", {"schedule": "seesaw"}),
        Variant("replay", "norm test of another seed", "fixed", {"schedule": "replay"}, "replay"),
        _norm_test("debiased-ema", "debiased, EMA 0.9, eta 1", estimator="debiased", ema=0.9, eta=1.0),
        _norm_test("l1-0.9", "l1 test, eta 0.9", test="l1", eta=0.9),
        _norm_test("l1-1.0", "l1 test, eta 1.0", test="l1", eta=1.0),
        _norm_test("paper-0.3", "published estimator, eta 0.3", estimator="paper", eta=0.3),
        _norm_test("sqrt-scaling", "norm test, eta 0.8, sqrt lr", eta=0.8, lr_scaling="sqrt"),
    ]


def choose_variants(known: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    """The variants of these names and those that they are derived from, in the order of ``known``; all if none.

    Raises:
        ValueError: for an unknown name.
    """
    by_name = {variant.name: variant for variant in known}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(
            f"the variant {unknown[0]!r} is not known: take one or more of {', '.join(by_name)} (--variants)"
        )
    chosen = set(names or by_name)
    if any(by_name[name].derived for name in chosen):
        chosen.add(ADAPTIVE)
    return [variant for variant in known if variant.name in chosen]


def _constant(base: Settings, size: int) -> dict[str, Any]:
    """A constant schedule in the largest micro-batches that make up the batch."""
    per_rank = max(1, size // base.parallel.ranks)
    largest = min(per_rank, base.schedule.max_micro_batch)
    micro_batch = next(m for m in range(largest, 0, -1) if per_rank % m == 0)
    return {"schedule": "constant", "initial_batch": size, "max_batch": size, "micro_batch": micro_batch}


def _norm_test(name: str, label: str, **overrides: Any) -> Variant:
    return Variant(name, label, "adaptive", {"schedule": "norm-test"} | overrides)
