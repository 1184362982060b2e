"""The noise scale along a run: averages of noise and gradient, each robust against single steps that go wild."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.coordinate_moments import CoordinateMoments
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["SCALES", "NoiseEstimate", "NoiseScale"]

KEEP = 0.9
"""Decay per measured step: about the last twenty count."""

CLIP, UNCLIPPED = 3.0, 5
"""A step counts as at most three times the average, but for the first five."""

LEAST_STEPS = 3
"""Before that many measured steps nothing is resolved."""


@dataclass
class _Average:
    """The average of a quantity that may have either sign, and of its magnitude."""

    value: float = 0.0
    magnitude: float = 0.0

    def add(self, value: float, before: int) -> None:
        """Take in one step's, clipped at three times the average magnitude; ``before`` steps were taken in."""
        if before >= UNCLIPPED and self.magnitude:  # what was 0 so far clips nothing, or it would for ever
            most = CLIP * self.magnitude / (1 - KEEP**before)
            value = max(-most, min(value, most))
        self.value = KEEP * self.value + (1 - KEEP) * value
        self.magnitude = KEEP * self.magnitude + (1 - KEEP) * abs(value)

    @property
    def resolved(self) -> bool:
        """Whether most steps agree on its sign: of noise alone the average is a fifth of the magnitude."""
        return self.value > self.magnitude / 2


@dataclass(frozen=True)
class NoiseScale:
    """A noise scale as the ratio of two quantities that are averaged on their own.

    Attributes:
        estimates: noise and gradient of a step, in samples.
        power: of the ratio.
        groups_needed: without which the estimates have no variance or no bias that is known.
        needs_coordinates: whether the moments must know the coordinates.
    """

    estimates: Callable[[Any], tuple[float, float]]
    power: int = 1
    groups_needed: int = 2
    needs_coordinates: bool = True


def _trace(moments: GradientMoments) -> tuple[float, float]:
    """tr Sigma and ||G||^2, both unbiased."""
    trace = float(moments.covariance_trace)
    debiased = moments.squared_norm - trace / moments.batch_size  # moments.debiased_squared_norm, in one pass
    return trace * moments.samples_per_unit, float(debiased)


def _l1(moments: CoordinateMoments) -> tuple[float, float]:
    """sum_i sigma_i, unbiased for Gaussian groups, and an estimate of ||G||_1 from below."""
    if moments.conservative_l1_norm is None:
        raise ValueError(
            "the l1 noise scale needs the conservative l1 norm: take CoordinateStatistics(model, "
            "conservative=True)"
        )
    return moments.sum_of_standard_deviations * math.sqrt(moments.samples_per_unit), moments.conservative_l1_norm


def _weighted(moments: CoordinateMoments) -> tuple[float, float]:
    """sum_i G_i^2 / V_i^(1/2) and sum_i G_i^4 / V_i^(3/2), unbiased for Gaussian groups."""
    if moments.weighted_sums is None:
        raise ValueError(
            "the weighted noise scale needs its two sums: take CoordinateStatistics(model, weighted=True)"
        )
    descent, lost = moments.weighted_sums
    return descent * moments.samples_per_unit, lost


SCALES: Mapping[str, NoiseScale] = {
    "trace": NoiseScale(_trace, needs_coordinates=False),
    "l1": NoiseScale(_l1, power=2),
    "weighted": NoiseScale(_weighted, groups_needed=8),
}
"""The noise scales of :mod:`adabatch.moments.noise_scale` by name, from a step's moments."""


class NoiseEstimate:
    """B from averages of noise and gradient over the steps so far, without the step to come.

    Both are averaged with a decay of 0.9 per step and then divided. From the sixth step on, each step's are
    clipped at three times their average magnitude, which for what is positive is their average. What noise alone
    could have made is not resolved: where a quantity may be negative (a debiased ||G||^2 may), most steps must
    agree on its sign.

    Args:
        scale: ``trace``, ``l1`` or ``weighted`` (:mod:`adabatch.moments.noise_scale`).

    Attributes:
        name: of the scale.
        count: measured steps.

    >>> from adabatch.moments.gradient_moments import GradientMoments
    >>> estimate = NoiseEstimate()
    >>> for _ in range(4):
    ...     estimate.add(GradientMoments(groups=2, group_size=3, sum_of_squares=10.0, squared_norm=4.0))
    >>> estimate.resolved, round(estimate.value, 12)        # tr Sigma = 6, ||G||^2 = 3
    (True, 2.0)
    """

    def __init__(self, scale: str = "trace") -> None:
        self.name, self.scale = scale, SCALES[scale]
        self.noise, self.gradient = _Average(), _Average()
        self.count = 0

    def add(self, moments: GradientMoments) -> None:
        """Take in a step's moments."""
        noise, gradient = self.scale.estimates(moments)
        self.noise.add(noise, self.count)
        self.gradient.add(gradient, self.count)
        self.count += 1

    @property
    def value(self) -> float:
        """B in samples; infinite where the gradient's average is not positive."""
        if self.gradient.value <= 0:
            return math.inf
        return (max(self.noise.value, 0.0) / self.gradient.value) ** self.scale.power

    @property
    def resolved(self) -> bool:
        """Whether the steps so far tell B from what noise alone would give."""
        return self.count >= LEAST_STEPS and self.noise.resolved and self.gradient.resolved

    def state_dict(self) -> dict[str, Any]:
        """Both averages, as exact floats."""
        pairs = {name: [a.value, a.magnitude] for name, a in (("noise", self.noise), ("gradient", self.gradient))}
        return {"scale": self.name, "count": self.count, **pairs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state; averages of another scale are of no use, and start again."""
        if state["scale"] != self.name:
            return
        self.count = state["count"]
        self.noise, self.gradient = _Average(*state["noise"]), _Average(*state["gradient"])
