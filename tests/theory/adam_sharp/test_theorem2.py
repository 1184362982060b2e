import doctest
import itertools
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import Given, changed, parameters
from theory import guarantee
from theory.adam.constants import preconditioner_growth, preconditioner_start
from theory.adam_sharp import constants, sharpness_example, theorem2
from theory.adam_sharp import parameters as choices
from theory.adam_sharp.constants import (
    denominator_growth,
    denominator_start,
    freezing_factor,
    frozen_second_moment,
    mixture,
    one_minus_power,
    swap_growth,
)
from theory.adam_sharp.parameters import (
    best_bound,
    best_parameters,
    best_step_size,
    best_zeta,
    largest_extra_steps,
)
from theory.adam_sharp.theorem2 import (
    FreeParameters,
    bound_at,
    freezing_threshold,
    largest_admissible_eta,
    log_growth_bound,
)

PROBLEM = parameters(
    smoothness=2.0,
    dimension=10,
    initial_gap=5.0,
    steps=10_000,
    step_size=1e-3,
    beta1=0.9,
    beta2=0.95,
    eta=0.4,
    sum_sqrt_v0=0.3,
    epsilon=1e-8,
)
PARAMETERS = FreeParameters(zeta=0.1, window=30, extra_steps=25)


def bound_by_mpmath(problem: Given, free: FreeParameters) -> mpmath.mpf:
    """The statement of Theorem 2, written once more from scratch, at 50 digits."""
    mp = mpmath.mp.clone()
    mp.dps = 50
    f = {k: None if v is None else mp.mpf(v) for k, v in (vars(problem[0]) | vars(problem[1])).items()}
    zeta, M, N = mp.mpf(free.zeta), mp.mpf(free.window), mp.mpf(free.extra_steps)
    b1, b2, eta, d, K, alpha, L = (
        f[k] for k in ("beta1", "beta2", "eta", "dimension", "steps", "step_size", "smoothness")
    )
    q = mp.sqrt(b2)
    r, c, tau, horizon = b1 / q, 1 - b2, mp.sqrt(1 + eta**2), K + N
    lam = tau * (1 + zeta) / (1 - zeta) if b1 > 0 else mp.mpf(1)
    R = lam / (1 - r * eta**2) if b1 > 0 else mp.mpf(1)
    kappa, z, omega, x = (1 - R * eta**2) / (1 + eta**2), 1 + 1 / zeta, 1 - b1 ** (N + 1), b2 ** (M / 2)
    c_m = (1 - b1) / mp.sqrt(c * (1 - r**2))
    H = horizon * d / c
    if f["log_growth"] is not None:
        H = min(H, (horizon * d * mp.log(1 / b2) + f["log_growth"]) / c)
    first = (1 - b1) ** 2 / c * (1 / (2 * (1 - r**2)) + z * r / ((1 - r) ** 2 * mp.sqrt(1 - r**2)))
    E = min(horizon * d * first, ((1 - b1) / (1 - r)) ** 2 * (mp.mpf(1) / 2 + z * r / (1 - r)) * H)
    Q = lam / kappa * (f["initial_gap"] / alpha + alpha * L * E)
    s = min(c_m, (1 - b1) / (1 - r) * mp.sqrt(H / (K * d)))
    drift = alpha * L * d * tau * (M - 1) * mp.sqrt(1 - x**2) * s
    gradient = f["initial_gradient_norm"]
    gradient = mp.sqrt(2 * d * L * f["initial_gap"]) if gradient is None else gradient
    B1 = mp.sqrt(c) + tau * q * mp.sqrt((1 + x) / (1 - x))
    A1 = q * (f["sum_sqrt_v0"] / (1 - q) + (tau * (M - 1) * mp.sqrt(1 - x**2) * gradient + K * drift) / (1 - x))
    p1, p2 = (1 - b1) / (1 - b1 * q), mp.sqrt(b1 * c / (1 - b1 * b2))
    B2, A2 = (p1 * B1 + p2) / omega**2, (p1 * A1 + K * d * f["epsilon"]) / omega**2
    return (B2 * Q + mp.sqrt(B2**2 * Q**2 + 4 * A2 * Q)) / 2


@st.composite
def problems(draw, extreme: bool = True) -> Given:
    gap = 10 ** draw(st.floats(-8 if extreme else -3, -0.02))
    beta2 = 1 - gap
    beta1 = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.9999])) * np.sqrt(beta2)
    eta = draw(st.floats(0.0, 0.95)) * largest_admissible_eta(beta1, beta2)
    return parameters(
        smoothness=10 ** draw(st.floats(-3, 3)),
        dimension=draw(st.sampled_from([1, 10, 10**9])),
        initial_gap=10 ** draw(st.floats(-3, 3)),
        steps=draw(st.sampled_from([1, 100, 10**6, 10**15 if extreme else 10**9])),
        step_size=10 ** draw(st.floats(-9, 0)),
        beta1=float(beta1),
        beta2=beta2,
        eta=float(eta),
        sum_sqrt_v0=draw(st.sampled_from([0.0, 1e-6, 10.0])),
        epsilon=draw(st.sampled_from([0.0, 1e-8])),
        log_growth=draw(st.sampled_from([None, 0.0, 1e3])),
    )


@given(
    problems(), st.floats(0.01, 0.99), st.sampled_from([1, 2, 1000, 10**8]), st.sampled_from([0, 1, 500, 10**6])
)
@settings(deadline=None, max_examples=150)
def test_no_overflow_and_no_cancellation_against_50_digits(problem, part, window, extra):
    threshold = freezing_threshold(problem[1].beta1, problem[1].beta2, problem[1].eta)
    y = part * 0.9 * (1 - threshold)
    free = FreeParameters(y / (2 - y), window, extra)
    expected = bound_by_mpmath(problem, free)
    assert abs(bound_at(*problem, free).value / expected - 1) < 1e-9


@given(problems())
@settings(deadline=None, max_examples=60)
def test_the_best_bound_is_finite_and_is_the_theorem_at_its_own_parameters(problem):
    bound = best_bound(*problem)
    assert np.isfinite(bound.value)
    chosen = FreeParameters(bound.parameters["zeta"], bound.parameters["M"], bound.parameters["N"])
    assert abs(bound.value / bound_by_mpmath(problem, chosen) - 1) < 1e-8


SHORT_RUN = parameters(
    smoothness=1.0, dimension=1, initial_gap=1.0, steps=100, step_size=1.0, beta1=0.0, beta2=0.999, eta=0.0
)


@given(
    problem=problems(extreme=False),
    part=st.floats(0.001, 0.999),
    window=st.floats(0, 4).map(lambda power: round(10**power)),
    extra=st.floats(0, 4).map(lambda power: round(10**power) - 1),
)
@example(problem=SHORT_RUN, part=0.5, window=6, extra=0)
@settings(deadline=None, max_examples=80)
def test_no_other_parameters_are_much_better(problem, part, window, extra):
    """The grids of M and N have a ratio of sqrt(2) or 2: off them the bound gains a few percent at most."""
    threshold = freezing_threshold(problem[1].beta1, problem[1].beta2, problem[1].eta)
    y = part * (1 - threshold)
    other = bound_at(*problem, FreeParameters(y / (2 - y), window, extra)).value
    assert best_bound(*problem).value <= 1.03 * other


@given(
    problems(extreme=False),
    st.sampled_from(["steps", "eta", "dimension", "smoothness", "initial_gap"]),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=100)
def test_the_best_bound_increases_with_every_difficulty(problem, name, more):
    value = (vars(problem[0]) | vars(problem[1]))[name]
    if name == "eta":
        largest = 0.99 * largest_admissible_eta(problem[1].beta1, problem[1].beta2)
        raised = float(value + more * (largest - value))
    else:
        raised = value * (1 + round(10 * more))
    harder = changed(problem, **{name: raised})
    assert best_bound(*harder).value >= best_bound(*problem).value * (1 - 1e-9)


def test_numbers_arrays_and_symbols_agree():
    names = (
        "smoothness",
        "dimension",
        "initial_gap",
        "steps",
        "step_size",
        "beta2",
        "eta",
        "sum_sqrt_v0",
        "epsilon",
    )
    symbols = {name: sympy.Symbol(name, positive=True) for name in names}
    symbolic = parameters(**symbols, beta1=sympy.Symbol("beta1", positive=True))
    zeta, M, N = sympy.symbols("zeta M N", positive=True)
    formula = bound_at(*symbolic, FreeParameters(zeta, M, N)).value
    numbers = {symbols[name]: sympy.Float((vars(PROBLEM[0]) | vars(PROBLEM[1]))[name], 40) for name in names}
    numbers |= {symbolic[1].beta1: sympy.Float(0.9, 40), zeta: sympy.Float(0.1, 40), M: 30, N: 25}
    scalar = bound_at(*PROBLEM, PARAMETERS).value
    assert abs(float(formula.subs(numbers)) / scalar - 1) < 1e-12

    etas = np.array([[0.1], [0.4]])
    steps = np.array([100, 10_000, 10**8])
    table = bound_at(*changed(PROBLEM, eta=etas, steps=steps), PARAMETERS).value
    best = best_bound(*changed(PROBLEM, eta=etas, steps=steps)).value
    assert table.shape == best.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        one = changed(PROBLEM, eta=float(etas[i, 0]), steps=int(steps[j]))
        assert table[i, j] == pytest.approx(bound_at(*one, PARAMETERS).value, rel=1e-14)
        assert best[i, j] == pytest.approx(best_bound(*one).value, rel=1e-14)


def test_arrays_of_betas_are_optimised_one_by_one():
    beta1, beta2 = np.array([0.0, 0.5, 0.9]), np.array([0.95, 0.9, 0.999])
    problem = changed(PROBLEM, beta1=beta1, beta2=beta2)
    values, alphas = best_bound(*problem).value, best_step_size(*problem)
    for k in range(3):
        one = changed(PROBLEM, beta1=float(beta1[k]), beta2=float(beta2[k]))
        assert values[k] == pytest.approx(best_bound(*one).value, rel=1e-13)
        assert alphas[k] == pytest.approx(best_step_size(*one), rel=1e-8)


@given(problems(extreme=False))
@settings(deadline=None, max_examples=25)
def test_no_step_size_is_better_than_the_best_one(problem):
    best = best_step_size(*problem)
    value = best_bound(*changed(problem, step_size=best)).value
    others = best_bound(*changed(problem, step_size=best * 10.0 ** np.linspace(-6, 6, 49))).value
    assert value <= others.min() * (1 + 1e-6)


@given(st.floats(0, 0.99), st.floats(0.01, 1e6), st.floats(1e-6, 1e6))
@settings(deadline=None)
def test_best_zeta_against_a_fine_grid(threshold, fixed, drift):
    room = 1 - threshold

    def objective(y):
        return (fixed + 2 * drift / y) / (room - y)

    zeta = best_zeta(threshold, fixed, drift)
    grid = room * np.geomspace(1e-8, 0.999, 4001)
    assert 0 < zeta <= 1 / 3
    assert objective(2 * zeta / (1 + zeta)) <= objective(grid).min() * (1 + 1e-12)


@given(st.floats(0, 0.999), st.floats(1e-6, 1 - 1e-8), st.floats(0, 0.99))
@settings(deadline=None)
def test_a_window_of_one_step_is_theorem_1(ratio, beta2, eta):
    growth = denominator_growth(beta2, eta, 1)
    start = denominator_start(*changed(PROBLEM, beta2=beta2, beta1=0.0, eta=eta, sum_sqrt_v0=2.5), 1, 0.0)
    assert growth == pytest.approx(preconditioner_growth(beta2, eta), rel=1e-13)
    assert start == pytest.approx(preconditioner_start(beta2, 2.5), rel=1e-13)
    assert freezing_factor(0.0, eta, 0.1) == 1


@given(st.floats(0, 0.9999), st.floats(1e-4, 1 - 1e-8))
@settings(deadline=None)
def test_largest_eta_is_where_the_condition_ends(ratio, beta2):
    beta1 = ratio * np.sqrt(beta2)
    largest = largest_admissible_eta(beta1, beta2)
    for eta, holds in ((largest * (1 - 1e-9), True), (largest * (1 + 1e-9), False)):
        condition = eta < 1 if beta1 == 0 else eta**2 * (beta1 / np.sqrt(beta2) + np.sqrt(1 + eta**2)) < 1
        assert condition == holds
    assert largest > 0.6733
    best_bound(*changed(PROBLEM, beta1=float(beta1), beta2=beta2, eta=float(largest * 0.9999)))
    with pytest.raises(HypothesisError, match="supremum of the admissible"):
        best_bound(*changed(PROBLEM, beta1=float(beta1), beta2=beta2, eta=float(largest * 1.0001)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta1": 0.99}, "beta1 < sqrt"),
        ({"beta2": 1.0}, "beta2"),
        ({"eta": -0.1}, "eta >= 0"),
        ({"eta": 1.5, "beta1": 0.0}, "eta"),
        ({"smoothness": 0.0}, "smoothness"),
        ({"initial_gap": -1.0}, "initial_gap"),
        ({"step_size": 0.0}, "step_size"),
        ({"sum_sqrt_v0": -1.0}, "sum_sqrt_v0"),
        ({"epsilon": -1e-8}, "epsilon"),
        ({"steps": 0}, "steps"),
    ],
)
def test_violated_hypotheses_are_named(values, message):
    with pytest.raises(HypothesisError, match=message):
        bound_at(*changed(PROBLEM, **values), PARAMETERS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"zeta": 0.0}, "zeta"),
        ({"zeta": 1.0}, "zeta"),
        ({"window": 0}, "window"),
        ({"extra_steps": -1}, "extra_steps"),
        ({"window": 2.5}, "integer"),
    ],
)
def test_parameters_out_of_range_are_named(values, message):
    with pytest.raises(HypothesisError, match=message):
        replace(PARAMETERS, **values)


def test_a_zeta_that_is_too_large_names_the_largest():
    with pytest.raises(HypothesisError, match=r"R eta\^2 < 1") as caught:
        bound_at(*changed(PROBLEM, eta=0.6), FreeParameters(0.5))
    largest = float(str(caught.value).rsplit("=", 1)[1])
    bound_at(*changed(PROBLEM, eta=0.6), FreeParameters(largest * 0.999))


def test_the_best_step_size_needs_a_positive_gap():
    with pytest.raises(HypothesisError, match="initial_gap > 0"):
        best_step_size(*changed(PROBLEM, initial_gap=0.0))
    assert best_bound(*changed(PROBLEM, initial_gap=0.0)).value > 0


@pytest.mark.parametrize(("base", "exponent"), [(1 - 1e-8, 3), (0.5, 10**9), (1 - 1e-12, 10**6)])
def test_one_minus_power_keeps_its_digits(base, exponent):
    with mpmath.workdps(50):
        exact = 1 - mpmath.mpf(base) ** exponent
        assert abs(one_minus_power(base, exponent) / exact - 1) < 1e-14


# ----------------------------------------------------------------------------------------------------
# Lemma M on random laws; lemma S against a brute-force adversary.


@st.composite
def laws(draw) -> tuple[np.ndarray, np.ndarray, float]:
    """Values and probabilities of a law with mean 1, and its standard deviation (at most 1)."""
    count = draw(st.integers(2, 5))
    values = np.array(draw(st.lists(st.floats(-50, 50), min_size=count, max_size=count)))
    weights = np.array(draw(st.lists(st.floats(1e-6, 1), min_size=count, max_size=count)))
    weights /= weights.sum()
    centred = values - weights @ values
    deviation = np.sqrt(weights @ centred**2)
    eta = draw(st.floats(0.01, 1.0))
    scale = eta / deviation if deviation > 1e-3 else 0.0
    return 1 + centred * scale, weights, eta


@given(laws(), st.floats(1e-9, 1e6), st.sampled_from([0.0, 1e-8, 0.3, 10.0, 1e4]))
@settings(deadline=None, max_examples=400)
def test_lemma_m_over_all_its_range(law, shift, offset):
    values, weights, eta = law

    def stieltjes(z):
        return 1 / (np.sqrt(z) + offset)

    left = weights @ stieltjes(shift + values**2)
    assert left <= mixture(stieltjes(shift + 1), stieltjes(shift), eta) * (1 + 1e-9)


def test_lemma_m_would_fail_with_a_smaller_constant():
    """At A -> 0, P(X = 0) = eta^2 / (1 + eta^2): no constant below eta^2 / (1 + eta^2) will do."""
    eta, shift = 0.1, 1e-12
    low = eta**2 / (1 + eta**2)
    left = low / np.sqrt(shift) + (1 - low) / np.sqrt(shift + (1 / (1 - low)) ** 2)
    at_one, at_zero = 1 / np.sqrt(shift + 1), 1 / np.sqrt(shift)
    assert left <= mixture(at_one, at_zero, eta)
    assert left > mixture(at_one, at_zero, 0.99 * eta)


def worst_momentum(v, left, beta1, beta2, eta, zeta, epsilon, lowest, points):
    """Max or min over adversaries of E sum_k beta1^k / (sqrt(v_k) + eps), by dynamic programming.

    The adversary picks at every step |G_t| = 1 +- zeta and a two-point law of mean 1, variance eta^2.
    """
    own = 1 / (np.sqrt(v) + epsilon)
    if left == 0:
        return own
    best = -np.inf
    for gradient in (1 - zeta, 1 + zeta):
        for low in points:
            probability = eta**2 / (eta**2 + (1 - low) ** 2)
            high = 1 + eta**2 / (1 - low)
            total = sum(
                weight
                * worst_momentum(
                    beta2 * v + (1 - beta2) * (gradient * x) ** 2,
                    left - 1,
                    beta1,
                    beta2,
                    eta,
                    zeta,
                    epsilon,
                    lowest,
                    points,
                )
                for weight, x in ((probability, low), (1 - probability, high))
            )
            best = max(best, -total if lowest else total)
    return own + beta1 * (-best if lowest else best)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize(("ratio", "beta2"), [(0.9, 0.01), (0.9, 0.5), (0.5, 0.9), (0.99, 1e-4)])
@pytest.mark.parametrize(("eta", "zeta"), [(0.3, 0.1), (0.65, 0.01)])
def test_lemma_s_against_an_adversary(ratio, beta2, epsilon, eta, zeta):
    beta1, steps = ratio * np.sqrt(beta2), 3
    points = (-0.3, -0.01, 0.0, 0.01, 0.4)
    for v in (1e-6, 0.01, 1.0, 30.0):
        ages = np.arange(steps + 1)
        frozen = frozen_second_moment(v, 1.0, ages, beta2, zeta)
        theta = float((beta1**ages / (np.sqrt(frozen) + epsilon)).sum())
        arguments = (v, steps, beta1, beta2, eta, zeta, epsilon)
        assert worst_momentum(*arguments, False, points) <= swap_growth(beta1, beta2, eta) * theta * (1 + 1e-12)
        assert worst_momentum(*arguments, True, points) >= theta / freezing_factor(beta1, eta, zeta) * (1 - 1e-12)


def test_lemma_s_would_fail_without_its_constants():
    """Noise and drift do raise the frozen sum (C = 1 fails), and do lower it (lambda = 1 fails)."""

    def relative_to_frozen(lowest, v, ratio, beta2, eta, zeta, steps=3):
        beta1, ages = ratio * np.sqrt(beta2), np.arange(steps + 1)
        theta = (beta1**ages / np.sqrt(frozen_second_moment(v, 1.0, ages, beta2, zeta))).sum()
        return worst_momentum(v, steps, beta1, beta2, eta, zeta, 0.0, lowest, (-0.3, -0.01, 0.0, 0.4)) / theta

    assert relative_to_frozen(False, v=1.0, ratio=0.99, beta2=1e-4, eta=0.65, zeta=0.01) > 1.2
    assert relative_to_frozen(True, v=0.01, ratio=0.9, beta2=0.5, eta=0.1, zeta=0.3) < 0.95


# ----------------------------------------------------------------------------------------------------
# Adam with noise that meets the test: the bound holds, and is not far off.


def simulate(steps, beta1, beta2, eta, paths, seed, dimension=10, v0=1e-4):
    """Geman-McClure sum w^2 / (1 + w^2) (L = 2), g_i = G_i (1 + eta Z): measured sums, the bound, log growths."""
    rng = np.random.default_rng(seed)
    start = 2 * rng.normal(size=dimension)
    w = np.tile(start, (paths, 1))

    def gradient(w):
        return 2 * w / (1 + w * w) ** 2

    problem = parameters(
        smoothness=2.0,
        dimension=dimension,
        initial_gap=float((start**2 / (1 + start**2)).sum()),
        steps=steps,
        step_size=1e-3,
        beta1=beta1,
        beta2=beta2,
        eta=eta,
        sum_sqrt_v0=dimension * np.sqrt(v0),
        initial_gradient_norm=float(np.abs(gradient(start)).sum()),
    )
    for _ in range(3):  # the growth of v and the best step size depend on each other, by a logarithm
        growth = log_growth_bound(*problem, dimension * v0, dimension * np.log(v0), largest_extra_steps(beta1))
        problem = changed(problem, log_growth=growth)
        problem = changed(problem, step_size=best_step_size(*problem))
    growth = log_growth_bound(*problem, dimension * v0, dimension * np.log(v0), largest_extra_steps(beta1))
    problem = changed(problem, log_growth=growth)
    m, v, total = np.zeros_like(w), np.full_like(w, v0), np.zeros(paths)
    for _ in range(steps):
        true = gradient(w)
        total += np.abs(true).sum(axis=1)
        g = true * (1 + eta * rng.normal(size=w.shape))
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        w -= problem[1].step_size * m / np.sqrt(v)
    return total, best_bound(*problem), np.log(v / v0).sum(axis=1).mean(), growth


def test_the_bound_holds_on_adam_and_is_close():
    measured, bound, seen_growth, growth = simulate(4096, 0.9, 0.95, 0.2, paths=16, seed=1)
    assert seen_growth <= growth
    ratio = bound.value / measured.mean()
    assert 1 < ratio < 7
    measured, bound, _, _ = simulate(4096, 0.9, 0.999, 0.2, paths=16, seed=2)
    assert 1 < bound.value / measured.mean() < 13


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beta1", "beta2", "eta", "largest"),
    [
        (0.9, 0.95, 0.2, 6.0),
        (0.9, 0.95, 0.5, 12.0),
        (0.9, 0.999, 0.2, 12.0),
        (0.5, 0.9, 0.5, 11.0),
        (0.0, 0.9, 0.5, 9.0),
    ],
)
def test_ratios_at_longer_runs(beta1, beta2, eta, largest):
    measured, bound, _, _ = simulate(16384, beta1, beta2, eta, paths=32, seed=3)
    assert 1 < bound.value / measured.mean() < largest


def test_chosen_parameters_are_the_ones_reported():
    chosen = best_parameters(*PROBLEM)
    reported = best_bound(*PROBLEM).parameters
    assert (chosen.zeta, chosen.window, chosen.extra_steps) == (reported["zeta"], reported["M"], reported["N"])


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_tight_in_the_limit_of_sign_descent(steps):
    """beta1 = 0, beta2 -> 0, eta = 0 on w^2 / 2 from w_1 = alpha K: sum and bound are alpha K (K + 1) / 2."""
    alpha, beta2 = 0.01, 1e-8
    w, v, measured = alpha * steps, 0.0, 0.0
    problem = parameters(
        smoothness=1.0,
        dimension=1,
        initial_gap=w**2 / 2,
        steps=steps,
        step_size=alpha,
        beta1=0.0,
        beta2=beta2,
        initial_gradient_norm=w,
    )
    for _ in range(steps):
        measured += abs(w)
        v = beta2 * v + (1 - beta2) * w * w
        w -= alpha * w / np.sqrt(v)
    assert measured <= best_bound(*problem).value <= 1.001 * measured


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_no_noiseless_run_beats_the_bound(seed):
    """Deterministic runs on the pseudo-Huber function in one dimension: any start, step size, betas and v_0."""
    rng = np.random.default_rng(seed)
    beta2 = 1 - 10 ** rng.uniform(-3, -0.01)
    beta1 = float(rng.uniform(0, 0.99) * np.sqrt(beta2))
    start, alpha, steps = 10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-3, 1), int(10 ** rng.uniform(0, 3))
    v0 = 10 ** rng.uniform(-4, 2) * rng.integers(0, 2)
    gap = float(np.sqrt(1 + start**2) - 1)
    problem = parameters(
        smoothness=1.0,
        dimension=1,
        initial_gap=gap,
        steps=steps,
        step_size=alpha,
        beta1=beta1,
        beta2=beta2,
        sum_sqrt_v0=np.sqrt(v0),
    )
    w, m, v, measured = start, 0.0, v0, 0.0
    for _ in range(steps):
        g = w / np.sqrt(1 + w * w)
        measured += abs(g)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        w -= alpha * m / np.sqrt(v)
    assert measured <= best_bound(*problem).value


@pytest.mark.parametrize("module", [theorem2, constants, choices, guarantee, sharpness_example])
def test_examples_of_the_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
