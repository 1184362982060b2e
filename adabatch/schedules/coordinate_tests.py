"""Norm tests that look at the coordinates: the l1 norm test and the coordinate-wise test, as schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adabatch.schedules.base import of_coordinates
from adabatch.schedules.norm_tests import NormTest, register_test

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["CoordinateTest", "L1NormTest"]


@register_test("l1")
class L1NormTest(NormTest):
    """Monotone growth by the l1 norm test: sum_i sigma_i / sqrt(b) against eta ||G||_1.

    The scalar test does not see the coordinates that Adam amplifies; this one does, and carries a theorem that is
    free of the dimension (:mod:`theory.l1.theorem`). The next batch is ceil((sum_i sigma_i)^2 / (eta ||g||_1)^2)
    if that is above b.

    Args:
        eta: from 1e-6 to 1e6. With the plug-in denominator the measured ratio saturates near sqrt(pi/2) = 1.25
            where Gaussian noise dominates, so that eta above that hardly ever asks for more.
        initial: first batch.
        maximum: cap.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.
        conservative: compare with an estimate of ||G||_1 from below, which the statistics must measure
            (``CoordinateStatistics(model, conservative=True)``); where it is not positive, the gradient is not
            resolved and b stays.
        test_interval: test every this many steps.
        ema: in [0, 1): both sums are averaged with this decay before the division.
        max_growth: see :class:`~adabatch.schedules.norm_tests.NormTest`.
        norm_floor: f >= 0; the test is sum_i sigma_i / sqrt(b) <= eta max(||G||_1, f).

    Raises:
        ValueError: see :class:`~adabatch.schedules.norm_tests.NormTest`; in ``update``, for moments without
            coordinates.
    """

    needs_coordinates = True

    def __init__(
        self,
        eta: float,
        initial: int,
        maximum: int,
        multiple_of: int = 1,
        conservative: bool = False,
        test_interval: int = 1,
        ema: float = 0.0,
        max_growth: float = 0.0,
        norm_floor: float = 0.0,
    ) -> None:
        of_all = (test_interval, ema, max_growth, norm_floor)
        super().__init__(eta, initial, maximum, multiple_of, "unbiased", *of_all)
        self.conservative = conservative

    @classmethod
    def _own_options(cls, settings: Any) -> dict[str, Any]:
        return {"conservative": settings.l1_denominator == "conservative"}

    def _compared(self, moments: GradientMoments) -> tuple[float, float]:
        """Sum of standard deviations and l1 norm."""
        moments = of_coordinates(moments)
        if not self.conservative:
            return moments.sum_of_standard_deviations, moments.plug_in_l1_norm
        if moments.conservative_l1_norm is None:
            raise ValueError(
                "the conservative l1 norm was not measured: take CoordinateStatistics(model, conservative=True)"
            )
        return moments.sum_of_standard_deviations, moments.conservative_l1_norm

    def _ratio(self, noise: float, gradient: float) -> float:
        from adabatch.moments.l1 import l1_statistic

        return float(l1_statistic(noise, self._floored(gradient, self.norm_floor), self.eta))


@register_test("coordinate")
class CoordinateTest(NormTest):
    """Monotone growth until a share of the coordinates meets the test sigma_i^2 / b <= eta^2 g_i^2.

    All coordinates never do (one with a gradient of 0 meets it with small probability only), so a share is asked
    for: the next batch is what that quantile of sigma_i^2 / g_i^2 needs, to 1%.

    Args:
        eta: from 1e-6 to 1e6.
        initial: first batch.
        maximum: cap.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.
        quantile: in (0, 1), the share of coordinates that must meet the test.
        test_interval: test every this many steps.
        ema: in [0, 1): the quantile is averaged with this decay; each counts as what the maximum is for at most.
        max_growth: see :class:`~adabatch.schedules.norm_tests.NormTest`.
        norm_floor: f >= 0; the test is sigma_i^2 / b <= eta^2 max(g_i^2, f^2). The statistics must know it
            (``CoordinateStatistics(model, norm_floor=f)``).

    Raises:
        ValueError: for a quantile outside (0, 1), and as :class:`L1NormTest`.
    """

    needs_coordinates = True

    def __init__(
        self,
        eta: float,
        initial: int,
        maximum: int,
        multiple_of: int = 1,
        quantile: float = 0.5,
        test_interval: int = 1,
        ema: float = 0.0,
        max_growth: float = 0.0,
        norm_floor: float = 0.0,
    ) -> None:
        if not 0 < quantile < 1:
            raise ValueError(
                f"the quantile must be between 0 and 1, but is {quantile}: take 0.5 to have half of the "
                "coordinates meet the test (--coordinate-quantile)"
            )
        of_all = (test_interval, ema, max_growth, norm_floor)
        super().__init__(eta, initial, maximum, multiple_of, "unbiased", *of_all)
        self.quantile = quantile

    @classmethod
    def _own_options(cls, settings: Any) -> dict[str, Any]:
        return {"quantile": settings.coordinate_quantile}

    def _compared(self, moments: GradientMoments) -> tuple[float, float]:
        """The quantile of noise over gradient; against 1, which averages to 1 as the quantile does to itself."""
        moments = of_coordinates(moments)
        if moments.norm_floor != self.norm_floor:
            raise ValueError(
                f"the moments were measured with a floor of {moments.norm_floor:g}, but the test's is "
                f"{self.norm_floor:g}: take CoordinateStatistics(model, norm_floor={self.norm_floor:g})"
            )
        most = self.maximum * self.eta**2 / moments.samples_per_unit  # an average would never forget an infinity
        return min(moments.ratios.quantile(self.quantile), most), 1.0

    def _ratio(self, noise: float, gradient: float) -> float:
        """The floor is in the ratios already, coordinate by coordinate."""
        from adabatch.moments.statistic import statistic_from_estimates

        return float(statistic_from_estimates(noise, gradient, self.eta))
