r"""Shapes of a learning-rate path: how the rate falls, p(x), with the share x of the samples; their integrals.

Problem:
    What a schedule does along a path depends on three integrals of the shape: int p (how far it goes), int p^2
    (the noise it takes) and int p^e (the steps it needs, where the batch grows as p^-e). All are int_x^1 p^e.

Guarantee:
    ===========================  ==================  ======================================================
    shape                        p(x)                int_0^1 p^e
    ===========================  ==================  ======================================================
    :class:`Power` (linear: 1)   (1 - x)^m           1 / (1 + m e)
    :class:`Cosine` (half: 2)    cos(pi x / 2)^m     Gamma((m e + 1) / 2) / (sqrt(pi) Gamma(m e / 2 + 1))
    :class:`OneMinusSqrt`        1 - sqrt(x)         2 / ((e + 1) (e + 2))
    :class:`StableThenDecay`     1, then J           1 - f + f int_0^1 J^e, f the share of the samples in decay J
    ===========================  ==================  ======================================================

    (1 + cos(pi x)) / 2 = cos(pi x / 2)^2, so the usual cosine is Cosine(2) and the quarter cosine Cosine(1).

References:
    Haegele et al., arXiv 2405.18392 (1 - sqrt and a constant rate before it); Seesaw, arXiv 2510.14717 (the
    quarter cosine).
    Proof: :mod:`proofs.schedules.shapes`.

Shapes:
    x and the power are floats or numpy arrays; with :class:`Power`, SymPy expressions too.

Example:
    >>> linear, wsd = Power(1), StableThenDecay(0.2, Power(1))
    >>> linear(0.75), linear.remaining(0.5), round(wsd(0.9), 12), round(wsd.remaining(0.0), 12)
    (0.25, 0.125, 0.5, 0.9)
    >>> round(wsd.reach(0.5), 12)
    0.9
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy import integrate, special

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, exp, item, log, log_gamma, maximum, sqrt

__all__ = ["Cosine", "OneMinusSqrt", "Power", "Shape", "StableThenDecay"]


class Shape(ABC):
    """p(x) for 0 <= x <= 1, never rising, from p(0) = 1."""

    @property
    def kinks(self) -> tuple[float, ...]:
        """The x in between at which p is not smooth, ascending; an integration should stop there."""
        return ()

    @abstractmethod
    def __call__(self, x: Value) -> Value:
        """p(x)."""

    @abstractmethod
    def remaining(self, x: Value, power: Value = 1) -> Value:
        """int_x^1 p(t)^power dt, for power > 0."""

    @abstractmethod
    def reach(self, value: Value) -> Value:
        """The x at which p has fallen to ``value``, 0 < value < 1."""

    def last_iterate_integral(self) -> Value:
        """int_0^1 p(x)^2 / (int_x^1 p) dx, which the guarantee of a last iterate takes; by quadrature."""
        return float(integrate.quad(lambda x: self(x) ** 2 / self.remaining(x), 0, 1, epsabs=0, epsrel=1e-11)[0])


@dataclass(frozen=True)
class Power(Shape):
    """(1 - x)^m: constant for m = 0, linear for m = 1."""

    exponent: Value = 1
    """m >= 0."""

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless m >= 0."""
        require(
            self.exponent >= 0, "exponent >= 0", describe("exponent", self.exponent), "take 0 (constant) or more"
        )

    def __call__(self, x: Value) -> Value:
        """(1 - x)^m."""
        return (1 - x) ** self.exponent

    def remaining(self, x: Value, power: Value = 1) -> Value:
        """(1 - x)^(m e + 1) / (m e + 1)."""
        total_exponent = self.exponent * power + 1
        return (1 - x) ** total_exponent / total_exponent

    def reach(self, value: Value) -> Value:
        """1 - value^(1 / m); a constant shape never falls."""
        self._require_decay()
        return 1 - value ** (1 / self.exponent)

    def last_iterate_integral(self) -> Value:
        """(m + 1) / m: infinite for a constant shape.

        Raises:
            HypothesisError: unless m > 0.
        """
        self._require_decay()
        return (self.exponent + 1) / self.exponent

    def _require_decay(self) -> None:
        given = describe("exponent", self.exponent)
        require(
            self.exponent > 0, "a path that decays to 0 (exponent > 0)", given, "take linear decay, exponent 1"
        )


@dataclass(frozen=True)
class Cosine(Shape):
    """cos(pi x / 2)^m: m = 2 is the usual (1 + cos(pi x)) / 2, m = 1 the quarter cosine."""

    exponent: float = 2
    """m > 0."""

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless m > 0."""
        require(self.exponent > 0, "exponent > 0", describe("exponent", self.exponent), "take 2 (half a cosine)")

    def __call__(self, x: Value) -> Value:
        """sin(pi (1 - x) / 2)^m, which is accurate where p is small."""
        return np.sin(math.pi / 2 * (1 - x)) ** self.exponent

    def remaining(self, x: Value, power: Value = 1) -> Value:
        """The incomplete beta integral of (m e + 1) / 2 and 1 / 2 up to sin(pi (1 - x) / 2)^2, over pi."""
        a = (self.exponent * power + 1) / 2
        whole = exp(log_gamma(a) - log_gamma(a + 0.5)) / math.sqrt(math.pi)
        return item(whole * special.betainc(a, 0.5, np.sin(math.pi / 2 * (1 - x)) ** 2))

    def reach(self, value: Value) -> Value:
        """(2 / pi) arccos(value^(1 / m))."""
        return item(np.arccos(value ** (1 / self.exponent)) * 2 / math.pi)


@dataclass(frozen=True)
class OneMinusSqrt(Shape):
    """1 - sqrt(x)."""

    def __call__(self, x: Value) -> Value:
        """(1 - x) / (1 + sqrt(x)), which is accurate where p is small."""
        return (1 - x) / (1 + sqrt(x))

    def remaining(self, x: Value, power: Value = 1) -> Value:
        """2 v^(e+1) (1 / (e+1) - v / (e+2)) with v = p(x)."""
        v = self(x)
        return 2 * v ** (power + 1) * (1 / (power + 1) - v / (power + 2))

    def reach(self, value: Value) -> Value:
        """(1 - value)^2."""
        return (1 - value) ** 2

    def last_iterate_integral(self) -> float:
        """3 - (3 / 2) ln 3."""
        return 3 - 1.5 * math.log(3)


@dataclass(frozen=True)
class StableThenDecay(Shape):
    """1, and over the last share f of the samples another shape: warmup-stable-decay after its warm-up."""

    fraction: float
    """f, 0 < f <= 1."""
    decay: Shape
    """J."""

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless 0 < f <= 1."""
        fraction = self.fraction
        require((fraction > 0) & (fraction <= 1), "0 < fraction <= 1", describe("fraction", fraction), "take 0.2")

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where the decay begins, and its own."""
        begins = float(1 - self.fraction)
        return (begins, *(begins + float(self.fraction) * kink for kink in self.decay.kinks))

    def _within_decay(self, x: Value) -> Value:
        return maximum(1 - (1 - x) / self.fraction, 0)

    def __call__(self, x: Value) -> Value:
        """J of the share of the decay that is over."""
        return self.decay(self._within_decay(x))

    def remaining(self, x: Value, power: Value = 1) -> Value:
        """What is left of the constant part, and of the decay."""
        decaying = self.fraction * self.decay.remaining(self._within_decay(x), power)
        return maximum(1 - self.fraction - x, 0) + decaying

    def reach(self, value: Value) -> Value:
        """1 - f (1 - the decay's own)."""
        return 1 - self.fraction * (1 - self.decay.reach(value))

    def last_iterate_integral(self) -> Value:
        """The decay's own, and ln(1 + (1 - f) / (f int_0^1 J)) of the constant part."""
        constant = log(1 + (1 - self.fraction) / (self.fraction * self.decay.remaining(0.0)))
        return constant + self.decay.last_iterate_integral()
