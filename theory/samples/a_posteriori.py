r"""A certificate after the run: Theorem 3 with the ratio of noise to gradient that the run has had.

Problem:
    Theorem 3 needs no test at all, only that sum_k E sum_i sd_{k,i} is small against sum_k E||G_k||_1. A run
    records estimates of both sums. What do they prove of it?

Algorithm:
    Adam as in :mod:`theory.l1.theorem3`, its batches chosen by any rule before each step. With

        eta_eff = sum_k E sum_i sd_{k,i} / sum_k E||G_k||_1

    Theorem 3 holds at eta = eta_eff, if eta_eff < J / lambda.

    Estimates: of the numerator, the sum of the coordinates' deviations over sqrt(b), corrected by c4 (unbiased for
    Gaussian means of micro-batches, at most the deviation without the correction); of the denominator, the
    conservative l1 norm N, E N <= ||G||_1 (:mod:`adabatch.moments.l1`). Their ratio errs upwards: towards not
    certifying. Its interval is Student's, from :data:`SECTIONS` sections of consecutive steps, since neighbouring
    steps resemble each other; a trend within the run widens it.

Guarantee:
    - J sum_k E||G_k||_1 <= lambda D + Delta / alpha + alpha K L d (s_t^2 / 2 + Lambda s_t) + P, where D is
      sum_k E sum_i sd_{k,i}, large or small; so (J - lambda eta_eff) S is at most the same without lambda D.
    - of the estimates, nothing is guaranteed beyond their expectations; the interval is asymptotic, of one run.

References:
    Proof: :mod:`proofs.samples.a_posteriori`.

Shapes:
    Recorded sums: [steps].

Example:
    >>> ratio = effective_eta([1.0, 1.2, 0.8, 1.0], [2.0, 2.2, 1.8, 2.0], sections=4)
    >>> round(ratio.value, 3), 0.5 < ratio.high < 0.6
    (0.5, True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from adabatch.moments.hypotheses import HypothesisError, require
from adabatch.moments.numeric import Value
from theory.l1.theorem3 import Certificate, bound_terms, find_certificate
from theory.problem import Problem

__all__ = [
    "SECTIONS",
    "EffectiveEta",
    "Hypothesis",
    "RecordedRun",
    "a_posteriori_report",
    "effective_eta",
    "hypotheses",
    "measured_sum",
]

SECTIONS = 20
"""Of a run, for the interval."""

LEVEL = 0.95
"""Nominal coverage of the interval."""


@dataclass(frozen=True)
class EffectiveEta:
    """eta_eff as it was measured.

    Attributes:
        value: the ratio of the sums.
        low: lower end of its interval.
        high: upper end; infinite where too few steps were measured, or the gradient is not told from noise.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For example ``0.52 [0.49, 0.55]``."""
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def effective_eta(deviations: ArrayLike, l1_norms: ArrayLike, sections: int = SECTIONS) -> EffectiveEta:
    """The ratio of the sums, with the interval of a ratio of means of sections.

    Args:
        deviations: sum_i sd_{k,i} of each measured step's gradient, [steps].
        l1_norms: an estimate of ||G_k||_1 from below, [steps]; single ones may be negative.
        sections: how many to cut the steps into.

    Raises:
        HypothesisError: for sums of different lengths, or none.
    """
    noise, gradient = np.asarray(deviations, float), np.asarray(l1_norms, float)
    given = f"shapes {noise.shape} and {gradient.shape}"
    require(noise.ndim == 1 and noise.shape == gradient.shape and len(noise) > 0, "equally many sums", given)
    total = float(gradient.sum())
    if total <= 0:
        return EffectiveEta(math.inf, 0.0, math.inf)
    ratio = float(noise.sum()) / total
    count = min(sections, len(noise))
    if count < 2:
        return EffectiveEta(ratio, 0.0, math.inf)
    residuals = np.array([part.sum() for part in np.array_split(noise - ratio * gradient, count)])
    error = math.sqrt(count / (count - 1) * float(residuals @ residuals)) / total
    half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * error
    return EffectiveEta(ratio, max(0.0, ratio - half), ratio + half)


def measured_sum(right_side: Value, deviations: Value, gain: Value, noise_weight: Value) -> Value:
    """(right side + lambda D) / J, the bound on sum_k E||G_k||_1 with the deviations as they were.

    Args:
        right_side: Delta / alpha + alpha K L d (s_t^2 / 2 + Lambda s_t) + P.
        deviations: D.
        gain: J.
        noise_weight: lambda.

    >>> measured_sum(1.0, 2.0, 0.5, 0.25)
    3.0
    """
    return (right_side + noise_weight * deviations) / gain


@dataclass(frozen=True)
class Hypothesis:
    """One of Theorem 3's, and whether a run met it.

    Attributes:
        name: in words.
        met: whether.
        given: what the run had.
    """

    name: str
    met: bool
    given: str

    def __str__(self) -> str:
        """For example ``met: no clipping (threshold 0)``."""
        return f"{'met' if self.met else 'NOT MET'}: {self.name} ({self.given})"


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """What a run's settings and records say of Theorem 3's hypotheses."""

    beta1: float
    """Decay of m."""
    beta2: float
    """Decay of v."""
    epsilon: float
    """Added to sqrt(v)."""
    bias_correction: bool
    """Whether m and v are corrected for their start."""
    weight_decay: float
    """Decoupled."""
    clip: float
    """Largest gradient norm; 0: none."""
    warmup: int
    """Samples of warm-up."""
    learning_rates: ArrayLike
    """Of each step, [K]."""
    constant_beta2: bool
    """Whether beta2 is the same in every step."""
    skipped: int
    """Steps whose gradient was not finite."""
    repeated: bool
    """Whether any sample was seen twice."""
    fewest_groups: int
    """Groups (ranks x micro-batches) of the step with the fewest."""
    every_coordinate: bool
    """Whether the sums are over all coordinates, not a sample of them."""
    dimension: int
    """d."""
    deviations: ArrayLike
    """sum_i sd_{k,i} of the gradient of each measured step, [measured]."""
    l1_norms: ArrayLike
    """Conservative ||G_k||_1 of each measured step, [measured]."""
    first_gradient: float
    """||g_1||_1, which is ||G_1||_1 or more in expectation; NaN if it was not measured."""
    first_loss: float
    """Of the first step: Delta is at most that, as the loss is not negative."""

    @property
    def steps(self) -> int:
        """K."""
        return len(np.asarray(self.learning_rates))

    @property
    def measured(self) -> int:
        """Steps whose coordinates were measured."""
        return len(np.asarray(self.deviations))


def hypotheses(run: RecordedRun) -> tuple[Hypothesis, ...]:
    """Theorem 3's, each met or not, but for the size of eta_eff."""
    rates = np.asarray(run.learning_rates, float)
    constant = bool(len(rates)) and bool(np.ptp(rates) <= 1e-12 * rates.max())
    spread = f"{rates.min():.4g} to {rates.max():.4g}" if len(rates) else "no step"
    groups = f"{run.measured} of {run.steps} steps, from {run.fewest_groups} groups or more"
    estimated = 0 < run.measured == run.steps and run.fewest_groups >= 2 and run.every_coordinate
    correction = "corrected" if run.bias_correction else "as they are"
    return (
        Hypothesis("no clipping", run.clip == 0, f"largest norm {run.clip:g}, 0 is none"),
        Hypothesis("no weight decay", run.weight_decay == 0, f"{run.weight_decay:g}"),
        Hypothesis("epsilon 0", run.epsilon == 0, f"{run.epsilon:g}"),
        Hypothesis("no bias correction", not run.bias_correction, f"moments {correction}"),
        Hypothesis("no warm-up", run.warmup == 0, f"{run.warmup} samples"),
        Hypothesis("one step size", constant, spread),
        Hypothesis("one beta2", run.constant_beta2, f"{run.beta2:g}"),
        Hypothesis("no step left out", run.skipped == 0, f"{run.skipped} skipped"),
        Hypothesis(
            "fresh samples, so that the gradient is unbiased given the past",
            not run.repeated,
            "samples repeat" if run.repeated else "each seen once",
        ),
        Hypothesis(
            "variances estimated at every step, of every coordinate",
            estimated,
            groups if run.every_coordinate else f"{groups}, of a sample of the coordinates",
        ),
    )


def a_posteriori_report(run: RecordedRun) -> list[str]:
    """eta_eff, the hypotheses and the bound, as lines of text; empty where no coordinates were measured."""
    if run.measured == 0:
        return []
    ratio = effective_eta(run.deviations, run.l1_norms)
    found = list(hypotheses(run))
    lines = [
        f"a posteriori: eta_eff = {ratio}, the sum of deviations over ||G||_1 from below, {run.measured} steps"
    ]
    try:
        certificate = find_certificate(run.beta1, run.beta2, ratio.high)
        given = f"{ratio.high:.3g} < {certificate.largest_eta:.4g}"
    except HypothesisError as error:
        certificate, given = None, error.nearest
    found.append(Hypothesis("eta_eff below J / lambda, with its interval", certificate is not None, given))
    lines += [f"  {hypothesis}" for hypothesis in found]
    if certificate is None:
        return lines
    at_rest, curved = _bound(run, certificate, ratio.high)
    certified = all(hypothesis.met for hypothesis in found)
    lines.append(
        f"  {'certified' if certified else 'it would be certified'}: mean of E||G_k||_1 <= {at_rest:.4g} + "
        f"{curved:.4g} L over {run.steps} steps, L the smoothness (Theorem 3: {certificate.support})"
    )
    return lines


def _bound(run: RecordedRun, certificate: Certificate, eta: float) -> tuple[float, float]:
    """The bound on (1/K) sum_k E||G_k||_1 as a constant and a multiple of L; v_0 = 0."""
    step = float(-certificate.z_grid[0])  # C_m
    problem = Problem(
        smoothness=1.0, dimension=run.dimension, initial_gap=max(run.first_loss, 0.0), steps=run.steps
    )
    alpha = float(np.asarray(run.learning_rates, float).max())
    terms = bound_terms(problem, alpha, certificate.lipschitz_constant, step)
    potential = certificate.initial_potential(run.first_gradient, 0.0)
    kept = (certificate.gain - certificate.noise_weight * eta) * run.steps
    return (terms["initial gap"] + potential) / kept, (terms["second order"] + terms["potential drift"]) / kept
