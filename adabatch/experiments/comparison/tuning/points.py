"""What is tuned for every schedule: learning rate, path and warm-up, as points of a lattice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from adabatch.experiments.comparison.schedules import Schedule
from adabatch.settings import Settings, overlay

__all__ = ["PATHS", "WARMUPS", "Axes", "Point", "distinct", "rate_at", "settings_at"]

WARMUPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
"""Shares of the budget, from no warm-up at all."""

PATHS: Mapping[str, Mapping[str, Any]] = {
    "wsd 10%": {"lr_path": "wsd", "decay_fraction": 0.1},
    "wsd 20%": {"lr_path": "wsd", "decay_fraction": 0.2},
    "wsd 40%": {"lr_path": "wsd", "decay_fraction": 0.4},
    "wsd 70%": {"lr_path": "wsd", "decay_fraction": 0.7},
    "linear": {"lr_path": "linear"},
    "cosine": {"lr_path": "cosine"},
}
"""The paths tried, by what they are called in tables; the first five fall earlier and earlier."""

LINEAR = list(PATHS).index("linear")


class Point(NamedTuple):
    """A learning rate, a path and a warm-up.

    Attributes:
        rate: half octaves above the base's peak learning rate.
        path: index into the names of :data:`PATHS`.
        warmup: index into :data:`WARMUPS`.
    """

    rate: int = 0
    path: int = 1
    warmup: int = WARMUPS.index(0.1)


@dataclass(frozen=True)
class Axes:
    """In which directions a schedule is tuned: not in those that its own settings fix.

    Attributes:
        rate: whether the peak learning rate is tuned.
        path: whether the path is.
        warmup: whether the warm-up is.
    """

    rate: bool = True
    path: bool = True
    warmup: bool = True

    @classmethod
    def of(cls, schedule: Schedule) -> Axes:
        """Those of a schedule."""
        given = schedule.overrides.keys()
        if "lr_replay" in given:  # the other run's rates, with its path and its warm-up
            return cls(False, False, False)
        return cls("lr" not in given, not given & {"lr_path", "decay_fraction"}, "warmup_samples" not in given)

    def holds(self, point: Point) -> bool:
        """Whether a point lies in the lattice, and differs from the start in tuned directions only."""
        start = Point()
        return (
            0 <= point.path < len(PATHS)
            and 0 <= point.warmup < len(WARMUPS)
            and (self.rate or point.rate == start.rate)
            and (self.path or point.path == start.path)
            and (self.warmup or point.warmup == start.warmup)
        )


def distinct(point: Point) -> Point:
    """One point for all that are the same run: a wsd path that falls from the end of the warm-up on is linear.

    >>> distinct(Point(path=3, warmup=6)) == distinct(Point(path=4, warmup=6))  # wsd 70% after 40%, and linear
    True
    """
    falling = list(PATHS.values())[point.path].get("decay_fraction", 0.0)
    return point._replace(path=LINEAR) if WARMUPS[point.warmup] + falling >= 1 else point


def settings_at(base: Settings, schedule: Schedule, point: Point, seed: int, budget: float = 1.0) -> Settings:
    """The settings of a schedule's run.

    Args:
        base: of all runs; the final learning rate stays the same fraction of the peak.
        schedule: what it sets itself has precedence.
        point: of the learning rate.
        seed: of initial weights and order of samples.
        budget: times the base's samples; the warm-up stays the same share of it.
    """
    samples, own = round(budget * base.run.samples), dict(schedule.overrides)
    rate = overlay(base, {"lr": rate_at(base, point)} | own).optimizer.lr
    tuned = {
        "seed": seed,
        "samples": samples,
        "lr": rate,
        "min_lr": rate * base.optimizer.min_lr / base.optimizer.lr,
        "warmup_samples": round(WARMUPS[point.warmup] * samples),
    }
    return overlay(base, tuned | dict(list(PATHS.values())[point.path]) | own)


def rate_at(base: Settings, point: Point) -> float:
    """The peak learning rate of a point.

    >>> rate_at(Settings(), Point(rate=2)) / Settings().optimizer.lr
    2.0
    """
    return float(base.optimizer.lr * 2 ** (point.rate / 2))
