r"""The sums over a momentum's past in Theorem 2: phi_N, H_N and S_0, in bounded time and memory for all betas.

Algorithm:
    phi_N = sum_{m <= N} r^m / sqrt(1 + a_m) and H_N = sum_{m <= N} r^m / sqrt(1 + a_m / (1 + eta^2)) fall like
    beta1^m: they are cut where that is below e^-45, and at :data:`TERMS` terms. Theorem 2 holds with fewer virtual
    steps in them than there are, so a cut costs sharpness only, above beta1 = .997. S_0 = sum_{m >= 1} pi^m /
    sqrt(a_m) is cut too, and the tail is replaced by what it is at most: pi^(n+1) / ((1 - pi) sqrt(a_(n+1))) in
    the units of :func:`~theory.adam_sharp.constants.uphill_weight`.

Shapes:
    Floats or numpy arrays (broadcast together). No SymPy symbols: sums over N terms are not formulas in N.

Example:
    >>> sums = momentum_sums(0.9, 0.95, 0.2, extra_steps=np.inf)
    >>> round(sums.frozen, 4), round(sums.noisy, 4), round(sums.uphill, 4)
    (4.7815, 4.8411, 4.2095)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, item
from theory.adam_sharp.constants import (
    frozen_weight,
    noisy_weight,
    theorem2_alignment,
    uphill_decay,
    uphill_penalty,
    uphill_weight,
)
from theory.problem import require_betas

__all__ = ["TERMS", "MomentumSums", "momentum_sums"]

Array = NDArray[np.float64]
TERMS = 2**14
"""The most terms that are added up."""
NEGLIGIBLE = 45.0
"""-log of a power of beta1 that is lost next to 1."""


@dataclass(frozen=True)
class MomentumSums:
    """phi_N, H_N and S_0 for each element, and what Theorem 2 makes of them.

    Attributes:
        beta1: of Adam.
        beta2: of Adam.
        eta: of the norm test.
        frozen: phi_N, at N or at a smaller one.
        noisy: H_N, at the same N.
        uphill: S_0, or slightly more.
    """

    beta1: Value
    beta2: Value
    eta: Value
    frozen: Value
    noisy: Value
    uphill: Value

    @property
    def gain(self) -> Value:
        """h = H_N / phi_N, in [1, sqrt(1 + eta^2)]."""
        return self.noisy / self.frozen

    @property
    def penalty(self) -> Value:
        """Lambda: the weight of the variance."""
        return uphill_penalty(self.beta1, self.beta2, self.eta, self.frozen, self.uphill)

    @property
    def alignment(self) -> Value:
        """kappa = (h - Lambda eta^2) / (1 + eta^2)."""
        return theorem2_alignment(self.gain, self.penalty, self.eta)


def momentum_sums(beta1: Value, beta2: Value, eta: Value, extra_steps: Value) -> MomentumSums:
    """The sums at N = ``extra_steps`` (infinity allowed), elementwise; eta <= 1.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1 and N >= 0.
    """
    require_betas(beta1, beta2)
    require(extra_steps >= 0, "N >= 0", describe("N", extra_steps), "take N = 0 or more")
    given = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (beta1, beta2, eta, extra_steps)))
    flat = np.stack([x.ravel() for x in given])
    settings, group = np.unique(flat[:3], axis=1, return_inverse=True)
    sums = np.empty((3, flat.shape[1]))
    for k, setting in enumerate(settings.T):
        chosen = group.ravel() == k
        frozen, noisy, uphill = _partial_sums(*map(float, setting))
        last = np.minimum(flat[3, chosen], len(frozen) - 1).astype(int)
        sums[:, chosen] = frozen[last], noisy[last], np.full(len(last), uphill)
    return MomentumSums(beta1, beta2, eta, *(item(x.reshape(given[0].shape)) for x in sums))


def _partial_sums(beta1: float, beta2: float, eta: float) -> tuple[Array, Array, float]:
    """phi_0, phi_1, ...; H_0, H_1, ...; and S_0."""
    age = np.arange(min(TERMS, int(NEGLIGIBLE / (1 - beta1)) + 1), dtype=float)
    frozen = np.cumsum(frozen_weight(beta1, beta2, age))
    noisy = np.cumsum(noisy_weight(beta1, beta2, eta, age))
    terms = np.asarray(uphill_weight(beta1, beta2, eta, age + 1))
    decay = uphill_decay(beta1, beta2, eta)  # the root in the terms falls with the age: the tail is geometric
    return frozen, noisy, float(terms.sum() + terms[-1] * decay / (1 - decay))
