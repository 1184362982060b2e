"""What a run shows: a progress bar on a terminal, lines elsewhere, and a summary table at the end."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from adabatch.reporting.metrics import AT_START, Record, step_seconds, step_tokens
from adabatch.reporting.rank_hours import rank_summary
from adabatch.reporting.series import (
    VALIDATION,
    RunningMean,
    set_name,
    smoothed_series,
    smoothing_text,
    smoothing_width,
    validation_series,
)
from adabatch.terminal import console as new_console

__all__ = ["ProgressReport", "checkpoint_summary", "duration", "last_loss", "summary", "summary_table"]

if TYPE_CHECKING:
    from adabatch.checkpoints.saving import SaveCost

SECONDS_BETWEEN_LINES = 5.0

LEAST_STEPS = 9
"""Of which the time left is told, or those of the last hundredth of the samples if they are more."""


class ProgressReport:
    """Loss (smoothed over a hundredth of the samples), batch size, speed and time left while a run trains.

    On a terminal a progress bar counted in samples; elsewhere one line every few seconds.

    Args:
        samples: the budget.
        done: samples seen before (a resumed run).
        console: where to; standard error by default, so that output can be piped.
    """

    def __init__(self, samples: int, done: int = 0, console: Console | None = None) -> None:
        self.console = console or new_console(stderr=True)
        self._samples, self._last_line = samples, 0.0
        self._loss = RunningMean(smoothing_width(samples), done)
        self._left = TimeLeft(samples, done)
        columns = [
            TextColumn("step {task.fields[step]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} samples"),
            TextColumn("loss {task.fields[loss]:.3f}  batch {task.fields[batch]}  {task.fields[speed]}"),
        ]
        self._bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._bar.add_task("", total=samples, completed=done, step=0, loss=0.0, batch=0, speed="")

    def __enter__(self) -> ProgressReport:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, record: Record) -> None:
        """Report a step."""
        if math.isfinite(record["loss"]):
            self._loss.add(record["loss"], record["samples"])
        loss = self._loss.value
        speed = f"{_speed(record)}  {duration(self._left.after(record))} left"
        self._bar.update(
            self._task,
            completed=min(record["samples"], self._samples),
            step=record["step"],
            loss=loss,
            batch=record["batch_size"],
            speed=speed,
        )
        if self.console.is_terminal:
            return
        if AT_START in record:
            print(f"before the first step:{_validated(record[AT_START])}", file=self.console.file, flush=True)
        ending = _validated(record)
        if ending or time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(
                f"step {record['step']}  samples {record['samples']}/{self._samples}  loss {loss:.4f}  "
                f"batch {record['batch_size']}  {speed}{ending}",
                file=self.console.file,
                flush=True,
            )


def _validated(record: Record) -> str:
    """The validation losses of a step, for its line."""
    losses = {set_name(name): record[name] for name in validation_series([record]) if record.get(name) is not None}
    return "".join(f"  {f'validation {name}'.strip()} {loss:.4f}" for name, loss in losses.items())


class TimeLeft:
    """Seconds until the budget is spent: those of the samples to come at the median speed of the last steps,
    and of what happens between steps (validation, checkpoints) as often as before.

    Args:
        samples: the budget.
        done: samples seen before.

    >>> left = TimeLeft(100, clock=iter([0.0, 3.0]).__next__)
    >>> round(left.after({"samples": 10, "batch_size": 10, "seconds": 2.0}), 6)    # 90 (0.2 + 0.1)
    27.0
    """

    def __init__(self, samples: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._samples, self._done, self._clock = samples, done, clock
        self._start, self._in_steps = clock(), 0.0
        self._width, self._steps = smoothing_width(samples), deque[tuple[int, float]]()

    def after(self, record: Record) -> float:
        """After one more step."""
        seconds = step_seconds(record)
        if AT_START in record:  # that validation is not repeated
            self._start = self._clock() - seconds
        self._in_steps += seconds
        self._steps.append((record["samples"], seconds / record["batch_size"]))
        while len(self._steps) > LEAST_STEPS and self._steps[0][0] < record["samples"] - self._width:
            self._steps.popleft()
        others = self._clock() - self._start - self._in_steps
        per_sample = median(speed for _, speed in self._steps) + max(0.0, others) / (
            record["samples"] - self._done
        )
        left: float = max(0, self._samples - record["samples"]) * per_sample
        return left


def duration(seconds: float) -> str:
    """Days, hours, minutes and seconds.

    >>> duration(59.6), duration(3725.0), duration(200_000.0)
    ('1:00', '1:02:05', '2 d 7:33:20')
    """
    days, rest = divmod(round(seconds), 86_400)
    hours, minutes = divmod(rest // 60, 60)
    clock = f"{hours}:{minutes:02}:{rest % 60:02}" if hours or days else f"{minutes}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


def _speed(record: Record) -> str:
    """Tokens, time, operations and utilisation of a step."""
    seconds = step_seconds(record)
    parts = [f"{record['tokens_per_second']:,.0f} tokens/s", f"{seconds:.3g} s/step"]
    if record.get("flops") and seconds:
        parts += [f"{record['flops'] / seconds / 1e12:.3g} Tflop/s", f"MFU {_share(record.get('mfu'))}"]
    return "  ".join(parts)


def _share(mfu: float | None) -> str:
    return "n/a" if mfu is None else f"{mfu:.1%}"


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The run in numbers: steps, mean batch, losses, throughput.

    >>> record = {"step": 1, "samples": 4, "tokens": 8, "loss": 2.0, "batch_size": 4, "tokens_per_second": 8.0,
    ...           "skipped": 0, "val_loss": 1.5}
    >>> summary([record])["mean batch"], summary([record])["best validation loss"]
    (4.0, 1.5)
    """
    last = records[-1]
    seconds = sum(map(step_seconds, records))
    return {
        "steps": last["step"],
        "samples": last["samples"],
        "tokens": last["tokens"],
        "mean batch": last["samples"] / last["step"],
        "final batch": last["batch_size"],
        f"training loss ({smoothing_text(smoothing_width(last['samples']))})": last_loss(records),
        **_of_validation(records),
        "skipped steps": last["skipped"],
        "seconds in steps": seconds,
        "tokens/s": sum(map(step_tokens, records)) / seconds,
        **_work(records, seconds),
        **rank_summary(records),
        **_sources(last),
    }


def _sources(last: Record) -> dict[str, Any]:
    """The shares of a mixture's sources among the samples seen."""
    counts = last.get("samples_by_source") or {}
    shares = (f"{name} {count / last['samples']:.2%}" for name, count in counts.items())
    return {"sources": ", ".join(shares)} if counts else {}


def _of_validation(records: Sequence[Record]) -> dict[str, float | None]:
    """The losses of each validation set; None where none was measured."""
    found: dict[str, float | None] = {}
    for series in validation_series(records) or [VALIDATION]:
        losses = [record[series] for record in records if record.get(series) is not None]
        name = f"validation loss {set_name(series)}".strip()
        first = records[0].get(AT_START, {}).get(series)
        found |= {} if first is None else {f"{name} before the first step": first}
        found |= {f"best {name}": min(losses, default=None), f"final {name}": losses[-1] if losses else None}
    return found


def last_loss(records: Sequence[Record]) -> float | None:
    """The last training loss, smoothed over a hundredth of the samples; None where no step's was finite."""
    smoothed = smoothed_series(records, "loss", smoothing_width(records[-1]["samples"]))[1]
    return next((loss for loss in reversed(smoothed) if math.isfinite(loss)), None)


def _work(records: Sequence[Record], seconds: float) -> dict[str, Any]:
    """Operations and MFU of a run; nothing of an earlier version's records, which lack them."""
    counted = [record for record in records if record.get("flops")]
    if not counted or not seconds:
        return {}
    known = [record for record in counted if record.get("mfu")]
    share = sum(step_seconds(record) * record["mfu"] for record in known) / (sum(map(step_seconds, known)) or 1.0)
    return {
        "operations": float(sum(record["flops"] for record in counted)),
        "seconds per step": seconds / len(records),
        "MFU": _share(share if known else None),
    }


def checkpoint_summary(costs: Sequence[SaveCost]) -> dict[str, Any]:
    """What this run's saves cost.

    >>> from adabatch.checkpoints.saving import SaveCost
    >>> checkpoint_summary([SaveCost(step=3, blocked=0.5, seconds=2.0, bytes=4_000_000)])["MB a checkpoint"]
    4.0
    """
    if not costs:
        return {}
    return {
        "checkpoints": len(costs),
        "MB a checkpoint": costs[-1].bytes / 1e6,
        "seconds a checkpoint": sum(cost.seconds for cost in costs) / len(costs),
        "of these, training stood still": sum(cost.blocked for cost in costs) / len(costs),
    }


def summary_table(records: Sequence[Record], costs: Sequence[SaveCost] = ()) -> Table:
    """The summary as a table for the terminal, with what the checkpoints cost."""
    table = Table(title="Summary", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in (summary(records) | checkpoint_summary(costs)).items():
        if value is not None:
            table.add_row(
                name,
                value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:,.4g}",
            )
    return table
