"""What the search chose for a schedule, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from adabatch.experiments.comparison.results import Comparison
from adabatch.experiments.comparison.schedules import Schedule
from adabatch.experiments.comparison.tuning.points import PATHS, Axes, settings_at

__all__ = ["Tuned"]


@dataclass(frozen=True)
class Tuned:
    """A schedule's learning rate, path and warm-up.

    Attributes:
        rate: the peak learning rate.
        path: its name in :data:`adabatch.experiments.comparison.tuning.points.PATHS`, or as the schedule sets it.
        warmup: share of the samples.
        axes: which of them were tuned; the schedule itself sets the others.
        edges: of these, in which the point lies at the edge of what was tried; none where nothing was tried.
    """

    rate: float
    path: str
    warmup: float
    axes: Axes
    edges: tuple[str, ...]

    @classmethod
    def of(cls, comparison: Comparison, schedule: Schedule) -> Tuned:
        """Of a schedule with results."""
        axes, point = Axes.of(schedule), comparison.points[schedule.name]
        settings = settings_at(comparison.base, schedule, point, comparison.base.data.seed)
        optimizer = settings.optimizer
        path = list(PATHS)[point.path] if axes.path else optimizer.lr_path
        edges = tuple(comparison.searches[schedule.name].edges())
        return cls(optimizer.lr, path, optimizer.warmup_samples / settings.run.samples, axes, edges)
