"""Records of a run: metrics.jsonl always, TensorBoard on request."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from adabatch.files import write_text

__all__ = ["MetricsWriter", "Record", "finite_or_null", "read_metrics"]

Record = dict[str, Any]
"""What one step leaves in metrics.jsonl, by name."""


def read_metrics(path: str | Path) -> list[Record]:
    """The records of a ``metrics.jsonl``, or of a run's folder; a last line cut short is left out.

    Raises:
        ValueError: if the file does not exist, or one of its lines is not a record.
    """
    path = Path(path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"no metrics at {path}: name the folder of a run, or its metrics.jsonl")
    return list(_complete_records(path))


def _complete_records(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield _record(line, f"{path}, line {number}")


def _record(line: bytes, where: str) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # neither JSON nor UTF-8
        record = None
    if not isinstance(record, dict):
        raise ValueError(f"{where}: no record (a JSON object); the file is damaged, or not the metrics of a run")
    return record


def _records_up_to(path: Path, step: int) -> list[Record]:
    """The records of the first steps; what a crash left behind them is not looked at."""
    if step == 0:
        return []
    kept = []
    for record in _complete_records(path):
        kept.append(record)
        if record["step"] >= step:
            return kept
    warnings.warn(
        f"{path} holds {len(kept)} records, but the checkpoint is of step {step}: some are missing", stacklevel=3
    )
    return kept


class MetricsWriter:
    """Appends one JSON line per step and flushes it, so that an interrupted run leaves readable metrics.

    Numbers that are not finite are written as null (JSON has no NaN).

    Args:
        folder: of the run.
        after_step: keep earlier records up to this step only (0: start again), so that a resumed run neither
            misses nor repeats one.
        tensorboard: write event files to ``folder/tensorboard`` too.

    Raises:
        ValueError: if TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, after_step: int = 0, tensorboard: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        kept = _records_up_to(self.path, after_step) if self.path.is_file() else []
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self._file: TextIO = self.path.open("a", encoding="utf-8")
        self._tensorboard = _summary_writer(folder / "tensorboard", after_step) if tensorboard else None

    def write(self, record: Record) -> None:
        """Append a record."""
        finite = finite_or_null(record)
        self._file.write(json.dumps(finite) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in finite.items():
                if isinstance(value, int | float) and name not in ("step", "samples"):
                    self._tensorboard.add_scalar(name, value, record["samples"])

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


def finite_or_null(record: Mapping[str, Any]) -> Record:
    """The record with None in place of NaN and infinities, which JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }


def _summary_writer(folder: Path, after_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "--tensorboard needs the package tensorboard: pip install 'adabatch[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder), purge_step=after_step or None)
