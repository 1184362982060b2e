"""A run's scalars for TensorBoard, which shows every step once, also of a run that was killed and resumed."""

from __future__ import annotations

import os
from pathlib import Path

from adabatch.reporting.metrics import Record, TimedRecords, scalars

__all__ = ["EVENTS", "TensorBoardWriter"]

EVENTS = ".adabatch"
"""What the names of a run's TensorBoard files end with; others in their folder are somebody else's, and stay."""


class TensorBoardWriter:
    """Writes the numbers of each record as scalars against the samples seen.

    Event files lag behind ``metrics.jsonl``, and hold what an attempt wrote after its last checkpoint. So one that
    is opened again is not continued: a new file with all earlier records takes the place of the old ones, and a
    TensorBoard that is watching discards what it has read. It would never leave a file that is gone: old ones are
    emptied, and removed by the next start.

    Args:
        folder: of the event files, made if need be.
        earlier: records of the steps before, each with its time in seconds since the epoch.
    """

    def __init__(self, folder: Path, earlier: TimedRecords = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter

        replaced = list(folder.glob(f"events.out.tfevents.*{EVENTS}"))
        self._writer = SummaryWriter(str(folder), purge_step=0, filename_suffix=EVENTS)
        for record, ended in earlier:
            self.write(record, ended)
        self._writer.flush()
        for path in replaced:
            if path.is_symlink() or not path.stat().st_size:
                path.unlink()
            else:
                os.truncate(path, 0)

    def write(self, record: Record, ended: float | None = None) -> None:
        """Add a step's numbers; ``ended``: when, in seconds since the epoch, if that is not now."""
        for samples, numbers in scalars(record):
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, samples, walltime=ended)

    def close(self) -> None:
        """Write what is still in memory, and close the file."""
        self._writer.close()
