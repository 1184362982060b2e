"""The points of an ablation: eta crossed with one other setting at a time, around a base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from adabatch.experiments.run import ExperimentRun
from adabatch.settings import Settings, overlay

__all__ = ["Block", "Point", "standard_blocks"]


@dataclass(frozen=True)
class Block:
    """A setting that is varied together with eta.

    Attributes:
        name: of what varies, for tables and figures.
        levels: label of each level and the settings that make it, over the base.
    """

    name: str
    levels: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Point:
    """One setting of the norm test.

    Attributes:
        base: settings that all points share.
        eta: of the test.
        overrides: the level's settings.
    """

    base: Settings
    eta: float
    overrides: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Equal for equal settings, so that a point that lies in several blocks is run once."""
        schedule = self.settings(0).schedule
        test = schedule.estimator if schedule.test == "scalar" else schedule.test
        return (
            f"{test}-eta-{schedule.eta:g}-interval-{schedule.test_interval}-max-{schedule.max_batch}"
            f"-micro-{schedule.micro_batch}"
        )

    def settings(self, seed: int) -> Settings:
        """The run's settings."""
        return overlay(self.base, {"schedule": "norm-test", "eta": self.eta, "seed": seed} | dict(self.overrides))

    def run(self, seed: int, folder: Path) -> ExperimentRun:
        """The point as a run of the experiment in ``folder``."""
        return ExperimentRun(f"{self.name}/seed-{seed}", folder, partial(self.settings, seed))


def standard_blocks(base: Settings) -> list[Block]:
    """Estimator, test interval, largest batch and number of groups, each with its levels.

    Args:
        base: a norm test with one rank's worth of groups; its first batch is split into 2, 4, ... groups.
    """
    schedule = base.schedule
    largest, per_rank = schedule.max_batch, schedule.initial_batch // base.parallel.ranks
    estimators: dict[str, Mapping[str, Any]] = {
        name: {"test": "scalar", "estimator": name} for name in ("unbiased", "debiased", "paper")
    }
    groups = [n for n in (2, 4, 8, 16) if per_rank % n == 0]
    return [
        Block("estimator", estimators | {"l1 test": {"test": "l1"}}),
        Block("test interval", {str(interval): {"test_interval": interval} for interval in (1, 10, 100)}),
        Block("largest batch", {str(size): {"max_batch": size} for size in (largest // 2, largest, 2 * largest)}),
        Block("groups", {str(n * base.parallel.ranks): {"micro_batch": per_rank // n} for n in groups}),
    ]
