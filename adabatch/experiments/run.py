"""One run of an experiment: its settings, its folder, the runs that it needs first, whether it is finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.reporting.metrics import Record, read_metrics
from adabatch.settings import CONFIG, Settings, load_settings, overlay, to_saved

__all__ = ["ExperimentRun", "changed_settings"]

CHANGEABLE = frozenset({"output", "resume", "overwrite", "allow", "figures", "tensorboard", "cache", "processes"})
"""Settings that do not change the results of a run: its folder may be moved, or named from elsewhere."""

RUN_DEPTH = 3
"""Folders that name a run below its experiment's ``runs``: variant, learning rate, seed."""


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """A training run of an experiment.

    Attributes:
        name: of the run among the others, unique; also its folder below ``runs``.
        experiment: folder of the experiment.
        settings: of the run, once the run that it needs is finished; :meth:`resolved` adds its folder.
        needs: a run that must be finished first.
    """

    name: str
    experiment: Path
    settings: Callable[[], Settings]
    needs: ExperimentRun | None = None

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.experiment / "runs" / self.name

    @property
    def log(self) -> Path:
        """Where the output of the run is."""
        return self.folder / "log.txt"

    def resolved(self) -> Settings:
        """The run's settings; the run that it needs must be finished."""
        settings = self.settings()
        kept = {"output": str(self.folder), "resume": "auto", "figures": False}
        return overlay(settings, kept | {"threads": settings.parallel.threads or 1})

    def records(self) -> list[Record]:
        """The records of a finished run."""
        return read_metrics(self.folder)

    def ready(self) -> bool:
        """Whether the run that it needs is finished."""
        return self.needs is None or self.needs.finished()

    def finished(self) -> bool:
        """Whether the run was executed to its last sample, with these settings.

        Raises:
            ValueError: if the folder holds a run with other settings.
        """
        if not self.ready() or not (self.folder / CONFIG).is_file():
            return False
        wanted = self.resolved()
        differences = changed_settings(load_settings(file=self.folder / CONFIG), wanted)
        if differences:
            raise ValueError(
                f"the folder {self.folder} holds a run with other settings ({'; '.join(differences)}): take "
                "another --output, or delete that folder"
            )
        records = self.records() if (self.folder / "metrics.jsonl").is_file() else []
        return bool(records) and int(records[-1]["samples"]) >= wanted.run.samples


def changed_settings(saved: Settings, wanted: Settings) -> list[str]:
    """The settings that differ, but for where and how a run is kept."""
    old, new = _results_depend_on(saved), _results_depend_on(wanted)
    return [f"{name} is {old[name]}, wanted {value}" for name, value in new.items() if old[name] != value]


def _results_depend_on(settings: Settings) -> dict[str, Any]:
    values = {name: value for section in to_saved(settings).values() for name, value in section.items()}
    values["replay_run"] = Path(values["replay_run"]).parts[-RUN_DEPTH:]  # which run, wherever the experiment lies
    return {name: value for name, value in values.items() if name not in CHANGEABLE}
