"""How far an experiment is, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from adabatch.experiments.run import ExperimentRun

__all__ = ["Progress", "Work"]


class Work(NamedTuple):
    """What an experiment trains.

    Attributes:
        runs: their number.
        samples: of all of them.
        at_most: whether it may turn out to be less, since results decide which runs there are.
    """

    runs: int
    samples: int
    at_most: bool = False

    @classmethod
    def of(cls, runs: Iterable[ExperimentRun]) -> Work:
        """Runs that need no others."""
        samples = [run.samples() for run in runs]
        return cls(len(samples), sum(samples))


@dataclass
class Progress:
    """How far an experiment is.

    Attributes:
        planned: all of it, whether finished or not.
        finished: runs.
        samples: that the runs trained here had.
        seconds: that these took, as if one after the other.
    """

    planned: Work
    finished: set[ExperimentRun] = field(default_factory=set)
    samples: int = 0
    seconds: float = 0.0

    def add(self, run: ExperimentRun, seconds: float) -> None:
        """Count a run that was trained here."""
        self.finished.add(run)
        self.samples += run.samples()
        self.seconds += seconds

    def count(self) -> str:
        """Such as ``37 of at most 904 runs``."""
        return f"{len(self.finished)} of {'at most ' if self.planned.at_most else ''}{self.planned.runs} runs"

    def left(self, at_once: int) -> str:
        """How long the rest takes, such as ``; about 56 min left``; empty while nothing or everything is trained.

        Args:
            at_once: runs.
        """
        open_samples = self.planned.samples - sum(run.samples() for run in self.finished)
        if not self.samples or open_samples <= 0:
            return ""
        return f"; about {duration(self.seconds / self.samples * open_samples / at_once)} left"


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(41.6), duration(3400), duration(8000)
    ('42 s', '57 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
