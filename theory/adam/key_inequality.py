r"""The inequality that turns a relative-error test into descent (lemma L5).

Problem:
    A coordinate has the gradient G = 1 and a noisy gradient X with E X = 1 and Var X <= eta^2 (the
    coordinate-wise norm test). It is normalised by the root of a second moment that X itself enters, and what
    points uphill is amplified by rho >= 1 because momentum keeps it. Does descent survive on average?

Guarantee:
    With f(x) = x / (sqrt(s + x^2) + e) for x >= 0 and rho times that for x < 0, s >= 0, e >= 0,
    0 <= eta <= 1, y = 1 + eta^2, S = s + e sqrt(s + 1) and t = S (S + 1) / (S + y^2)^2, for all real x

        (sqrt(s + 1) + e) f(x) >= 1 + t (x - 1) - (1 + rho) (x / y - 1)^2,

    hence E f(X) >= kappa / (sqrt(s + 1) + e) with kappa = (1 - rho eta^2) / (1 + eta^2). It is sharp for
    s = e = 0 in the limit X in {0-, 1 + eta^2}.

Arguments:
    x: the ratio of the noisy to the true gradient. s: the old second moment, in units of (1 - beta2) G^2.
    e: ``offset``, the constant epsilon outside the root, in units of sqrt(1 - beta2) |G|.

References:
    Corrected Theorem 1, lemmas L5 and L6; :mod:`proofs.adam.l5_key_inequality`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> round(normalized_response(2.0, s=3.0), 4), round(minorant(2.0, s=3.0, eta=0.5, amplification=1.0), 4)
    (0.7559, 0.8565)
    >>> round(2.0 * normalized_response(2.0, s=3.0), 4)        # sqrt(s + 1) f(x), above the minorant
    1.5119
"""

from __future__ import annotations

from adabatch.moments.numeric import Value, hypot, is_symbolic, sqrt, where
from theory.adam.constants import squared_noise_growth

__all__ = [
    "curvature",
    "effective_history",
    "minorant",
    "normalized_response",
    "tangent_slope",
]


def normalized_response(x: Value, s: Value, offset: Value = 0) -> Value:
    """x / (sqrt(s + x^2) + offset), with 0 / 0 := 0."""
    if is_symbolic(x, s, offset):
        return x / (sqrt(s + x**2) + offset)
    root = hypot(sqrt(s), x) + offset
    nothing = root == 0  # and not its opposite: NaN is not nothing
    return where(nothing, 0.0, x / where(nothing, 1.0, root))


def effective_history(s: Value, offset: Value) -> Value:
    """S = s + e sqrt(s + 1): an offset e outside the root acts like a longer history inside it."""
    return s + offset * sqrt(s + 1)


def tangent_slope(s: Value, y: Value) -> Value:
    """t = s (s + 1) / (s + y^2)^2, in [0, 1): the slope of the minorant at x = y."""
    return (s / (s + y**2)) * ((s + 1) / (s + y**2))


def curvature(amplification: Value) -> Value:
    """1 + rho: the coefficient of the minorant's square."""
    return 1 + amplification


def minorant(x: Value, s: Value, eta: Value, amplification: Value, offset: Value = 0) -> Value:
    """1 + t (x - 1) - (1 + rho) (x / y - 1)^2: the parabola below (sqrt(s + 1) + e) f(x)."""
    y = squared_noise_growth(eta)
    slope = tangent_slope(effective_history(s, offset), y)
    return 1 + slope * (x - 1) - curvature(amplification) * (x / y - 1) ** 2
