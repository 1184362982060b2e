"""Noise by name: laws that meet the coordinate-wise test exactly, the norm-wise one only, and sampled batches.

The registry :data:`NOISES` maps names to factories; every factory takes ``eta`` unless stated.

Meets the coordinate-wise test with equality (g_i = G_i X_i, E X = 1, Var X = eta^2):
    ``none`` (X = 1, no eta), ``gaussian``, ``rademacher``, ``cantelli`` (``low``: X in {-low, ...}, low = 0),
    ``rare-spike`` (``probability``), ``skewed`` (``tail`` = "above" or "below"), ``adversarial`` (looks at m, v).
    ``two-point`` takes ``delta`` and ``probability`` instead of eta: X = -delta unless, with that probability,
    the value that makes E X = 1; its ``eta`` is the standard deviation of X.
Meets the norm-wise test (4) only, with equality:
    ``isotropic``, ``concentrated`` (all noise in the coordinate with the smallest |G_i|).
``rare-coordinates`` (D1's noise: ``delta``, ``probability``, ``batch_size`` averaged draws, first coordinate exact).
Batches:
    ``additive`` (``sigma``, ``test`` = "coordinate-wise" | "norm-wise" | "l1", ``maximum_batch``): variance
    sigma^2 / b, the smallest b that passes.
    ``finite-sum`` (``test``, ``variance`` = "exact" | "estimated", ``minimum_batch``, ``monotone``): b drawn without
    replacement from the objective's n functions.
"""

from __future__ import annotations
