"""What the measured moments mean: exact expectations over small populations, and how many digits they keep.

Everything goes through the trainer's own hooks: the loss is linear in the parameters, so that a sample's gradient
is the sample itself.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.statistic import norm_test_statistic
from adabatch.statistics import GradientStatistics, per_sample_moments
from theory.estimators.expectations import GaussianGroups, expected_moments
from theory.estimators.finite_population import batch_mean_variance, sample_variance_factor

ESTIMATES = ("covariance_trace", "paper_variance", "squared_norm", "debiased_squared_norm")


def attached(dimension, dtype=torch.float64):
    model = nn.Linear(dimension, 1, bias=False).to(dtype)
    return model, GradientStatistics(model)


def loss_of(model, samples):
    return model(samples).mean()


def measured(model, statistics, groups):
    """The moments of a step on these groups, [n, m, d]."""
    model.zero_grad()
    for samples in groups:
        (loss_of(model, samples) / len(groups)).backward()
        statistics.end_microbatch(len(samples), loss_scale=1.0)  # told, so that nothing is looked for
    return statistics.finish()


def averages(population, n, m, draws):
    """The mean of each estimate over all draws, each a sequence of n m indices."""
    model, statistics = attached(population.shape[1])
    totals, count = dict.fromkeys(ESTIMATES, 0.0), 0
    for draw in draws:
        moments = measured(model, statistics, population[list(draw)].reshape(n, m, -1))
        count += 1
        for name in ESTIMATES:
            totals[name] += getattr(moments, name)
    return {name: total / count for name, total in totals.items()}


def populations(size):
    vectors = st.lists(st.integers(-9, 9), min_size=2, max_size=2)
    return st.lists(vectors, min_size=size, max_size=size).map(
        lambda rows: torch.tensor(rows, dtype=torch.float64)
    )


layouts = st.sampled_from([(2, 1), (3, 1), (2, 2), (4, 1)])


def close(value, expected, scale):
    assert value == pytest.approx(expected, rel=1e-10, abs=1e-10 * max(scale, 1.0))


@settings(max_examples=15, deadline=None)
@given(population=populations(3), layout=layouts)
def test_expectations_with_replacement(population, layout):
    (n, m), b = layout, math.prod(layout)
    mean = averages(population, n, m, itertools.product(range(3), repeat=b))
    gradient = population.mean(0)
    squared, trace = float(gradient.square().sum()), float((population - gradient).square().sum()) / 3
    close(mean["covariance_trace"], trace, trace)
    close(mean["paper_variance"], trace * (n - 1) / b, trace)
    close(mean["squared_norm"], squared + trace / b, trace + squared)
    close(mean["debiased_squared_norm"], squared, trace + squared)
    # The closed forms of theory are those of the groups that were measured.
    expected = expected_moments(GaussianGroups(n, m, squared, trace, 0.0, 0.0))
    for name in ESTIMATES:
        close(mean[name], getattr(expected, name), trace + squared)


@settings(max_examples=15, deadline=None)
@given(population=populations(5), layout=layouts)
def test_expectations_without_replacement(population, layout):
    """The trace is unbiased for the N - 1 variance; the plug-in's bias shrinks by (N - b) / N."""
    (n, m), b, N = layout, math.prod(layout), 5
    mean = averages(population, n, m, itertools.permutations(range(N), b))
    gradient = population.mean(0)
    squared, trace = float(gradient.square().sum()), float((population - gradient).square().sum()) / (N - 1)
    close(mean["covariance_trace"], trace, trace)
    close(mean["paper_variance"], trace * (n - 1) / b, trace)
    variance = trace / b * sample_variance_factor(b, N)
    close(variance, batch_mean_variance(trace * (N - 1) / N, b, N), trace)
    close(mean["squared_norm"], squared + variance, trace + squared)
    close(mean["debiased_squared_norm"], squared - trace / N, trace + squared)


@settings(max_examples=10, deadline=None)
@given(samples=populations(6), layout=st.sampled_from([(2, 3), (3, 2), (6, 1)]))
def test_permuting_samples_between_groups_leaves_the_mean_and_the_expected_trace(samples, layout):
    """Over all ways to divide a batch into groups, the trace is on average the per-sample variance of Eq. (3)."""
    n, m = layout
    model, statistics = attached(2)
    exact = per_sample_moments(model, loss_of, samples)
    traces = []
    for order in divisions(n, m):
        moments = measured(model, statistics, samples[order].reshape(n, m, -1))
        assert moments.squared_norm == pytest.approx(exact.squared_norm, rel=1e-10, abs=1e-10)
        traces.append(moments.covariance_trace)
    close(sum(traces) / len(traces), exact.covariance_trace, 1.0)


def divisions(n, m):
    """Every order of range(n m) whose groups ascend within, and in their first members: each division once."""
    for order in itertools.permutations(range(n * m)):
        groups = [order[start : start + m] for start in range(0, n * m, m)]
        if all(tuple(sorted(group)) == group for group in groups) and sorted(groups) == groups:
            yield list(order)


def test_divisions_are_all_divisions():
    assert len(list(divisions(2, 3))) == math.comb(6, 3) / 2
    assert len(list(divisions(6, 1))) == 1


# ----------------------------------------------------------------------------------------------------
# Cancellation.


def alike(n, dimension, dtype, seed, correlation=1 - 1e-7):
    """n groups of one sample with this correlation: the moments, and the trace by its definition."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(dimension, generator=generator, dtype=torch.float64)
    own = torch.randn(n, dimension, generator=generator, dtype=torch.float64)
    groups = (shared + math.sqrt(1 / correlation - 1) * own).to(dtype)
    moments = measured(*attached(dimension, dtype), groups[:, None])
    exact = groups.double()
    trace = float((exact - exact.mean(0)).square().sum()) / (n - 1)
    return moments, trace


DIMENSIONS = (10, 1000, 100_000)
SEEDS = range(5)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_nearly_equal_groups_in_fp64_keep_three_digits_and_say_so(dimension):
    for seed in SEEDS:
        moments, trace = alike(5, dimension, torch.float64, seed)
        assert abs(moments.covariance_trace / trace - 1) <= moments.trace_precision < 1e-3


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_nearly_equal_groups_in_fp32_lose_them_and_say_so(dimension):
    errors = []
    for seed in SEEDS:
        moments, trace = alike(5, dimension, torch.float32, seed)
        errors.append(abs(moments.covariance_trace / trace - 1))
        assert errors[-1] <= moments.trace_precision
        assert moments.trace_precision > 1  # not one digit is promised
    assert max(errors) > 1e-3  # and rightly so


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 9),
    dimension=st.sampled_from((3, 200, 40_000)),
    dtype=st.sampled_from((torch.float32, torch.float64, torch.bfloat16)),
    distance=st.integers(0, 7),
    seed=st.integers(0, 2**16),
)
def test_the_precision_that_is_said_is_kept(n, dimension, dtype, distance, seed):
    moments, trace = alike(n, dimension, dtype, seed, 1 - 10.0**-distance if distance else 1e-6)
    if moments.covariance_trace > 0:
        assert abs(moments.covariance_trace - trace) <= moments.trace_precision * moments.covariance_trace
    else:
        assert trace <= moments.rounding * moments.sum_of_squares / (n - 1)


def test_where_the_test_decides_the_trace_has_its_digits():
    """Where T = b the precision is rho (1 + 1 / ((n - 1) eta^2)), 5e-5 here: four digits."""
    rho, eta, n, m = 1e-5, 0.2, 8, 4
    # S - n g2 = eta^2 (n - 1) g2 makes T = b.
    moments = GradientMoments(n, m, n + eta**2 * n * (n - 1), 1.0, rounding=rho)
    assert norm_test_statistic(moments, eta) == pytest.approx(n * m)
    assert moments.trace_precision == pytest.approx(rho * (1 + 1 / (eta**2 * (n - 1))))
