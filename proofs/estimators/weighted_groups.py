r"""Groups of unequal size, weighted by their tokens: the estimators are unbiased; without weights they are not.

Group j's sum of token gradients is S_j = t_j G + sqrt(t_j) z_j with independent z_j of variance sigma2, in one
coordinate.
"""

from __future__ import annotations

import sympy

from adabatch.moments.gradient_moments import (
    GradientMoments,
    covariance_trace,
    debiased_squared_norm,
    squared_deviation,
    weighted_sum_of_squares,
)
from proofs.estimators.expectations import gaussian_variance
from proofs.steps import Derivation, Expression, identity, prose, proves
from theory.estimators import weighted_groups as theory
from theory.estimators.expectations import GaussianGroups, expected_moments, moments

__all__ = ["weighted_groups"]

gradient, trace = sympy.symbols("G sigma2", positive=True)
divisor, total, size = sympy.symbols("c N m", positive=True)
groups = sympy.Symbol("n", positive=True, integer=True)


def _equal_groups(count: Expression, all_tokens: Expression) -> GaussianGroups:
    """Equal groups of N / n tokens, in one coordinate with variance sigma2."""
    return GaussianGroups(count, all_tokens / count, gradient**2, trace, trace**2, trace * gradient**2)


@proves(
    "Weighted groups",
    "what groups of unequal size estimate",
    r"For $n\ge 2$ independent sums $S_j$ of token gradients with mean $t_jG$ and covariance $t_j\Sigma$, any "
    r"$t_j>0$, $N=\sum_jt_j$ and $g=\frac1N\sum_jS_j$: "
    r"$\mathbb{E}\bigl[\sum_j\|S_j\|^2/t_j-N\|g\|^2\bigr]=(n-1)\,\mathrm{tr}\,\Sigma$ and "
    r"$\mathbb{E}\bigl[\|g\|^2-\mathrm{tr}\,\hat\Sigma/N\bigr]=\|G\|^2$; equal $t_j$ give the formulas of equal "
    r"groups, and for Gaussian $S_j$ the variances are theirs. Without the weights the trace is too large by "
    r"$N V^2\|G\|^2/(n-1)$, $V$ the coefficient of variation of the $t_j$.",
    source="Aitken 1935 (weighted least squares), for the pair of McCandlish et al. 2018",
    uses=("Eq. 5",),
)
def weighted_groups() -> Derivation:
    """Both weighted sums have the expectations of equal groups of N / n tokens; the bias without weights."""
    n, tokens = groups, sympy.Symbol("t", positive=True)
    one_group = (tokens**2 * gradient**2 + tokens * trace) / tokens
    all_groups = n * trace + total * gradient**2
    mean_squared = (total**2 * gradient**2 + total * trace) / total**2
    yield identity(r"\mathbb{E}\,S_j^2/t_j = \sigma^2 + t_jG^2", one_group, trace + tokens * gradient**2)
    yield prose(r"\textstyle\sum_j: \ n\sigma^2+NG^2, \quad \mathbb{E}\,(\sum_jS_j)^2 = N^2G^2+N\sigma^2", "any n")
    yield identity(
        r"\mathbb{E}[\textstyle\sum_jS_j^2/t_j-Ng^2]=(n-1)\sigma^2",
        all_groups - total * mean_squared,
        (n - 1) * trace,
    )
    square = weighted_sum_of_squares(n, total, divisor, (divisor / total) ** 2 * all_groups)
    equal = expected_moments(_equal_groups(n, total))
    yield identity(r"\mathbb{E}\,S = n\,(G^2+\sigma^2/m)", square, equal.sum_of_squares, "as of equal groups")
    yield identity(r"\mathbb{E}\,g^2 = G^2+\sigma^2/N", mean_squared, equal.squared_norm, "as of equal groups")
    sums = (n, total / n, square, mean_squared)
    yield identity(r"\mathbb{E}[\text{covariance trace}]=\sigma^2", covariance_trace(*sums), trace)
    yield identity(r"\mathbb{E}[\text{debiased}]=G^2", debiased_squared_norm(*sums), gradient**2)
    squares = sympy.Symbol("Q", positive=True)
    yield identity(
        r"t_j=m:\ S=\textstyle\sum_jg_j^2",
        weighted_sum_of_squares(n, n * size, divisor, (divisor / n) ** 2 * squares / size),
        squares,
        "h_j = c g_j / n",
    )
    yield from _variances()
    yield from _without_weights(mean_squared)
    yield prose(r"\text{summed over the eigenvectors of } \Sigma", "Gaussian coordinates are independent")


def _variances() -> Derivation:
    """D = sum_j t_j (g_j - g)^2 and q = g^2 are independent, and S is n (D + N q) / N."""
    n, (deviation, square) = groups, sympy.symbols("D q", positive=True)
    scaled = (divisor / total) ** 2 * (deviation + total * square)  # sum_j h_j^2 / t_j
    drawn = GradientMoments(n, total / n, weighted_sum_of_squares(n, total, divisor, scaled), square)
    yield identity(
        r"m\,(S-ng^2)=\textstyle\sum_jt_j(g_j-g)^2",
        total / n * squared_deviation(n, drawn.sum_of_squares, drawn.squared_norm),
        deviation,
        "by the definition of S, as sum_j t_j g_j^2 = D + N g^2",
    )
    yield prose(
        r"\textstyle\sum_jt_j(g_j-g)^2 = \sigma^2C \text{ with } C \sim \chi^2_{n-1}, \text{ independent of } g",
        "Cochran's theorem, for Gaussian groups; $g$ has the variance $\\sigma^2/N$",
    )
    for name in ("covariance_trace", "debiased_squared_norm"):
        yield identity(
            rf"\mathrm{{Var}}[\text{{{name.replace('_', ' ')}}}]: \text{{ as of equal groups}}",
            gaussian_variance(getattr(drawn, name), deviation, square, trace, total),
            moments(_equal_groups(n, total), name).variance,
            "any t_j",
        )


def _without_weights(mean_squared: Expression) -> Derivation:
    """As if the groups were of N / n tokens each: group j's gradient is n S_j / N."""
    n, variation = groups, sympy.Symbol("V", positive=True)
    of_squares = total**2 * (1 + variation**2) / n
    yield identity(
        r"V^2 = n\textstyle\sum_jt_j^2/N^2 - 1: \text{ the function at } \sum_jt_j^2 = N^2(1+V^2)/n",
        theory.variation_of_sums(n, of_squares, total),
        variation**2,
        "any number of groups",
    )
    yield identity(
        r"\mathbb{E}\textstyle\sum_jS_j^2 = \sum_j(t_j^2G^2+t_j\sigma^2) = N^2(1+V^2)G^2/n + N\sigma^2",
        of_squares * gradient**2 + total * trace,
        (total**2 / n + variation**2 * total**2 / n) * gradient**2 + total * trace,
    )
    square = (n / total) ** 2 * (of_squares * gradient**2 + total * trace)
    bias = theory.unweighted_bias(n, total, variation**2, gradient**2)
    yield identity(
        r"\mathbb{E}[\text{trace without weights}]=\sigma^2+NV^2G^2/(n-1)",
        covariance_trace(n, total / n, square, mean_squared),
        trace + bias,
    )
    yield identity(
        r"\mathbb{E}[\text{debiased without weights}]=G^2-V^2G^2/(n-1)",
        debiased_squared_norm(n, total / n, square, mean_squared),
        gradient**2 - bias / total,
    )
