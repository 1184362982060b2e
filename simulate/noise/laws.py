r"""Noise g_i = G_i X_i with E X = 1 and Var X = eta^2: it meets the coordinate-wise test with equality.

The X_i are independent of each other and of the past. Each law turns standard random numbers (normal, uniform or
exponential, one per coordinate) into X, so that its moments can be checked by enumeration or quadrature, and eta
may be an array that broadcasts against [seeds, d].

    ===========  =================================================================  =====================
    law          X                                                                  drawn from
    ===========  =================================================================  =====================
    gaussian     1 + eta Z                                                          Z normal
    rademacher   1 + eta or 1 - eta, each with probability 1/2                      uniform
    cantelli     -low with probability q = eta^2 / (eta^2 + (1 + low)^2), else      uniform
                 1 + eta^2 / (1 + low); low = 0 is where lemma L5 is sharp
    rare-spike   1 + eta sqrt((1 - p)/p) with probability p, else                   uniform
                 1 - eta sqrt(p/(1 - p))
    skewed       1 + eta (E - 1) (tail above) or 1 - eta (E - 1) (tail below)       E exponential
    two-point    -delta with probability 1 - p, else what makes E X = 1             uniform
    ===========  =================================================================  =====================

Example:
    >>> cantelli(eta=0.5).atoms                             # values, probabilities
    ((-0.0, 1.25), (0.2, 0.8))
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from adabatch.moments.numeric import sqrt
from simulate.noise.base import Draw, Stateless
from simulate.optimizers.base import Setting
from simulate.ranges import require
from simulate.streams import Array, Sampler, SeedStreams
from theory.adam.normalized_step import rare_value, rare_variance
from theory.training.clipping import wrong_probability

__all__ = [
    "Exact",
    "Gaussian",
    "Multiplicative",
    "Skewed",
    "TwoValued",
    "cantelli",
    "rademacher",
    "rare_spike",
    "two_point",
]

Atoms = tuple[tuple[Setting, Setting], tuple[Setting, Setting]]
"""Two values and their probabilities."""


@dataclass(frozen=True)
class Exact(Stateless):
    """No noise: g = G."""

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """One step; see :class:`Stateless`."""
        return Draw(gradient)


class Multiplicative(Stateless):
    """g_i = G_i X_i, X drawn by transforming one standard number per coordinate.

    Attributes:
        eta: the standard deviation of X.
        sampler: the standard numbers it needs.
    """

    eta: Setting
    sampler: ClassVar[Sampler]

    def __post_init__(self) -> None:
        """Raise ValueError for a negative eta."""
        require("0 or more", eta=self.eta)

    @abstractmethod
    def factor(self, numbers: Array) -> Array:
        """X from standard numbers, elementwise."""

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """One step; see :class:`Stateless`."""
        numbers = streams.draw(0, gradient.shape[1:], self.sampler)
        return Draw(gradient * self.factor(numbers), deviations=self.eta * np.abs(gradient))


@dataclass(frozen=True)
class Gaussian(Multiplicative):
    """X = 1 + eta Z."""

    sampler: ClassVar[Sampler] = "standard_normal"
    eta: Setting

    def factor(self, numbers: Array) -> Array:
        """X from normal numbers."""
        return 1.0 + self.eta * numbers


@dataclass(frozen=True)
class Skewed(Multiplicative):
    """A shifted exponential with its long tail on one side.

    Attributes:
        eta: the standard deviation.
        tail: "above" (X often a little below 1) or "below" (X rarely of the wrong sign and large).
    """

    sampler: ClassVar[Sampler] = "standard_exponential"
    eta: Setting
    tail: Literal["above", "below"] = "below"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tail not in ("above", "below"):
            raise ValueError(f"tail must be 'above' or 'below', not {self.tail!r}")

    def factor(self, numbers: Array) -> Array:
        """X from exponential numbers."""
        signed = self.eta if self.tail == "above" else -self.eta
        return 1.0 + signed * (numbers - 1.0)


@dataclass(frozen=True)
class TwoValued(Multiplicative):
    """A law on two values.

    Attributes:
        eta: the standard deviation of X, as it follows from the atoms.
        atoms: values and probabilities.
    """

    sampler: ClassVar[Sampler] = "random"
    eta: Setting
    atoms: Atoms

    def factor(self, numbers: Array) -> Array:
        """The first value where a uniform number is below the first probability, else the second."""
        (first, second), (probability, _) = self.atoms
        return np.where(numbers < probability, np.asarray(first, dtype=float), np.asarray(second, dtype=float))


def rademacher(eta: Setting) -> TwoValued:
    """X = 1 + eta or 1 - eta."""
    return TwoValued(eta, ((1.0 - eta, 1.0 + eta), (0.5, 0.5)))


def cantelli(eta: Setting, low: Setting = 0.0) -> TwoValued:
    """X = -low with the largest probability that mean 1 and variance eta^2 allow.

    Args:
        eta: the standard deviation.
        low: above -1; at 0 the low value is 0 and moves nothing.
    """
    if not np.all(np.asarray(low) > -1):
        raise ValueError(f"low must be above -1 (the low value -low below the mean 1), not {low}")
    wrong = wrong_probability(eta, low)
    return TwoValued(eta, ((-low, 1.0 + eta**2 / (1.0 + low)), (wrong, 1.0 - wrong)))


def rare_spike(eta: Setting, probability: Setting = 0.01) -> TwoValued:
    """Mostly a little below 1, with this probability far above."""
    require("in (0, 1)", probability=probability)
    odds = sqrt((1.0 - probability) / probability)
    return TwoValued(eta, ((1.0 + eta * odds, 1.0 - eta / odds), (probability, 1.0 - probability)))


def two_point(delta: Setting, probability: Setting) -> TwoValued:
    """X = -delta, or with this probability the value that makes E X = 1: the variance follows from the two."""
    require("in (0, 1)", probability=probability)
    eta = sqrt(rare_variance(delta, probability))
    return TwoValued(eta, ((rare_value(delta, probability), -delta), (probability, 1.0 - probability)))
