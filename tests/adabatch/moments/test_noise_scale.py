"""The noise scales of coordinates, against hand-made numbers, slow loops and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.noise_scale import (
    l1_noise_scale,
    noise_covariance,
    noise_scale,
    nuclear_noise_scale,
    weighted_noise_scale,
    weighted_sums,
)

coordinates = st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 6), st.integers(1, 5)), min_size=1, max_size=8)


def arrays(drawn: list[tuple[float, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """G_i^2, V_i and multiplicities from exponents."""
    squares, variances, counts = np.array(drawn).T
    return np.exp(squares), np.exp(variances), counts


def weighted_by_hand(squares: np.ndarray, variances: np.ndarray) -> float:
    """The weighted harmonic mean, one coordinate after the other."""
    weights = inverse = 0.0
    for square, variance in zip(squares, variances, strict=True):
        weights += square / math.sqrt(variance)
        inverse += square / math.sqrt(variance) * square / variance
    return weights / inverse


@given(coordinates)
@settings(max_examples=60, deadline=None)
def test_multiplicities_stand_for_repeated_coordinates(drawn) -> None:
    squares, variances, counts = arrays(drawn)
    repeated = [np.repeat(values, counts.astype(int)) for values in (squares, variances)]
    for scale in (l1_noise_scale, weighted_noise_scale):
        assert scale(squares, variances, counts) == pytest.approx(scale(*repeated), rel=1e-12)
    assert weighted_noise_scale(*repeated) == pytest.approx(weighted_by_hand(*repeated), rel=1e-12)


@given(coordinates)
@settings(max_examples=60, deadline=None)
def test_the_weighted_scale_lies_between_the_smallest_ratio_and_the_l1_scale(drawn) -> None:
    squares, variances, counts = arrays(drawn)
    weighted = weighted_noise_scale(squares, variances, counts)
    assert (variances / squares).min() * (1 - 1e-12) <= weighted
    assert weighted <= l1_noise_scale(squares, variances, counts) * (1 + 1e-12)


def test_the_trace_scale_has_no_order_with_the_weighted_one() -> None:
    """Noise without gradient raises only the trace; small clean coordinates can leave it 3% below."""
    junk = np.array([1.0, 0.0]), np.array([10.0, 1e6])
    clean = np.array([1.0, 0.04]), np.array([3.0, 0.2])
    assert noise_scale(junk[1].sum(), junk[0].sum()) > 1e5 * weighted_noise_scale(*junk) * 0.99
    assert noise_scale(clean[1].sum(), clean[0].sum()) == pytest.approx(3.2 / 1.04)
    assert weighted_noise_scale(*clean) == pytest.approx(weighted_by_hand(*clean))
    assert weighted_noise_scale(*clean) > 1.02 * 3.2 / 1.04


def test_a_gradient_that_vanishes_has_an_infinite_scale() -> None:
    none, noise = np.zeros(2), np.ones(2)
    assert l1_noise_scale(none, noise) == weighted_noise_scale(none, noise) == math.inf


def test_shapes_broadcast_over_the_leading_axes() -> None:
    squares, variances = np.ones((3, 1, 4)), np.full((2, 4), 5.0)
    assert np.allclose(weighted_noise_scale(squares, variances), np.full((3, 2), 5.0))
    assert np.allclose(l1_noise_scale(squares, variances), np.full((3, 2), 5.0))


def test_tensors_give_what_arrays_give() -> None:
    torch = pytest.importorskip("torch")
    squares, variances = np.array([1.0, 2.0, 0.0]), np.array([3.0, 1.0, 2.0])
    for scale in (l1_noise_scale, weighted_noise_scale):
        tensor = scale(torch.tensor(squares), torch.tensor(variances))
        assert float(tensor) == pytest.approx(scale(squares, variances), rel=1e-12)


def groups_drawn(gradient: np.ndarray, variances: np.ndarray, n: int, m: float, repeats: int) -> list[np.ndarray]:
    """Sum of squares and mean of n Gaussian groups of m samples, [repeats, d] each: both are independent."""
    draw, shape = np.random.default_rng(5), (repeats, len(gradient))
    means = gradient + draw.normal(size=shape) * np.sqrt(variances / m / n)
    return [n * means**2 + variances / m * draw.chisquare(n - 1, shape), means]


@pytest.mark.parametrize("n", [12, 16])
def test_weighted_sums_are_unbiased_where_noise_dominates(n: int) -> None:
    """d = 200, b = 16: ||g||^2 is mostly noise, and a plug-in would give b / 3."""
    m, repeats = 16 / n, 4000
    gradient, variances = np.linspace(0, 0.6, 200), np.geomspace(0.5, 8, 200)
    squares, means = groups_drawn(gradient, variances, n, m, repeats)
    descent, lost = weighted_sums(n, m, squares, means)
    expected = (gradient**2 / np.sqrt(variances)).sum(), (gradient**4 / variances**1.5).sum()
    for measured, exact in zip((descent, lost), expected, strict=True):
        assert abs(measured.mean() - exact) < 4 * measured.std() / math.sqrt(repeats)
    true = weighted_noise_scale(gradient**2, variances)
    assert descent.mean() / lost.mean() == pytest.approx(true, rel=0.15)
    plug_in = (means**2 / np.sqrt(variances)).sum(1).mean() / (means**4 / variances**1.5).sum(1).mean()
    assert plug_in < 0.4 * true  # the negative control: the bias is there and far larger than the slack


def test_weighted_sums_need_five_groups_and_survive_coordinates_without_noise() -> None:
    with pytest.raises(HypothesisError, match="at least 5 groups"):
        weighted_sums(4, 1, np.ones(2), np.ones(2))
    alike = weighted_sums(8, 1, np.array([8.0, 0.0]), np.array([1.0, 0.0]))  # all groups 1, and all 0
    assert all(map(math.isfinite, alike))
    assert min(alike) > 0


def test_weighted_sums_of_tensors_are_those_of_arrays() -> None:
    torch = pytest.importorskip("torch")
    squares, means = groups_drawn(np.array([1.0, 0.1, 0.0]), np.ones(3), 8, 2, 1)
    tensors = weighted_sums(8, 2, torch.tensor(squares[0]), torch.tensor(means[0]))
    assert [float(value) for value in tensors] == pytest.approx(list(weighted_sums(8, 2, squares[0], means[0])))


def rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


@given(st.floats(0, 3), st.floats(0, 3), st.floats(0, 3))
@settings(max_examples=30, deadline=None)
def test_the_nuclear_scale_is_the_l1_scale_of_singular_values_whatever_their_vectors(left, right, other) -> None:
    """Singular values 1 and 2, eigenvalues 9 and 36: ((3 + 6) / (1 + 2))^2; of two matrices, their sums."""
    torch = pytest.importorskip("torch")
    gradient = rotation(left) @ np.diag([1.0, 2.0]) @ rotation(right)
    covariance = rotation(other) @ np.diag([9.0, 36.0]) @ rotation(other).T
    assert nuclear_noise_scale([gradient], [covariance]) == pytest.approx(9.0, rel=1e-6)
    twice = nuclear_noise_scale([gradient, np.diag([4.0, 0.0])], [covariance, np.diag([0.0, 25.0])])
    assert twice == pytest.approx(((9.0 + 5.0) / (3.0 + 4.0)) ** 2, rel=1e-6)
    of_tensors = nuclear_noise_scale([torch.tensor(gradient)], [torch.tensor(covariance)])
    assert float(of_tensors) == pytest.approx(9.0, rel=1e-6)


def test_the_noise_of_a_matrix_is_bounded_by_its_covariance() -> None:
    """E||X||_* <= tr (E X X^T)^(1/2) for drawn noise; the covariance from groups is unbiased."""
    generator = np.random.default_rng(8)
    noise = np.einsum("ij,njk->nik", np.diag([1.0, 3.0, 0.2]), generator.normal(size=(40_000, 3, 5)))
    mean = noise.mean(0)
    covariance = noise_covariance(len(noise), 1, np.einsum("nij,nkj->ik", noise, noise), mean)
    np.testing.assert_allclose(covariance, 5 * np.diag([1.0, 9.0, 0.04]), atol=0.3)
    norms = np.linalg.svd(noise, compute_uv=False).sum(1)
    bound = math.sqrt(5) * 4.2
    assert 0.9 * bound < norms.mean() < bound
    groups = noise.reshape(-1, 4, 3, 5).mean(1)  # means of four samples: m makes up for their smaller noise
    grouped = noise_covariance(len(groups), 4, np.einsum("nij,nkj->ik", groups, groups), groups.mean(0))
    np.testing.assert_allclose(grouped, covariance, atol=0.5)
    with pytest.raises(HypothesisError):
        noise_covariance(1, 4, mean @ mean.T, mean)
