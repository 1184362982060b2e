"""A run of an experiment that begins at a checkpoint of another run, with other settings where it is to differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from adabatch.checkpoints.compatibility import saved_progress
from adabatch.checkpoints.folders import find_checkpoint
from adabatch.experiments.run import ExperimentRun
from adabatch.settings import Settings, overlay
from adabatch.training.checkpointing import checkpoints_folder

__all__ = ["Continuation"]


@dataclass(eq=False)
class Continuation(ExperimentRun):
    """A run in a folder of its own that begins at a checkpoint elsewhere, which is only read.

    Parameters, the optimizer's state, random states and the samples seen are the checkpoint's. Once the run has a
    checkpoint of its own, it resumes from that.

    Attributes:
        source: the checkpoint, once the runs that this one needs are finished; None: the run begins at its first
            sample.
        begins_at: samples seen there.
        changed: settings that may differ from the checkpoint's.
        kept: whether it is finished only with a checkpoint at its end, from which others begin.
    """

    source: Callable[[], Path] | None = field(default=None, kw_only=True)
    begins_at: int = field(default=0, kw_only=True)
    changed: tuple[str, ...] = field(default=(), kw_only=True)
    kept: bool = field(default=False, kw_only=True)

    def resolved(self) -> Settings:
        """See :meth:`ExperimentRun.resolved`; resumes from its own checkpoint, or else from the source."""
        settings = super().resolved()
        own = find_checkpoint("auto", checkpoints_folder(str(self.folder)))
        resume = "auto" if own is not None or self.source is None else str(self.source())
        return overlay(settings, {"resume": resume, "allow": (*settings.run.allow, *self.changed)})

    def samples(self) -> int:
        """Samples that it trains on."""
        return super().samples() - self.begins_at

    def checkpoint(self) -> Path | None:
        """That of its end; None while there is none."""
        path = find_checkpoint("auto", checkpoints_folder(str(self.folder)))
        whole = path is not None and saved_progress(path)["samples"] >= self.settings().run.end
        return path if whole else None

    def finished(self) -> bool:
        """Whether it was executed to its end."""
        return super().finished() and not (self.kept and self.checkpoint() is None)
