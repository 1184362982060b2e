"""The interface of every batch-size schedule: a small state machine counted in samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.rounding import MultipleOf, Rounding

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.coordinate_moments import CoordinateMoments
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["BatchSizeSchedule", "Decision", "NeverGrowsError", "Reason"]

Reason = Literal["scheduled", "grow", "passed", "unresolved", "not tested", "skipped"]


class NeverGrowsError(ValueError):
    """Options with which a schedule that is there to grow the batch never does, in expectation."""


@dataclass(frozen=True)
class Decision:
    """What a schedule decided after a step.

    Attributes:
        batch_size: samples of the next step.
        proposal: the batch that was asked for, before growth limit, cap and rounding.
        reason: ``scheduled`` (the rule runs no test); of a test ``grow``, ``passed`` or ``unresolved`` (the
            gradient could not be told from noise, so that b stays); ``not tested``; or ``skipped``.
        statistic: the test's T in samples, NaN if unresolved; None if no test was run.
        limited: whether a growth limit made the batch smaller than asked for.
        decided_by: what the batch comes from: the rule by its name, or what held that back, such as ``maximum``.
        wanted: the batch without the noise limit, where that holds it back; else None.
    """

    batch_size: int
    proposal: int
    reason: Reason = "scheduled"
    statistic: float | None = None
    limited: bool = False
    decided_by: str = ""
    wanted: int | None = None


class BatchSizeSchedule(ABC):
    """Decides how many samples the next step takes.

    A training loop asks :attr:`batch_size` before a step and calls :meth:`update` after it::

        while schedule.samples < budget:
            statistics.enable(schedule.needs_moments)
            ...                                   # a step on schedule.batch_size samples
            schedule.update(statistics.finish() if schedule.needs_moments else None)

    A batch depends on the steps before it only, never on its own samples: it is fixed before they are drawn.

    Args:
        initial: samples of the first batch.
        maximum: no proposal goes beyond it (rounding up may, by less than a unit).
        multiple_of: batch sizes are rounded up to multiples of this, such as world size x micro-batch.

    Attributes:
        batch_size: samples of the next step.
        samples: samples of all steps so far.
        steps: number of steps so far.
        taken: samples of the step just done, or of the last one.
        initial: the first batch, before rounding.
        name: by which it is registered.
        groups_needed: ranks x micro-batches that a step must have at least.
        needs_coordinates: whether the moments must know the coordinates.
        needs_step_times: whether :meth:`observe_seconds` must be told how long steps take.
        learning_rate_scaling: the rule by which the schedule itself scales the learning rate, if it does.

    Raises:
        ValueError: unless 1 <= initial <= maximum.
    """

    name = "schedule"
    groups_needed = 1
    needs_coordinates = False
    needs_step_times = False
    learning_rate_scaling = ""

    def __init__(self, initial: int, maximum: int, multiple_of: int = 1) -> None:
        if initial < 1:
            raise ValueError(f"the initial batch must be at least 1 sample, but is {initial}")
        if maximum < initial:
            raise ValueError(
                f"the maximum batch {maximum} is below the initial batch {initial}: raise --max-batch or lower "
                "--initial-batch"
            )
        self.initial, self.maximum = initial, maximum
        self.batch_size = self.taken = initial
        self.samples = 0
        self.steps = 0
        self.round_by(MultipleOf(multiple_of))

    def round_by(self, rounding: Rounding) -> None:
        """Round the next batch and all later ones to what can be realised, in place of ``multiple_of``."""
        self.rounding = rounding
        self.batch_size = rounding.round_up(self.batch_size)

    def require_growth(self, groups: int) -> None:
        """Raise :class:`NeverGrowsError` if a batch of n groups (ranks x micro-batches) never grows."""
        del groups  # only tests depend on them

    @property
    def parts(self) -> Sequence[BatchSizeSchedule]:
        """The rules that this one is composed of: itself, unless it is composed."""
        return [self]

    @property
    def needs_moments(self) -> bool:
        """Whether :meth:`update` after the next step needs that step's gradient moments."""
        return False

    def learning_rate(self, rates: LearningRate) -> float:
        """The learning rate of the next step, :meth:`rate_of_step` of what comes next."""
        return self.rate_of_step(rates, self.samples, self.batch_size)

    def rate_of_step(self, rates: LearningRate, start: int, batch_size: int) -> float:
        """The learning rate of a step on the samples from ``start``: their path's mean, scaled by the batch."""
        return rates.mean(start, start + batch_size) * rates.scaling.factor(batch_size)

    def observe_seconds(self, seconds: float, batch_size: int, micro_batch: int = 0, length: int = 0) -> None:
        """Take in how long an earlier step took, before :meth:`update`; the same on all ranks.

        Args:
            seconds: that it took.
            batch_size: its samples, of all ranks.
            micro_batch: samples that a rank computed at once; 0 if it is not known.
            length: of its sequences; 0 if it never changes.
        """
        del seconds, batch_size, micro_batch, length  # only some rules ask for them

    def forget_seconds(self) -> None:
        """Forget how long steps took: from now on other ranks take them."""
        return  # only some rules know

    def update(self, moments: GradientMoments | None = None, taken: int | None = None) -> Decision:
        """Count the step just done and decide the next batch size.

        Args:
            moments: of the step's gradients; ignored unless :attr:`needs_moments`.
            taken: samples of that step; None: :attr:`batch_size`, as it was asked for.
        """
        self.taken = self.batch_size if taken is None else taken
        return self._advance(self._decide(moments))

    def skip(self, taken: int | None = None) -> Decision:
        """Count a step whose gradients were thrown away (not finite): its samples are seen, b stays."""
        self.taken = self.batch_size if taken is None else taken
        return self._advance(self._skipped())

    @abstractmethod
    def _decide(self, moments: GradientMoments | None) -> Decision:
        """What is wanted after the step just done, before cap and rounding."""

    def _skipped(self) -> Decision:
        """What is wanted after a skipped step."""
        return self._stay("skipped")

    def _stay(self, reason: Reason, decided_by: str = "") -> Decision:
        return Decision(self.batch_size, self.batch_size, reason, decided_by=decided_by)

    @property
    def seen(self) -> int:
        """Samples of all steps including the one just done, while the next batch is decided."""
        return self.samples + self.taken

    def _usable(self, moments: GradientMoments | None) -> GradientMoments:
        """The moments of the step just done.

        Raises:
            ValueError: if they are missing, not finite, of another batch, or without what it needs.
        """
        if moments is None:
            raise ValueError(
                f"step {self.steps + 1} is a test step: pass its moments (statistics.finish()) to update(), or "
                "call skip() if its gradients were thrown away"
            )
        if not (math.isfinite(moments.sum_of_squares) and math.isfinite(moments.squared_norm)):
            raise ValueError(
                f"the gradient moments are not finite (sum of squares {moments.sum_of_squares}, squared norm "
                f"{moments.squared_norm}): skip the optimizer step and call skip() in place of update()"
            )
        samples = moments.batch_size if moments.samples is None else moments.samples
        if samples != self.taken:
            raise ValueError(
                f"the moments are of a batch of {samples} samples, but the schedule asked for "
                f"{self.taken}: use schedule.batch_size for each step, rounded as you can realise"
            )
        return of_coordinates(moments) if self.needs_coordinates else moments

    def _advance(self, wanted: Decision) -> Decision:
        self.samples += self.taken
        self.steps += 1
        self.batch_size = self.rounding.round_up(max(1, min(wanted.batch_size, self.maximum)))
        capped = "maximum" if wanted.proposal > self.maximum else self.name
        by = wanted.decided_by or ("growth limit" if wanted.limited else capped)
        return replace(wanted, batch_size=self.batch_size, decided_by=by)

    def state_dict(self) -> dict[str, Any]:
        """All that changes, as ints and exact floats."""
        return {"batch_size": self.batch_size, "samples": self.samples, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.batch_size, self.samples, self.steps = state["batch_size"], state["samples"], state["steps"]


def of_coordinates(moments: GradientMoments) -> CoordinateMoments:
    """The moments, if they know the coordinates.

    Raises:
        ValueError: if they do not, for one because a single group has no variance.
    """
    from adabatch.moments.coordinate_moments import CoordinateMoments
    from adabatch.moments.gradient_moments import require_groups

    if not isinstance(moments, CoordinateMoments):
        require_groups(moments.groups)
        raise ValueError(
            "the schedule needs moments that know the coordinates: attach CoordinateStatistics in place of "
            "GradientStatistics"
        )
    return moments
