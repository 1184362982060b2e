"""What a command that trains many runs is asked for, whichever runs they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.experiments.planned import PlannedRun
from adabatch.experiments.runner import alone, carry_out
from adabatch.settings import Settings

__all__ = ["Request"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What ``adabatch compare`` and ``adabatch ablate`` share.

    Attributes:
        base: settings of all runs.
        output: folder.
        seeds: how many, from the base's seed on.
        processes: runs at once; 0 takes the cores.
        quick: a tiny version, for a first look.
        report_only: train nothing; report what is finished.
        command: as it was called, for the report.
    """

    base: Settings
    output: Path
    seeds: int = 1
    processes: int = 0
    quick: bool = False
    report_only: bool = False
    command: str

    def seed_range(self) -> range:
        """The seeds of the runs."""
        return range(self.base.data.seed, self.base.data.seed + self.seeds)

    def train(self, runs: Sequence[PlannedRun]) -> None:
        """Train the runs that are not finished, unless only a report is wanted.

        Raises:
            ValueError: if another process holds the folder, or a run fails.
        """
        if not self.report_only:
            with alone(self.output):
                carry_out(runs, self.processes)
