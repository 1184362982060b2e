"""Gradient statistics under every sharding: what the norm tests read.

:class:`GradientStatistics` for the scalar test, by layer too if asked; :class:`CoordinateStatistics` for the tests
that look at the coordinates; :func:`per_sample_moments`, slow and exact, to check the others against.
"""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ModuleNotFoundError("adabatch.statistics needs torch: pip install 'adabatch[train]'", name="torch")

from adabatch.statistics.coordinates import CoordinateStatistics
from adabatch.statistics.gradients import GradientStatistics, ReducedStep
from adabatch.statistics.hooks import detach
from adabatch.statistics.per_sample import per_sample_moments

__all__ = ["CoordinateStatistics", "GradientStatistics", "ReducedStep", "detach", "per_sample_moments"]
