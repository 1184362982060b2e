"""What a run's records tell of noise and of time: of the trainer's own runs, and of other people's loops."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adabatch.reporting.metrics import METRICS, Record, read_metrics, step_seconds
from adabatch.schedules.step_times import StepTime, StepTimes, parse_step_time

__all__ = ["Evidence", "read_evidence", "step_time_of"]

LEAST_MEASURED = 40
"""Fewer steps with statistics say nothing of how the noise scale changes."""


LARGEST_ERROR = 0.5
"""Standard error of log B_sat up to which a fit is used: b* is then good to a quarter."""

LARGEST = 1e150
"""Nothing that is computed from numbers up to this overflows; beyond, they count as not finite."""

Step = tuple[str, float, tuple[float, ...]]
"""Where a step stands in a file, its number, and the seven columns of :class:`Evidence`."""


@dataclass(frozen=True)
class Evidence:
    """The steps of a run, as arrays of equal length.

    Attributes:
        name: of the run, as it was given.
        samples: seen at the end of each step.
        batches: samples of each step.
        micro_batches: samples that a rank computed at once; 0 where it is not known.
        lengths: tokens of each sequence; 0 where it is not known.
        seconds: that each step took; NaN where it is not known.
        trace: tr Sigma of one sample's gradient; NaN at steps without statistics.
        squared_gradient: the debiased ||G||^2 = ||g||^2 - trace / b; NaN at steps without statistics.
        left_out: how many values were not finite.
    """

    name: str
    samples: np.ndarray
    batches: np.ndarray
    micro_batches: np.ndarray
    lengths: np.ndarray
    seconds: np.ndarray
    trace: np.ndarray
    squared_gradient: np.ndarray
    left_out: int

    @property
    def span(self) -> str:
        """The smallest and the largest batch, in words."""
        least, most = self.batches.min(), self.batches.max()
        return f"{least:.0f} to {most:.0f}" if least < most else f"{least:.0f}"

    @property
    def measured(self) -> np.ndarray:
        """At which steps there are statistics."""
        finite: np.ndarray = np.isfinite(self.squared_gradient)
        return finite


def read_evidence(path: Path) -> Evidence:
    """The evidence in a run's folder, in its ``metrics.jsonl``, or in the file of another loop.

    Args:
        path: a folder, or a file of JSON lines (docs/own_loop.md has the names).

    Raises:
        ValueError: for what is not a run, a wrong line, or too few steps with statistics.
    """
    file = path / METRICS if path.is_dir() else path
    own = file.is_file() and _is_own_loop(file)
    steps = list(_in_order(_own_steps(file) if own else _trainer_steps(path)))
    columns = np.array(steps, dtype=float).reshape(-1, 7).T
    samples, batches, micro_batches, lengths, seconds, trace, squared_norm = columns
    with np.errstate(invalid="ignore"):
        squared_gradient = squared_norm - trace / batches
    # an infinity stands for a value that was given and is not finite, NaN for none
    both = np.isfinite(squared_gradient)
    evidence = Evidence(
        name=str(path),
        samples=samples,
        batches=batches,
        micro_batches=micro_batches,
        lengths=lengths,
        seconds=np.where(np.isfinite(seconds), seconds, np.nan),
        trace=np.where(both, trace, np.nan),
        squared_gradient=np.where(both, squared_gradient, np.nan),
        left_out=int(np.isinf(columns[4:]).sum()),
    )
    _require_statistics(evidence)
    return evidence


def _require_statistics(evidence: Evidence) -> None:
    steps, measured = len(evidence.samples), int(evidence.measured.sum())
    if not measured:
        left_out = f", apart from {evidence.left_out} values that are not finite" if evidence.left_out else ""
        raise ValueError(
            f"{evidence.name} has no gradient statistics in its {steps} steps{left_out}: train with "
            "--monitor-interval 1, or with a norm test"
        )
    if measured < LEAST_MEASURED:
        raise ValueError(
            f"{evidence.name} has gradient statistics of {measured} of its {steps} steps, and at least "
            f"{LEAST_MEASURED} are needed: train for longer, or with a smaller --monitor-interval"
        )


def step_time_of(
    evidence: Evidence, saturation: float | None, given: str | None, planned: tuple[StepTime, str] | None = None
) -> tuple[StepTime, str]:
    """t0 and t1 with their source: as given, else fitted to the run's own steps.

    Args:
        evidence: the steps; those of the last sequence length count, and of these those of the last micro-batch
            size alone where their batches differ enough.
        saturation: the value of ``--saturation``; t1 is then the unit of time.
        given: the text of ``--step-time``.
        planned: times for a GPU, and where they are from.

    Raises:
        ValueError: where two are given, or none and the run does not tell t0 from t1.
    """
    if sum(source is not None for source in (saturation, given, planned)) > 1:
        raise ValueError("--saturation, --step-time and --gpu each tell B_sat = t0 / t1: give one of them")
    if planned is not None:
        return planned
    if saturation is not None:
        return StepTime(saturation, 1.0), "--saturation"
    if given is not None:
        time = parse_step_time(given)
        if time.fixed == 0:
            raise ValueError("--step-time with T0 = 0: without a fixed time per step the smallest batch is best")
        return time, "--step-time"
    times = StepTimes()
    for seconds, *sizes in zip(
        evidence.seconds, evidence.batches, evidence.micro_batches, evidence.lengths, strict=True
    ):
        times.add(float(seconds), *map(int, sizes))
    fit = times.fit(int(evidence.micro_batches[-1]), int(evidence.lengths[-1]))
    if fit is not None and fit.saturation_error <= LARGEST_ERROR:
        return fit, "fitted"
    if not np.isfinite(evidence.seconds).any():
        why = "has no times of its steps"
    elif fit is None:
        why = f"has batches of {evidence.span}, whose times do not tell t0 from t1"
    else:
        why = f"does not resolve its t0 of {fit.fixed:.3g} +- {fit.fixed_error:.2g} s per step and t1 of "
        why += f"{fit.per_sample:.3g} +- {fit.per_sample_error:.2g} s per sample"
    raise ValueError(
        f"{evidence.name} {why}: give --saturation B_SAT, the batch at which half of a step's time is for its "
        "samples, or --step-time T0,T1"
    )


def _in_order(steps: Iterable[Step]) -> Iterator[tuple[float, ...]]:
    """The steps' columns, if steps and samples grow and the samples are those of the batches."""
    last = (0.0, 0.0)
    for where, number, columns in steps:
        now, batch = (number, columns[0]), columns[1]
        if now[0] <= last[0] or now[1] <= last[1]:
            raise ValueError(
                f"{where}: step {now[0]:g} with {now[1]:g} samples comes after step {last[0]:g} with {last[1]:g}: "
                "both must grow from line to line"
            )
        if now[1] - last[1] < batch:
            raise ValueError(
                f"{where}: a batch of {batch:g} after {last[1]:g} samples makes more than {now[1]:g}: samples "
                "counts those of all steps, this one included, in the unit of batch_size"
            )
        last = now
        yield columns


def _trainer_steps(path: Path) -> Iterator[Step]:
    records = read_metrics(path)
    for record in records:
        if record.get("ranks") != records[-1].get("ranks"):  # other ranks take another time
            record = record | {"seconds": None, "tokens_per_second": None}
        where = f"{path}, step {record['step']}"
        yield where, record["step"], _trainer_step(record, where)


def _trainer_step(record: Record, where: str) -> tuple[float, ...]:
    """One step of metrics.jsonl, where a null may stand for what was not measured or for what is not finite."""
    batch = _value(record, "batch_size", where, count=True)
    trace, squared_norm = (_value(record, name, where) for name in ("noise_trace", "grad_sq_norm"))
    if math.isnan(trace) != math.isnan(squared_norm):  # one of both was measured and is not finite
        trace, squared_norm = math.inf, math.nan
    seconds = _value(record, "seconds", where)
    if math.isnan(seconds) and record.get("tokens_per_second"):
        _value(record, "tokens", where, count=True)
        seconds = step_seconds(record)
    return record["samples"], batch, *_sizes(record, where), seconds, trace, squared_norm


def _is_own_loop(path: Path) -> bool:
    """Whether the first line has the names of another loop's file."""
    with path.open("rb") as file:
        first = file.readline()
    return b'"trace"' in first or b'"squared_norm"' in first


def _own_steps(path: Path) -> Iterator[Step]:
    """The steps of another loop's file; a last line that is cut short is left out."""
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            if not line.endswith(b"\n"):
                return
            record = None
        where = f"{path}, line {number}"
        if not isinstance(record, dict):
            raise ValueError(f"{where} is not a JSON object: each line is one step (docs/own_loop.md)")
        step = _own_step(record, where)
        yield where, record["step"], step


def _own_step(record: Record, where: str) -> tuple[float, ...]:
    _, samples, batch = (_value(record, name, where, count=True) for name in ("step", "samples", "batch_size"))
    seconds, trace, squared_norm = (_value(record, name, where) for name in ("seconds", "trace", "squared_norm"))
    if squared_norm < 0:
        raise ValueError(
            f"{where}: squared_norm is {squared_norm:g}, but must be ||g||^2 of the batch's gradient, from which "
            "trace / batch_size has not been subtracted"
        )
    return samples, batch, *_sizes(record, where), seconds, trace, squared_norm


def _sizes(record: Record, where: str) -> tuple[float, float]:
    """Micro-batch size and sequence length; 0 where they are not known."""
    micro_batch, length = (
        0.0 if record.get(name) is None else _value(record, name, where, count=True)
        for name in ("micro_batch", "sequence_length")
    )
    return micro_batch, length


def _value(record: Record, name: str, where: str, count: bool = False) -> float:
    """A number of a record: NaN where it is null or absent, infinity where it is not finite.

    Raises:
        ValueError: if it is not a number, or not a whole one above 0 where that must be.
    """
    value = record.get(name)
    shown = json.dumps(value)[:40] if name in record else "missing"
    if value is None and not count:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        must = "a whole number above 0" if count else "a number or null"
        raise ValueError(f"{where}: {name} must be {must}, but is {shown}")
    if count and not (0 < value < 2**53 and value == int(value)):
        raise ValueError(f"{where}: {name} must be a whole number above 0, but is {shown}")
    return float(value) if -LARGEST < value < LARGEST else math.inf
