r"""The scalar norm test alone does not make Adam converge: an instance for every eta, once d is large.

Problem:
    Minimise L(w) = H(a.w), H(x) = x^2/2 for |x| <= 1 and |x| - 1/2 beyond (Huber), a = (1, g, ..., g) in R^d:
    convex, smooth, bounded below, with grad L = a wherever a.w >= 1.

Algorithm:
    Adam with gradients g_{k,i} = X_{k,i} G_{k,i}, G_k = grad L(w_k), all X independent; X = 1 on the first
    coordinate; on the others X = -delta with probability 1 - p, else the value that makes E X = 1.

Guarantee:
    With kap^2 = Var X and

        g^2 = eta^2 / ((d-1) (kap^2 - eta^2))

    the exact-variance scalar test E_k||g_k - G_k||^2 <= eta^2 ||G_k||^2 (Eq. 4) is an *equality at every step*.
    Let u_k = E m_k/sqrt(v_k) < 0 on the noisy coordinates while a.w >= 1, from m_0 = v_0 = 0, and u its limit
    (:func:`theory.adam.normalized_step.mean_normalized_step`). In the stationary state a.w drifts per step by

        alpha ((d-1) g |u| - 1),

    which is uphill if and only if d - 1 > (kap^2 - eta^2) / (eta^2 u^2): Adam amplifies exactly the coordinates
    that the scalar test does not see. Then, by the ergodic theorem, a.w -> oo with a probability that tends to 1
    as alpha -> 0, from every start above 1.

    In a slightly higher dimension a.w grows at *every one* of K steps from a.w >= 1, with or without bias
    correction, but for a probability of :func:`failure_probability`, which falls like exp(-d u^2 / (2 C_m^2)).
    For every beta1 < sqrt(beta2) < 1 and every eta > 0 there is such a dimension, since u_k stays below a negative
    number where the rare value is rare enough (:func:`mean_step_ceiling`, in closed form). At (.9, .95), delta .1,
    p .0025 outward rounding gives u_k < -.444 for all k and u in [-.534583, -.534581].

    At beta1 = 0, beta2 -> 0 u_k tends to 2 p - 1 (:func:`sign_step_ceiling`), and the smallest threshold of
    d eta^2 is min_p (1-p) / (p (1-2p)^2) = ((1+sqrt(5))/2)^5 = 11.09 at p = (3-sqrt(5))/4, as delta -> 0. (At
    (.9, .999) a grid over this family, evidence and not a proof, has 1.1e5 as its smallest kap^2/u^2, but 2.2e4
    with u averaged over the first 8000 steps from v_0 = 0, which are longer.)

References:
    Lau et al., arXiv 2412.21124, Section 4, puts test (4) in the place of the coordinate-wise test of its
    Theorem 1. The l1 norm test (:mod:`theory.l1.theorem`) is the correction. Proof:
    :mod:`proofs.training.scalar_divergence`.

Arguments:
    See :class:`ScalarTestDivergence`.

Example:
    >>> instance = ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=0.2, dimension=100_000, delta=0.1, rare=0.0025)
    >>> round(instance.threshold * instance.eta**2), round(instance.threshold)      # d eta^2, and d
    (1689, 42232)
    >>> instance.diverges, round(instance.drift(alpha=0.01), 5)
    (True, 0.00539)
    >>> round(instance.relative_error / instance.eta, 12)                          # the scalar test: an equality
    1.0
    >>> f"{instance.failure_probability(least_step=0.444, steps=1e20):.0e}"        # not uphill at all 1e20 steps
    '2e-05'
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, exp, minimum, sqrt
from theory.adam.constants import momentum_ratio, normalized_step_bound, second_moment_weight
from theory.adam.normalized_step import mean_normalized_step, rare_value, rare_variance, two_point_law
from theory.problem import require_betas

__all__ = [
    "ScalarTestDivergence",
    "drift",
    "failure_probability",
    "mean_step_ceiling",
    "noisy_direction",
    "relative_error",
    "sign_step_ceiling",
    "simulate",
    "threshold_dimension",
]


def noisy_direction(eta: Value, noise_variance: Value, dimension: Value) -> Value:
    """g, the weight of each noisy coordinate in a: g^2 = eta^2 / ((d - 1) (kap^2 - eta^2)).

    Raises:
        HypothesisError: unless kap^2 > eta^2 (else the test holds for every g) and d > 1.
    """
    require(
        noise_variance > eta**2,
        "Var X > eta^2",
        f"{describe('Var X', noise_variance)}, {describe('eta', eta)}",
        "take a rarer event, or eta below the standard deviation of X",
    )
    require(dimension > 1, "d >= 2", describe("d", dimension), "take d = 2 or more")
    return eta / sqrt((dimension - 1) * (noise_variance - eta**2))


def relative_error(g: Value, noise_variance: Value, dimension: Value) -> Value:
    """sqrt(E||g_k - G_k||^2) / ||G_k||, at every w: what the scalar test compares with eta."""
    squared = (dimension - 1) * g**2
    return sqrt(noise_variance * squared / (1 + squared))


def drift(alpha: Value, dimension: Value, g: Value, mean_step: Value) -> Value:
    """alpha (-(d - 1) g u - 1): the mean change of a.w per step, where a.w > 0; uphill if positive."""
    return alpha * (-(dimension - 1) * g * mean_step - 1)


def threshold_dimension(eta: Value, noise_variance: Value, mean_step: Value) -> Value:
    """1 + (kap^2 - eta^2) / (eta^2 u^2): Adam climbs in every larger dimension.

    Raises:
        HypothesisError: unless u < 0.
    """
    require(
        mean_step < 0,
        "E m/sqrt(v) < 0",
        describe("E m/sqrt(v)", mean_step),
        "take a rarer event: p well below 1 - beta2",
    )
    return 1 + (noise_variance - eta**2) / (eta * mean_step) ** 2


def failure_probability(
    eta: Value, noise_variance: Value, dimension: Value, step_bound: Value, least_step: Value, steps: Value
) -> Value:
    """K exp(-(sqrt(d-1) u / C_m - sqrt(kap^2 - eta^2) / eta)^2 / 2): that not each of K steps is uphill, at most.

    Hoeffding's inequality for d - 1 independent coordinates in [-g C_m, g C_m], the first one at its worst C_m.

    Args:
        eta: of the scalar test.
        noise_variance: kap^2.
        dimension: d.
        step_bound: C_m.
        least_step: u > 0 with E m_k/sqrt(v_k) <= -u for all k <= K.
        steps: K.

    Raises:
        HypothesisError: unless (d - 1) g u > C_m: the mean of every step is uphill.
    """
    margin = sqrt(dimension - 1) * least_step / step_bound - sqrt(noise_variance - eta**2) / eta
    require(margin > 0, "(d - 1) g u > C_m", describe("d", dimension), "take a higher dimension")
    return steps * exp(-(margin**2) / 2)


def mean_step_ceiling(beta1: Value, beta2: Value, delta: Value, rare: Value, quiet: Value) -> Value:
    """At least E m_k/sqrt(v_k) for all k, in closed form, n p < 1: -(1 - n p) min(1 - beta1, s) + n p C_m.

    s = (1 - beta1^n) / sqrt(1 + beta2^n x^2/delta^2) - C_m r^n, x the rare value: without a rare value in the last
    n steps, m/sqrt(v) <= -s; and it is never above C_m.

    Args:
        beta1: decay of m.
        beta2: decay of v.
        delta: the common value of X is -delta.
        rare: p.
        quiet: n.

    >>> round(mean_step_ceiling(0.9, 0.95, delta=0.1, rare=1e-9, quiet=1500), 6)
    -0.099998
    """
    bound, size = normalized_step_bound(beta1, beta2), rare_value(delta, rare) / delta
    settled = (1 - beta1**quiet) / sqrt(1 + beta2**quiet * size**2) - bound * momentum_ratio(beta1, beta2) ** quiet
    return quiet * rare * bound - (1 - quiet * rare) * minimum(1 - beta1, settled)


def sign_step_ceiling(beta2: Value, delta: Value, rare: Value) -> Value:
    """At least E m_k/sqrt(v_k) for all k at beta1 = 0; it tends to 2 p - 1 as beta2 -> 0.

    (p - (1-p) / sqrt(1 + beta2 x^2 / (c delta^2))) / sqrt(c), c = 1 - beta2, x the rare value: of the past, v
    contains at most beta2 x^2.

    >>> round(sign_step_ceiling(1e-9, delta=0.1, rare=0.2), 4)
    -0.6
    """
    c, size = second_moment_weight(beta2), rare_value(delta, rare) / delta
    return (rare - (1 - rare) / sqrt(1 + beta2 * size**2 / c)) / sqrt(c)


@dataclass(frozen=True)
class ScalarTestDivergence:
    """One instance of the counterexample.

    Attributes:
        beta1: decay of m.
        beta2: decay of v.
        eta: of the scalar test, > 0.
        dimension: d.
        delta: the common value of X is -delta, delta > 0.
        rare: p, the probability of the rare value.
    """

    beta1: float
    beta2: float
    eta: float
    dimension: int
    delta: float = 0.1
    rare: float = 0.0025

    def __post_init__(self) -> None:
        require_betas(self.beta1, self.beta2)
        require(self.eta > 0, "eta > 0", describe("eta", self.eta), "take eta > 0")
        require(self.delta > 0, "delta > 0", describe("delta", self.delta), "take delta about 0.1")
        _ = self.g  # checks Var X > eta^2 and d > 1

    @property
    def noise_variance(self) -> float:
        """kap^2 = Var X."""
        return float(rare_variance(self.delta, self.rare))

    @property
    def g(self) -> float:
        """The weight of each noisy coordinate in a."""
        return float(noisy_direction(self.eta, self.noise_variance, self.dimension))

    @property
    def relative_error(self) -> float:
        """sqrt(E||g_k - G_k||^2) / ||G_k|| at every step."""
        return float(relative_error(self.g, self.noise_variance, self.dimension))

    @cached_property
    def mean_step(self) -> float:
        """u = E m/sqrt(v) of the noisy coordinates, exact."""
        return mean_normalized_step(two_point_law(self.delta, self.rare), self.beta1, self.beta2)

    @property
    def threshold(self) -> float:
        """The dimension beyond which Adam climbs."""
        return float(threshold_dimension(self.eta, self.noise_variance, self.mean_step))

    @property
    def diverges(self) -> bool:
        """Whether a.w drifts uphill in this dimension."""
        return self.drift(1.0) > 0

    def drift(self, alpha: float) -> float:
        """Mean change of a.w per step at step size alpha."""
        return float(drift(alpha, self.dimension, self.g, self.mean_step))

    def failure_probability(self, least_step: float, steps: float) -> float:
        """That not each of ``steps`` steps is uphill, at most: see :func:`failure_probability`."""
        bound = normalized_step_bound(self.beta1, self.beta2)
        variance = self.noise_variance
        return float(failure_probability(self.eta, variance, self.dimension, bound, least_step, steps))


def simulate(
    instance: ScalarTestDivergence,
    alpha: float,
    steps: int,
    start: float = 1.0,
    seed: int = 0,
    bias_correction: bool = False,
    epsilon: float = 0.0,
) -> NDArray[np.float64]:
    """Run Adam on the instance from a.w = ``start``, v_0 = 0, with every coordinate simulated.

    All noisy coordinates have the same true gradient, so only a.w, m and v are kept, and the rare events are
    drawn as a binomial count of distinct coordinates: the law is that of independent coordinates.

    Returns:
        a.w after 0, 1, ..., ``steps`` steps.

    >>> small = ScalarTestDivergence(beta1=0.0, beta2=0.5, eta=0.5, dimension=2000, delta=0.1, rare=0.03)
    >>> path = simulate(small, alpha=0.01, steps=400)
    >>> bool(path[-1] > 2 * path[0])
    True
    """
    generator, count = np.random.default_rng(seed), instance.dimension - 1
    beta1, beta2, g, common = instance.beta1, instance.beta2, instance.g, -instance.delta
    rare = float(rare_value(instance.delta, instance.rare))
    momentum, second = np.zeros(count), np.zeros(count)
    ratio = np.empty(count)
    first_m = first_v = 0.0
    path = np.empty(steps + 1)
    path[0] = value = start
    for k in range(1, steps + 1):
        slope = min(1.0, max(-1.0, value))
        rare_at = generator.choice(count, generator.binomial(count, instance.rare), replace=False, shuffle=False)
        scale = (1 - beta2) * (g * slope) ** 2
        momentum *= beta1
        momentum += (1 - beta1) * g * slope * common
        momentum[rare_at] += (1 - beta1) * g * slope * (rare - common)
        second *= beta2
        second += scale * common**2
        second[rare_at] += scale * (rare**2 - common**2)
        first_m = beta1 * first_m + (1 - beta1) * slope
        first_v = beta2 * first_v + (1 - beta2) * slope**2
        correction_m = 1 - beta1**k if bias_correction else 1.0
        correction_v = 1 - beta2**k if bias_correction else 1.0
        np.sqrt(second, out=ratio)
        ratio += epsilon * np.sqrt(correction_v)
        np.divide(momentum, ratio, out=ratio)
        total = first_m / (np.sqrt(first_v) + epsilon * np.sqrt(correction_v)) + g * float(ratio.sum())
        value -= alpha * np.sqrt(correction_v) / correction_m * total
        path[k] = value
    return path
