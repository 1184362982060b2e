r"""Exponentials and powers against straight lines: what a step of a recursion is compared with."""

from __future__ import annotations

import sympy

from proofs.calculus import increasing
from proofs.composition import Conclusion
from proofs.relations import Range, Relation
from proofs.steps import Derivation, proves

__all__ = ["against_exponentials", "against_powers", "logarithm"]

z = sympy.Symbol("z", nonnegative=True)
q, s = sympy.symbols("q s", nonnegative=True)
t = sympy.Symbol("t", positive=True)
POWER = sympy.exp(s * sympy.log(1 - q))
"""(1 - q)^s."""

LINE = Relation(1 - z, "<=", sympy.exp(-z), ranges=(Range(z),))
SQUARE = Relation((1 - z) ** 2, "<=", sympy.exp(-2 * z), ranges=(Range(z, 0, 1),))


@proves(
    "exponentials",
    "1 - z below its exponential",
    concludes=(Conclusion(LINE), Conclusion(SQUARE)),
    source="elementary",
)
def against_exponentials() -> Derivation:
    """Both sides agree at 0, and their ratio moves away from 1."""
    yield increasing(LINE, z, sympy.exp(z))
    yield increasing(SQUARE, z, sympy.exp(2 * z))


SHARES = (Range(q, 0, 1), Range(s, 0, 1))
BERNOULLI = Relation(POWER, "<=", 1 - s * q, ranges=SHARES)
BERNOULLI_SQUARE = Relation(POWER**2, "<=", (1 - s * q) ** 2, ranges=SHARES)


@proves(
    "Bernoulli's inequality",
    "powers below their chords",
    concludes=(Conclusion(BERNOULLI), Conclusion(BERNOULLI_SQUARE)),
    source="Bernoulli's inequality",
)
def against_powers() -> Derivation:
    """In q, from q = 0."""
    yield increasing(BERNOULLI, q, 1 / POWER)
    yield increasing(BERNOULLI_SQUARE, q, POWER**-2)


LOGARITHM = Relation(1 - 1 / t, "<=", sympy.log(t), ranges=(Range(t, 1),))


@proves("logarithm", "a lower bound on it", concludes=(Conclusion(LOGARITHM),), source="elementary")
def logarithm() -> Derivation:
    """Both sides vanish at 1."""
    yield increasing(LOGARITHM, t)
