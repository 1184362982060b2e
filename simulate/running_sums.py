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
        self._sums: dict[str, Array] = {"misses": np.zeros(seeds), "missed_l1_sum": np.zeros(seeds)}
        self._copies: list[dict[str, Array]] = []

    def before_step(self, step: int, gradient: Array, state: OptimizerState) -> None:
        """Account for G_k, while the optimizer's state is still that of step k - 1."""
        self._l1: Array = np.einsum("sd->s", np.abs(gradient))  # einsum adds up short rows in half of sum's time
        squared = np.einsum("sd,sd->s", gradient, gradient)
        self._add(l1_sum=self._l1, l2_sum=np.sqrt(squared), squared_sum=squared)
        if self._optimizer.schedule is not None:
            self._add(weighted_l1_sum=self._optimizer.schedule(step) * self._l1)
        if self._preconditioned:
            denominators = self._optimizer.denominators(gradient, state)
            if denominators is not None:
                ratio = zero_safe_ratio(gradient, denominators)
                self._add(preconditioned_sum=np.einsum("sd,sd->s", gradient, ratio))

    def after_step(self, step: int, w: Array, draw: Draw) -> None:
        """Account for the noise's report on step k, and copy everything if K = k is recorded."""
        last = {}
        if draw.missed is not None:
            self._add(misses=draw.missed.astype(float), missed_l1_sum=draw.missed * self._l1)
        if self._deviations and draw.deviations is not None:
            self._add(deviation_sum=draw.deviations.sum(axis=-1))
        if draw.batch_size is not None:
            self._add(batch_sum=draw.batch_size)
            last["batch_size"] = draw.batch_size
        if step in self._records:
            self._copies.append({**self._sums, **last, "value": self._objective.value(w)})

    def recorded(self) -> dict[str, Array]:
        """Everything recorded, each [records, seeds]; NaN for what was never reported."""
        recorded = {name: np.stack([copy[name] for copy in self._copies]) for name in self._copies[0]}
        optional = ("preconditioned_sum", "deviation_sum", "batch_sum", "batch_size")
        missing = np.full_like(recorded["l1_sum"], np.nan)
        return {**dict.fromkeys(optional, missing), "weighted_l1_sum": recorded["l1_sum"], **recorded}

    def _add(self, **values: Array) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
