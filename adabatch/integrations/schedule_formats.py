"""A schedule made here, in the words of other trainers: Megatron-LM's options, OLMo-core's callback, or JSON.

Batches take place at samples seen, so that the other trainer makes the same steps. Its own rules are respected:

- Megatron-LM reads ``--step-batch-size-schedule "TOKENS:BATCH ..."``; a batch is a multiple of micro-batch times
  data-parallel ranks; its learning rate follows the samples only.
- OLMo-core's ``BatchSizeSchedulerCallback`` changes the batch by integer factors, a larger one only where the
  samples seen are a multiple of it, and multiplies the learning rate by the root of each factor.

Both read the path of the learning rate where a step begins; here a step has the path's mean over its samples.

Sources:
    NVIDIA/Megatron-LM, ``megatron/core/num_microbatches_calculator.py``, ``optimizer_param_scheduler.py``;
    allenai/OLMo-core, ``train/callbacks/batch_size_scheduler.py``, ``optim/scheduler.py``.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.paths import Constant, Cosine, InverseSquareRoot, Linear, WarmupStableDecay

__all__ = ["FORMATS", "ExportedSchedule", "TakenStep", "Target", "as_json", "megatron", "olmo_core"]


class TakenStep(NamedTuple):
    """One step: the samples seen before it, its own samples and tokens, its learning rate."""

    start: int
    batch_size: int
    tokens: int
    learning_rate: float


@dataclass(frozen=True)
class Target:
    """Of the trainer that is to take the schedule.

    Attributes:
        micro_batch: sequences.
        ranks: data-parallel.
        rates: whether the learning rates are asked for too.
    """

    micro_batch: int = 1
    ranks: int = 1
    rates: bool = True


@dataclass(frozen=True)
class ExportedSchedule:
    """The steps of a run or a plan, and the path that their learning rates come from.

    Attributes:
        steps: one after the other from 0 samples on.
        rates: the path with its scaling by the batch.
        limited: whether a noise limit has changed learning rates beyond that.

    Raises:
        ValueError: without steps, or where samples are missing between them.

    >>> rates = LearningRate(0.5, 0.0, 0, 16, path=Constant())
    >>> steps = [TakenStep(0, 4, 32, 0.5), TakenStep(4, 4, 32, 0.5), TakenStep(8, 8, 64, 0.5)]
    >>> schedule = ExportedSchedule(steps, rates)
    >>> schedule.stages, schedule.samples, schedule.sequence_length
    ([(0, 4), (8, 8)], 16, 8)
    """

    steps: Sequence[TakenStep]
    rates: LearningRate
    limited: bool = False

    def __post_init__(self) -> None:
        ends = [step.start + step.batch_size for step in self.steps]
        for number, (end, step) in enumerate(zip((0, *ends), self.steps, strict=False), start=1):
            if step.start != end:
                raise ValueError(
                    f"step {number} begins after {step.start:,} samples, the steps before it end at {end:,}: its "
                    "metrics.jsonl is not complete; export a run whose records are"
                )
        if not self.steps:
            raise ValueError("there is no step to export: name a run that has taken one, or --config with a plan")

    @property
    def samples(self) -> int:
        """Samples of all steps."""
        return self.steps[-1].start + self.steps[-1].batch_size

    @property
    def stages(self) -> list[tuple[int, int]]:
        """Samples seen and the batch from there on, where it changes."""
        kept = [self.steps[0], *(b for a, b in pairwise(self.steps) if a.batch_size != b.batch_size)]
        return [(step.start, step.batch_size) for step in kept]

    @property
    def sequence_length(self) -> int:
        """Tokens of every sample.

        Raises:
            ValueError: where samples have different lengths.
        """
        lengths = sorted({step.tokens // step.batch_size for step in self.steps})
        if len(lengths) > 1:
            raise ValueError(
                f"sequences have {lengths[0]} to {lengths[-1]} tokens (--length-stages), which only --format json "
                "can express"
            )
        return lengths[0]

    @property
    def growth(self) -> float:
        """p, where the learning rate follows the batch to the power p; 0 if the batch never changes."""
        return self.rates.scaling.exponent if len(self.stages) > 1 else 0.0

    def doubled(self) -> ExportedSchedule:
        """The first batch times the powers of 2 up to the schedule's batch, each begun at a multiple of itself.

        Raises:
            ValueError: where a noise limit has changed learning rates.

        >>> rates = LearningRate(0.5, 0.0, 0, 20, path=Constant())
        >>> ExportedSchedule([TakenStep(0, 4, 4, 0.5), TakenStep(4, 11, 11, 0.5)], rates).doubled().stages
        [(0, 4), (8, 8)]
        """
        self._require_path("--doublings")
        first = batch = self.steps[0].batch_size
        starts = [step.start for step in self.steps]
        taken: list[TakenStep] = []
        start = 0
        while start < self.samples:
            step = self.steps[bisect_right(starts, start) - 1]
            wanted = first << max(0, (step.batch_size // first).bit_length() - 1)
            if wanted < batch or start % wanted == 0:
                batch = wanted
            rate = self.rates.mean(start, start + batch) * self.rates.scaling.factor(batch)
            taken.append(TakenStep(start, batch, step.tokens // step.batch_size * batch, rate))
            start += batch
        return replace(self, steps=taken)

    def _require_path(self, what: str) -> None:
        if self.limited:
            raise ValueError(
                f"the noise limit has changed the learning rates, which {what} cannot express: take --format json"
            )


def as_json(schedule: ExportedSchedule, target: Target) -> str:
    """Stages with samples and tokens, and the learning rate of every step by the samples seen before it."""
    tokens, before = 0, {}
    for step in schedule.steps:
        before[step.start] = tokens
        tokens += step.tokens
    stages = [{"samples": start, "tokens": before[start], "batch_size": batch} for start, batch in schedule.stages]
    document: dict[str, object] = {"samples": schedule.samples, "tokens": tokens, "stages": stages}
    if target.rates:
        document["learning_rates"] = [[step.start, step.learning_rate] for step in schedule.steps]
    return json.dumps(document, indent=1)


def megatron(schedule: ExportedSchedule, target: Target) -> str:
    """Megatron-LM's options, one on each line.

    Raises:
        ValueError: for a batch that micro-batch times ranks does not divide, and for learning rates that follow
            the batch, or whose path Megatron-LM does not have.

    >>> rates = LearningRate(0.5, 0.0, 4, 16, path=Constant())
    >>> schedule = ExportedSchedule([TakenStep(0, 8, 64, 0.375), TakenStep(8, 8, 64, 0.5)], rates)
    >>> print(megatron(schedule, Target(micro_batch=2, ranks=4, rates=False)))
    --step-batch-size-schedule "0:8"
    --micro-batch-size 2
    --seq-length 8
    --train-samples 16
    """
    unit = target.micro_batch * target.ranks
    if odd := sorted({step.batch_size for step in schedule.steps if step.batch_size % unit}):
        doublings = "" if schedule.steps[0].batch_size % unit else ", or --doublings"
        raise ValueError(
            f"Megatron-LM needs batches that {target.micro_batch} x {target.ranks} (micro-batch x data-parallel "
            f"ranks) divide, but the schedule has {_some(odd)}: take another --micro-batch or --data-parallel"
            f"{doublings}"
        )
    length = schedule.sequence_length
    stages = " ".join(f"{start * length}:{batch}" for start, batch in schedule.stages)
    lines = [
        f'--step-batch-size-schedule "{stages}"',
        f"--micro-batch-size {target.micro_batch}",
        f"--seq-length {length}",
        f"--train-samples {schedule.samples}",
    ]
    return "\n".join(lines + (_megatron_rates(schedule) if target.rates else []))


MEGATRON_STYLES = {
    Constant: "constant",
    Cosine: "cosine",
    Linear: "linear",
    WarmupStableDecay: "WSD",
    InverseSquareRoot: "inverse-square-root",
}


def _megatron_rates(schedule: ExportedSchedule) -> list[str]:
    rates = _plain_rates(schedule, "Megatron-LM", 0.0)
    style = MEGATRON_STYLES.get(type(rates.path))
    if style is None or (style == "inverse-square-root" and rates.minimum):
        raise _no_path("Megatron-LM", rates)
    lines = [
        f"--lr {rates.peak!r}",
        f"--min-lr {rates.minimum!r}",
        f"--lr-warmup-samples {rates.warmup_samples}",
        f"--lr-decay-samples {rates.total_samples}",
        f"--lr-decay-style {style}",
    ]
    if isinstance(rates.path, WarmupStableDecay):
        falling = round(rates.path.fraction * (rates.total_samples - rates.warmup_samples))
        lines += ["--lr-wsd-decay-style linear", f"--lr-wsd-decay-samples {falling}"]
    return lines


def olmo_core(schedule: ExportedSchedule, target: Target) -> str:
    """OLMo-core's callback and scheduler, as Python; its batches are tokens.

    Raises:
        ValueError: for a batch that changes by a factor that is not whole, or grows where the samples seen are not
            a multiple of it, and for learning rates that do not follow the root of the batch.

    >>> rates = LearningRate(0.5, 0.0, 0, 16, path=Constant())
    >>> steps = [TakenStep(0, 4, 32, 0.5), TakenStep(4, 4, 32, 0.5), TakenStep(8, 8, 64, 0.5)]
    >>> schedule = ExportedSchedule(steps, rates)
    >>> print(olmo_core(schedule, Target(rates=False)))
    BatchSizeSchedulerCallback(
        batch_sizes=[32, 64],
        schedule=[Duration.tokens(0), Duration.tokens(64)],
    )
    """
    for (_, before), (start, batch) in pairwise(schedule.stages):
        if max(before, batch) % min(before, batch):
            raise ValueError(
                f"OLMo-core changes a batch by whole factors, but after {start:,} samples this one goes from "
                f"{before} to {batch}: take --doublings, which keeps to powers of 2, or --format json"
            )
        if batch > before and start % batch:
            raise ValueError(
                f"OLMo-core would wait with the batch of {batch} until the samples seen are a multiple of it, but "
                f"the schedule has it after {start:,}: take --doublings, or --format json"
            )
    length, stages = schedule.sequence_length, schedule.stages
    durations = ", ".join(f"Duration.tokens({start * length})" for start, _ in stages)
    lines = [
        "BatchSizeSchedulerCallback(",
        f"    batch_sizes={[batch * length for _, batch in stages]},",
        f"    schedule=[{durations}],",
        ")",
    ]
    return "\n".join(lines + (_olmo_core_rates(schedule, length) if target.rates else []))


def _olmo_core_rates(schedule: ExportedSchedule, length: int) -> list[str]:
    rates = _plain_rates(schedule, "OLMo-core", 0.5)
    warmup, total, path = rates.warmup_samples * length, rates.total_samples * length, rates.path
    floor = rates.minimum / rates.peak
    options = {
        Constant: ("ConstantWithWarmup", ""),
        Cosine: ("CosWithWarmup", f", alpha_f={floor!r}, t_max={total}"),
        Linear: ("LinearWithWarmup", f", alpha_f={floor!r}, t_max={total}"),
        InverseSquareRoot: ("InvSqrtWithWarmup", f", alpha_f={floor!r}"),
    }.get(type(path))
    if isinstance(path, WarmupStableDecay) and not (rates.minimum and schedule.growth):
        falling = round(path.fraction * (total - warmup))
        options = "WSD", f", decay={falling}, decay_fraction=None, decay_min_lr={rates.minimum!r}"
    if options is None:
        raise _no_path("OLMo-core", rates)
    name, rest = options
    return [
        f'scheduler={name}(units="tokens", warmup={warmup}{rest})',
        f"lr={rates.peak!r}",
        f"max_duration=Duration.tokens({schedule.samples * length})",
    ]


def _plain_rates(schedule: ExportedSchedule, trainer: str, exponent: float) -> LearningRate:
    """The path with its peak at the first batch.

    Raises:
        ValueError: where the trainer scales learning rates by another power of the batch.
    """
    schedule._require_path(trainer)
    if len(schedule.stages) > 1 and schedule.growth != exponent:
        here, there = (POWERS[power] for power in (schedule.growth, exponent))
        raise ValueError(
            f"in {trainer} learning rates {there}, here they {here}: take --batches-only and set its learning "
            "rates by hand, or --format json, which has the learning rate of every step"
        )
    factor = schedule.rates.scaling.factor(schedule.steps[0].batch_size)
    return replace(schedule.rates, peak=schedule.rates.peak * factor, minimum=schedule.rates.minimum * factor)


POWERS = {0.0: "do not follow the batch", 0.5: "follow the root of the batch", 1.0: "follow the batch"}


def _no_path(trainer: str, rates: LearningRate) -> ValueError:
    name = type(rates.path).__name__
    return ValueError(
        f"{trainer} has no learning-rate path like this one ({name}, from {rates.peak:g} to {rates.minimum:g}): "
        "take --batches-only and set its learning rates by hand, or --format json, which has the learning rate of "
        "every step"
    )


def _some(batches: Sequence[int]) -> str:
    shown = ", ".join(map(str, batches[:3]))
    return shown if len(batches) <= 3 else f"{shown} and {len(batches) - 3} more"


FORMATS: Mapping[str, Callable[[ExportedSchedule, Target], str]] = {
    "megatron": megatron,
    "olmo-core": olmo_core,
    "json": as_json,
}
"""By the name that ``--format`` takes."""
