"""Synthetic smooth objectives, batched over seeds: gradients, L and infimum are proven, not fitted.

An objective of your own is a subclass of :class:`Objective` whose numbers are float64, under a name of its own in
:data:`OBJECTIVES`; ``--objective`` then takes it. Before it is run, its gradient, smoothness and infimum are
compared with its values (:mod:`simulate.consistency`), and what disagrees is refused.

Example:
    >>> objective = OBJECTIVES["geman-mcclure"](dimension=3)
    >>> objective.gradient(objective.start()[None]).shape
    (1, 3)
    >>> OBJECTIVES["parabola"]  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown objective 'parabola'; known: directional-huber, geman-mcclure, ...
"""

from __future__ import annotations

from collections.abc import Callable

from simulate.objectives.base import FiniteSum, Objective
from simulate.objectives.directional_huber import DirectionalHuber
from simulate.objectives.network import Network
from simulate.objectives.regression import NoisyRegression, Regression
from simulate.objectives.separable import GemanMcClure, PseudoHuber, Quadratic, Rastrigin
from simulate.objectives.xy_chain import XYChain
from simulate.registry import Registry

__all__ = [
    "OBJECTIVES",
    "DirectionalHuber",
    "FiniteSum",
    "GemanMcClure",
    "Network",
    "NoisyRegression",
    "Objective",
    "PseudoHuber",
    "Quadratic",
    "Rastrigin",
    "Regression",
    "XYChain",
]

KINDS: tuple[type[Objective], ...] = (
    DirectionalHuber,
    GemanMcClure,
    Network,
    NoisyRegression,
    PseudoHuber,
    Quadratic,
    Rastrigin,
    Regression,
    XYChain,
)

OBJECTIVES: Registry[Callable[..., Objective]] = Registry("objective", {kind.name: kind for kind in KINDS})
"""Objectives by name; the values take ``dimension`` and their own parameters, all with defaults.

Add to it, for example ``OBJECTIVES["steep"] = functools.partial(Quadratic, condition=1e4)``; where a built-in one
was replaced, ``verify-bounds`` refuses to run."""
