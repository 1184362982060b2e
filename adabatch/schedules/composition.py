"""Batch rules composed: a rule, a floor under it and a ceiling by the noise, and which of them decided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from adabatch.ranges import Range
from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.noise_estimate import NoiseEstimate, NoiseScale
from adabatch.schedules.norm_tests import LARGEST_ETA, SMALLEST_ETA
from adabatch.schedules.registry import RunContext, batch_rules
from adabatch.schedules.rounding import round_down

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["FIRST_BATCH", "Composed", "NoiseLimit", "schedule_from_settings"]

FIRST_BATCH = "first batch"
"""What decided where the noise limit asks for less than the first batch."""


class NoiseLimit:
    """The ceiling B / eta^2: where a norm test at eta on this noise scale would stop growing.

    The norm test's statistic with the opposite inequality. Under it an Adam step, idealised, keeps at least
    1 / sqrt(1 + 1 / eta^2) of the descent that small batches along the same path of the learning rate would make
    of its samples, measured by the criterion that belongs to the noise scale.

    Args:
        eta: > 0.
        scale: ``trace``, ``l1`` or ``weighted``: which B (:mod:`adabatch.moments.noise_scale`). Only for
            ``weighted`` is that the descent itself; it and ``l1`` need coordinates.

    Attributes:
        estimate: of B, from the steps before.

    >>> NoiseLimit(eta=0.5).ceiling             # nothing was measured yet
    inf
    """

    def __init__(self, eta: float, scale: str = "trace") -> None:
        Range(SMALLEST_ETA, LARGEST_ETA).require(eta, "the noise limit's eta (--noise-limit)")
        self.eta, self.estimate = eta, NoiseEstimate(scale)

    @property
    def ceiling(self) -> float:
        """B / eta^2 in samples; infinite while B is not resolved."""
        return self.estimate.value / self.eta**2 if self.estimate.resolved else math.inf


class Composed(BatchSizeSchedule):
    """A rule with a floor under it and a ceiling: round(min(max(rule, floor), limit, maximum)).

    Rule and floor are whole schedules. Each keeps its own batch, is told what number of samples was taken, and
    looks at the moments of those. The ceiling B / eta^2 (:class:`NoiseLimit`) is rounded down to what can be made
    and is never below the first batch.

    The learning rate is the rule's at the batch that is taken. Where it does not follow the batch by itself, it is
    multiplied by sqrt(b / wanted) where the ceiling holds b back, so that sqrt(b) / lr stays on the path; for SGD
    by b / wanted (``scaling``).

    Args:
        rule: at its first batch.
        floor: at its first batch; it must not prescribe a learning rate.
        limit: the ceiling.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`; rule and floor are not rounded.
        scaling: ``sqrt`` (Adam) or ``linear`` (SGD).

    Raises:
        ValueError: for a floor that prescribes its own learning rate; for a limit that has nothing to hold back.

    >>> from adabatch.moments.gradient_moments import GradientMoments
    >>> from adabatch.schedules import LinearRamp
    >>> schedule = Composed(LinearRamp(8, 64, ramp_samples=100), limit=NoiseLimit(eta=1.0))
    >>> for _ in range(8):                                              # tr Sigma = 40, ||G||^2 = 2: B = 20
    ...     b = schedule.batch_size
    ...     moments = GradientMoments(2, b / 2, 2 * (2 + 40 / b) + 80 / b, 2 + 40 / b)
    ...     decision = schedule.update(moments)
    >>> decision.batch_size, decision.decided_by, decision.wanted
    (20, 'noise limit', 64)
    """

    def __init__(
        self,
        rule: BatchSizeSchedule,
        floor: BatchSizeSchedule | None = None,
        limit: NoiseLimit | None = None,
        multiple_of: int = 1,
        scaling: str = "sqrt",
    ) -> None:
        self.rule, self.floor, self.limit, self.scaling = rule, floor, limit, scaling
        if floor is not None and floor.learning_rate_scaling:
            raise ValueError(
                f"{floor.name} prescribes its own learning rate and cannot be the floor of another rule: take it "
                "as the rule (--schedule), or another --batch-floor"
            )
        self.name, self.learning_rate_scaling = rule.name, rule.learning_rate_scaling
        initial = max(part.batch_size for part in self.parts)
        maximum = max(part.maximum for part in self.parts)
        if limit is not None and maximum <= initial:
            raise ValueError(
                f"the batch never goes beyond the first one, {initial}, so that the noise limit has nothing "
                "to hold back: raise --max-batch, take a --schedule that grows, or leave out --noise-limit"
            )
        needs: list[BatchSizeSchedule | NoiseScale] = [*self.parts]
        if limit is not None:
            needs.append(limit.estimate.scale)
        self.groups_needed = max(part.groups_needed for part in needs)
        self.needs_coordinates = any(part.needs_coordinates for part in needs)
        self.needs_step_times = any(part.needs_step_times for part in self.parts)
        super().__init__(initial, maximum, multiple_of)

    @property
    def parts(self) -> Sequence[BatchSizeSchedule]:
        """The rule, and the floor if there is one."""
        return [self.rule] if self.floor is None else [self.rule, self.floor]

    @property
    def needs_moments(self) -> bool:
        """Whether a part needs those of the next step; a limit always does."""
        return self.limit is not None or any(part.needs_moments for part in self.parts)

    @property
    def wanted(self) -> int:
        """The next batch as it would be without the limit."""
        return self.rounding.round_up(max(part.batch_size for part in self.parts))

    def require_growth(self, groups: int) -> None:
        """Raise :class:`~adabatch.schedules.base.NeverGrowsError` if a part never grows."""
        for part in self.parts:
            part.require_growth(groups)

    def rate_of_step(self, rates: LearningRate, start: int, batch_size: int) -> float:
        """The rule's, and what keeps the path where the limit holds the batch back."""
        rate = self.rule.rate_of_step(rates, start, batch_size)
        if self.learning_rate_scaling or rates.scaling.exponent or self.batch_size >= self.wanted:
            return rate  # it follows the batch by itself, or there is nothing to make up for
        return rate * BatchScaling(self.scaling, self.wanted).factor(batch_size)

    def observe_seconds(self, seconds: float, batch_size: int, micro_batch: int = 0, length: int = 0) -> None:
        """Tell the parts how long an earlier step took."""
        for part in self.parts:
            part.observe_seconds(seconds, batch_size, micro_batch, length)

    def forget_seconds(self) -> None:
        """Let the parts forget how long steps took."""
        for part in self.parts:
            part.forget_seconds()

    def _decide(self, moments: GradientMoments | None) -> Decision:
        if self.needs_moments:
            moments = self._usable(moments)  # before any part has taken in the step
        if self.limit is not None and moments is not None:
            self.limit.estimate.add(moments)
        return self._composed([part.update(moments, self.taken) for part in self.parts])

    def _skipped(self) -> Decision:
        return self._composed([part.skip(self.taken) for part in self.parts])

    def _composed(self, decisions: Sequence[Decision]) -> Decision:
        """The batch from what the parts want, and what decided it."""
        highest = max(decisions, key=lambda decision: decision.batch_size)  # the rule, where they agree
        by = highest.decided_by if highest is decisions[0] else "batch floor"
        tested = next((decision for decision in decisions if decision.statistic is not None), decisions[0])
        decision = replace(highest, reason=tested.reason, statistic=tested.statistic, decided_by=by)
        ceiling = math.inf if self.limit is None else self.limit.ceiling
        wanted = self.wanted
        if ceiling >= wanted:
            return decision
        first = self.rounding.round_up(self.initial)
        below = ceiling < first
        held = first if below else round_down(self.rounding, math.floor(ceiling))
        if held >= wanted:
            return decision
        by = FIRST_BATCH if below else "noise limit"
        return replace(decision, batch_size=held, decided_by=by, wanted=wanted)

    def state_dict(self) -> dict[str, Any]:
        """That of all parts, as ints and exact floats."""
        parts = {"parts": [part.state_dict() for part in self.parts]}
        limit = {} if self.limit is None else {"limit": self.limit.estimate.state_dict()}
        return super().state_dict() | parts | limit

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            KeyError: for that of another composition.
        """
        super().load_state_dict(state)
        if len(state["parts"]) != len(self.parts):
            raise KeyError("parts")
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        if self.limit is not None:
            self.limit.estimate.load_state_dict(state["limit"])


def schedule_from_settings(settings: Any, context: RunContext) -> BatchSizeSchedule:
    """The schedule that a run's settings name: a rule alone, or with what is composed with it.

    Raises:
        ValueError: for options out of range, and for a composition without a meaning.
    """
    rules, name, floor = batch_rules(), settings.schedule, settings.batch_floor
    _require_meaning(name, floor, settings.noise_limit, settings.noise_limit_scale)
    rule = rules[name].build(settings, context)
    if floor == "none" and not settings.noise_limit:
        return rule
    limit = NoiseLimit(settings.noise_limit, settings.noise_limit_scale) if settings.noise_limit else None
    below = None if floor == "none" else rules[floor].build(settings, context)
    return Composed(rule, below, limit, scaling=context.scaling)


def _require_meaning(name: str, floor: str, limit: float, scale: str) -> None:
    """Refuse what would not be what it is called."""
    if scale != "trace" and not limit:
        raise ValueError(f"--noise-limit-scale {scale} is of the noise limit, which is off: add --noise-limit 1")
    if floor == "replay" or (name == "replay" and (floor != "none" or limit)):
        raise ValueError(
            "a replay takes another run's batches as they were: leave out --batch-floor and --noise-limit"
        )
    if floor in (name, "constant"):
        same = "that rule itself" if floor == name else "the first batch, below which few rules go"
        raise ValueError(f"--batch-floor {floor} under --schedule {name} is {same}: leave out --batch-floor")
    if name == "constant" and floor != "none":
        raise ValueError(
            f"--schedule constant with --batch-floor {floor} is that rule alone: take --schedule {floor}"
        )
