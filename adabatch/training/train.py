"""Train from settings and hand back what came of it: ``adabatch.train``, which the command ``train`` calls too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adabatch.reporting.metrics import Record, read_metrics
from adabatch.settings import Settings
from adabatch.training.launch import DIVERGED, INTERRUPTED, OUT_OF_MEMORY, USER_ERROR, launch

__all__ = ["TrainingFailedError", "TrainingResult", "train"]

MEANINGS = {
    USER_ERROR: "the settings, the data or a checkpoint do not fit",
    DIVERGED: "it diverged",
    OUT_OF_MEMORY: "a rank ran out of memory",
}


class TrainingFailedError(RuntimeError):
    """A run ended before its last sample; the message of the rank that failed is on the standard error.

    Attributes:
        exit_code: of the command ``adabatch train`` in this case: 2 for a mistake in the settings, the data or a
            checkpoint, 3 if training diverged, 4 if a rank ran out of memory, else 1 or that of a lost rank.
    """

    def __init__(self, exit_code: int) -> None:
        meaning = MEANINGS.get(exit_code, "a rank failed")
        super().__init__(f"training ended with exit code {exit_code}: {meaning} (see the message above)")
        self.exit_code = exit_code


@dataclass(frozen=True)
class TrainingResult:
    """What a run left in its folder; the records are read when they are first asked for.

    Attributes:
        output: folder of the run: ``config.toml``, ``metrics.jsonl``, checkpoints, figures.
    """

    output: Path

    @cached_property
    def records(self) -> list[Record]:
        """One record per step, as in ``metrics.jsonl``, those from before a resumption included."""
        return read_metrics(self.output)

    @property
    def steps(self) -> int:
        """Steps of the run, skipped ones included."""
        return int(self.records[-1]["step"])

    @property
    def samples(self) -> int:
        """Sequences that the run has seen."""
        return int(self.records[-1]["samples"])

    @property
    def validation_loss(self) -> float | None:
        """The last validation loss, in nats per token; None if nothing was validated."""
        losses = (record["val_loss"] for record in reversed(self.records) if record.get("val_loss") is not None)
        return next(losses, None)


def train(settings: Settings) -> TrainingResult:
    """Train a model from its settings, as the command ``adabatch train`` does.

    One rank trains in this process, without a process group; for more, processes are started, and this call ends
    when they have ended. Under torchrun each process calls it and is one rank. Progress is shown on the standard
    error, the summary on the standard output.

    Args:
        settings: of the run, such as :func:`adabatch.load_settings` returns; ``run.output`` is its folder.

    Returns:
        The run's folder, and what its records tell.

    Raises:
        ValueError: for settings that do not fit each other, the data or the machine, before anything is trained.
        TrainingFailedError: if the run ended before its last sample.
        KeyboardInterrupt: if it was interrupted; ``resume="auto"`` continues from the newest checkpoint.

    In a notebook::

        from adabatch import load_settings, train

        result = train(load_settings("demo", overrides={"samples": 2048, "output": "runs/first"}))
        result.validation_loss, [record["batch_size"] for record in result.records]
    """
    code = launch(settings)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise TrainingFailedError(code)
    return TrainingResult(Path(settings.run.output))
