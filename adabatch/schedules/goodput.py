"""Goodput: the batch that makes most progress per second, from the noise scale and the times of the steps."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from adabatch.ranges import Range
from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.noise_estimate import LEAST_STEPS, NoiseEstimate
from adabatch.schedules.registry import RunContext, register
from adabatch.schedules.step_times import LEAST_RATIO, StepTime, StepTimes, parse_step_time

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["KAPPA", "Goodput", "GoodputOptions"]

KAPPA = 1.4
"""Times b*, by default."""

MOST_CHANGE = 1.1
"""Of a step, up or down."""

UNRESOLVED = 16
"""B_noise counts as at most this many times the batch on which it was measured."""

TIMED_FIRST = 8
"""Steps at the first batch before it grows, so that t0 can be told from t1."""

EXPLORED = 4
"""Times the first batch: from there on t0 and t1 are taken as they are."""

UNTIMED = 20
"""Steps in a row whose time a loop may leave out: the first ones of a start, and some that were skipped."""

LARGEST_SHARE = 100
"""A batch takes at most one in this many of the samples of the run."""


@dataclass(frozen=True)
class GoodputOptions:
    """Options of goodput."""

    goodput_kappa: Annotated[float, Range(0.01, 100)] = KAPPA
    """goodput: times the batch that makes most progress per second where noise and step times are as measured."""
    step_time: str | None = None
    """goodput: T0,T1, the seconds per step and per sample, such as 0.2,0.01; it makes a run reproducible. Without
    it both are fitted to the run's own steps."""


@register("goodput", GoodputOptions)
class Goodput(BatchSizeSchedule):
    """The batch kappa sqrt(B_noise t0 / t1), near which most progress is made per second.

    A step on b samples takes t0 + t1 b seconds and makes 1 / (1 + B_noise / b) of a noise-free step's progress
    (:mod:`adabatch.moments.worth`). B_noise = tr Sigma / ||G||^2 comes from averages over the steps before
    (:class:`~adabatch.schedules.noise_estimate.NoiseEstimate`), and counts as 16 b where it is above that, or the
    averaged ||G||^2 is not positive. The batch may fall, too; it moves by at most 10% per step before rounding.

    t0 and t1 are given, or fitted to the steps that :meth:`observe_seconds` tells. For that the batches must
    differ: the first one stays until eight steps were timed, and then the batch grows by 10% per step until the
    fit knows both to a tenth. From four times the first batch, or at the maximum, any fit is taken. As long as
    there is none (larger batches take no longer), growth continues.

    Args:
        initial: first batch.
        maximum: cap.
        step_time: t0 and t1; None fits them.
        kappa: > 0.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`. The batch may fall to it: where the
            micro-batch stays, take two of them at least, since one group has no variance.

    Attributes:
        unrounded: the batch before rounding, so that 10% can move one in coarse units.

    Raises:
        ValueError: for kappa out of range, and for batches that differ too little to fit t0 and t1; in ``update``,
            without moments, and where t0 and t1 are to be fitted and nobody tells how long steps take.

    >>> from adabatch.moments.gradient_moments import GradientMoments
    >>> schedule = Goodput(16, 64, StepTime(fixed=1.0, per_sample=0.1), kappa=1.0)    # B_sat = 10
    >>> for _ in range(20):                                             # tr Sigma = 80, ||G||^2 = 2: B_noise = 40
    ...     b = schedule.batch_size
    ...     _ = schedule.update(GradientMoments(2, b / 2, 2 * (2 + 80 / b) + 80 / (b / 2), 2 + 80 / b))
    >>> schedule.batch_size
    20
    """

    groups_needed = 2

    def __init__(
        self,
        initial: int,
        maximum: int,
        step_time: StepTime | None = None,
        kappa: float = KAPPA,
        multiple_of: int = 1,
    ) -> None:
        Range(0.01, 100).require(kappa, "kappa")
        super().__init__(initial, maximum, multiple_of)
        self.kappa, self.step_time = kappa, step_time
        self.needs_step_times = step_time is None
        self.enough = min(EXPLORED * initial, maximum)
        if step_time is None and maximum < LEAST_RATIO * initial:
            raise ValueError(
                f"goodput cannot fit step times to batches from {initial} to {maximum}, which hardly differ: give "
                "--step-time T0,T1, or raise --max-batch or --samples (a batch takes a hundredth at most)"
            )
        self.noise, self.times = NoiseEstimate(), _FittedTimes()
        self.identified = step_time is not None
        self.unrounded = float(initial)
        self.untimed = 0

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Goodput:
        """From a run's settings.

        Raises:
            ValueError: for a budget of which the first batch takes more than a hundredth.
        """
        largest = context.samples // LARGEST_SHARE
        if largest < settings.initial_batch:
            raise ValueError(
                f"goodput takes at most a hundredth of the budget of {context.samples} samples in a step, "
                f"{largest}, but the first batch is {settings.initial_batch}: raise --samples to at least "
                f"{LARGEST_SHARE * settings.initial_batch}, or lower --initial-batch"
            )
        given = None if settings.step_time is None else parse_step_time(settings.step_time)
        return cls(settings.initial_batch, min(settings.max_batch, largest), given, settings.goodput_kappa)

    @property
    def needs_moments(self) -> bool:
        """Always: at the maximum the batch may still fall."""
        return True

    def observe_seconds(self, seconds: float, batch_size: int, micro_batch: int = 0, length: int = 0) -> None:
        """Take in how long an earlier step took; ignored where t0 and t1 were given."""
        self.untimed = 0
        if self.needs_step_times:
            self.times.add(seconds, batch_size, micro_batch, length)
            self.step_time = self.times.fitted

    def forget_seconds(self) -> None:
        """Forget the times of the steps, and explore again; ignored where t0 and t1 were given."""
        if self.needs_step_times:
            self.times, self.step_time, self.identified = _FittedTimes(), None, False

    def _decide(self, moments: GradientMoments | None) -> Decision:
        self.noise.add(self._usable(moments))
        self.untimed += 1
        if self.needs_step_times and self.untimed > UNTIMED:
            raise ValueError(
                f"goodput fits the times of steps, and {UNTIMED} steps went by without one: call "
                "observe_seconds(seconds, batch_size) before each update(), or give step_time"
            )
        target, by = self._target()
        least, most = self.unrounded / MOST_CHANGE, self.unrounded * MOST_CHANGE
        wanted = min(max(target, float(self.rounding.round_up(1))), float(self.maximum))
        self.unrounded = min(max(wanted, least), most)
        if not by and wanted != self.unrounded:
            by = "limit of 10% per step"
        if target > self.maximum == self.unrounded:
            by = "maximum"
        return Decision(round(self.unrounded), max(1, round(target)), decided_by=by)

    def _target(self) -> tuple[float, str]:
        """The batch that is wanted, and why if it is not the rule's."""
        from adabatch.moments.worth import best_batch

        time = self.step_time
        if not self.identified and time is not None:
            self.identified = time.resolved or self.unrounded >= self.enough
        if not self.identified or time is None:
            growth = MOST_CHANGE if self.times.count >= TIMED_FIRST else 1.0
            return self.unrounded * growth, "exploration of step times"
        if self.noise.count < LEAST_STEPS:
            return self.unrounded, ""
        scale = min(self.noise.value, float(UNRESOLVED * self.taken))
        return self.kappa * float(best_batch(scale, time.saturation)), ""

    def state_dict(self) -> dict[str, Any]:
        """All that changes, as ints and exact floats."""
        own = {"unrounded": self.unrounded, "identified": self.identified, "noise": self.noise.state_dict()}
        times = {"times": self.times.state_dict()} if self.needs_step_times else {}
        return super().state_dict() | own | times

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        super().load_state_dict(state)
        self.unrounded = state["unrounded"]
        self.noise.load_state_dict(state["noise"])
        if self.needs_step_times and "times" in state:  # a run may resume without --step-time that began with it
            self.times.load_state_dict(state["times"])
            self.step_time = self.times.fitted
        self.identified = state["identified"] and self.step_time is not None


class _FittedTimes:
    """t0 and t1 of the steps so far, fitted again whenever there are 5% more of them.

    Attributes:
        fitted: the last fit; None while there is none.
    """

    def __init__(self) -> None:
        self.steps = StepTimes()
        self.count = self.due = 0
        self.fitted: StepTime | None = None

    def add(self, seconds: float, batch_size: int, micro_batch: int, length: int) -> None:
        """Take in one step."""
        self.steps.add(seconds, batch_size, micro_batch, length)
        self.count += 1
        if self.count >= self.due:
            self.fitted = self.steps.fit(micro_batch, length) or self.fitted
            self.due = self.count + max(1, self.count // 20)

    def state_dict(self) -> dict[str, Any]:
        """All times and the last fit, as ints and exact floats."""
        fitted = None if self.fitted is None else list(astuple(self.fitted))
        return {"steps": self.steps.state_dict(), "count": self.count, "due": self.due, "fitted": fitted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.steps.load_state_dict(state["steps"])
        self.count, self.due = state["count"], state["due"]
        self.fitted = None if state["fitted"] is None else StepTime(*state["fitted"])
