"""The noise scale as a running average, for logging it without changing the batch."""

from __future__ import annotations

import math
from typing import Any

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.noise_scale import noise_scale

__all__ = ["NoiseScaleMonitor"]


class NoiseScaleMonitor:
    """B_noise = tr Sigma / ||G||^2, both averaged over steps before the division.

    It is in the moments' unit: samples, or tokens where ``end_microbatch`` was told them.

    One step's ratio is biased and often negative, since the debiased ||g||^2 is a small difference; its two halves
    are unbiased, so they are what is averaged. The averages' common bias towards 0 cancels in the ratio.

    Args:
        decay: in [0, 1): of both averages; 0 takes each step's own.

    Raises:
        ValueError: for a decay outside [0, 1).

    Source: McCandlish et al., arXiv 1812.06162, appendix A.1 (the pair averaged, then divided).

    >>> monitor = NoiseScaleMonitor(decay=0.9)
    >>> monitor.update(GradientMoments(groups=2, group_size=3, sum_of_squares=10.0, squared_norm=4.0))
    2.0
    """

    def __init__(self, decay: float = 0.95) -> None:
        if not 0 <= decay < 1:
            raise ValueError(
                f"the decay must be in [0, 1), but is {decay}: take 0.95 for an average over 20 steps"
            )
        self.decay = decay
        self.trace = self.squared_gradient = 0.0

    @property
    def value(self) -> float:
        """B_noise so far, in the moments' unit; NaN before the first step and where the mean ||G||^2 is <= 0."""
        if self.squared_gradient <= 0:
            return math.nan
        return float(noise_scale(self.trace, self.squared_gradient))

    def update(self, moments: GradientMoments) -> float:
        """Take in a step's moments; returns :attr:`value`. Moments that are not finite are left out.

        Raises:
            adabatch.moments.hypotheses.HypothesisError: for fewer than two groups.
        """
        trace, squared_gradient = float(moments.covariance_trace), float(moments.debiased_squared_norm)
        if math.isfinite(trace) and math.isfinite(squared_gradient):
            self.trace += (1 - self.decay) * (trace - self.trace)
            self.squared_gradient += (1 - self.decay) * (squared_gradient - self.squared_gradient)
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """Both averages as exact floats."""
        return {"trace": self.trace, "squared_gradient": self.squared_gradient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a saved state."""
        self.trace, self.squared_gradient = state["trace"], state["squared_gradient"]
