"""What a step costs, t0 + t1 b seconds, fitted to the times that a run's own steps took, or given.

The times of a run have outliers (a checkpoint, another program, compilation) that may be a hundred times too long,
and jitter in proportion to the time. So the line is a robust regression on relative residuals: least absolute
deviations first, which no 5% of outliers can lead astray, then Tukey's biweight, which gives what lies far off no
weight at all.

Times depend on how a batch is split into micro-batches and on the sequence length. A fit never mixes lengths, and
takes the steps of one micro-batch size where their batches differ enough, else those of all.

References:
    Huber and Ronchetti, Robust Statistics (2009), chapter 7 (regression by iterated weights; the biweight's
    constant 4.685 keeps 95% of the precision that least squares would have without outliers).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    import numpy as np

__all__ = ["StepTime", "StepTimes", "parse_step_time"]

BIN = 0.01
"""Width, in the logarithm, of the bins in which times are kept: 1%."""

CELLS = 256
"""Most cells; beyond, the one with the fewest times is given up."""

LEAST_STEPS, LEAST_RATIO = 3, 1.5
"""Batches differ enough if this many steps have batches at least this many times those of this many others."""

BIWEIGHT = 4.685
"""In standard deviations: what lies farther off has no weight."""

RESOLVED = 0.1
"""The relative standard error up to which t0 or t1 counts as identified."""


@dataclass(frozen=True)
class StepTime:
    """A step on b samples takes t0 + t1 b seconds.

    Attributes:
        fixed: t0 >= 0, seconds per step.
        per_sample: t1 > 0, seconds per sample.
        fixed_error: standard error of t0, in seconds; 0 where it was given.
        per_sample_error: that of t1.
        covariance: of both errors, in seconds squared; below 0 as a rule.

    >>> StepTime(fixed=0.2, per_sample=0.01).saturation
    20.0
    """

    fixed: float
    per_sample: float
    fixed_error: float = 0.0
    per_sample_error: float = 0.0
    covariance: float = 0.0

    @property
    def saturation(self) -> float:
        """B_sat = t0 / t1, in samples: there half of a step's time is for its samples."""
        return self.fixed / self.per_sample

    @property
    def resolved(self) -> bool:
        """Whether the standard errors of both are at most a tenth of them."""
        return self.fixed_error <= RESOLVED * self.fixed and self.per_sample_error <= RESOLVED * self.per_sample

    @property
    def saturation_error(self) -> float:
        """Standard error of log B_sat, to first order; infinite where t0 is 0."""
        if self.fixed == 0:
            return math.inf
        own = (self.fixed_error / self.fixed) ** 2 + (self.per_sample_error / self.per_sample) ** 2
        return math.sqrt(max(0.0, own - 2 * self.covariance / (self.fixed * self.per_sample)))

    def seconds(self, batch: float) -> float:
        """t0 + t1 b."""
        return self.fixed + self.per_sample * batch


def parse_step_time(text: str) -> StepTime:
    """The value of ``--step-time T0,T1``, in seconds per step and seconds per sample.

    Raises:
        ValueError: for text that is not two numbers, t0 outside [0, 1e9] or t1 outside [1e-12, 1e9].

    >>> parse_step_time("0.2,0.01")
    StepTime(fixed=0.2, per_sample=0.01, fixed_error=0.0, per_sample_error=0.0, covariance=0.0)
    """
    try:
        fixed, per_sample = map(float, text.split(","))
    except ValueError:
        fixed = per_sample = math.nan
    if not (0 <= fixed <= 1e9 and 1e-12 <= per_sample <= 1e9):  # beyond, their ratio may not be a float
        raise ValueError(
            "--step-time takes T0,T1, the seconds per step (from 0 to 1e9) and per sample (from 1e-12 to 1e9), "
            f"such as 0.2,0.01, not {text!r}"
        )
    return StepTime(fixed, per_sample)


Cell = dict[int, list[float]]
"""Times of one kind of step, by bin: how many, and their sum."""


class StepTimes:
    """The times of a run's steps in bounded memory, and the line through them.

    A cell is a batch size with its micro-batch size and sequence length; it counts its times in bins of 1%. The
    first step of each micro-batch size and length is left out: it compiles and allocates.

    >>> times = StepTimes()
    >>> for step in range(41):
    ...     batch = (8, 16, 32)[step % 3]
    ...     times.add(10.0 if step % 20 == 0 else 0.2 + 0.01 * batch, batch)
    >>> fit = times.fit()
    >>> round(fit.fixed, 9), round(fit.per_sample, 9)
    (0.2, 0.01)
    """

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int, int], Cell] = {}
        self._shapes: set[tuple[int, int]] = set()

    def add(self, seconds: float, batch_size: int, micro_batch: int = 0, length: int = 0) -> None:
        """Take in the time of a step; what is not a positive number is left out.

        Args:
            seconds: that the step took.
            batch_size: its samples, of all ranks.
            micro_batch: samples that a rank computes at once; 0 if it is not known.
            length: of its sequences; 0 if it never changes.
        """
        if not 0 < seconds < math.inf:
            return
        if (micro_batch, length) not in self._shapes:
            self._shapes.add((micro_batch, length))
            return
        key = (batch_size, micro_batch, length)
        if key not in self._cells and len(self._cells) >= CELLS:
            del self._cells[min(self._cells, key=lambda other: _count(self._cells[other]))]
        bin_ = self._cells.setdefault(key, {}).setdefault(math.floor(math.log(seconds) / BIN), [0, 0.0])
        bin_[0] += 1
        bin_[1] += seconds

    def fit(self, micro_batch: int | None = None, length: int = 0) -> StepTime | None:
        """t0 and t1 of the steps so far; None while their batches differ too little to tell one from the other.

        Three steps must have batches of 1.5 times those of three others. Where the line through the times passes
        below 0, t0 is 0.

        Args:
            micro_batch: the present one, whose steps are taken if their batches differ enough, else all; None
                takes all.
            length: of the sequences.
        """
        of_length = {key: cell for key, cell in self._cells.items() if key[2] == length}
        present = {key: cell for key, cell in of_length.items() if key[1] == micro_batch}
        for cells in (present, of_length):
            if _differ_enough((key[0], _count(cell)) for key, cell in cells.items()):
                return _line(cells)
        return None

    def state_dict(self) -> dict[str, Any]:
        """All times kept, as ints and exact floats, in lists that JSON can hold."""
        cells = [
            [list(key), [[number, *kept] for number, kept in cell.items()]] for key, cell in self._cells.items()
        ]
        return {"cells": cells, "shapes": sorted(map(list, self._shapes))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self._shapes = {(int(micro_batch), int(length)) for micro_batch, length in state["shapes"]}
        self._cells = {
            (int(key[0]), int(key[1]), int(key[2])): {int(number): [count, sum_] for number, count, sum_ in cell}
            for key, cell in state["cells"]
        }


def _count(cell: Cell) -> int:
    return int(sum(kept[0] for kept in cell.values()))


def _differ_enough(counts: Iterable[tuple[int, int]]) -> bool:
    """Whether three steps have batches of at least 1.5 times those of three others."""
    ordered = sorted(batch for batch, count in counts for _ in range(min(count, LEAST_STEPS)))
    enough = len(ordered) >= 2 * LEAST_STEPS
    return enough and ordered[-LEAST_STEPS] >= LEAST_RATIO * ordered[LEAST_STEPS - 1]


def _line(cells: dict[tuple[int, int, int], Cell]) -> StepTime | None:
    """The robust line; None if it does not rise with the batch."""
    import numpy as np

    points = [(key[0], kept[1] / kept[0], kept[0]) for key, cell in cells.items() for kept in cell.values()]
    batches, times, counts = np.array(points, dtype=float).T
    line = _least_deviations(batches, times, counts)
    covariance = np.diag([math.inf, math.inf])  # if no line fits
    for _ in range(30):
        if line is None:
            return None
        fitted = line[0] + line[1] * batches
        residuals = np.log(times / fitted)
        # the residuals' deviation, in which half of the times lie within .6745 of a normal one's
        scale = max(_weighted_median(np.abs(residuals), counts) / 0.6745, BIN / 10)
        weights = counts * np.maximum(0, 1 - (residuals / (BIWEIGHT * scale)) ** 2) ** 2 / fitted**2
        if len(set(batches[weights > 0])) < 2:  # times that no line fits
            break
        new, inverse = _least_squares(batches, times, weights)
        covariance = scale**2 / 0.95 * inverse
        settled = np.allclose(new, line, rtol=1e-9, atol=0)
        line = _admissible(new, batches, times, weights)
        if settled:
            break
    assert line is not None
    errors = np.sqrt(np.diag(covariance))
    return StepTime(*map(float, (*line, *errors, covariance[0, 1])))


def _least_deviations(batches: np.ndarray, times: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """The line with the least sum of absolute deviations, relative to the median time of each batch."""
    import numpy as np

    sizes, place = np.unique(batches, return_inverse=True)
    medians = np.array([_weighted_median(times[batches == size], counts[batches == size]) for size in sizes])[
        place
    ]
    weights = counts / medians**2
    line = np.zeros(2)
    for _ in range(50):
        line = _least_squares(batches, times, weights)[0]
        deviations = np.abs(times - line[0] - line[1] * batches) / medians
        weights = counts / medians**2 / np.maximum(deviations, BIN / 10)
    return _admissible(line, batches, times, weights)


def _least_squares(batches: np.ndarray, times: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares of t0 + t1 b, and the inverse of its normal matrix."""
    import numpy as np

    design = np.stack([np.ones_like(batches), batches])
    inverse = np.linalg.inv((design * weights) @ design.T)
    return inverse @ (design * weights) @ times, inverse


def _admissible(
    line: np.ndarray, batches: np.ndarray, times: np.ndarray, weights: np.ndarray
) -> np.ndarray | None:
    """The line with t0 >= 0; None where t1 is not positive."""
    import numpy as np

    if line[0] < 0:
        line = np.array([0.0, (weights * batches) @ times / ((weights * batches) @ batches)])
    return line if line[1] > 0 else None


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value at which half of the weight is reached."""
    import numpy as np

    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
