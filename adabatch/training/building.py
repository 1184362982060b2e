"""From settings to the objects of a run."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from adabatch.model.parts import model_part
from adabatch.reporting.metrics import read_metrics
from adabatch.schedules import BatchSizeSchedule, MicroBatching
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.paths import PATHS
from adabatch.schedules.registry import RunContext, batch_rules
from adabatch.settings import OptimizerSettings, ScheduleSettings, Settings
from adabatch.statistics import CoordinateStatistics, GradientStatistics

__all__ = [
    "build_learning_rate",
    "build_micro_batching",
    "build_optimizer",
    "build_schedule",
    "build_statistics",
]


def build_schedule(settings: Settings) -> BatchSizeSchedule:
    """The batch-size schedule at its first batch, which is not yet rounded to what ranks can make.

    Args:
        settings: which schedule and its parameters, the budget, and for Seesaw the learning rate.

    Raises:
        ValueError: for parameters outside their range.
    """
    learning_rate = partial(_learning_rate, settings, BatchScaling())
    context = RunContext(settings.run.samples, learning_rate, read_metrics)
    return batch_rules()[settings.schedule.schedule].build(settings.schedule, context)


def build_micro_batching(
    settings: ScheduleSettings, first_batch: int, world_size: int, resumed: bool = False
) -> MicroBatching:
    """How batches are split over ranks, accumulation and micro-batch.

    Args:
        settings: the sizes of micro-batches.
        first_batch: the schedule's.
        world_size: data-parallel ranks.
        resumed: the run began before, perhaps on another number of ranks.

    Raises:
        ValueError: for a first batch that ranks x micro-batch cannot make, unless the run is resumed.
    """
    build = MicroBatching.resuming if resumed else MicroBatching.starting_at
    return build(first_batch, world_size, settings.micro_batch, settings.max_micro_batch)


def build_statistics(model: nn.Module, settings: Settings, schedule: BatchSizeSchedule) -> GradientStatistics:
    """The scalar statistics, or the coordinate-wise ones where the schedule or the monitoring needs them."""
    part_of = model_part if settings.run.monitor_layers else None
    if not (schedule.needs_coordinates or settings.run.monitor_coordinates):
        return GradientStatistics(model, part_of=part_of)
    conservative = settings.schedule.l1_denominator == "conservative"
    stride = settings.schedule.coordinate_stride
    return CoordinateStatistics(model, part_of=part_of, conservative=conservative, stride=stride)


def build_learning_rate(settings: Settings, first_batch: int) -> LearningRate:
    """The learning-rate schedule over the budget of samples, with its scaling by the batch.

    Args:
        settings: rates, warm-up, scaling and budget.
        first_batch: the schedule's; the scaling's reference unless the settings give one.

    Raises:
        ValueError: for rates, a warm-up or a reference batch out of range.
    """
    rates = settings.optimizer
    return _learning_rate(settings, BatchScaling(rates.lr_scaling, rates.lr_reference_batch or first_batch))


def _learning_rate(settings: Settings, scaling: BatchScaling) -> LearningRate:
    rates = settings.optimizer
    warmup, total = rates.warmup_samples, settings.run.samples
    path = PATHS[rates.lr_path].from_settings(rates, warmup, total)
    return LearningRate(rates.lr, rates.min_lr, warmup, total, scaling, path)


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
