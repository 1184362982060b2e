"""What a step says coordinate by coordinate, summed up: for the l1 norm test and the coordinate-wise test.

The formulas are those of :mod:`adabatch.moments.l1`; here is what is summed over ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.l1 import EffectiveDimensions, effective_dimensions

__all__ = ["BINS", "CODES", "CoordinateMoments", "RatioHistogram"]

RESOLUTION = 1 + 2**-7
"""Ratio of neighbouring bins' edges, at most: a bin is an fp32 number's exponent and 7 bits of its mantissa."""

CODES = 1 << 15
"""Values that the first 16 bits of an fp32 number >= 0 can have."""

FIRST, BINS = (127 - 20) << 7, 70 << 7
"""Code of the first bin and number of bins, from 2^-20 to 2^50 samples; beyond lies one more bin."""


@dataclass(frozen=True, eq=False)
class RatioHistogram:
    """How the ratios sigma_i^2 / g_i^2 are distributed over the coordinates, to 0.8%.

    Every ratio counts as the upper edge of its bin, so that shares are never overstated and quantiles never
    understated, by at most 0.8% in the ratio. Histograms of shards of coordinates are added.

    Attributes:
        counts: [BINS + 1]; the first bin reaches down to 0, the last has what is above all edges.

    >>> histogram = RatioHistogram.of(np.array([0.0, 1.0, 10.0, np.inf]))
    >>> histogram.share(5.0), 10.0 <= histogram.quantile(0.75) <= 10.08, histogram.quantile(1.0)
    (0.5, True, inf)
    """

    counts: NDArray[np.float64]

    @classmethod
    def of(cls, ratios: NDArray[np.float64]) -> RatioHistogram:
        """The histogram of ratios >= 0, any shape; NaN counts as above all edges."""
        bits = np.abs(ratios, dtype=np.float64).ravel().view(np.int64)  # a NaN may have a sign
        codes = np.clip((bits >> 45) - ((1023 - 127) << 7), 0, CODES - 1)  # exponents as in fp32
        return cls(np.concatenate(cls.bins_of(np.bincount(codes, minlength=CODES).astype(np.float64))))

    @staticmethod
    def bins_of(counts: Any) -> list[Any]:
        """The bins, in three pieces, from how often each code (the ratio's first 16 bits in fp32) occurs, [CODES].

        ``counts`` may be a numpy array or a torch tensor, and so are the pieces.
        """
        below, above = counts[: FIRST + 1].sum(), counts[FIRST + BINS :].sum()
        return [below.reshape(1), counts[FIRST + 1 : FIRST + BINS], above.reshape(1)]

    @staticmethod
    def edges() -> NDArray[np.float64]:
        """The bins' upper edges."""
        codes = np.arange(FIRST + 1, FIRST + 1 + BINS, dtype=np.uint32)
        return np.append((codes << 16).view(np.float32).astype(np.float64), np.inf)

    def share(self, limit: float) -> float:
        """The share of coordinates whose ratio is at most the limit."""
        return float(self.counts[self.edges() <= limit].sum() / self.counts.sum())

    def quantile(self, share: float) -> float:
        """The ratio that this share of the coordinates does not exceed; infinite above all edges."""
        reached = np.cumsum(self.counts)  # whose end may be less than their sum, by rounding
        return float(self.edges()[np.searchsorted(reached, share * reached[-1])])


@dataclass(frozen=True, eq=False)
class CoordinateMoments(GradientMoments):
    """:class:`~adabatch.moments.gradient_moments.GradientMoments` and what only the coordinates know.

    Attributes:
        sum_of_standard_deviations: sum_i sigma_i of one sample's gradient, c4-corrected.
        plug_in_l1_norm: ||g||_1.
        conservative_l1_norm: N of two halves of the groups, with E N <= ||G||_1; None if it was not measured.
        ratios: sigma_i^2 / g_i^2 over the coordinates.
        weighted_sums: their ratio is the weighted noise scale; None if they were not measured
            (:func:`adabatch.moments.noise_scale.weighted_sums`).
        norm_floor: f; the ratios are sigma_i^2 / max(g_i^2, f^2).
    """

    sum_of_standard_deviations: float
    plug_in_l1_norm: float
    conservative_l1_norm: float | None
    ratios: RatioHistogram
    weighted_sums: tuple[float, float] | None = None
    norm_floor: float = 0.0

    @property
    def effective_dimensions(self) -> EffectiveDimensions:
        """d_sd and d_G: the scalar test at eta is the l1 test at eta sqrt(d_sd / d_G) where it is an equality."""
        return effective_dimensions(
            self.sum_of_standard_deviations, self.covariance_trace, self.plug_in_l1_norm, self.squared_norm
        )

    def coordinate_share(self, eta: float) -> float:
        """The share of coordinates that meet the coordinate-wise test sigma_i^2 / b <= eta^2 g_i^2."""
        return self.ratios.share(eta**2 * self.batch_size)
