"""One run of an experiment: its settings, its folder, the runs that it needs first, whether it is finished."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adabatch.reporting.metrics import Record, last_record, read_metrics
from adabatch.settings import Settings, overlay, to_saved

__all__ = ["CHANGEABLE", "ExperimentRun", "changed_settings", "digest", "final_loss"]

CHANGEABLE = frozenset(
    {
        *("output", "resume", "overwrite", "allow", "figures", "tensorboard", "wandb", "cache", "processes"),
        *("checkpoint_interval", "checkpoint_minutes", "time_limit", "keep", "keep_best", "async_checkpoints"),
        *("timeout", "max_restarts", "max_skipped", "validate_at_start", "repeat_sources"),
    }
)
"""Settings that do not change the results of a run: where it lies, what else it writes, when it stops."""

FIRST_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "estimator": "unbiased",
        "eta": 0.8,
        "ema": 0.0,
        "lr_path": "cosine",
        "min_lr": 3e-4,
        "warmup_samples": 512,
    }
)
"""What the settings with another default today had first: names of folders continue to count from these."""

REPLAYED = ("replay_run", "lr_replay")
"""Settings that name another run of the experiment."""


@dataclass(eq=False)
class ExperimentRun:
    """A training run of an experiment.

    Its folder is named after its settings, so that a run is found again for every purpose: when a schedule
    or a seed is added, and when a search and a table want the same one.

    Attributes:
        name: for the user; begins the folder's name, and need not be unique.
        experiment: folder of the experiment.
        settings: of the run, once the runs that it needs are finished; :meth:`resolved` adds its folder.
        needs: runs that must be finished first.
    """

    name: str
    experiment: Path
    settings: Callable[[], Settings]
    needs: tuple[ExperimentRun, ...] = ()
    _finished: bool = field(default=False, init=False, repr=False)

    @cached_property
    def folder(self) -> Path:
        """Of the run; the runs that it needs must be finished."""
        return self.experiment / "runs" / f"{self.name}-{digest(self.settings())}"

    @property
    def log(self) -> Path:
        """Where the output of the run is."""
        return self.folder / "log.txt"

    def resolved(self) -> Settings:
        """The run's settings; the runs that it needs must be finished."""
        settings = self.settings()
        kept = {"output": str(self.folder), "resume": "auto", "figures": False, "keep": 1}
        kept |= {"allow": REPLAYED}  # the experiment may have been moved
        kept |= {"max_skipped": 0}  # a run that diverges is a result too
        return overlay(settings, kept | {"threads": settings.parallel.threads or 1})

    def records(self) -> list[Record]:
        """The records of a finished run."""
        return read_metrics(self.folder)

    def last_record(self) -> Record | None:
        """The newest record, of a run under way too; without reading all of them."""
        return last_record(self.folder)

    def steps(self) -> int:
        """Optimizer steps of a finished run.

        Raises:
            ValueError: if the run has no records.
        """
        record = self.last_record()
        if record is None:
            raise ValueError(f"no metrics in {self.folder}: the run has not begun")
        return int(record["step"])

    def samples(self) -> int:
        """Samples that it trains on."""
        return self.settings().run.end

    def ready(self) -> bool:
        """Whether the runs that it needs are finished."""
        return all(run.finished() for run in self.needs)

    def finished(self) -> bool:
        """Whether the run was executed to its last sample; once it was, its records are not read again."""
        if not self._finished and self.ready():
            record = self.last_record()
            self._finished = record is not None and int(record["samples"]) >= self.settings().run.end
        return self._finished


def final_loss(records: Sequence[Record]) -> float | None:
    """The last validation loss of a run; infinite where it was not a number, None where none was measured.

    >>> final_loss([{"val_loss": 2.0}, {}]), final_loss([{"val_loss": 2.0}, {"val_loss": None}]), final_loss([{}])
    (2.0, inf, None)
    """
    losses = [record["val_loss"] for record in records if "val_loss" in record]
    if not losses:
        return None
    return math.inf if losses[-1] is None else float(losses[-1])


def changed_settings(saved: Settings, wanted: Settings) -> list[str]:
    """The settings that differ and change results, each as a text.

    >>> changed_settings(Settings(), overlay(Settings(), {"seed": 1, "output": "elsewhere"}))
    ['seed was 0 and is 1']
    """
    old, new = _values(saved), _values(wanted)
    return [f"{name} was {old[name]} and is {value}" for name, value in new.items() if old[name] != value]


def digest(settings: Settings) -> str:
    """Twelve digits that tell runs of different results apart.

    It is of the settings that are not the first defaults, so that a setting that a later version adds, or another
    default, changes nothing; a replayed run counts by the name of its folder, which is that of its settings.

    >>> digest(Settings()) == digest(overlay(Settings(), {"output": "elsewhere"})) != digest(
    ...     overlay(Settings(), {"seed": 1}))
    True
    """
    chosen, default = _values(settings), _default_values()
    text = json.dumps({name: chosen[name] for name in sorted(chosen) if chosen[name] != default[name]})
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _default_values() -> Mapping[str, Any]:
    return MappingProxyType(_values(overlay(Settings(), FIRST_DEFAULTS)))


def _values(settings: Settings) -> dict[str, Any]:
    values = {name: value for section in to_saved(settings).values() for name, value in section.items()}
    values |= {name: Path(values[name]).name for name in REPLAYED}
    return {name: value for name, value in values.items() if name not in CHANGEABLE}
