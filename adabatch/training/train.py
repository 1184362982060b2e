"""Train from settings and hand back what came of it: ``adabatch.train``, which the command ``train`` calls too."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adabatch.exit_codes import code_of_signal, meaning
from adabatch.reporting.metrics import Record, read_metrics
from adabatch.settings import Settings
from adabatch.training.launch import launch

__all__ = ["TrainingFailedError", "TrainingResult", "train"]


class TrainingFailedError(RuntimeError):
    """A run ended before its last sample; the message of the rank that failed is on the standard error.

    Attributes:
        exit_code: of the command ``adabatch train`` in this case, as in the table of docs/reliability.md: 2 for a
            mistake in the settings, the data or a checkpoint, 3 if training diverged, 5 at the time limit, 143 at
            SIGTERM.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(
            f"training ended with exit code {exit_code}: {meaning(exit_code)} (see the message above)"
        )
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


def train(settings: Settings, ranks_allocated: int = 0) -> TrainingResult:
    """Train a model from its settings, as the command ``adabatch train`` does.

    One rank trains in this process, without a process group; for more, processes are started, and this call ends
    when they have ended. Under torchrun each process calls it and is one rank. Progress is shown on the standard
    error, the summary on the standard output.

    Args:
        settings: of the run, such as :func:`adabatch.load_settings` returns; ``run.output`` is its folder.
        ranks_allocated: ranks that a scheduler has given, of those of ``--ranks-at``; where the batch gets others,
            the run saves and ends with exit code 76. 0: all can be started here.

    Returns:
        The run's folder, and what its records tell.

    Raises:
        ValueError: for settings that do not fit each other, the data or the machine, before anything is trained.
        TrainingFailedError: if the run ended before its last sample, also by a stop signal or the time limit.
        KeyboardInterrupt: if it was interrupted; ``resume="auto"`` continues from the newest checkpoint, which is
            that of the last step if steps were running.

    In a notebook::

        from adabatch import load_settings, train

        result = train(load_settings("demo", overrides={"samples": 2048, "output": "runs/first"}))
        result.validation_loss, [record["batch_size"] for record in result.records]
    """
    code = launch(settings, allocated=ranks_allocated)
    if code == code_of_signal(signal.SIGINT):
        raise KeyboardInterrupt
    if code:
        raise TrainingFailedError(code)
    return TrainingResult(Path(settings.run.output))
