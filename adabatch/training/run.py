"""A run: everything that a step touches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from adabatch.checkpoints.saving import CheckpointSaver
from adabatch.data.corpus import Corpus
from adabatch.distributed.parallel import DistributedContext
from adabatch.distributed.watchdog import Watchdog
from adabatch.schedules import BatchSizeSchedule, MicroBatching
from adabatch.schedules.coupling import Coupling
from adabatch.settings import Settings
from adabatch.statistics import GradientStatistics
from adabatch.statistics.matrix_noise import MatrixNoise
from adabatch.training.divergence import DivergenceGuard
from adabatch.training.memory_guard import MemoryGuard
from adabatch.training.optimizers import CombinedOptimizer
from adabatch.training.step_clock import StepClock
from adabatch.training.stopping import Stopping
from adabatch.training.throughput import Throughput

__all__ = ["Run"]


@dataclass
class Run:
    """Everything that a step touches."""

    settings: Settings
    ranks: DistributedContext
    corpus: Corpus
    model: nn.Module
    optimizer: Optimizer | CombinedOptimizer
    coupling: Coupling
    micro_batching: MicroBatching
    schedule: BatchSizeSchedule
    statistics: GradientStatistics
    matrix_noise: MatrixNoise
    guard: DivergenceGuard
    memory: MemoryGuard
    saver: CheckpointSaver
    watchdog: Watchdog
    stopping: Stopping
    clock: StepClock
    throughput: Throughput
    resumed_from: Path | None = None

    @property
    def samples(self) -> int:
        """Samples seen."""
        return self.schedule.samples

    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.samples >= self.settings.run.samples
