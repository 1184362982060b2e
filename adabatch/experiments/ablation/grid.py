"""The points of an ablation: eta crossed with one other setting at a time, around a base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adabatch.settings import Settings, overlay

__all__ = ["Blocks", "Levels", "point_name", "point_settings", "standard_blocks"]

Levels = Mapping[str, Mapping[str, Any]]
"""What is varied together with eta: the label of each level, and the settings that make it, over the base."""

Blocks = Mapping[str, Levels]
"""Levels by what varies, as in tables and figures."""


def point_settings(base: Settings, eta: float, overrides: Mapping[str, Any]) -> Settings:
    """The norm test at an eta and a level's settings."""
    return overlay(base, {"schedule": "norm-test", "eta": eta} | dict(overrides))


def point_name(settings: Settings) -> str:
    """Equal for equal points, so that one that lies in several blocks is run once."""
    schedule = settings.schedule
    test = schedule.estimator if schedule.test == "scalar" else schedule.test
    return (
        f"{test}-eta-{schedule.eta:g}-interval-{schedule.test_interval}-max-{schedule.max_batch}"
        f"-micro-{schedule.micro_batch}"
    )


def standard_blocks(base: Settings) -> Blocks:
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
    return {
        "estimator": estimators | {"l1 test": {"test": "l1"}},
        "test interval": {str(interval): {"test_interval": interval} for interval in (1, 10, 100)},
        "largest batch": {str(size): {"max_batch": size} for size in (largest // 2, largest, 2 * largest)},
        "groups": {str(n * base.parallel.ranks): {"micro_batch": per_rank // n} for n in groups},
    }
