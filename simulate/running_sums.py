"""The sums that a run accumulates, and copies at the recorded steps."""

from __future__ import annotations

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
        self._l1: Array = np.zeros(seeds)
        self._sums = {name: np.zeros(seeds) for name in ("misses", "missed_l1_sum")}
        self._last: dict[str, Array] = {}
        self._copies: dict[str, list[Array]] = {}

    def before_step(self, step: int, gradient: Array, state: OptimizerState) -> None:
        """Account for G_k, while the optimizer's state is still that of step k - 1."""
        self._l1 = np.einsum("sd->s", np.abs(gradient))  # einsum adds up short rows in half of sum's time
        squared = np.einsum("sd,sd->s", gradient, gradient)
        self._add("l1_sum", self._l1)
        self._add("l2_sum", np.sqrt(squared))
        self._add("squared_sum", squared)
        if self._optimizer.schedule is not None:
            self._add("weighted_l1_sum", self._optimizer.schedule(step) * self._l1)
        if self._preconditioned:
            denominators = self._optimizer.denominators(gradient, state)
            if denominators is not None:
                ratio = zero_safe_ratio(gradient, denominators)
                self._add("preconditioned_sum", np.einsum("sd,sd->s", gradient, ratio))

    def after_step(self, step: int, w: Array, draw: Draw) -> None:
        """Account for the noise's report on step k, and copy everything if K = k is recorded."""
        if draw.missed is not None:
            self._add("misses", draw.missed.astype(float))
            self._add("missed_l1_sum", draw.missed * self._l1)
        if self._deviations and draw.deviations is not None:
            self._add("deviation_sum", draw.deviations.sum(axis=-1))
        if draw.batch_size is not None:
            self._add("batch_sum", draw.batch_size)
            self._last["batch_size"] = draw.batch_size
        if step in self._records:
            for name, values in {**self._sums, **self._last, "value": self._objective.value(w)}.items():
                self._copies.setdefault(name, []).append(values.copy())

    def recorded(self) -> dict[str, Array]:
        """Everything recorded, each [records, seeds]; NaN for what was never reported."""
        recorded = {name: np.stack(copies) for name, copies in self._copies.items()}
        optional = ("preconditioned_sum", "deviation_sum", "batch_sum", "batch_size")
        missing = np.full_like(recorded["l1_sum"], np.nan)
        return {**dict.fromkeys(optional, missing), "weighted_l1_sum": recorded["l1_sum"], **recorded}

    def _add(self, name: str, value: Array) -> None:
        if name in self._sums:
            self._sums[name] += value
        else:
            self._sums[name] = value.astype(float)
