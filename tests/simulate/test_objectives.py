"""Objectives: gradients against differences and autograd, L by search for a violation, infima, finite sums."""

import numpy as np
import pytest
import torch

from simulate.objectives import OBJECTIVES, FiniteSum, Network, NoisyRegression, Objective, Quadratic, Rastrigin
from simulate.objectives.robust_loss import LARGEST_CURVATURE, LARGEST_SLOPE, loss_derivative

ALL = sorted(OBJECTIVES)
SUMS = [name for name in ALL if isinstance(OBJECTIVES[name](), FiniteSum)]
TIGHT = ["directional-huber", "geman-mcclure", "pseudo-huber", "quadratic", "rastrigin", "xy-chain"]


def spread_points(objective: Objective, count: int, seed: int) -> np.ndarray:
    """Points near stationary ones, around the start and far away."""
    generator = np.random.default_rng(seed)
    scales = np.geomspace(1e-3, 30.0, count)[:, None]
    return scales * generator.standard_normal((count, objective.dimension)) + 0.5 * objective.start() * (
        scales < 3
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dimension", [5, 10])
def test_gradient_matches_central_differences(name, dimension):
    objective = OBJECTIVES[name](dimension=dimension)
    w, h = spread_points(objective, 40, 1), 1e-5
    shifts = h * np.eye(dimension)
    differences = np.stack([objective.value(w + e) - objective.value(w - e) for e in shifts], axis=-1) / (2 * h)
    tolerance = 1e-9 * (1 + np.abs(objective.value(w)))[:, None] + objective.smoothness * 1e-9
    assert (np.abs(objective.gradient(w) - differences) <= tolerance).all()


def violation_ratio(objective: Objective, seed: int) -> float:
    """The largest ||grad L(x) - grad L(y)|| / (L ||x - y||) found by sampling, then by power iteration."""
    generator = np.random.default_rng(seed)
    x = np.concatenate([spread_points(objective, 400, seed), np.zeros((1, objective.dimension))])
    best = 0.0
    for distance in (1e-4, 1e-2, 1.0, 10.0):
        y = x + distance * generator.standard_normal(x.shape)
        change = objective.gradient(x) - objective.gradient(y)
        best = max(best, (np.linalg.norm(change, axis=1) / np.linalg.norm(x - y, axis=1)).max())
    direction, h = generator.standard_normal(x.shape), 1e-4
    for _ in range(60):
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        direction = (objective.gradient(x + h * direction) - objective.gradient(x - h * direction)) / (2 * h)
        norms = np.linalg.norm(direction, axis=1, keepdims=True)
        best = max(best, float(norms.max()))
        direction = np.where(norms > 1e-12, direction, generator.standard_normal(x.shape))
    return best / objective.smoothness


@pytest.mark.parametrize("name", ALL)
def test_no_pair_of_points_violates_smoothness(name):
    assert max(violation_ratio(OBJECTIVES[name](), seed) for seed in (0, 1)) <= 1 + 1e-6


@pytest.mark.parametrize("name", TIGHT)
def test_search_would_find_a_smoothness_that_is_too_small(name):
    """Negative control: the same search violates a constant 5% smaller (XY chain: 4 + mu is the limit of d)."""
    objective = OBJECTIVES[name](dimension=40) if name == "xy-chain" else OBJECTIVES[name]()
    assert violation_ratio(objective, 0) > 0.95


@pytest.mark.parametrize("name", SUMS)
def test_smoothness_of_finite_sums_is_not_vacuous(name):
    assert violation_ratio(OBJECTIVES[name](), 0) > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_network_smoothness_on_other_data_and_shapes(seed):
    for dimension, inputs in ((2, 1), (12, 2), (20, 4), (7, 6)):
        network = Network(dimension=dimension, inputs=inputs, sample_count=16, data_seed=seed)
        assert violation_ratio(network, seed) <= 1 + 1e-6


def test_network_proof_factors_are_at_most_one():
    p, q = np.meshgrid(*2 * [np.linspace(-1, 1, 401)])
    first = ((1 - p**2) * q) ** 2 + (p * (1 - q**2)) ** 2
    assert first.max() <= 1 + 1e-12
    corner = (1 - p**2) * (1 - q**2)
    matrices = np.stack(
        [np.stack([-2 * p * q * (1 - p**2), corner], -1), np.stack([corner, -2 * p * q * (1 - q**2)], -1)], -2
    )
    largest = np.abs(np.linalg.eigvalsh(matrices)).max()
    assert 1 - 1e-12 <= largest <= 1 + 1e-12


def test_robust_loss_constants():
    t = np.linspace(-20, 20, 400001)
    assert np.abs(loss_derivative(t)).max() == pytest.approx(LARGEST_SLOPE, rel=1e-8)
    curvature = np.diff(loss_derivative(t)) / np.diff(t)
    assert curvature.max() == pytest.approx(LARGEST_CURVATURE, rel=1e-6)
    assert curvature.min() == pytest.approx(-0.5, rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_infimum_is_a_lower_bound(name):
    objective = OBJECTIVES[name]()
    assert (objective.value(spread_points(objective, 500, 3)) >= objective.infimum).all()


@pytest.mark.parametrize("name", [name for name in ALL if name != "noisy-regression"])
def test_infimum_is_attained(name):
    objective = OBJECTIVES[name]()
    minimiser = np.zeros((1, objective.dimension))
    if name in ("network", "regression"):
        generator = np.random.default_rng(objective.data_seed)
        if name == "network":
            generator.standard_normal((objective.sample_count, objective.inputs))
            minimiser = 2.0 * generator.standard_normal((1, objective.dimension))
        else:
            inputs = objective._inputs
            minimiser = np.linalg.lstsq(inputs, objective._labels, rcond=None)[0][None]
    assert objective.value(minimiser)[0] == pytest.approx(objective.infimum, abs=1e-24)
    assert np.abs(objective.gradient(minimiser)).max() < 1e-12


@pytest.mark.parametrize("name", ALL)
def test_start_is_deterministic_and_not_stationary(name):
    first, second = OBJECTIVES[name](), OBJECTIVES[name]()
    assert first.start().shape == (first.dimension,)
    assert (first.start() == second.start()).all()
    assert np.abs(first.gradient(first.start()[None])).sum() > 0.01


def test_rastrigin_has_local_minima_beside_the_global_one():
    descended = OBJECTIVES["rastrigin"]().start()[None]
    objective = Rastrigin()
    for _ in range(2000):
        descended = descended - objective.gradient(descended) / objective.smoothness
    assert np.abs(objective.gradient(descended)).max() < 1e-10
    assert objective.value(descended)[0] > 1


def torch_samples(name: str, objective, w: np.ndarray) -> np.ndarray:
    """Per-sample gradients by autograd from an independent formula, [n, d]."""
    x, y = torch.tensor(objective._inputs), torch.tensor(objective._labels)

    def losses(flat: torch.Tensor) -> torch.Tensor:
        if name == "network":
            h = objective.hidden
            output = torch.tanh(x @ flat[h:].reshape(h, -1).T) @ torch.tanh(flat[:h]) / h**0.5
        else:
            output = x @ flat
        residual = output - y
        return residual**2 / (1 + residual**2)

    return torch.autograd.functional.jacobian(losses, torch.tensor(w)).numpy()


@pytest.mark.parametrize("name", SUMS)
class TestFiniteSums:
    def test_sample_gradients_match_autograd(self, name):
        objective = OBJECTIVES[name]()
        w = spread_points(objective, 5, 2)
        ours = objective.sample_gradients(w)
        assert ours.shape == (5, objective.sample_count, objective.dimension)
        for row in range(5):
            np.testing.assert_allclose(ours[row], torch_samples(name, objective, w[row]), atol=1e-12)

    def test_mean_of_samples_is_the_gradient(self, name):
        objective = OBJECTIVES[name]()
        w = spread_points(objective, 20, 2)
        np.testing.assert_allclose(objective.sample_gradients(w).mean(axis=1), objective.gradient(w), atol=1e-13)

    def test_batch_moments_and_population_variance_match_enumeration(self, name):
        objective, generator = OBJECTIVES[name](), np.random.default_rng(5)
        w = spread_points(objective, 20, 2)
        samples = objective.sample_gradients(w)
        batch = (generator.random((20, objective.sample_count)) < 0.3).astype(float)
        batch[:, 0] = 1.0
        mean, mean_square = objective.batch_moments(w, batch)
        for row in range(20):
            chosen = samples[row][batch[row] == 1]
            np.testing.assert_allclose(mean[row], chosen.mean(axis=0), atol=1e-13)
            np.testing.assert_allclose(mean_square[row], (chosen**2).mean(axis=0), atol=1e-13)
        variance = objective.population_variance(w, objective.gradient(w))
        np.testing.assert_allclose(variance, samples.var(axis=1), rtol=1e-9, atol=1e-16)


def test_noise_vanishes_at_the_realizable_minimum_and_not_at_the_noisy_one():
    realizable, noisy = OBJECTIVES["regression"](), OBJECTIVES["noisy-regression"]()
    minimiser = np.linalg.lstsq(realizable._inputs, realizable._labels, rcond=None)[0][None]
    assert realizable.population_variance(minimiser, realizable.gradient(minimiser)).max() < 1e-20
    w = noisy.start()[None]
    for _ in range(3000):
        w = w - noisy.gradient(w) / noisy.smoothness
    assert np.abs(noisy.gradient(w)).max() < 1e-8
    assert noisy.population_variance(w, noisy.gradient(w)).min() > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_rows_do_not_depend_on_other_rows(name):
    objective = OBJECTIVES[name]()
    w = spread_points(objective, 33, 4)
    values, gradients = objective.value(w), objective.gradient(w)
    for row in range(33):
        assert objective.value(w[row : row + 1])[0] == values[row]
        assert (objective.gradient(w[row : row + 1])[0] == gradients[row]).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("geman-mcclure", {"dimension": 0}, "dimension must be an integer of at least 1"),
        ("xy-chain", {"dimension": 1}, "at least 2"),
        ("pseudo-huber", {"width": 0.0}, "width must be positive"),
        ("network", {"dimension": 9}, "multiple of inputs"),
        ("network", {"sample_count": 1}, "sample_count"),
        ("regression", {"sample_count": 1}, "sample_count"),
        ("noisy-regression", {"label_noise": 0.0}, "label_noise must be positive"),
        ("quadratic", {"condition": 0.5}, "condition must be at least 1"),
        ("geman-mcclure", {"spread": 0.5}, "spread must be at least 1"),
    ],
)
def test_bad_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        OBJECTIVES[name](**settings)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown objective 'parabola'; known: .*quadratic.*xy-chain"):
        OBJECTIVES["parabola"]


def test_settings_reach_the_constants():
    assert Quadratic(largest=3.0).smoothness == 3.0
    assert OBJECTIVES["pseudo-huber"](slope=2.0, width=4.0).smoothness == 0.5
    assert OBJECTIVES["pseudo-huber"](dimension=1, initial=10.0).start().tolist() == [10.0]
    assert NoisyRegression(data_seed=1).smoothness != NoisyRegression(data_seed=2).smoothness
