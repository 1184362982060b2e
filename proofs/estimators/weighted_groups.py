r"""Groups of unequal size, weighted by their tokens: the estimators are unbiased; without weights they are not.

Group j's sum of token gradients is S_j = t_j G + sqrt(t_j) z_j with independent z_j of variance sigma2, in one
coordinate; with r_j = sqrt(t_j) everything is rational.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from adabatch.moments.gradient_moments import (
    GradientMoments,
    covariance_trace,
    debiased_squared_norm,
    squared_deviation,
    weighted_sum_of_squares,
)
from proofs.estimators.expectations import expectation
from proofs.steps import Expression, Step, identity, prose, proves
from theory.estimators import weighted_groups as theory
from theory.estimators.expectations import GaussianGroups, expected_moments, moments

__all__ = ["weighted_groups"]

gradient, trace = sympy.symbols("G sigma2", positive=True)
divisor, total, size = sympy.symbols("c N m", positive=True)
groups = sympy.Symbol("n", positive=True, integer=True)


class _Drawn:
    """Some groups of t_j tokens, one coordinate: z_j, t_j, S_j, and what the backward passes leave, h_j.

    N stays a symbol until the end, where :meth:`expectation` puts sum_j t_j in its place.
    """

    def __init__(self, count: int) -> None:
        roots = sympy.symbols(f"r1:{count + 1}", positive=True)
        self.deviations = sympy.symbols(f"z1:{count + 1}", real=True)
        self.tokens = [r**2 for r in roots]
        self.sums = [r**2 * gradient + r * z for r, z in zip(roots, self.deviations, strict=True)]
        self.backward = [divisor / total * s for s in self.sums]
        self.mean = sum(self.backward) / divisor

    def moments(self) -> GradientMoments:
        """The weighted ones."""
        count = len(self.tokens)
        scaled = sum(h**2 / t for h, t in zip(self.backward, self.tokens, strict=True))
        square = weighted_sum_of_squares(count, total, divisor, scaled)
        return GradientMoments(count, total / count, square, self.mean**2)

    def unweighted(self) -> GradientMoments:
        """As if the groups were of N / n tokens each: group j's gradient is (n / c) h_j."""
        count = len(self.tokens)
        square = sum((count * h / divisor) ** 2 for h in self.backward)
        return GradientMoments(count, total / count, square, self.mean**2)

    def expectation(self, value: Expression) -> Expression:
        """E over the z_j."""
        return self.exact(expectation(value, self.deviations, trace))

    def exact(self, value: Expression) -> Expression:
        """With N = sum_j t_j."""
        return sympy.sympify(value).subs(total, sum(self.tokens))

    def deviation(self) -> Expression:
        """sum_j t_j (g_j - g)^2, g_j = S_j / t_j."""
        return sum(t * (s / t - self.mean) ** 2 for t, s in zip(self.tokens, self.sums, strict=True))


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
def weighted_groups() -> Iterator[Step]:
    """Both weighted sums have the expectations of equal groups of N / n tokens; the bias without weights."""
    n, tokens = groups, sympy.Symbol("t", positive=True)
    for count in (2, 3):
        drawn = _Drawn(count)
        weighted, equal = drawn.moments(), expected_moments(_equal_groups(count, total))
        for what, name in ((r"S", "sum_of_squares"), (r"g^2", "squared_norm")):
            measured = drawn.expectation(getattr(weighted, name))
            yield identity(
                rf"\mathbb{{E}}\,{what},\ n={count}", measured, drawn.exact(getattr(equal, name)), "any t_j"
            )
        yield identity(
            rf"m\,(S-ng^2)=\textstyle\sum_jt_j(g_j-g)^2,\ n={count}",
            drawn.exact(total / count * squared_deviation(count, weighted.sum_of_squares, weighted.squared_norm)),
            drawn.exact(drawn.deviation()),
        )
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
    means = sympy.symbols("g1:5", real=True)
    alike = sum((divisor * g / 4) ** 2 for g in means) / size
    yield identity(
        r"t_j=m:\ S=\textstyle\sum_jg_j^2,\ n=4",
        weighted_sum_of_squares(4, 4 * size, divisor, alike),
        sum(g**2 for g in means),
        "h_j = c g_j / n",
    )
    for count in (2, 3):
        drawn = _Drawn(count)
        weighted = drawn.moments()
        for name in ("covariance_trace", "debiased_squared_norm"):
            estimate = getattr(weighted, name)
            yield identity(
                rf"\mathrm{{Var}}[\text{{{name.replace('_', ' ')}}}],\ n={count}",
                drawn.expectation(estimate**2) - drawn.expectation(estimate) ** 2,
                drawn.exact(moments(_equal_groups(count, total), name).variance),
                "Gaussian moments, any t_j",
            )
        bias = theory.unweighted_bias(count, total, theory.squared_variation(drawn.tokens), gradient**2)
        unweighted = drawn.unweighted()
        yield identity(
            rf"\mathbb{{E}}[\text{{trace without weights}}]=\sigma^2+NV^2G^2/(n-1),\ n={count}",
            drawn.expectation(unweighted.covariance_trace),
            drawn.exact(trace + bias),
        )
        yield identity(
            rf"\mathbb{{E}}[\text{{debiased without weights}}]=G^2-V^2G^2/(n-1),\ n={count}",
            drawn.expectation(unweighted.debiased_squared_norm),
            drawn.exact(gradient**2 - bias / total),
        )
    yield prose(r"\text{summed over the eigenvectors of } \Sigma", "Gaussian coordinates are independent")
