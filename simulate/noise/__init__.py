"""Noise by name: laws that meet the coordinate-wise test exactly, the norm-wise one only, and sampled batches.

The registry :data:`NOISES` maps names to factories; every factory takes ``eta`` unless stated.

Meets the coordinate-wise test with equality (g_i = G_i X_i, E X = 1, Var X = eta^2):
    ``none`` (X = 1, no eta), ``gaussian``, ``rademacher``, ``cantelli`` (``low``), ``rare-spike``
    (``probability``), ``skewed`` (``tail`` = "above" or "below"), ``adversarial`` (looks at m and v).
    ``two-point`` takes ``delta`` and ``probability`` instead of eta; its ``eta`` is the standard deviation of X.
Meets the norm-wise test (4) only, with equality:
    ``isotropic``, ``concentrated`` (all noise in the coordinate with the smallest |G_i|).
Meets what the objective and the batch make of it (misses are counted):
    ``rare-coordinates`` (``delta``, ``probability``, ``test``, ``batch_size``).
Batches:
    ``additive`` (``sigma``, ``test``, ``maximum_batch``, ``batch_size``), ``finite-sum`` (``test``, ``variance`` =
    "exact", "estimated" or "constant", ``minimum_batch``, ``monotone``).

Example:
    >>> NOISES["cantelli"](eta=0.5).meets, NOISES["isotropic"](eta=0.5).meets
    ('coordinate-wise', 'norm-wise')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulate.noise.additive import Additive
from simulate.noise.adversarial import Adversarial
from simulate.noise.base import Draw, Meets, Noise, Source
from simulate.noise.clipped import Clipped
from simulate.noise.exact_tests import TESTS
from simulate.noise.finite_sum import FiniteSumBatches
from simulate.noise.laws import Cantelli, Gaussian, Law, Rademacher, RareSpike, Skewed, TwoPoint
from simulate.noise.multiplicative import Exact, Multiplicative
from simulate.noise.norm_wise import Concentrated, Isotropic
from simulate.noise.rare_coordinates import RareCoordinates
from simulate.registry import Registry

__all__ = [
    "NOISES",
    "TESTS",
    "Additive",
    "Adversarial",
    "Clipped",
    "Concentrated",
    "Draw",
    "Exact",
    "FiniteSumBatches",
    "Isotropic",
    "Meets",
    "Multiplicative",
    "Noise",
    "RareCoordinates",
    "Source",
]


def _multiplied(law: Callable[..., Law]) -> Callable[..., Noise]:
    def factory(*arguments: Any, **settings: Any) -> Noise:
        return Multiplicative(law(*arguments, **settings))

    return factory


NOISES: Registry[Callable[..., Noise]] = Registry(
    "noise",
    {
        "none": Exact,
        "gaussian": _multiplied(Gaussian),
        "rademacher": _multiplied(Rademacher),
        "cantelli": _multiplied(Cantelli),
        "rare-spike": _multiplied(RareSpike),
        "skewed": _multiplied(Skewed),
        "two-point": _multiplied(TwoPoint),
        "adversarial": Adversarial,
        "isotropic": Isotropic,
        "concentrated": Concentrated,
        "rare-coordinates": RareCoordinates,
        "additive": Additive,
        "finite-sum": FiniteSumBatches,
    },
)
"""Noise by name; the values take their settings as keywords."""
