"""The norm test as a schedule: the batch grows when the gradients' variance asks for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.statistic import Estimator, estimates, next_batch_size, statistic_from_estimates
from adabatch.schedules.base import BatchSizeSchedule
from adabatch.schedules.rounding import Rounding

__all__ = ["NormTest", "TestRecord"]


@dataclass(frozen=True)
class TestRecord:
    """One test as it was decided.

    Attributes:
        statistic: T in samples; NaN if the gradient was not resolved.
        passed: T <= b.
        proposal: the batch it asked for, before growth limit, cap and rounding.
        limited: whether the growth limit made it smaller.
    """

    __test__ = False  # not a test class for pytest

    statistic: float
    passed: bool
    proposal: int
    limited: bool = False

    @property
    def resolved(self) -> bool:
        """Whether the denominator was positive, so that T means something."""
        return not math.isnan(self.statistic)


class NormTest(BatchSizeSchedule):
    """Monotone growth by the (approximate) norm test, Eqs. 3 and 5 and Algorithm 1 of Lau et al.

    After a step on b samples, T = variance / (eta^2 squared norm) is computed from its moments by
    :mod:`adabatch.moments.statistic`; the next batch is ceil(T) if T > b, else b. At the maximum no test is run.

    Args:
        eta: > 0. With the ``unbiased`` estimator b stops growing near B_noise (1/eta^2 - 1), with ``debiased``
            near B_noise / eta^2, where B_noise = tr Sigma / ||G||^2 is the simple noise scale.
        initial: first batch.
        maximum: cap.
        rounding: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.
        estimator: ``paper``, ``unbiased`` or ``debiased`` (:class:`adabatch.moments.statistic.Estimator`).
        test_interval: test every this many steps.
        ema: in [0, 1): numerator and denominator are averaged with this decay, each for itself and unclamped,
            before the division; 0 uses the step's own.
        max_growth: a proposal beyond this many times b is limited to that, against a single test that goes wild;
            0 does not limit, as Algorithm 1.

    Attributes:
        last_test: the :class:`TestRecord` of the last step, None if it was not tested.
        unresolved: how often the denominator was not positive, so that b stayed.

    Raises:
        ValueError: for eta <= 0, an unknown estimator, test_interval < 1, ema outside [0, 1), max_growth neither 0
            nor above 1, initial > maximum.

    >>> schedule = NormTest(eta=0.5, initial=6, maximum=64)
    >>> schedule.update(GradientMoments(groups=2, group_size=3, sum_of_squares=10.0, squared_norm=2.0))
    36
    """

    def __init__(
        self,
        eta: float,
        initial: int,
        maximum: int,
        rounding: Rounding | int = 1,
        estimator: Estimator | str = Estimator.UNBIASED,
        test_interval: int = 1,
        ema: float = 0.0,
        max_growth: float = 0.0,
    ) -> None:
        if not (eta > 0 and math.isfinite(eta)):
            raise ValueError(f"eta must be a positive number, but is {eta}: take --eta between about 0.05 and 1")
        if estimator not in list(Estimator):
            known = ", ".join(Estimator)
            raise ValueError(f"the estimator {estimator!r} is not known: take one of {known} (--estimator)")
        if test_interval < 1:
            raise ValueError(
                f"the test interval must be at least 1 step, but is {test_interval} (--test-interval)"
            )
        if not 0 <= ema < 1:
            raise ValueError(f"the EMA's decay must be in [0, 1), but is {ema} (--ema)")
        if max_growth != 0 and not 1 < max_growth < math.inf:
            raise ValueError(
                f"the growth limit must be above 1, or 0 for none, but is {max_growth} (--max-growth)"
            )
        super().__init__(initial, maximum, rounding)
        self.max_growth = max_growth
        self.eta, self.estimator = eta, Estimator(estimator)
        self.test_interval, self.ema = test_interval, ema
        self.average_variance = self.average_squared_norm = 0.0
        self.unresolved = 0
        self.last_test: TestRecord | None = None

    @property
    def needs_moments(self) -> bool:
        """On every ``test_interval``-th step while the batch is below the maximum."""
        return self.batch_size < self.maximum and (self.steps + 1) % self.test_interval == 0

    def skip(self) -> int:
        """Count a step whose gradients were thrown away: no test, b stays."""
        self.last_test = None
        return super().skip()

    def _propose(self, moments: GradientMoments | None) -> int:
        self.last_test = None
        if not self.needs_moments:
            return self.batch_size
        if moments is None:
            raise ValueError(
                f"step {self.steps + 1} is a test step: pass its moments (statistics.finish()) to update(), or "
                "call skip() if its gradients were thrown away"
            )
        self._check(moments)
        statistic = self._ratio(*self._averaged(*self._compared(moments)))
        # Past 2^53 a float has no next integer; the cap is below that in any case.
        proposal: int = next_batch_size(min(statistic, 2.0**53), self.batch_size)
        limit = math.ceil(self.max_growth * self.batch_size) or proposal
        limited = limit < min(proposal, self.maximum)
        self.last_test = TestRecord(statistic, statistic <= self.batch_size, proposal, limited)
        self.unresolved += not self.last_test.resolved
        return min(proposal, limit)

    def statistic(self, moments: GradientMoments) -> float:
        """T of these moments alone, in samples."""
        return self._ratio(*self._compared(moments))

    def _compared(self, moments: GradientMoments) -> tuple[float, float]:
        """Noise and gradient, each to be averaged over tests before they are compared."""
        return estimates(moments, self.estimator)

    def _ratio(self, noise: float, gradient: float) -> float:
        """T from what :meth:`_compared` gives."""
        return float(statistic_from_estimates(noise, gradient, self.eta))

    def _averaged(self, variance: float, squared_norm: float) -> tuple[float, float]:
        """Both averages over the tests so far; their common bias towards 0 cancels in the ratio."""
        keep = self.ema
        self.average_variance = keep * self.average_variance + (1 - keep) * variance
        self.average_squared_norm = keep * self.average_squared_norm + (1 - keep) * squared_norm
        return self.average_variance, self.average_squared_norm

    def _check(self, moments: GradientMoments) -> None:
        if not (math.isfinite(moments.sum_of_squares) and math.isfinite(moments.squared_norm)):
            raise ValueError(
                f"the gradient moments are not finite (sum of squares {moments.sum_of_squares}, squared norm "
                f"{moments.squared_norm}): skip the optimizer step and call skip() in place of update()"
            )
        if moments.batch_size != self.batch_size:
            raise ValueError(
                f"the moments are of a batch of {moments.batch_size} samples, but the schedule asked for "
                f"{self.batch_size}: use schedule.batch_size for each step, rounded as you can realise"
            )

    def state_dict(self) -> dict[str, Any]:
        """All that changes, as ints and exact floats."""
        averages = {"average_variance": self.average_variance, "average_squared_norm": self.average_squared_norm}
        return super().state_dict() | averages | {"unresolved": self.unresolved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state_dict(state)
        self.average_variance, self.average_squared_norm = state["average_variance"], state["average_squared_norm"]
        self.unresolved = state["unresolved"]
