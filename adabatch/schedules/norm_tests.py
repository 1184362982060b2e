"""The norm test as a schedule: the batch grows when the gradients' variance asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from adabatch.ranges import Range
from adabatch.schedules.base import BatchSizeSchedule, Decision, NeverGrowsError, Reason
from adabatch.schedules.registry import RunContext, register

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments
    from adabatch.moments.statistic import Estimator

__all__ = ["NormTest", "NormTestOptions", "register_test"]


SMALLEST_ETA, LARGEST_ETA = 1e-6, 1e6
"""Beyond these no gradient makes a test that is neither at the maximum at once nor passed for ever."""

LARGEST_FLOOR = 1e30
"""Of a gradient's norm, as of the one that clips."""

USUAL_ETA = "take --eta between about 0.05 and 1; smaller asks for the maximum at once, larger never for more"

NormFloor = Annotated[float, Range(0, LARGEST_FLOOR)]

T = TypeVar("T", bound="type[NormTest]")

_TESTS: dict[str, type[NormTest]] = {}
"""The norm tests by the name that ``--test`` takes."""


def register_test(name: str) -> Callable[[T], T]:
    """Make a norm test known as ``--test NAME``."""

    def decorate(test: T) -> T:
        _TESTS[name] = test
        return test

    return decorate


@dataclass(frozen=True)
class NormTestOptions:
    """Options of the norm tests; those of a single test are marked by its name."""

    test: Literal["scalar", "l1", "coordinate"] = "scalar"
    """norm-test: which test. scalar compares l2 norms and costs next to nothing; l1 sums the coordinates' standard
    deviations; coordinate asks that a share of the coordinates meet it. The last two keep and communicate squares
    of all gradients on test steps (--test-interval)."""
    eta: Annotated[float, Range(SMALLEST_ETA, LARGEST_ETA, advice=USUAL_ETA)] = 1.0
    """norm-test: relative error of the gradient asked for; smaller asks for larger batches. The unbiased estimator
    needs eta below 1: from there on it never grows the batch."""
    estimator: Literal["paper", "unbiased", "debiased"] = "debiased"
    """norm-test, scalar: which variance and squared norm are compared."""
    l1_denominator: Literal["plug-in", "conservative"] = "plug-in"
    """norm-test, l1: the batch gradient's own l1 norm, or an estimate from below by two halves of the batch."""
    coordinate_quantile: Annotated[float, Range(0, 1, above=True)] = 0.5
    """norm-test, coordinate: the share of coordinates that must meet the test."""
    coordinate_stride: Annotated[int, Range(1, 10**9)] = 16
    """All that looks at the coordinates: take one in this many of them in each large parameter, in blocks of 16
    neighbours; memory and traffic fall with it, and sums are estimates to 1% or so. 1 takes all."""
    test_interval: Annotated[int, Range(1, 10**9)] = 1
    """norm-test: test every this many steps."""
    ema: Annotated[float, Range(0, 1, below=True)] = 0.9
    """norm-test: decay of the averages of numerator and denominator; 0 uses each step's own."""
    max_growth: Annotated[float, Range(1, 1e9, above=True, zero="no limit")] = 8.0
    """norm-test: a test may ask for at most this many times the current batch; 0 does not limit."""
    norm_floor: NormFloor = 0.0
    """norm-test: a gradient whose norm is below counts as if it had this norm (l2 for scalar, l1 for l1, each
    coordinate's own size for coordinate), so that no test asks for more than variance / (eta floor)^2, however
    small the gradient becomes; 0: no floor."""


@register_test("scalar")
@register("norm-test", NormTestOptions)
class NormTest(BatchSizeSchedule):
    """Monotone growth by the (approximate) norm test, Eqs. 3 and 5 and Algorithm 1 of Lau et al.

    After a step on b samples, T = variance / (eta^2 squared norm) is computed from its moments by
    :mod:`adabatch.moments.statistic`; the next batch is ceil(T) if T > b, else b. At the maximum no test is run.
    b and T count samples, also where the moments count tokens.

    Args:
        eta: from 1e-6 to 1e6. With the ``unbiased`` estimator, which needs eta < 1, b stops growing near
            B_noise (1/eta^2 - 1), with ``debiased`` near B_noise / eta^2, where B_noise = tr Sigma / ||G||^2 is
            the simple noise scale; with ``paper`` below (n - 1) / eta^2, n the number of groups.
        initial: first batch.
        maximum: cap.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.
        estimator: ``paper``, ``unbiased`` or ``debiased`` (:class:`adabatch.moments.statistic.Estimator`).
        test_interval: test every this many steps.
        ema: in [0, 1): numerator and denominator are averaged with this decay, each on its own and unclamped,
            before the division; 0 uses the step's own.
        max_growth: a proposal beyond this many times b is limited to that, against a single test that goes wild;
            0 does not limit, as Algorithm 1.
        norm_floor: f >= 0; the test is variance <= eta^2 max(||G||^2, f^2), which a gradient that is not resolved
            meets too where f > 0 is large enough. Without a floor no number bounds the samples that a run asks for
            (:mod:`theory.samples.sgd`).

    Attributes:
        unresolved: how often the denominator was not positive, so that b stayed.

    Raises:
        ValueError: for eta out of range, an unknown estimator, test_interval < 1, ema outside [0, 1), max_growth
            neither 0 nor above 1, a floor below 0, initial > maximum.

    >>> from adabatch.moments.gradient_moments import GradientMoments
    >>> schedule = NormTest(eta=0.5, initial=6, maximum=64)
    >>> moments = GradientMoments(groups=2, group_size=3, sum_of_squares=10.0, squared_norm=2.0)
    >>> decision = schedule.update(moments)
    >>> decision.batch_size, decision.reason, decision.statistic
    (36, 'grow', 36.0)
    """

    groups_needed = 2

    def __init__(
        self,
        eta: float,
        initial: int,
        maximum: int,
        multiple_of: int = 1,
        estimator: Estimator | str = "unbiased",
        test_interval: int = 1,
        ema: float = 0.0,
        max_growth: float = 0.0,
        norm_floor: float = 0.0,
    ) -> None:
        from adabatch.moments.statistic import Estimator

        Range(SMALLEST_ETA, LARGEST_ETA, advice=USUAL_ETA).require(eta, "eta")
        Range(0, LARGEST_FLOOR).require(norm_floor, "norm_floor")
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
        super().__init__(initial, maximum, multiple_of)
        self.max_growth, self.norm_floor = max_growth, norm_floor
        self.eta, self.estimator = eta, Estimator(estimator)
        self.test_interval, self.ema = test_interval, ema
        self.average_variance = self.average_squared_norm = self.average_weight = 0.0
        self.unresolved = 0
        self._require_level()

    def _require_level(self) -> None:
        """Raise unless the batch grows below some B_noise; ``paper`` has a level of its own (require_growth)."""
        from adabatch.moments.noise_scale import stationary_batch_size

        scalar = self.estimator != "paper" and not self.needs_coordinates
        if scalar and stationary_batch_size(1.0, self.eta, self.estimator) <= 0:
            raise NeverGrowsError(
                f"the unbiased test at eta {self.eta:g} passes at any batch in expectation: it stops growing "
                "at B_noise (1/eta^2 - 1), which is positive below 1 only: take --eta below 1, or --estimator "
                "debiased, which stops at B_noise / eta^2"
            )

    def require_growth(self, groups: int) -> None:
        """Raise :class:`~adabatch.schedules.base.NeverGrowsError` where ``paper`` saturates at or below b."""
        from adabatch.moments.noise_scale import saturation_level

        if self.estimator != "paper":
            return
        level = saturation_level(self.eta, groups)
        if level <= self.batch_size < self.maximum:
            raise NeverGrowsError(
                f"the published test (--estimator paper) at eta {self.eta:g} asks for less than (n - 1)/eta^2 = "
                f"{level:.4g} samples in expectation, n = {groups} groups, and the batch is {self.batch_size} "
                f"already: take --eta below {math.sqrt((groups - 1) / self.batch_size):.3g}, more groups (ranks x "
                "micro-batches: lower --micro-batch), or --estimator unbiased"
            )

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> NormTest:
        """From a run's settings: the test that they name.

        Raises:
            ValueError: for options out of range, and for a first test when the budget is spent.
        """
        test = _TESTS[settings.test]
        schedule = test(
            eta=settings.eta,
            initial=settings.initial_batch,
            maximum=settings.max_batch,
            test_interval=settings.test_interval,
            ema=settings.ema,
            max_growth=settings.max_growth,
            norm_floor=settings.norm_floor,
            **test._own_options(settings),
        )
        if settings.test_interval > 1 and context.samples <= settings.test_interval * settings.initial_batch:
            raise NeverGrowsError(
                f"no test comes before the end: the first one is after {settings.test_interval} steps of "
                f"{settings.initial_batch} samples, and the budget is {context.samples}: lower --test-interval or "
                "raise --samples"
            )
        return schedule

    @classmethod
    def _own_options(cls, settings: Any) -> dict[str, Any]:
        """Arguments that only this test has."""
        return {"estimator": settings.estimator}

    @property
    def needs_moments(self) -> bool:
        """On every ``test_interval``-th step while the batch is below the maximum."""
        return self.batch_size < self.maximum and (self.steps + 1) % self.test_interval == 0

    def _decide(self, moments: GradientMoments | None) -> Decision:
        from adabatch.moments.statistic import next_batch_size

        if not self.needs_moments:
            return self._stay("not tested", "maximum" if self.batch_size >= self.maximum else "")
        moments = self._usable(moments)
        self._check(moments)
        statistic = self._in_samples(moments, self._averaged(*self._compared(moments)))
        # Both differ where this test is one part of a composed schedule.
        before, taken = self.batch_size, self.taken
        reason: Reason = "passed" if statistic <= taken else "grow"
        if math.isnan(statistic):
            reason = "unresolved"
            self.unresolved += 1
        # Past 2^53 a float has no next integer; the cap is below that in any case.
        asked: int = next_batch_size(min(statistic, 2.0**53), taken) if reason == "grow" else before
        proposal = max(asked, before)
        limit = math.ceil(min(self.max_growth * max(before, taken), 2.0**53)) or proposal
        limited = limit < min(proposal, self.maximum)
        return Decision(min(proposal, limit), proposal, reason, statistic, limited)

    def statistic(self, moments: GradientMoments) -> float:
        """T of these moments alone, in samples."""
        return self._in_samples(moments, self._compared(moments))

    def _compared(self, moments: GradientMoments) -> tuple[float, float]:
        """Noise and gradient, each to be averaged over tests before they are compared."""
        from adabatch.moments.statistic import estimates

        return estimates(moments, self.estimator)

    def _in_samples(self, moments: GradientMoments, compared: tuple[float, float]) -> float:
        """T in samples, of a step with these moments, from noise and gradient in the moments' unit."""
        from adabatch.moments.statistic import in_samples

        return float(in_samples(self._ratio(*compared), moments, self.estimator))

    def _ratio(self, noise: float, gradient: float) -> float:
        """T from what :meth:`_compared` gives, in its unit."""
        from adabatch.moments.statistic import statistic_from_estimates

        return float(statistic_from_estimates(noise, self._floored(gradient, self.norm_floor**2), self.eta))

    @staticmethod
    def _floored(gradient: float, floor: float) -> float:
        """The larger of the two, NaN if the gradient is; without a floor the gradient as it is, also below 0."""
        return floor if floor > 0 and gradient < floor else gradient

    def _averaged(self, variance: float, squared_norm: float) -> tuple[float, float]:
        """Both averages over the tests so far; their bias towards 0 cancels in a ratio without a floor."""
        keep = self.ema
        self.average_weight = keep * self.average_weight + (1 - keep)
        weight = self.average_weight if self.norm_floor else 1.0
        self.average_variance = keep * self.average_variance + (1 - keep) * variance
        self.average_squared_norm = keep * self.average_squared_norm + (1 - keep) * squared_norm
        return self.average_variance / weight, self.average_squared_norm / weight

    def _check(self, moments: GradientMoments) -> None:
        if self.steps + 1 == self.test_interval:  # the first test
            self.require_growth(moments.groups)

    def state_dict(self) -> dict[str, Any]:
        """All that changes, as ints and exact floats."""
        averages = {"average_variance": self.average_variance, "average_squared_norm": self.average_squared_norm}
        own = averages | {"average_weight": self.average_weight, "unresolved": self.unresolved}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        super().load_state_dict(state)
        self.average_variance, self.average_squared_norm = state["average_variance"], state["average_squared_norm"]
        self.average_weight = state.get("average_weight", 1.0)  # of checkpoints without it, after many tests
        self.unresolved = state["unresolved"]
