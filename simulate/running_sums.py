"""The sums and extremes that a run keeps while it goes, and copies at the recorded steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulate.noise.base import Draw
from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState, zero_safe_ratio
from simulate.streams import Array

__all__ = ["RunningSums"]


class RunningSums:
    """Accumulates what :class:`simulate.trajectory.Trajectory` holds; every entry is an array of shape [seeds].

    Args:
        objective: gives L(w) at the recorded steps.
        optimizer: gives the schedule and the denominators.
        records: the K to record, ascending.
        seeds: how many runs.
        preconditioned: whether sum_i G_i^2 / sqrt(D_i) is accumulated.
        deviations: whether sum_i sd_i is accumulated.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        records: tuple[int, ...],
        seeds: int,
        preconditioned: bool = False,
        deviations: bool = False,
    ) -> None:
        self._objective, self._optimizer, self._records = objective, optimizer, frozenset(records)
        self._preconditioned, self._deviations = preconditioned, deviations
        self._last: dict[str, Array] = {}
        self._sums = {
            name: np.zeros(seeds) for name in ("l1_sum", "l2_sum", "squared_sum", "misses", "missed_l1_sum")
        }
        if optimizer.schedule is not None:
            self._sums["weighted_l1_sum"] = np.zeros(seeds)
        self._minima = {name: np.full(seeds, np.inf) for name in ("l1_minimum", "l2_minimum")}
        self._maxima: dict[str, Array] = {}
        self._copies: dict[str, list[Array]] = {}

    def before_step(self, step: int, gradient: Array, state: OptimizerState) -> None:
        """Account for G_k, while the optimizer's state is still that of step k - 1."""
        l1 = np.einsum("sd->s", np.abs(gradient))  # einsum adds up short rows in half of sum's time
        squared = np.einsum("sd,sd->s", gradient, gradient)
        l2 = np.sqrt(squared)
        self._last["l1_norm"], self._last["l2_norm"] = l1, l2
        sums, minima, schedule = self._sums, self._minima, self._optimizer.schedule
        sums["l1_sum"] += l1
        sums["l2_sum"] += l2
        sums["squared_sum"] += squared
        if schedule is not None:
            sums["weighted_l1_sum"] += schedule(step) * l1
        np.minimum(minima["l1_minimum"], l1, out=minima["l1_minimum"])
        np.minimum(minima["l2_minimum"], l2, out=minima["l2_minimum"])
        if self._preconditioned:
            denominators = self._optimizer.denominators(gradient, state)
            if denominators is not None:
                self._add(
                    "preconditioned_sum", np.einsum("sd,sd->s", gradient, zero_safe_ratio(gradient, denominators))
                )

    def after_step(self, step: int, w: Array, draw: Draw) -> None:
        """Account for the noise's report on step k, and copy everything if K = k is recorded."""
        if draw.missed is not None:
            self._sums["misses"] += draw.missed
            self._sums["missed_l1_sum"] += draw.missed * self._last["l1_norm"]
        if self._deviations and draw.deviations is not None:
            self._add("deviation_sum", draw.deviations.sum(axis=-1))
        if draw.batch_size is not None:
            self._add_batch(draw.batch_size)
        if step in self._records:
            self._copy(w)

    def recorded(self) -> dict[str, Any]:
        """Everything recorded, each [records, seeds], or None for what was never reported."""
        optional = ("preconditioned_sum", "deviation_sum")
        batches = ("batch_sum", "batch_size", "batch_minimum", "batch_maximum")
        recorded: dict[str, Any] = dict.fromkeys((*optional, *batches))
        recorded.update({name: np.stack(copies) for name, copies in self._copies.items()})
        recorded.setdefault("weighted_l1_sum", recorded["l1_sum"])
        return recorded

    def _add(self, name: str, value: Array) -> None:
        if name in self._sums:
            self._sums[name] += value
        else:
            self._sums[name] = value.astype(float)

    def _add_batch(self, batch_size: Array) -> None:
        self._add("batch_sum", batch_size)
        self._last["batch_size"] = batch_size
        if "batch_maximum" not in self._maxima:
            self._maxima["batch_maximum"] = batch_size.copy()
            self._minima["batch_minimum"] = batch_size.copy()
        np.maximum(self._maxima["batch_maximum"], batch_size, out=self._maxima["batch_maximum"])
        np.minimum(self._minima["batch_minimum"], batch_size, out=self._minima["batch_minimum"])

    def _copy(self, w: Array) -> None:
        current = {**self._sums, **self._minima, **self._maxima, **self._last, "value": self._objective.value(w)}
        for name, values in current.items():
            self._copies.setdefault(name, []).append(values.copy())
