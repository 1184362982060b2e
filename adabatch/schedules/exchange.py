"""Exchange: where the learning rate would fall, the batch grows. Seesaw is the exchange by half, in stairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from adabatch.ranges import Range
from adabatch.schedules.base import BatchSizeSchedule, Decision, NeverGrowsError
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.registry import RunContext, register

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["Exchange", "ExchangeOptions", "Seesaw", "SeesawOptions", "exchanged_batch"]


def exchanged_batch(initial: float, fallen: float, power: float) -> float:
    """initial fallen^(-power), the batch where the rate would have fallen to this share of its peak.

    Args:
        initial: the batch at the peak.
        fallen: in [0, 1].
        power: of the growth, the exchanged share over the exponent of the rate's scaling by the batch.

    Returns:
        Not rounded; infinite beyond what a float holds, such as where the rate has fallen to 0.

    >>> exchanged_batch(8.0, 0.5, 2.0), exchanged_batch(8.0, 0.0, 2.0)
    (32.0, inf)
    """
    try:
        return float(initial * fallen**-power)
    except (OverflowError, ZeroDivisionError):
        return math.inf


@dataclass(frozen=True)
class ExchangeOptions:
    """Options of the exchange."""

    exchange_share: Annotated[float, Range(0, 1, above=True)] = 1.0
    """exchange: the share of the learning rate's fall that the batch takes over: 1 leaves the rate at its peak,
    0.5 lets both move."""


@register("exchange", ExchangeOptions)
class Exchange(BatchSizeSchedule):
    """Where the learning rate would fall to p times its peak, the batch grows to p^(-2 share) times the first.

    The learning rate then falls to p^(1 - share) only. For Adam where noise dominates, the dynamics per sample
    depend on sqrt(b) / lr alone, to first order: both do the same to the loss, with fewer steps the larger the
    share. Where b outgrows the noise scale that ends, and b should be held back (``--noise-limit``). For SGD it is
    b / lr, and the exponent is -share.

    This schedule prescribes its own learning rate: that of the path, averaged over the step's samples, times
    sqrt(b / initial). So b rounded or at its maximum leaves the path as it is.

    Args:
        initial: first batch; the peak of ``rates`` belongs to it.
        maximum: cap.
        rates: the path that is shared out.
        share: s in (0, 1].
        scaling: ``sqrt`` (Adam) or ``linear`` (SGD).
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: for a share outside (0, 1], a path that never falls, or no scaling.

    >>> from adabatch.schedules.paths import Linear
    >>> rates = LearningRate(peak=1.0, minimum=0.0, warmup_samples=0, total_samples=64, path=Linear())
    >>> schedule = Exchange(8, 64, rates)
    >>> history = []
    >>> while schedule.samples < 64:
    ...     history.append((schedule.batch_size, round(schedule.learning_rate(rates), 3)))
    ...     _ = schedule.update()
    >>> history
    [(8, 0.938), (11, 0.925), (17, 0.831), (42, 0.334)]
    """

    def __init__(
        self,
        initial: int,
        maximum: int,
        rates: LearningRate,
        share: float = 1.0,
        scaling: str = "sqrt",
        multiple_of: int = 1,
    ) -> None:
        Range(0, 1, above=True).require(share, "the exchange's share")
        self.rates = rates
        self.scaling = BatchScaling(scaling, initial)
        if not self.scaling.exponent:
            raise ValueError("an exchange needs a scaling of the learning rate: take sqrt (Adam) or linear (SGD)")
        self.power = share / self.scaling.exponent
        self.learning_rate_scaling = scaling
        if not rates.path.falls or rates.fallen(rates.total_samples) >= 1:
            raise NeverGrowsError(
                "the learning rate never falls, so that there is nothing to exchange for a larger batch: take "
                "--lr-path linear, cosine, wsd or inverse-sqrt, --min-lr below --lr and --warmup-samples below "
                "--samples"
            )
        super().__init__(initial, maximum, multiple_of)

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Exchange:
        """From a run's settings."""
        of_path = context.learning_rate(), settings.exchange_share, context.scaling
        return cls(settings.initial_batch, settings.max_batch, *of_path)

    def rate_of_step(self, rates: LearningRate, start: int, batch_size: int) -> float:
        """The path's mean over the step's samples, scaled by the batch; ``rates`` are not asked."""
        return self.rates.mean(start, start + batch_size) * self.scaling.factor(batch_size)

    def _decide(self, moments: GradientMoments | None) -> Decision:
        wanted = exchanged_batch(self.initial, self.rates.fallen(self.seen), self.power)
        proposal = math.ceil(min(wanted, float(self.maximum)) - 1e-9)
        return Decision(proposal, proposal, decided_by="maximum" if wanted > self.maximum else "")


@dataclass(frozen=True)
class SeesawOptions:
    """Options of Seesaw."""

    seesaw_factor: Annotated[float, Range(1.01, 1e6)] = 2.0
    """seesaw: by how much the path falls and the batch grows from stage to stage."""


@register("seesaw", SeesawOptions)
class Seesaw(Exchange):
    """Where the path would halve the learning rate, divide it by sqrt(2) and double the batch.

    Meterez et al., arXiv 2510.14717: the exchange by half on a path in stairs, which falls by ``factor`` at once
    where the given path has fallen by as much.

    Args:
        initial: first batch; the peak of ``rates`` belongs to it.
        maximum: cap.
        rates: the path, not yet in stairs.
        factor: by which the path falls and the batch grows at each cut.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: for a factor by which the learning rate never falls.

    >>> rates = LearningRate(peak=1.0, minimum=0.0, warmup_samples=0, total_samples=64)
    >>> schedule = Seesaw(8, 16, rates)
    >>> history = []
    >>> while schedule.samples < 64:
    ...     history.append((schedule.batch_size, round(schedule.learning_rate(rates), 3)))
    ...     _ = schedule.update()
    >>> history
    [(8, 1.0), (8, 1.0), (8, 1.0), (8, 1.0), (16, 0.597), (16, 0.114)]
    """

    def __init__(
        self, initial: int, maximum: int, rates: LearningRate, factor: float = 2.0, multiple_of: int = 1
    ) -> None:
        if not rates.cuts(factor):
            raise NeverGrowsError(
                f"the learning rate never falls by the factor {factor:g} within the budget, so that Seesaw never "
                "grows the batch: lower --seesaw-factor or --min-lr, or take a --lr-path that falls"
            )
        super().__init__(initial, maximum, rates.in_stairs(factor), share=0.5, multiple_of=multiple_of)

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Seesaw:
        """From a run's settings.

        Raises:
            ValueError: for SGD; and as the class.
        """
        if context.scaling != "sqrt":
            raise ValueError(
                "--schedule seesaw divides the learning rate by sqrt(2) where it doubles the batch, which is for "
                "steps that do not grow with the gradient, not for --optimizer sgd: take --schedule exchange, "
                "which follows its linear rule"
            )
        return cls(settings.initial_batch, settings.max_batch, context.learning_rate(), settings.seesaw_factor)
