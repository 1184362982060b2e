"""Checks of Eqs. (2), (3), (5) and of the saturation of Algorithm 1: what the variance estimators measure."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations

import numpy as np

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.noise_scale import saturation_level
from adabatch.moments.numeric import Value
from adabatch.moments.statistic import norm_test_statistic
from theory.audit.evidence import Assertion, ClaimEvidence
from theory.estimators.expectations import GaussianGroups, effective_eta, eta_to_enforce, moments
from theory.estimators.finite_population import published_factor, sample_variance_factor

__all__ = ["finite_population_factor", "plug_in_denominator", "saturation", "variance_of_workers"]

Factor = Callable[[Value, Value], Value]


def enumerate_batches(values: tuple[int, ...], batch_size: int, factor: Factor) -> tuple[Fraction, Fraction]:
    """(mean of s^2 / b * factor, variance of the batch mean) over all batches without replacement, exactly."""
    batches = list(combinations(map(Fraction, values), batch_size))
    means = [sum(batch, Fraction(0)) / batch_size for batch in batches]
    left = Fraction(0)
    for batch, mean in zip(batches, means, strict=True):
        squares = sum(((x - mean) ** 2 for x in batch), Fraction(0))
        left += squares / (batch_size - 1) / batch_size * factor(Fraction(batch_size), Fraction(len(values)))
    centre = sum(means, Fraction(0)) / len(means)
    variance = sum(((m - centre) ** 2 for m in means), Fraction(0)) / len(means)
    return left / len(batches), variance


def finite_population_factor(
    factor: Factor = published_factor, corrected: Factor = sample_variance_factor
) -> ClaimEvidence:
    """Eq. (2): does s^2 / b times the factor estimate the variance of the batch mean without bias?"""
    cases = (((0, 1, 3, 7), 2), ((0, 1, 3, 7), 3), ((-4, 0, 1, 1, 6, 9), 2), ((2, 3, 5, 7, 11, 13, 17), 5))

    def ratios(used: Factor) -> tuple[Assertion, ...]:
        compared = []
        for values, batch_size in cases:
            left, variance = enumerate_batches(values, batch_size, used)
            what = f"variance of the mean over the mean left-hand side, n={len(values)}, b={batch_size}"
            compared.append(Assertion(what, float(variance / left), "==", 1.0))
        return tuple(compared)

    return ClaimEvidence(
        published=ratios(factor),
        corrected=ratios(corrected),
        note="All batches enumerated in exact fractions: with the b-1 sample variance the factor is (n-b)/n.",
    )


def simulate_groups(groups: GaussianGroups, dimension: int, repetitions: int, seed: int) -> GradientMoments:
    """Gaussian group means with covariance (tr Sigma / d) I / m and mean G, repeated: shape (repetitions,)."""
    generator = np.random.default_rng(seed)
    scale = np.sqrt(groups.trace / dimension / groups.group_size)
    offset = np.sqrt(groups.squared_gradient / dimension)
    draws = offset + scale * generator.standard_normal((repetitions, groups.groups, dimension))
    squared_norm = (draws.mean(axis=1) ** 2).sum(axis=-1)
    return GradientMoments(groups.groups, groups.group_size, (draws**2).sum(axis=(1, 2)), squared_norm)


def within(what: str, sample: Value, expected: float, errors: float = 5.0) -> Assertion:
    """The mean of a sample against an expected value, within some standard errors."""
    sample = np.asarray(sample)
    tolerance = errors * sample.std(ddof=1) / np.sqrt(sample.size)
    return Assertion(what, float(sample.mean()), "~", expected, float(tolerance))


def isotropic(
    groups: int, group_size: int, squared_gradient: float, trace: float, dimension: int
) -> GaussianGroups:
    """Groups with Sigma = (trace / d) I."""
    spectrum = np.full(dimension, trace / dimension)
    gradient = np.full(dimension, np.sqrt(squared_gradient / dimension))
    return GaussianGroups.from_spectrum(groups, group_size, spectrum, gradient)


def plug_in_denominator(
    eta_used: Callable[[float], float] = lambda eta: eta, repetitions: int = 4000
) -> ClaimEvidence:
    """Eq. (3): does the test with denominator ||g_B||^2, given ``eta_used(eta)``, enforce the relative error eta?

    The batch is put where the exact relative error is eta / sqrt(1 - eta^2); there the test is an equality.
    """
    levels = (0.2, 0.5, 0.8)

    def enforced(used: Callable[[float], float]) -> tuple[Assertion, ...]:
        what = "relative error at which the test is an equality, eta ="
        return tuple(Assertion(f"{what} {eta}", effective_eta(used(eta), "unbiased"), "==", eta) for eta in levels)

    supporting = []
    for eta in levels:
        groups = isotropic(16, 8, 1.0, 128 * effective_eta(eta, "unbiased") ** 2, 50)
        sample = simulate_groups(groups, 50, repetitions, seed=3)
        balance = sample.covariance_trace / groups.batch_size - eta**2 * sample.squared_norm
        supporting.append(within(f"simulated: mean of left minus right side there, eta = {eta}", balance, 0.0))
        bias = moments(groups, "squared_norm").expectation
        supporting.append(within(f"simulated: E||g||^2, eta = {eta}", sample.squared_norm, float(bias)))
    return ClaimEvidence(
        published=enforced(eta_used),
        corrected=enforced(eta_to_enforce),
        supporting=tuple(supporting),
        note="E||g||^2 = ||G||^2 + tr Sigma / b, so the plug-in test enforces eta/sqrt(1-eta^2); give it "
        "eta/sqrt(1+eta^2), or subtract tr Sigma-hat / b from the denominator.",
    )


def variance_of_workers(
    published: str = "paper_variance", corrected: str = "covariance_trace", repetitions: int = 4000
) -> ClaimEvidence:
    """Eq. (5): does the variance between workers stand for the per-sample variance?"""
    cases = ((2, 1, 8), (4, 16, 4), (8, 2, 16))
    ratios: dict[str, list[Assertion]] = {published: [], corrected: []}
    supporting = []
    for workers, accumulation, micro_batch in cases:
        groups = isotropic(workers, accumulation * micro_batch, 1.0, 3.0, 40)
        sample = simulate_groups(groups, 40, repetitions, seed=5)
        place = f"J={workers}, b={groups.batch_size}"
        for name, compared in ratios.items():
            expected = float(moments(groups, name).expectation)
            compared.append(Assertion(f"E[estimate] / tr Sigma, {place}", expected / 3.0, "==", 1.0))
            supporting.append(within(f"simulated {name}, {place}", getattr(sample, name), expected))
        expected = float(moments(groups, "paper_variance").expectation) / 3.0
        bias = (workers - 1) / groups.batch_size
        supporting.append(Assertion(f"published ratio against (J-1)/b, {place}", expected, "==", bias))
    return ClaimEvidence(
        published=tuple(ratios[published]),
        corrected=tuple(ratios[corrected]),
        supporting=tuple(supporting),
        note="E||Var-hat||_1 = tr Sigma (J-1)/b: low by (J-1)/b. b/(J-1) times it is unbiased.",
    )


def saturation(estimator: str = "paper", eta: float = 0.2, repetitions: int = 200) -> ClaimEvidence:
    """Algorithm 1: does T exceed b while noise dominates, for every b?"""
    workers = 4
    level = saturation_level(eta, workers)
    published: list[Assertion] = []
    corrected: list[Assertion] = []
    supporting: list[Assertion] = []
    for batch_size in (64, 128, 1024, 8192):
        noise_only = isotropic(workers, batch_size // workers, 0.0, 1.0, 1000)
        sample = simulate_groups(noise_only, 1000, repetitions, seed=batch_size)
        place = f"b = {batch_size}, d = 1000, no gradient"
        for name, compared in ((estimator, published), ("unbiased", corrected)):
            statistic = float(np.mean(norm_test_statistic(sample, eta, name)))
            compared.append(Assertion(f"mean T ({name}), {place}", statistic, ">", batch_size))
        statistic = float(np.mean(norm_test_statistic(sample, eta, "paper")))
        what = f"mean published T near (J-1)/eta^2, {place}"
        supporting.append(Assertion(what, statistic, "~", level, 0.03 * level))
    for dimension in (10, 100, 10_000):
        sample = simulate_groups(isotropic(workers, 256, 0.0, 1.0, dimension), dimension, repetitions, dimension)
        statistic = float(np.mean(norm_test_statistic(sample, eta, "paper")))
        # E[1/chi^2_d] = 1/(d-2): few effective dimensions let a small ||g|| drive T above the level.
        expected = level * dimension / (dimension - 2)
        what = f"mean published T near (J-1)/eta^2 d/(d-2), b = 1024, d = {dimension}"
        supporting.append(Assertion(what, statistic, "~", expected, 0.25 * expected if dimension < 50 else 4.0))
    one_worker = GradientMoments(1, 64, 2.0, 2.0).paper_variance
    supporting.append(Assertion("published variance of a single worker", float(one_worker), "==", 0.0))
    return ClaimEvidence(
        published=tuple(published),
        corrected=tuple(corrected),
        supporting=tuple(supporting),
        note="Published T stays near (J-1)/eta^2 for every b, so the batch stops growing there; one worker "
        "gives 0. The unbiased statistic is b/eta^2 there.",
    )
