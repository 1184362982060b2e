"""What a command that trains many runs is asked for, whichever runs they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.experiments.cluster import AT_ONCE, Cluster, parse_options
from adabatch.experiments.progress import Progress
from adabatch.experiments.run import ExperimentRun
from adabatch.experiments.runner import Backend, Processes, execute
from adabatch.locks import exclusive
from adabatch.settings import Settings, overlay

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """What ``adabatch compare``, ``ablate`` and ``branch`` share.

    Attributes:
        base: settings of all runs.
        output: folder.
        seeds: their number; they count from the base's seed.
        processes: runs at once; 0: as many as the visible GPUs or the cores have room for, or the cluster's usual.
        quick: a tiny version, for a first look.
        report_only: train nothing; report what is finished.
        command: as it was called, for the report.
        cluster: ``slurm`` or ``local``, whose jobs the runs are; empty: they are processes of this machine.
        cluster_options: of the jobs, as ``name=value,...``.
    """

    base: Settings
    output: Path
    seeds: int
    processes: int
    quick: bool
    report_only: bool
    command: str
    cluster: str = ""
    cluster_options: str = ""

    def backend(self) -> Backend:
        """Where the runs are executed.

        Raises:
            ValueError: for options of a cluster that is not named, or that are not pairs.
        """
        if not self.cluster:
            if self.cluster_options:
                raise ValueError("--cluster-options are of jobs: name the cluster too (--cluster slurm)")
            return Processes(self.processes)
        options = parse_options(self.cluster_options)
        return Cluster(self.cluster, self.output, options, self.processes or AT_ONCE)

    def settings(self, smallest: Mapping[str, Any]) -> Settings:
        """Those of all runs; with the values of the smallest experiment where that is asked for.

        Raises:
            ValueError: for a time limit, ranks that follow the batch, under torchrun, and for a cluster that is
                not there.
        """
        if self.base.run.time_limit is not None:
            raise ValueError(
                "a time limit would end single runs, not the whole experiment: leave out --time-limit; the "
                "command may be stopped at any time, and resumes when it is started again"
            )
        if self.base.parallel.ranks_at:
            raise ValueError("an experiment gives each run a fixed share of the machine: leave out --ranks-at")
        if "RANK" in os.environ:
            raise ValueError(
                "RANK is set, as under torchrun, but an experiment starts its runs and their ranks itself: start "
                "one process without torchrun, or unset RANK, and give --ranks and --processes"
            )
        if not self.report_only:
            with self.backend().opened():  # to be refused before data are prepared or anything is written
                pass
        return overlay(self.base, smallest) if self.quick else self.base

    def seed_range(self) -> range:
        """The seeds of the runs."""
        return range(self.base.data.seed, self.base.data.seed + self.seeds)

    def heading(self, finished: int, planned: int, what: str) -> str:
        """What the report begins with: the command, and how much of it is done if that is not all."""
        part = f"\n\n{finished} of {planned} {what} are finished; the report is of these."
        return f"`{self.command}`{part if finished < planned else ''}"

    def train(self, runs: Sequence[ExperimentRun], progress: Progress | None = None) -> None:
        """Train the runs that are not finished, unless only a report is wanted.

        Args:
            runs: see :func:`~adabatch.experiments.runner.execute`.
            progress: of the experiment that they are a part of; None: they are all of it.

        Raises:
            ValueError: if another process holds the folder, or a run fails.
        """
        if not self.report_only:
            with exclusive(self.output, wait=False):
                execute(runs, self.backend(), progress)
