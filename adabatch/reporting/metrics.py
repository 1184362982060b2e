"""Records of a run: metrics.jsonl always, trackers on request."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from adabatch.files import write_whole
from adabatch.reporting.line_file import LineFile

__all__ = [
    "AT_START",
    "METRICS",
    "RUN_MARKER",
    "TIMED",
    "MetricsWriter",
    "OpenTracker",
    "Record",
    "TimedRecords",
    "Tracker",
    "cut_records",
    "finite_or_null",
    "parse_record",
    "read_metrics",
    "record_lines",
    "scalars",
    "step_seconds",
    "step_tokens",
]

Record = dict[str, Any]
"""What one step leaves in metrics.jsonl, by name."""

AT_START = "at_start"
"""Field of the first record: what was measured before its step, by name."""

TimedRecords = Iterable[tuple[Record, float]]
"""Records, each with the time at which its step ended, in seconds since the epoch."""


class Tracker(Protocol):
    """Shows the numbers of a run elsewhere. What it raises ends it, never the run."""

    def write(self, record: Record, ended: float | None = None) -> None:
        """Show a step's numbers, those of :func:`scalars`; ``ended``: when, if that is not now."""

    def close(self) -> None:
        """Show what is left."""


OpenTracker = Callable[[Path, TimedRecords], Tracker]
"""Opens a tracker of the run in a folder, which had these records before."""

METRICS = "metrics.jsonl"
"""The file of the records in a run's folder."""

RUN_MARKER = "adabatch-run.json"
"""The file that tells a run's folder from any other; it holds the name of the run's last launch."""

TIMED = frozenset({"seconds", "tokens_per_second", "mfu", "pause_seconds"})
"""Fields of a record that are measured with a clock: equal runs differ in them."""

LONGEST_RECORD = 2**20
"""Bytes; far more than a record with statistics of every layer has."""

NUMBERS = (
    "loss",
    "lr",
    "noise_trace",
    "grad_sq_norm",
    "test_statistic",
    "seconds",
    "pause_seconds",
    "ranks",
    "tokens_per_second",
    "flops",
    "mfu",
    "skipped",
)
"""Fields of a record that reports compute with: numbers, or null where there is none."""


def read_metrics(path: str | Path) -> list[Record]:
    """The records of a ``metrics.jsonl``, or of a run's folder; a last line cut short is left out.

    Raises:
        ValueError: if the file does not exist, or one of its lines is not a record.
    """
    path = Path(path)
    path = path / METRICS if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"no metrics at {path}: name the folder of a run, or its metrics.jsonl")
    with path.open("rb") as file:
        lines = enumerate(file, start=1)
        return [_record(line, f"{path}, line {number}") for number, line in lines if line.endswith(b"\n")]


def last_record(folder: Path) -> Record | None:
    """The newest record of a run, or None if there is none; without reading all of them."""
    path = folder / METRICS
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_RECORD))
        whole, _, _ = file.read().rpartition(b"\n")  # a last line may be cut short
    return parse_record(whole.rpartition(b"\n")[2])


def _record(line: bytes, where: str) -> Record:
    record = parse_record(line)
    if record is None:
        raise ValueError(
            f"{where}: no record (a JSON object with step and samples); the file is damaged, or not the metrics "
            "of a run"
        )
    return record


def parse_record(line: bytes) -> Record | None:
    """The record in a line, or None if it is not one: JSON with counts of steps and samples, its numbers numbers.

    >>> parse_record(b'{"step": 1, "samples": 4, "loss": null}')
    {'step': 1, 'samples': 4, 'loss': None}
    >>> parse_record(b'{"step": "x"}') is None
    True
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # neither JSON nor UTF-8
        return None
    if not isinstance(record, dict):
        return None
    counts = [record.get("step"), record.get("samples"), record.get("batch_size", 1)]
    if not all(type(count) is int and count > 0 for count in counts):
        return None
    at_start = record.get(AT_START, {})
    if not isinstance(at_start, dict) or not isinstance(record.get("parts", {}), dict):
        return None
    validated = (value for name, value in record.items() if name.startswith("val_"))
    numbers = (*(record.get(name) for name in NUMBERS), *validated, *at_start.values())
    return record if all(map(_is_number_or_null, numbers)) else None


def record_lines(content: bytes) -> Iterator[tuple[bytes, Record | None]]:
    """The lines that are whole, each with its record, or None where it is not one."""
    return ((line, parse_record(line)) for line in io.BytesIO(content) if line.endswith(b"\n"))


def cut_records(path: Path, step: int) -> list[Record]:
    """Leave the records up to a step in ``metrics.jsonl``, byte for byte, or make the file; what it holds then."""
    content = path.read_bytes() if path.is_file() else b""
    whole = ((line, record) for line, record in record_lines(content) if record is not None)
    kept = [(line, record) for line, record in whole if record["step"] <= step]
    write_whole(path, b"".join(line for line, _ in kept))
    return [record for _, record in kept]


def _is_number_or_null(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


class MetricsWriter:
    """Appends one JSON line per step and flushes it, so that an interrupted run leaves readable metrics.

    Numbers that are not finite are written as null (JSON has no NaN). A record that cannot be written is kept for
    the next attempt; a file that was moved or deleted is written again, whole. Neither ends the run.

    Args:
        folder: of the run.
        after_step: keep earlier records up to this step only (0: start again), so that a resumed run neither
            misses nor repeats one.
        trackers: that show the records too, each after what is wrong where it fails.

    Attributes:
        problems: what went wrong in writing and is not made good, a sentence each; complete after the end.
    """

    def __init__(
        self, folder: Path, after_step: int = 0, trackers: Mapping[str, OpenTracker] | None = None
    ) -> None:
        self.path = folder / METRICS
        earlier = cut_records(self.path, after_step)
        self._file = LineFile(self.path)
        self.problems: list[str] = []
        self._trackers: dict[str, Tracker] = {}
        for problem, open_tracker in (trackers or {}).items():
            with self._tolerating(problem):
                self._trackers[problem] = open_tracker(folder, _with_times(earlier))

    def write(self, record: Record) -> None:
        """Append a record."""
        finite = finite_or_null(record)
        self._file.append(json.dumps(finite))
        for problem, tracker in list(self._trackers.items()):
            with self._tolerating(problem):
                tracker.write(finite)

    @contextmanager
    def _tolerating(self, problem: str) -> Iterator[None]:
        """An error of a tracker's ends that tracker."""
        try:
            yield
        except Exception as error:  # TensorBoard's writer raises what its thread met, of any kind
            self._trackers.pop(problem, None)
            self.problems.append(f"{problem} ({error})")

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.problems += self._file.close()
        for problem, tracker in list(self._trackers.items()):
            with self._tolerating(problem):
                tracker.close()


def finite_or_null(record: Mapping[str, Any]) -> Record:
    """The record with None in place of NaN and infinities, which JSON does not have."""
    return {name: _finite(value) for name, value in record.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return finite_or_null(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def scalars(record: Record) -> Iterator[tuple[int, dict[str, float]]]:
    """What trackers show of a record: numbers by name, after the samples seen when they were measured.

    >>> list(scalars({"step": 1, "samples": 4, "loss": 2.0, "decision": "grown", "at_start": {"val_loss": 3.0}}))
    [(0, {'val_loss': 3.0}), (4, {'loss': 2.0})]
    """
    for samples, named in ((0, record.get(AT_START, {})), (record["samples"], record)):
        numbers = {name: value for name, value in named.items() if isinstance(value, int | float)}
        shown = {name: value for name, value in numbers.items() if name not in ("step", "samples")}
        if shown:
            yield samples, shown


def step_seconds(record: Record) -> float:
    """Seconds of a step; of an earlier version's record from its tokens and their rate, 0 where it has no rate.

    >>> step_seconds({"tokens": 64, "samples": 8, "batch_size": 4, "tokens_per_second": 16.0})
    2.0
    """
    if record.get("seconds") is not None:
        return float(record["seconds"])
    if not record.get("tokens_per_second"):
        return 0.0
    return step_tokens(record) / float(record["tokens_per_second"])


def step_tokens(record: Record) -> float:
    """Tokens of a step; all sequences of an earlier version's run have one length.

    >>> step_tokens({"tokens": 640, "samples": 8, "batch_size": 4, "sequence_length": 128})
    512.0
    """
    length = record.get("sequence_length") or record["tokens"] / record["samples"]
    return float(length * record["batch_size"])


def _with_times(records: Sequence[Record]) -> Iterator[tuple[Record, float]]:
    """Each record and when its step ended, in seconds since the epoch.

    Records do not hold that: it is as if the steps had followed each other without a pause until now.
    """
    end = time.time() - sum(map(step_seconds, records))
    for record in records:
        end += step_seconds(record)
        yield record, end
