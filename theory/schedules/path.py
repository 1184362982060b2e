r"""A learning-rate path in samples, and the schedules that follow it: rule (R) and what a step takes of the path.

Problem:
    A run of D samples takes steps k of b_k samples, S_k = sum_{j<k} b_j, S_n = D (the last batch is cut). Its
    effective rate is a_k = lr_k for SGD and a_k = lr_k sqrt(b_k) for an Adam-like optimizer. Fix, as a function of
    the samples only, the ratio r(S) > 0 that b / a is to follow: b / lr for SGD, sqrt(b) / lr for Adam. Which
    choices of the batches are then worth the same?

Algorithm:
    Rule (R): the rate of a step is the integral of the path over its samples,

        a_k = int_{S_k}^{S_{k+1}} dS / r(S),

    so that sum_k a_k = T = int_0^D dS / r for any batches, and T_k = int_0^{S_k} dS / r is known at step k even
    where the later batches are not. Here 1 / r = p(S / D) / r_0 with a :class:`~theory.schedules.shapes.Shape`
    p. To halve p at a constant rate doubles the batch; to halve it at a constant batch halves the rate.

Guarantee:
    With I_k = int_{S_k}^{S_{k+1}} dS / r^2, the noise that a step takes is chi_k I_k,

        a_k^2 / b_k = chi_k I_k,    chi_k <= 1, and chi_k >= 4 (1 + q) / (2 + q)^2 if r varies by a factor of at
        most
                                    1 + q within the step.

    At the last step of p = (1 - x)^m, where r is unbounded, chi_k = (2 m + 1) / (m + 1)^2 (linear: 3/4), and on
    the linear path from y = 1 - x down to y - h it is 1 - (h^2 / 12) / (y^2 - y h + h^2 / 3) >= 3/4.

References:
    Seesaw, arXiv 2510.14717, and Malladi et al., arXiv 2205.10287 (the ratios of SGD and of Adam).
    Proof: :mod:`proofs.schedules.path`.

Shapes:
    Batches and ends of steps are vectors, [n] and [n + 1]; of numbers, or of SymPy expressions (dtype object) on a
    path of :class:`~theory.schedules.shapes.Power`.

Example:
    Linear decay over 64 samples: at a batch of 8 the rate falls from 1; the batches 8, 8, 16, 32 follow the
    same path.

    >>> path = LearningRatePath(shape=Power(1), samples=64.0, initial_ratio=8.0)
    >>> path.time, path.noise, path.time_left(32.0)
    (4.0, 0.3333333333333333, 1.0)
    >>> few = PathSteps.from_batches(path, [8.0, 8.0, 16.0, 32.0])
    >>> few.rates.tolist(), PathSteps.from_batches(path, [8.0] * 8).rates.round(4).tolist()
    ([0.9375, 0.8125, 1.25, 1.0], [0.9375, 0.8125, 0.6875, 0.5625, 0.4375, 0.3125, 0.1875, 0.0625])
    >>> few.noise_shares.round(4).tolist()
    [0.9985, 0.998, 0.9868, 0.75]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value
from theory.schedules.shapes import Power, Shape

__all__ = ["ROUNDING", "LearningRatePath", "PathSteps", "kantorovich_share"]

Array = NDArray[Any]

ROUNDING = 1e-9
"""By how much a rate that is summed may exceed a hypothesis's limit: at a limit of 1, steps of 1 are admitted."""


@dataclass(frozen=True, kw_only=True)
class LearningRatePath:
    """The ratio r(S) = r_0 / p(S / D) of batch and effective rate, fixed before the run."""

    shape: Shape = field(default_factory=Power)
    """p."""
    samples: Value
    """D > 0."""
    initial_ratio: Value
    """r_0 > 0: the first batch over its rate for SGD, the square root of that batch over its rate for Adam."""

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless D > 0 and r_0 > 0."""
        for name in ("samples", "initial_ratio"):
            value = getattr(self, name)
            require(value > 0, f"{name} > 0", describe(name, value), "give a positive number")

    def density(self, seen: Value) -> Value:
        """1 / r(S), the rate per sample."""
        return self.shape(seen / self.samples) / self.initial_ratio

    def time_left(self, seen: Value) -> Value:
        """T - T(S) = int_S^D dS / r, the sum of the rates of all steps from S samples on."""
        return self.samples / self.initial_ratio * self.shape.remaining(seen / self.samples)

    def noise_left(self, seen: Value) -> Value:
        """int_S^D dS / r^2."""
        return self.samples / self.initial_ratio**2 * self.shape.remaining(seen / self.samples, 2)

    @property
    def time(self) -> Value:
        """T = int_0^D dS / r, the sum of all rates."""
        return self.time_left(0 * self.samples)

    @property
    def noise(self) -> Value:
        """int_0^D dS / r^2, at least the sum of a_k^2 / b_k."""
        return self.noise_left(0 * self.samples)

    @property
    def last_iterate_noise(self) -> Value:
        """int_0^D dS / (r^2 (T - T(S))), infinite for a path that does not decay."""
        return self.shape.last_iterate_integral() / self.initial_ratio


@dataclass(frozen=True)
class PathSteps:
    """A choice of batches along a path, with the rates that rule (R) gives them."""

    path: LearningRatePath
    """What they follow."""
    ends: Array
    """S_0 = 0 < S_1 < ... < S_n = D, shape [n + 1]."""

    @classmethod
    def from_batches(cls, path: LearningRatePath, batches: Any) -> PathSteps:
        """The steps of these batches, which must add up to D (to rounding).

        Raises:
            HypothesisError: unless all are positive and their sum is D.
        """
        batches = np.asarray(batches)
        ends = np.concatenate([[0 * batches[0]], np.cumsum(batches)])
        given = f"{describe('batches', batches)}, {describe('their sum', ends[-1])}"
        if batches.dtype != object:
            require(batches > 0, "batches > 0", given, "leave out empty steps")
            require(
                abs(ends[-1] - path.samples) <= ROUNDING * path.samples,
                f"batches that add up to the {path.samples:.6g} samples of the path",
                given,
                "cut the last batch",
            )
            ends[-1] = path.samples
        return cls(path, ends)

    @classmethod
    def from_law(cls, path: LearningRatePath, law: Callable[[float], float]) -> PathSteps:
        """The steps of a batch law: step k takes ``law(S_k)`` samples, the last one what is left.

        Raises:
            HypothesisError: where the law gives a batch that is not positive.
        """
        ends = [0.0]
        while ends[-1] < path.samples:
            batch = law(ends[-1])
            require(
                batch > 0, "batches > 0", f"the batch at {ends[-1]:.6g} samples is {batch:.6g}", "bound it below"
            )
            ends.append(min(ends[-1] + batch, path.samples))
        return cls(path, np.array(ends))

    @classmethod
    def from_proportions(cls, shape: Shape, proportions: Any, samples: float, largest_rate: float) -> PathSteps:
        """Batches in these proportions, on the path of D samples on which their largest a_k is the given one."""
        shares = np.cumsum(proportions) / np.sum(proportions)
        shares = np.concatenate([[0.0], shares[:-1], [1.0]])
        parts = _parts(shape.remaining(shares))
        path = LearningRatePath(
            shape=shape, samples=samples, initial_ratio=samples * float(parts.max()) / largest_rate
        )
        return cls(path, shares * samples)

    @property
    def batches(self) -> Array:
        """b_k, shape [n]."""
        return np.diff(self.ends)

    @property
    def rates(self) -> Array:
        """a_k = int dS / r over step k: rule (R), shape [n]."""
        return _parts(self.path.time_left(self.ends))

    @property
    def noises(self) -> Array:
        """I_k = int dS / r^2 over step k, shape [n]."""
        return _parts(self.path.noise_left(self.ends))

    @property
    def noise_shares(self) -> Array:
        """chi_k = (a_k^2 / b_k) / I_k, at most 1, shape [n]."""
        return self.rates**2 / self.batches / self.noises


def _parts(left: Array) -> Array:
    """What each step takes of a quantity of which ``left`` is left at the steps' ends."""
    return left[:-1] - left[1:]


def kantorovich_share(variation: Value) -> Value:
    """4 (1 + q) / (2 + q)^2, what chi_k is at least where r varies by a factor of at most 1 + q within the step.

    >>> kantorovich_share(0.0), kantorovich_share(2.0)
    (1.0, 0.75)
    """
    return 4 * (1 + variation) / (2 + variation) ** 2
