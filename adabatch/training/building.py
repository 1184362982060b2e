"""From settings to the objects of a run. What a user can get wrong is found here, before any rank starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from adabatch.model.parts import model_part
from adabatch.reporting.metrics import read_metrics
from adabatch.schedules import (
    BatchSizeSchedule,
    Constant,
    CoordinateTest,
    L1NormTest,
    LinearRamp,
    MicroBatching,
    NormTest,
    Replay,
    Seesaw,
    Stagewise,
)
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.settings import OptimizerSettings, ParallelSettings, RunSettings, ScheduleSettings, Settings, options
from adabatch.statistics import CoordinateStatistics, GradientStatistics

__all__ = [
    "build_layout",
    "build_learning_rate",
    "build_optimizer",
    "build_schedule",
    "build_statistics",
    "check_settings",
    "first_batch",
]


def first_batch(settings: ScheduleSettings) -> int:
    """The batch of the first step."""
    if settings.schedule == "stagewise":
        if not settings.stage_batches:
            raise ValueError("a stagewise schedule needs a batch for each stage (--stage-batches 32,64,128)")
        return settings.stage_batches[0]
    return _replayed(settings).batch_size if settings.schedule == "replay" else settings.initial_batch


def build_layout(settings: ScheduleSettings, world_size: int, resumed: bool = False) -> MicroBatching:
    """How batches are split over ranks, accumulation and micro-batch.

    Args:
        settings: the batch sizes.
        world_size: data-parallel ranks.
        resumed: the run began before, perhaps on another number of ranks.

    Raises:
        ValueError: for an initial batch that ranks x micro-batch cannot make, unless the run is resumed.
    """
    layout = MicroBatching.resuming if resumed else MicroBatching.starting_at
    return layout(first_batch(settings), world_size, settings.micro_batch, settings.max_micro_batch)


def build_schedule(settings: Settings, layout: MicroBatching) -> BatchSizeSchedule:
    """The batch-size schedule.

    Args:
        settings: which schedule and its parameters, the budget, and for Seesaw the learning rate.
        layout: rounds its proposals up to what can be realised.

    Raises:
        ValueError: for parameters outside their range, or a norm test with one group only.
    """
    chosen, samples = settings.schedule, settings.run.samples
    if chosen.schedule == "constant":
        return Constant(chosen.initial_batch, layout)
    if chosen.schedule == "stagewise":
        return Stagewise(chosen.stage_batches, chosen.stage_fractions, samples, layout)
    if chosen.schedule == "linear-ramp":
        return LinearRamp(chosen.initial_batch, chosen.max_batch, chosen.ramp_samples, layout)
    if chosen.schedule == "seesaw":
        cuts = build_learning_rate(settings).cuts(chosen.seesaw_factor)
        return Seesaw(chosen.initial_batch, chosen.max_batch, cuts, chosen.seesaw_factor, layout)
    if chosen.schedule == "replay":
        return _replayed(chosen, layout)
    return _norm_test(chosen, layout)


def _replayed(settings: ScheduleSettings, layout: MicroBatching | int = 1) -> Replay:
    if not settings.replay_run:
        raise ValueError("a replay needs the run whose batch sizes it takes: give its folder (--replay-run)")
    return Replay.of_records(read_metrics(Path(settings.replay_run)), layout)


def _norm_test(settings: ScheduleSettings, layout: MicroBatching) -> NormTest:
    if layout.world_size * layout.accumulation < 2:
        raise ValueError(
            f"the norm test needs at least 2 groups (ranks x micro-batches), but {layout.world_size} rank with a "
            f"batch of {settings.initial_batch} in micro-batches of {settings.micro_batch} makes one: add "
            "--ranks, lower --micro-batch or raise --initial-batch"
        )
    build: Callable[..., NormTest] = partial(NormTest, estimator=settings.estimator)
    if settings.test == "l1":
        build = partial(L1NormTest, conservative=settings.l1_denominator == "conservative")
    elif settings.test == "coordinate":
        build = partial(CoordinateTest, quantile=settings.coordinate_quantile)
    return build(
        eta=settings.eta,
        initial=settings.initial_batch,
        maximum=settings.max_batch,
        rounding=layout,
        test_interval=settings.test_interval,
        ema=settings.ema,
        max_growth=settings.max_growth,
    )


def build_statistics(model: nn.Module, settings: Settings) -> GradientStatistics:
    """The scalar statistics, or the coordinate-wise ones where the test or the monitoring needs them."""
    part_of = model_part if settings.run.monitor_layers else None
    if not _needs_coordinates(settings):
        return GradientStatistics(model, part_of=part_of)
    conservative = settings.schedule.l1_denominator == "conservative"
    stride = settings.schedule.coordinate_stride
    return CoordinateStatistics(model, part_of=part_of, conservative=conservative, stride=stride)


def _needs_coordinates(settings: Settings) -> bool:
    tested = settings.schedule.schedule == "norm-test" and settings.schedule.test != "scalar"
    return tested or settings.run.monitor_coordinates


def build_learning_rate(settings: Settings) -> LearningRate:
    """The learning-rate schedule over the budget of samples, with its scaling by the batch.

    Raises:
        ValueError: for rates or a warm-up out of range, or a scaling on top of Seesaw's own.
    """
    rates, schedule = settings.optimizer, settings.schedule.schedule
    if schedule == "seesaw" and rates.lr_scaling == "linear":
        raise ValueError(
            "--schedule seesaw scales the learning rate by the square root of the batch: leave out --lr-scaling"
        )
    if rates.lr_reference_batch < 0:
        raise ValueError(
            f"--lr-reference-batch must be 0 (the first batch) or more, but is {rates.lr_reference_batch}"
        )
    scaling = BatchScaling(rates.lr_scaling, rates.lr_reference_batch or first_batch(settings.schedule))
    return LearningRate(rates.lr, rates.min_lr, rates.warmup_samples, settings.run.samples, scaling)


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> AdamW:
    """AdamW with weight decay on every parameter, as in the paper.

    ``foreach`` on the CPU (the default loop is 12 times slower on sharded parameters), ``fused`` on GPUs.
    """
    by_mesh: dict[object, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            mesh = parameter.device_mesh if isinstance(parameter, DTensor) else None
            by_mesh.setdefault(mesh, []).append(parameter)
    on_gpu = next(iter(by_mesh.values()))[0].device.type == "cuda"
    return AdamW(
        # One group a mesh: list operations do not take tensors of several meshes (plain norms beside tensor
        # parallel matrices).
        [{"params": parameters} for parameters in by_mesh.values()],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=on_gpu,
        foreach=not on_gpu,
    )


def _check_run(settings: RunSettings) -> None:
    """Raise ValueError for counts out of range and names that are none."""
    known = {item.name for _, item, _ in options()}
    for name in settings.allow:
        if name not in known:
            raise ValueError(f"--allow {name} names no setting: take names such as {', '.join(sorted(known)[:3])}")
    if settings.samples < 1:
        raise ValueError(f"the budget must be at least 1 sample, but is {settings.samples} (--samples)")
    for name in ("validation_interval", "checkpoint_interval", "monitor_interval", "keep"):
        if getattr(settings, name) < 0:
            option = "--" + name.replace("_", "-")
            meaning = "all" if name == "keep" else "never"
            raise ValueError(f"{option} must be 0 ({meaning}) or more, but is {getattr(settings, name)}")
    if settings.max_skipped < 0:
        raise ValueError(f"--max-skipped must be 0 (never stop) or more, but is {settings.max_skipped}")
    if settings.validation_interval and settings.validation_samples < 1:
        raise ValueError(
            f"validation needs at least 1 sample, but --validation-samples is {settings.validation_samples}; "
            "--validation-interval 0 turns it off"
        )


def _check_mesh(settings: ParallelSettings, world_size: int) -> None:
    """Raise ValueError for ranks that cannot be laid out as asked."""
    if settings.parallel == "single" and world_size > 1:
        raise ValueError(f"--parallel single runs 1 rank, but {world_size} were asked for: take ddp or fsdp")
    replicas, shared = settings.replicas, settings.tensor_parallel
    if settings.parallel == "hsdp" and (replicas < 1 or world_size % replicas):
        raise ValueError(
            f"{world_size} ranks cannot make {replicas} replicas of equal size: take a divisor (--replicas)"
        )
    if shared < 1 or world_size % shared:
        raise ValueError(
            f"{world_size} ranks cannot make teams of {shared} tensor-parallel ranks: take a divisor "
            "(--tensor-parallel)"
        )
    if shared > 1 and settings.parallel != "fsdp":
        raise ValueError(
            f"--tensor-parallel {shared} goes with --parallel fsdp (a mesh of shards x tensor-parallel ranks), "
            f"not with {settings.parallel}"
        )
    if settings.sequence_parallel and shared == 1:
        raise ValueError("--sequence-parallel is for tensor parallelism: add --tensor-parallel 2 or more")


def check_settings(settings: Settings, world_size: int, resumed: bool = False) -> None:
    """Everything that can be refused without a model, a corpus or a rank.

    Args:
        settings: as the user gave them.
        world_size: ranks.
        resumed: the run goes on from a checkpoint; its first batch has been made.

    Raises:
        ValueError: says what was given, what is allowed and what to do.
    """
    parallel = settings.parallel
    if world_size < 1:
        raise ValueError(f"at least 1 rank is needed, but {world_size} were asked for (--ranks)")
    _check_mesh(parallel, world_size)
    stride = settings.schedule.coordinate_stride
    if stride < 1:
        raise ValueError(f"--coordinate-stride must be 1 (every coordinate) or more, but is {stride}")
    if parallel.threads < 0:
        raise ValueError(f"--threads must be 0 (share the cores) or more, but is {parallel.threads}")
    if not 0 < parallel.timeout < math.inf:
        raise ValueError(f"--timeout must be a positive number of seconds, but is {parallel.timeout}")
    if parallel.max_restarts < 0:
        raise ValueError(f"--max-restarts must be 0 or more, but is {parallel.max_restarts}")
    _check_run(settings.run)
    layout = build_layout(settings.schedule, world_size // parallel.tensor_parallel, resumed)
    build_schedule(settings, layout)
    build_learning_rate(settings)
