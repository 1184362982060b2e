"""The symbols that the proofs on Adam share.

beta1 = r q and beta2 = q^2, so that the condition 0 <= beta1 < sqrt(beta2) < 1 is 0 <= r < 1, 0 < q < 1; where a
certificate needs it, r = 1 - 1 / (1 + a) and q = 1 - 1 / (1 + b) with a >= 0, b > 0.
"""

from __future__ import annotations

import sympy

__all__ = [
    "BETA1",
    "BETA2",
    "UNIT_INTERVALS",
    "a",
    "alpha",
    "b",
    "dimension",
    "gap",
    "initial_sum",
    "noise",
    "q",
    "r",
    "smoothness",
    "steps",
    "tau",
]

r, q = sympy.symbols("r q", positive=True)
a, b = sympy.symbols("a b", nonnegative=True)
BETA1, BETA2 = r * q, q**2
UNIT_INTERVALS = {r: 1 - 1 / (1 + a), q: 1 - 1 / (1 + b)}
smoothness, dimension, gap, steps, alpha = sympy.symbols("L d Delta K alpha", positive=True)
noise, initial_sum = sympy.symbols("eta V_0", nonnegative=True)
tau = sympy.sqrt(1 + noise**2)
