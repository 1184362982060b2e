"""Noise: means and variances by enumeration or quadrature, the tests they meet, batches against slow twins."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.noise import NOISES, TESTS
from simulate.noise.adversarial import Adversarial, expected_progress, low_and_high
from simulate.noise.exact_tests import independent_batch_size, passes, replacement_free_batch_size
from simulate.noise.finite_sum import FiniteSumBatches, draw_batch, estimated_variance
from simulate.noise.laws import Gaussian, Skewed, cantelli, rademacher, rare_spike, two_point
from simulate.objectives import OBJECTIVES
from simulate.optimizers import SGD, AdaGrad, Adam, OptimizerState, RMSProp
from simulate.streams import SeedStreams
from simulate.trajectory import run
from theory.estimators.finite_population import batch_mean_variance

ETAS = (0.05, 0.3, 1.0, 2.0)
TWO_VALUED = (
    *(law(eta) for law in (rademacher, cantelli, rare_spike) for eta in ETAS),
    *(cantelli(eta, low=low) for eta in ETAS for low in (-0.5, 0.1, 3.0)),
    *(rare_spike(eta, probability=p) for eta in ETAS for p in (0.3, 1e-4)),
    two_point(0.1, 0.35),
    two_point(-0.4, 0.01),
)


class FixedNumbers:
    """Streams that hand out given numbers."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def __len__(self):
        return len(self.numbers[0])

    def draw(self, channel, shape, sampler):
        return self.numbers.pop(0)


def source_of(noise, numbers, objective=None, optimizer=None):
    return noise.begin(objective or OBJECTIVES["quadratic"](), optimizer or SGD(0.1), FixedNumbers(*numbers))


def nothing(shape):
    return OptimizerState(np.zeros(shape), np.zeros(shape))


@pytest.mark.parametrize("law", TWO_VALUED, ids=str)
def test_two_valued_laws_have_mean_one_and_variance_eta_squared(law):
    values, probabilities = law.atoms
    mean = math.fsum(p * x for p, x in zip(probabilities, values, strict=True))
    variance = math.fsum(p * (x - 1) ** 2 for p, x in zip(probabilities, values, strict=True))
    assert math.fsum(probabilities) == pytest.approx(1, abs=1e-15)
    assert mean == pytest.approx(1, abs=1e-12)
    assert variance == pytest.approx(law.eta**2, rel=1e-12)


@pytest.mark.parametrize("law", TWO_VALUED, ids=str)
def test_two_valued_laws_take_their_values_with_their_probabilities(law):
    values, (first, _) = law.atoms
    numbers = np.array([0.0, np.nextafter(first, 0), first, np.nextafter(1, 0)])
    assert law.factor(numbers).tolist() == [values[0], values[0], values[1], values[1]]


@pytest.mark.parametrize("eta", ETAS)
def test_continuous_laws_have_mean_one_and_variance_eta_squared(eta):
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    laguerre, laguerre_weights = np.polynomial.laguerre.laggauss(20)
    cases = [
        (Gaussian(eta), nodes, weights / weights.sum()),
        (Skewed(eta, "above"), laguerre, laguerre_weights),
        (Skewed(eta, "below"), laguerre, laguerre_weights),
    ]
    for law, numbers, probability in cases:
        factors = law.factor(numbers)
        assert probability @ factors == pytest.approx(1, abs=1e-12)
        assert probability @ (factors - 1) ** 2 == pytest.approx(eta**2, rel=1e-11)


def test_skewed_tails_lie_on_their_sides():
    nodes, weights = np.polynomial.laguerre.laggauss(20)
    third = {tail: weights @ (Skewed(0.5, tail).factor(nodes) - 1) ** 3 for tail in ("above", "below")}
    assert third["above"] == pytest.approx(2 * 0.5**3)
    assert third["below"] == pytest.approx(-2 * 0.5**3)


@pytest.mark.parametrize("name", ["gaussian", "rademacher", "cantelli", "rare-spike", "skewed"])
def test_samplers_draw_from_the_laws(name):
    """10^5 draws: mean within 5 standard errors, and the variance where the fourth moment allows to see it."""
    noise, streams = NOISES[name](eta=0.4), SeedStreams(range(10), steps=1)
    gradient = np.full((10, 10_000), 2.0)
    draw = noise.begin(OBJECTIVES["quadratic"](), SGD(0.1), streams)(gradient, gradient, 1, nothing((10, 1)))
    error = draw.gradient - gradient
    assert abs(error.mean()) < 5 * 0.8 / math.sqrt(1e5)
    assert (error**2).mean() == pytest.approx(0.64, rel=0.1)
    assert draw.deviations == pytest.approx(0.8)


def test_no_noise_gives_the_gradient():
    gradient = np.array([[1.0, -2.0]])
    draw = source_of(NOISES["none"](), [gradient])(gradient, gradient, 1, nothing((1, 2)))
    assert (draw.gradient == gradient).all()


def test_two_point_noise_reports_its_own_eta():
    noise = NOISES["two-point"](delta=0.1, probability=0.35)
    assert noise.eta == pytest.approx(1.1 * math.sqrt(0.65 / 0.35))


# The adversary


@pytest.mark.parametrize("eta", ETAS)
def test_every_law_of_the_adversary_meets_the_test_exactly(eta):
    menu = Adversarial(eta).menu()
    low, high = low_and_high(eta, menu)
    np.testing.assert_allclose(menu * low + (1 - menu) * high, 1, atol=1e-12)
    np.testing.assert_allclose(menu * (low - 1) ** 2 + (1 - menu) * (high - 1) ** 2, eta**2, rtol=1e-10)


def progress_twin(gradient, first, second, optimizer, law):
    """E[G m / sqrt(v)] of the next step, with scalars."""
    low, below, above = law
    total = 0.0
    for x, p in ((below, low), (above, 1 - low)):
        if isinstance(optimizer, AdaGrad):
            m, v = gradient * x, second + (gradient * x) ** 2
        else:
            m = optimizer.beta1 * first + (1 - optimizer.beta1) * gradient * x
            v = optimizer.beta2 * second + (1 - optimizer.beta2) * (gradient * x) ** 2
        total += p * gradient * (m / math.sqrt(v) if v > 0 else 0.0)
    return total


@pytest.mark.parametrize(
    "optimizer", [Adam(0.1, 0.9, 0.95), RMSProp(0.1, 0.5), AdaGrad(0.1)], ids=lambda o: o.name
)
def test_the_adversary_takes_the_law_of_least_progress(optimizer):
    generator, noise = np.random.default_rng(0), Adversarial(0.5)
    gradient = generator.standard_normal((6, 3))
    state = OptimizerState(0.3 * generator.standard_normal((6, 3)), generator.random((6, 3)) ** 4)
    menu = noise.menu()[:, 0, 0]
    laws = [(low, *map(float, low_and_high(0.5, low))) for low in menu]
    numbers = generator.random((6, 3))
    drawn = source_of(noise, [numbers], optimizer=optimizer)(gradient, gradient, 5, state).gradient
    choices = set()
    for row, column in itertools.product(range(6), range(3)):
        at = (
            float(gradient[row, column]),
            float(state.first_moment[row, column]),
            float(state.second_moment[row, column]),
        )
        progress = [progress_twin(*at, optimizer, law) for law in laws]
        chosen = int(np.argmin(progress))
        choices.add(chosen)
        low, below, above = laws[chosen]
        expected = at[0] * (below if numbers[row, column] < low else above)
        assert drawn[row, column] == pytest.approx(expected, rel=1e-12)
    assert len(choices) > 1


def test_the_adversary_slows_adam_down_more_than_any_fixed_law():
    objective, adam = OBJECTIVES["pseudo-huber"](dimension=5), Adam(0.01, 0.9, 0.95)
    averages = {
        name: run(objective, NOISES[name](eta=0.8), adam, 400, 16).average_l1[-1].mean()
        for name in ("adversarial", "gaussian", "rademacher", "skewed")
    }
    assert averages["adversarial"] > max(averages[name] for name in ("gaussian", "rademacher", "skewed"))


def test_expected_progress_of_plain_signs():
    """Without memory a step is the sign: G * (1 - 2 P(X < 0)) sgn(G)."""
    gradient = np.array([[2.0, -3.0]])
    low = np.array([0.5, 0.02])[:, None, None]
    values = low_and_high(2.0, low)
    progress = expected_progress(gradient, nothing((1, 2)), RMSProp(0.1, 1e-300), values, low)
    wrong = np.where(values[0] < 0, low, 0.0)
    np.testing.assert_allclose(progress, np.abs(gradient) * (1 - 2 * wrong), rtol=1e-12)


# Norm-wise only


@pytest.mark.parametrize("name", ["isotropic", "concentrated"])
def test_norm_wise_noise_meets_test_four_with_equality_and_not_the_coordinate_wise_one(name):
    generator = np.random.default_rng(1)
    gradient, noise = generator.standard_normal((20, 8)), NOISES[name](eta=0.3)
    numbers = np.ones((20, 8 if name == "isotropic" else 1))
    draw = source_of(noise, [numbers])(gradient, gradient, 1, nothing((20, 8)))
    # g - G is linear in the standard normal numbers, so its value at 1 is the deviation
    np.testing.assert_allclose(draw.gradient - gradient, draw.deviations, atol=1e-14)
    variances = draw.deviations**2
    np.testing.assert_allclose(variances.sum(axis=1), 0.09 * (gradient**2).sum(axis=1), rtol=1e-12)
    assert passes("norm-wise", variances, gradient, 0.3).all()
    assert not passes("norm-wise", variances, gradient, 0.299).any()
    assert not passes("coordinate-wise", variances, gradient, 0.3).any()


# The exact tests


def holds_twin(test, variance, gradient, eta, batch=1.0):
    """The definition, coordinate by coordinate, for one seed."""
    variance = variance / batch
    if test == "coordinate-wise":
        return all(v <= eta**2 * g * g for v, g in zip(variance, gradient, strict=True))
    if test == "norm-wise":
        return math.fsum(variance) <= eta**2 * math.fsum(g * g for g in gradient)
    return math.fsum(map(math.sqrt, variance)) <= eta * math.fsum(map(abs, gradient))


@pytest.mark.parametrize("test", TESTS)
def test_independent_batch_is_the_smallest_that_passes(test):
    generator = np.random.default_rng(2)
    variance, gradient = generator.random((200, 4)) * 50, generator.standard_normal((200, 4))
    sizes = independent_batch_size(test, variance, gradient, 0.7)
    assert sizes.max() > sizes.min()
    for row in range(200):
        assert holds_twin(test, variance[row], gradient[row], 0.7, sizes[row])
        if sizes[row] > 1:
            assert not holds_twin(test, variance[row], gradient[row], 0.7, sizes[row] - 1)
    np.testing.assert_array_equal(passes(test, variance, gradient, 0.7), sizes == 1)


def test_no_independent_batch_passes_at_a_vanishing_gradient_coordinate():
    variance, gradient = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    assert independent_batch_size("coordinate-wise", variance, gradient, 0.5).tolist() == [np.inf, 1.0]
    assert independent_batch_size("norm-wise", variance, gradient, 0.5).tolist() == [4.0, 1.0]


@pytest.mark.parametrize("test", TESTS)
def test_replacement_free_batch_is_the_smallest_that_passes(test):
    generator, n = np.random.default_rng(3), 50
    variance, gradient = generator.random((200, 4)) * 5, generator.standard_normal((200, 4))
    sizes = replacement_free_batch_size(test, variance, gradient, 0.7, n)
    for row in range(200):
        passing = [
            b
            for b in range(1, n + 1)
            if holds_twin(test, batch_mean_variance(variance[row], float(b), float(n)), gradient[row], 0.7)
        ]
        assert sizes[row] == passing[0]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e3), st.floats(-1e2, 1e2).filter(lambda g: g == 0 or abs(g) > 1e-100)),
        min_size=1,
        max_size=6,
    ),  # squares that underflow are not the theory's squares
    st.floats(0.05, 2.0),
)
def test_coordinate_wise_implies_the_other_tests(pairs, eta):
    variance, gradient = (np.array([column]) for column in zip(*pairs, strict=True))
    sizes = {test: independent_batch_size(test, variance, gradient, eta)[0] for test in TESTS}
    assert max(sizes["norm-wise"], sizes["l1"]) <= sizes["coordinate-wise"] * (1 + 1e-12)


# Additive noise


@pytest.mark.parametrize("test", TESTS)
def test_additive_noise_takes_the_smallest_batch(test):
    generator = np.random.default_rng(4)
    gradient, sigma = 0.3 * generator.standard_normal((50, 3)), np.array([1.0, 0.5, 2.0])
    noise = NOISES["additive"](eta=0.6, sigma=sigma, test=test)
    draw = source_of(noise, [np.ones((50, 3))])(gradient, gradient, 1, nothing((50, 3)))
    assert not draw.missed.any()
    np.testing.assert_allclose(draw.gradient - gradient, sigma / np.sqrt(draw.batch_size)[:, None], atol=1e-14)
    for row in range(50):
        assert holds_twin(test, draw.deviations[row] ** 2 * (1 - 1e-12), gradient[row], 0.6)
        smaller = draw.batch_size[row] - 1
        assert smaller == 0 or not holds_twin(test, sigma**2, gradient[row], 0.6, smaller)


def test_capped_or_constant_additive_batches_report_misses():
    gradient = np.array([[1.0, 1.0], [0.1, 1.0], [0.0, 1.0]])
    for noise in (NOISES["additive"](eta=0.5, maximum_batch=10), NOISES["additive"](eta=0.5, batch_size=10)):
        draw = source_of(noise, [np.ones((3, 2))])(gradient, gradient, 1, nothing((3, 2)))
        assert draw.missed.tolist() == [False, True, True]
        assert draw.batch_size.max() == 10


# Finite sums


def test_batches_are_uniform_subsets():
    """Over all orders of four keys, every pair is drawn equally often."""
    keys = np.array(list(itertools.permutations((0.1, 0.2, 0.3, 0.4))))
    batches = draw_batch(keys, np.full(len(keys), 2.0))
    assert (batches.sum(axis=1) == 2).all()
    pairs = {tuple(pair) for pair in batches}
    assert len(pairs) == 6
    assert all((batches == np.array(pair)).all(axis=1).sum() == 4 for pair in pairs)


def all_batches(n, b):
    batches = np.zeros((math.comb(n, b), n))
    for row, chosen in enumerate(itertools.combinations(range(n), b)):
        batches[row, list(chosen)] = 1.0
    return batches


@pytest.mark.parametrize("b", [2, 3, 5, 6])
def test_reported_deviations_are_those_of_all_batches(b):
    objective = OBJECTIVES["noisy-regression"](dimension=3, sample_count=6)
    w = objective.start()[None] + 0.3
    gradient, batches = objective.gradient(w), all_batches(6, b)
    points = np.repeat(w, len(batches), axis=0)
    mean, mean_square = objective.batch_moments(points, batches)
    np.testing.assert_allclose(mean.mean(axis=0), gradient[0], atol=1e-14)
    noise = FiniteSumBatches(0.3, variance="constant", minimum_batch=b)
    draw = source_of(noise, [np.arange(6.0)[None]], objective)(w, gradient, 1, nothing(w.shape))
    np.testing.assert_allclose(draw.deviations[0] ** 2, mean.var(axis=0), atol=1e-15)
    estimates = estimated_variance(mean, mean_square, batches.sum(axis=1), 6)
    np.testing.assert_allclose(estimates.mean(axis=0), objective.population_variance(w, gradient)[0], rtol=1e-10)


@pytest.mark.parametrize("test", TESTS)
def test_exact_finite_sums_take_the_smallest_passing_batch_and_never_miss(test):
    objective, generator = OBJECTIVES["noisy-regression"](), np.random.default_rng(6)
    w = 0.3 * generator.standard_normal((40, objective.dimension))
    gradient = objective.gradient(w)
    noise = FiniteSumBatches(0.5, test=test)
    draw = source_of(noise, [generator.random((40, objective.sample_count))], objective)(
        w, gradient, 1, nothing(w.shape)
    )
    population, n = objective.sample_gradients(w).var(axis=1), float(objective.sample_count)
    assert not draw.missed.any()
    for row in range(40):
        size = draw.batch_size[row]
        assert holds_twin(test, batch_mean_variance(population[row], size, n) * (1 - 1e-9), gradient[row], 0.5)
        if size > 1:
            assert not holds_twin(test, batch_mean_variance(population[row], size - 1, n), gradient[row], 0.5)


def test_a_full_batch_has_no_noise():
    objective = OBJECTIVES["regression"]()
    w = objective.start()[None]
    gradient = objective.gradient(w)
    noise = FiniteSumBatches(0.3, variance="constant", minimum_batch=objective.sample_count)
    keys = np.random.default_rng(0).random((1, objective.sample_count))
    draw = source_of(noise, [keys], objective)(w, gradient, 1, nothing(w.shape))
    np.testing.assert_allclose(draw.gradient, gradient, atol=1e-15)
    assert (draw.deviations == 0).all()
    assert not draw.missed.any()


def test_constant_batches_report_misses_of_the_exact_test():
    objective = OBJECTIVES["noisy-regression"]()
    w = objective.start()[None]
    gradient = objective.gradient(w)
    keys = np.random.default_rng(0).random((1, objective.sample_count))
    for size, missed in ((2, True), (objective.sample_count, False)):
        noise = FiniteSumBatches(0.3, variance="constant", minimum_batch=size)
        draw = source_of(noise, [keys], objective)(w, gradient, 1, nothing(w.shape))
        assert draw.missed.tolist() == [missed]


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("test", TESTS)
def test_estimated_batches_follow_the_batch_before(test, monotone):
    objective, generator = OBJECTIVES["noisy-regression"](), np.random.default_rng(7)
    n, size = objective.sample_count, 4
    all_keys = [generator.random((1, n)) for _ in range(6)]
    noise = FiniteSumBatches(0.8, test=test, variance="estimated", minimum_batch=4, monotone=monotone)
    source = source_of(noise, list(all_keys), objective)
    w, sizes = np.zeros((1, objective.dimension)), []
    for step, keys in enumerate(all_keys, start=1):
        w = w + 0.1
        gradient = objective.gradient(w)
        draw = source(w, gradient, step, nothing(w.shape))
        assert draw.batch_size.tolist() == [size]
        samples = objective.sample_gradients(w)[0]
        chosen = samples[np.argsort(keys[0])[:size]]
        np.testing.assert_allclose(draw.gradient[0], chosen.mean(axis=0), atol=1e-13)
        exact = batch_mean_variance(samples.var(axis=0), float(size), float(n))
        assert draw.missed[0] == (not holds_twin(test, exact, gradient[0], 0.8))
        sigma2 = chosen.var(axis=0, ddof=1) * (n - 1) / n
        demanded = int(replacement_free_batch_size(test, sigma2[None], chosen.mean(axis=0)[None], 0.8, n)[0])
        size = max(demanded, 4, size if monotone else 0)
        sizes.append(size)
    assert max(sizes) > 4


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("gaussian", {"eta": -0.1}, "eta must be 0 or more"),
        ("cantelli", {"eta": 0.1, "low": -1.0}, "low must be above -1"),
        ("rare-spike", {"eta": 0.1, "probability": 1.0}, r"probability must be in \(0, 1\)"),
        ("two-point", {"delta": 0.1, "probability": 0.0}, r"probability must be in \(0, 1\)"),
        ("skewed", {"eta": 0.1, "tail": "left"}, "tail must be"),
        ("adversarial", {"eta": 0.0}, "eta must be positive"),
        ("adversarial", {"eta": 0.1, "probabilities": (0.0,)}, r"probabilities must be in \(0, 1\)"),
        ("additive", {"eta": 0.0}, "eta must be positive"),
        ("additive", {"eta": 0.1, "sigma": -1.0}, "sigma must be"),
        ("additive", {"eta": 0.1, "test": "norm"}, "unknown test 'norm'; known: coordinate-wise"),
        ("finite-sum", {"eta": 0.0}, "eta must be positive"),
        ("finite-sum", {"eta": 0.1, "variance": "guessed"}, "variance must be"),
        ("finite-sum", {"eta": 0.1, "variance": "estimated", "minimum_batch": 1}, "at least 2, to estimate"),
        (
            "finite-sum",
            {"eta": 0.1, "variance": "constant", "minimum_batch": 2.5},
            "integer of at least 1, not",
        ),
        ("additive", {"eta": 0.1, "batch_size": 0}, "batch_size must be 1 or more"),
        ("additive", {"eta": 0.1, "maximum_batch": -1.0}, "maximum_batch must be 1 or more"),
    ],
)
def test_bad_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        NOISES[name](**settings)


def test_noise_that_does_not_fit_the_objective_is_refused():
    streams = SeedStreams([0], steps=1)
    with pytest.raises(ValueError, match="needs a finite sum, which quadratic is not"):
        FiniteSumBatches(0.1).begin(OBJECTIVES["quadratic"](), SGD(0.1), streams)
    with pytest.raises(ValueError, match="exceeds the 128 functions"):
        FiniteSumBatches(0.1, minimum_batch=200).begin(OBJECTIVES["regression"](), SGD(0.1), streams)
    with pytest.raises(ValueError, match="unknown noise 'laplace'; known: additive, adversarial"):
        NOISES["laplace"]
