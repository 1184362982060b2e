r"""What the estimators of the norm test measure: expectations, variances, fixed points.

The estimators are linear in the squared mean of the groups and in their squared deviation from it, of which the
moments are known for any number of groups.
"""

from __future__ import annotations

from typing import Any

import sympy

from adabatch.moments.gradient_moments import (
    GradientMoments,
    covariance_trace,
    debiased_squared_norm,
    paper_variance,
)
from adabatch.moments.noise_scale import stationary_batch_size
from adabatch.moments.statistic import estimates
from proofs.steps import Derivation, Expression, identity, prose, proves
from theory.estimators import expectations as theory
from theory.estimators.finite_population import batch_mean_variance, sample_variance_factor

__all__ = ["finite_population", "fixed_points", "plug_in_denominator", "variance_of_groups"]

gradient, trace, scale = sympy.symbols("G sigma2 B", positive=True)
eta = sympy.Symbol("eta", positive=True)
COCHRAN = (
    r"\textstyle\sum_j(g_j-g)^2 = \frac{\sigma^2}mC \text{ with } C \sim \chi^2_{n-1}, \text{ independent of } g"
)
groups, group_size = sympy.symbols("n m", positive=True, integer=True)


def gaussian_variance(estimate: Expression, deviation: Any, square: Any, spread: Any, count: Any) -> Expression:
    """The variance of an estimate that is linear in ``deviation`` and ``square``, of Gaussian groups.

    Args:
        estimate: of one coordinate.
        deviation: (weighted) sum of squared deviations from the mean; over ``spread`` its law is chi^2 of n - 1.
        square: of the mean, which is independent of it and normal, of mean G.
        spread: variance of what deviates.
        count: (weighted) number of groups: the mean has the variance ``spread / count``.
    """
    of_mean = spread / count
    square_variance = 4 * gradient**2 * of_mean + 2 * of_mean**2
    return (
        sympy.diff(estimate, deviation) ** 2 * 2 * (groups - 1) * spread**2
        + sympy.diff(estimate, square) ** 2 * square_variance
    )


def _exact_groups(count: Expression, size: Expression) -> theory.GaussianGroups:
    """The same groups for ``theory.estimators.expectations``, in one coordinate with variance sigma2."""
    return theory.GaussianGroups(count, size, gradient**2, trace, trace**2, trace * gradient**2)


@proves(
    "Eq. 2",
    "the factor of a finite population",
    r"For a batch of $2\le b\le n$ samples drawn without replacement and $s^2$ its sample variance with "
    r"$b-1$ in the denominator, $\mathbb{E}[s^2]/b\cdot(n-b)/n = \mathrm{Var}(\text{mean})$.",
    source="Lau et al., Eq. (2), corrected",
)
def finite_population() -> Derivation:
    """Eq. (2) with the unbiased factor for the b - 1 sample variance."""
    n, b = sympy.symbols("n b", positive=True, integer=True)
    total, squares = sympy.symbols("T1 T2", real=True)
    one = sympy.binomial(n - 1, b - 1) / sympy.binomial(n, b)
    two = sympy.binomial(n - 2, b - 2) / sympy.binomial(n, b)
    one_value, two_value = b / n, b * (b - 1) / (n * (n - 1))
    # E over batches, with sum_i x_i = T1 and sum_i x_i^2 = T2 over the population.
    mean_squared = (one_value * squares + two_value * (total**2 - squares)) / b**2
    variance = mean_squared - (total / n) ** 2
    sample_variance = (one_value * squares - b * mean_squared) / (b - 1)
    population_variance = squares / n - (total / n) ** 2
    yield identity(r"P(i\in B) = b/n", sympy.combsimp(one), one_value, "batches that contain i, over all batches")
    yield identity(r"P(i,j\in B) = \frac{b(b-1)}{n(n-1)}", sympy.combsimp(two), two_value)
    yield identity(
        r"\mathrm{Var}(\text{mean}) = \frac{\sigma^2}{b}\frac{n-b}{n-1}",
        variance,
        batch_mean_variance(population_variance, b, n),
        "sigma^2 with n in its denominator",
    )
    yield identity(
        r"\mathbb{E}[s^2]\cdot\text{factor}/b = \mathrm{Var}(\text{mean})",
        sample_variance / b * sample_variance_factor(b, n),
        variance,
    )
    yield prose(r"\text{coordinate by coordinate, then summed}")


@proves(
    "Eq. 5",
    "what the variance between groups estimates",
    r"For $n$ independent group means with covariance $\Sigma/m$, $b=nm$: "
    r"$\mathbb{E}\frac1n\sum_j\|g_j-g\|^2 = \mathrm{tr}\,\Sigma\,(n-1)/b$, "
    r"$\mathbb{E}\frac{m}{n-1}\sum_j\|g_j-g\|^2=\mathrm{tr}\,\Sigma$, "
    r"$\mathbb{E}\|g\|^2=\|G\|^2+\mathrm{tr}\,\Sigma/b$; for Gaussian ones the variances of "
    r"these estimators are those of the moments below.",
    source="Lau et al., Eq. (5), corrected",
)
def variance_of_groups() -> Derivation:
    """Expectations and Gaussian variances of the four estimators of :mod:`adabatch.moments.gradient_moments`."""
    n, m = groups, group_size
    expected = theory.expected_moments(_exact_groups(n, m))
    sums = (expected.sum_of_squares, expected.squared_norm)
    yield identity(
        r"\mathbb{E}\textstyle\sum_jg_j^2 = n\,(G^2 + \sigma^2/m)",
        expected.sum_of_squares,
        n * (gradient**2 + trace / m),
    )
    yield identity(
        r"\mathbb{E}\,g^2 = G^2 + \sigma^2/b",
        (n * (gradient**2 + trace / m) + n * (n - 1) * gradient**2) / n**2,
        expected.squared_norm,
        "n equal and n (n-1) unequal pairs",
    )
    yield identity(
        r"\mathbb{E}\hat\sigma^2 = \sigma^2, \; \hat\sigma^2 = \tfrac m{n-1}\textstyle\sum_j(g_j-g)^2",
        covariance_trace(n, m, *sums),
        trace,
        "unbiased",
    )
    yield identity(
        r"\mathbb{E}[\textstyle\sum_j(g_j-g)^2/n] = \sigma^2 (n-1)/b",
        paper_variance(n, *sums),
        trace * (n - 1) / (n * m),
        "as published",
    )
    yield identity(
        r"\mathbb{E}[g^2-\hat\sigma^2/b] = G^2", debiased_squared_norm(n, m, *sums), gradient**2, "debiased"
    )
    yield prose(COCHRAN, "Cochran's theorem, for Gaussian groups; $g$ has the variance $\\sigma^2/b$")
    deviation, square = sympy.symbols("D q", positive=True)
    drawn = GradientMoments(n, m, deviation + n * square, square)
    for name, what in (
        ("paper_variance", r"\textstyle\sum_j(g_j-g)^2/n"),
        ("covariance_trace", r"\hat\sigma^2"),
        ("squared_norm", "g^2"),
        ("debiased_squared_norm", r"g^2-\hat\sigma^2/b"),
    ):
        yield identity(
            rf"\mathrm{{Var}}[{what}]: \text{{ the function}}",
            gaussian_variance(getattr(drawn, name), deviation, square, trace / m, n),
            theory.moments(_exact_groups(n, m), name).variance,
            "the two parts are independent",
        )
    yield prose(r"\text{summed over the eigenvectors of } \Sigma", "Gaussian coordinates are independent")


@proves(
    "Eq. 3",
    "what the plug-in denominator enforces",
    r"In expectation the test $\mathrm{tr}\,\hat\Sigma/b\le\eta^2\|g\|^2$ is an equality at the relative "
    r"error $\eta/\sqrt{1-\eta^2}$; given $\eta/\sqrt{1+\eta^2}$ it enforces $\eta$, and so does the "
    r"debiased denominator given $\eta$.",
    source="Lau et al., Eq. (3), corrected",
    uses=("Eq. 5",),
)
def plug_in_denominator() -> Derivation:
    """Which relative error the plug-in test enforces, and what to give it instead."""
    n, m = groups, group_size
    wanted = theory.eta_to_enforce(eta)

    def tested(error: Expression, estimator: str) -> tuple[Expression, Expression]:
        """The expected variance and squared norm at this relative error."""
        at_error = theory.GaussianGroups(n, m, gradient**2, error**2 * n * m * gradient**2, 0, 0)
        return estimates(theory.expected_moments(at_error), estimator)

    variance, squared_norm = tested(theory.effective_eta(eta, "unbiased"), "unbiased")
    debiased_variance, debiased_norm = tested(eta, "debiased")
    yield identity(
        r"\mathbb{E}[\mathrm{tr}\,\hat\Sigma]/b = \eta^2\,\mathbb{E}\|g\|^2 "
        r"\text{ at } \mathrm{tr}\,\Sigma/b = \eta^2/(1-\eta^2)\,\|G\|^2",
        variance / (n * m),
        eta**2 * squared_norm,
    )
    yield identity(
        r"\text{given } \eta/\sqrt{1+\eta^2}: \text{ the relative error is } \eta",
        sympy.simplify(theory.effective_eta(wanted, "unbiased") ** 2),
        eta**2,
    )
    yield identity(
        r"\text{debiased: an equality at the relative error } \eta",
        debiased_variance / (n * m),
        eta**2 * debiased_norm,
    )


@proves(
    "Fixed points",
    "where the batch stops growing",
    r"$T=b$ in expectation at $b^*=B/\eta^2$ (debiased), $B(1/\eta^2-1)$ (unbiased), and at the root of "
    r"$b^2+Bb=B(n-1)/\eta^2$ (paper), which tends to $(n-1)/\eta^2$ as $B=\mathrm{tr}\,\Sigma/\|G\|^2$ "
    r"grows.",
    source="Lau et al., Algorithm 1; McCandlish et al. 2018",
    uses=("Eq. 5",),
)
def fixed_points() -> Derivation:
    """The batch sizes at which T = b in expectation, for the three estimators."""
    n = groups
    for estimator in ("debiased", "unbiased", "paper"):
        batch_size = stationary_batch_size(scale, eta, estimator, n)
        at_rest = theory.GaussianGroups(n, batch_size / n, gradient**2, scale * gradient**2, 0, 0)
        yield identity(
            rf"T = b^* \text{{ ({estimator})}}",
            theory.expected_statistic(at_rest, eta, estimator),
            batch_size,
            "B_noise = tr Sigma / ||G||^2",
        )
    yield identity(
        r"\lim_{B_\mathrm{noise}\to\infty} b^* = (n-1)/\eta^2 \text{ (paper)}",
        sympy.limit(stationary_batch_size(scale, eta, "paper", n), scale, sympy.oo),
        (n - 1) / eta**2,
        "the published statistic saturates",
    )
