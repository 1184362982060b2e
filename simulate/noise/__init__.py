"""Noise by name: laws that meet the coordinate-wise test exactly, the norm-wise one only, and sampled batches.

The registry :data:`NOISES` maps names to factories; every factory takes ``eta`` unless stated.

Meets the coordinate-wise test with equality (g_i = G_i X_i, E X = 1, Var X = eta^2):
    ``none`` (X = 1, no eta), ``gaussian``, ``rademacher``, ``cantelli`` (``low``), ``rare-spike``
    (``probability``), ``skewed`` (``tail`` = "above" or "below"), ``adversarial`` (looks at m and v).
    ``two-point`` takes ``delta`` and ``probability`` instead of eta; its ``eta`` is the standard deviation of X.
Meets the norm-wise test (4) only, with equality:
    ``isotropic``, ``concentrated`` (all noise in the coordinate with the smallest |G_i|).
Batches:
    ``additive`` (``sigma``, ``test``, ``maximum_batch``, ``batch_size``), ``finite-sum`` (``test``, ``variance`` =
    "exact", "estimated" or "constant", ``minimum_batch``, ``monotone``).

Example:
    >>> NOISES["gaussian"](eta=0.5)
    Gaussian(eta=0.5)
"""

from __future__ import annotations

from collections.abc import Callable

from simulate.noise.additive import Additive, Concentrated, Isotropic
from simulate.noise.adversarial import Adversarial
from simulate.noise.base import Draw, Noise, Source, Stateless
from simulate.noise.clipped import Clipped
from simulate.noise.exact_tests import TESTS
from simulate.noise.finite_sum import FiniteSumBatches
from simulate.noise.laws import Exact, Gaussian, Skewed, cantelli, rademacher, rare_spike, two_point
from simulate.registry import Registry

__all__ = ["NOISES", "TESTS", "Clipped", "Draw", "FiniteSumBatches", "Noise", "Source", "Stateless"]

NOISES: Registry[Callable[..., Noise]] = Registry(
    "noise",
    {
        "none": Exact,
        "gaussian": Gaussian,
        "rademacher": rademacher,
        "cantelli": cantelli,
        "rare-spike": rare_spike,
        "skewed": Skewed,
        "two-point": two_point,
        "adversarial": Adversarial,
        "isotropic": Isotropic,
        "concentrated": Concentrated,
        "additive": Additive,
        "finite-sum": FiniteSumBatches,
    },
)
"""Noise by name; the values take their settings as keywords.

They are what the theorems assume: ``verify-bounds`` refuses to run where one was added, replaced or removed."""
