"""Gradient statistics under every sharding: what the norm tests read.

:class:`GradientStatistics` for the scalar test, by layer too if asked; :class:`CoordinateStatistics` for the tests
that look at the coordinates; :func:`per_sample_moments`, slow and exact, to check the others against.
"""

from adabatch.statistics.coordinates import CoordinateStatistics
from adabatch.statistics.gradients import GradientStatistics, ReducedStep
from adabatch.statistics.per_sample import per_sample_moments

__all__ = ["CoordinateStatistics", "GradientStatistics", "ReducedStep", "per_sample_moments"]
