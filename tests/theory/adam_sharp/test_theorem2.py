import doctest
import itertools
from dataclasses import dataclass, replace

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
from theory.adam_sharp import constants, momentum_sums, sharpness_example, theorem2
from theory.adam_sharp import parameters as choices
from theory.adam_sharp.constants import (
    denominator_growth,
    denominator_start,
    frozen_second_moment,
    mixture,
    one_minus_power,
    swap_growth,
    uphill_decay,
)
from theory.adam_sharp.momentum_sums import MomentumSums
from theory.adam_sharp.parameters import (
    best_bound,
    best_parameters,
    best_step_size,
    largest_extra_steps,
)
from theory.adam_sharp.theorem2 import (
    FreeParameters,
    bound_at,
    freezing_threshold,
    largest_admissible_eta,
    log_growth_bound,
    require_condition,
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
PARAMETERS = FreeParameters(window=30, extra_steps=25)


def alignment_by_mpmath(beta1: float, beta2: float, eta: float, extra: int) -> mpmath.mpf:
    """kappa at N = ``extra``, by the statement's own formulas in r and a_m, at the precision in force."""
    mp = mpmath
    b1, b2, eta = mp.mpf(beta1), mp.mpf(beta2), mp.mpf(eta)
    r, c, y = b1 / mp.sqrt(b2), 1 - b2, 1 + eta**2
    C = 1 / (1 - r * eta**2)
    pi = r * (1 - eta**2) * C

    def a(m):
        return (b2**-m - 1) / c

    def power(base, m):
        return base**m if m else mp.mpf(1)

    phi = mp.fsum(power(r, m) / mp.sqrt(1 + a(m)) for m in range(extra + 1))
    H = mp.fsum(power(r, m) / mp.sqrt(1 + a(m) / y) for m in range(extra + 1))
    far = int(60 / (1 - beta1)) + 2
    S = mp.fsum(pi**m / mp.sqrt(a(m)) for m in range(1, far))
    mu = max(mp.mpf(1), (1 - eta**2) * C * mp.sqrt(1 + b2))
    L3 = (C * (mu + S) / phi - 1 / mp.sqrt(y)) / (1 + 2 / y)
    Lam = min(C, max(C / phi, y / 16, L3))
    return (H / phi - Lam * eta**2) / y


def bound_by_mpmath(problem: Given, free: FreeParameters, kappa: float | None = None) -> mpmath.mpf:
    """The statement of Theorem 2, written once more from scratch, at 50 digits; ``kappa`` if its sums are long."""
    with mpmath.workdps(50):
        return _bound_by_mpmath(problem, free, kappa)


def _bound_by_mpmath(problem: Given, free: FreeParameters, kappa: float | None) -> mpmath.mpf:
    mp = mpmath
    f = {k: None if v is None else mp.mpf(v) for k, v in (vars(problem[0]) | vars(problem[1])).items()}
    M, N = mp.mpf(free.window), mp.mpf(free.extra_steps)
    b1, b2, eta, d, K, alpha, L = (
        f[k] for k in ("beta1", "beta2", "eta", "dimension", "steps", "step_size", "smoothness")
    )
    q = mp.sqrt(b2)
    r, c, tau, horizon = b1 / q, 1 - b2, mp.sqrt(1 + eta**2), K + N
    if kappa is None:
        kappa = alignment_by_mpmath(problem[1].beta1, problem[1].beta2, problem[1].eta, int(N))
    omega, x = 1 - b1 ** (N + 1), b2 ** (M / 2)
    c_m = (1 - b1) / mp.sqrt(c * (1 - r**2))
    H = horizon * d / c
    if f["log_growth"] is not None:
        H = min(H, (horizon * d * mp.log(1 / b2) + f["log_growth"]) / c)
    first = (1 - b1) ** 2 / c * (1 / (2 * (1 - r**2)) + r / ((1 - r) ** 2 * mp.sqrt(1 - r**2)))
    E = min(horizon * d * first, ((1 - b1) / (1 - r)) ** 2 * (mp.mpf(1) / 2 + r / (1 - r)) * H)
    Q = (f["initial_gap"] / alpha + alpha * L * E) / kappa
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


@given(problems(), st.sampled_from([1, 2, 1000, 10**8]), st.sampled_from([0, 1, 500, 10**6]))
@settings(deadline=None, max_examples=100)
def test_no_overflow_and_no_cancellation_against_50_digits(problem, window, extra):
    sums = momentum_sums.momentum_sums(*(vars(problem[1])[k] for k in ("beta1", "beta2", "eta")), extra)
    if sums.alignment > 0:
        free = FreeParameters(window, extra)
        expected = bound_by_mpmath(problem, free, sums.alignment)
        assert abs(bound_at(*problem, free).value / expected - 1) < 1e-9


@given(
    st.sampled_from([0.0, 0.3, 0.9, 0.999]),
    st.sampled_from([1e-8, 0.01, 0.5, 0.95, 0.999, 1 - 1e-6]),
    st.floats(0.001, 1.0),
    st.sampled_from([0, 1, 7, 60]),
)
@settings(deadline=None, max_examples=40)
def test_kappa_against_the_formulas_in_r_and_a(ratio, beta2, eta, extra):
    beta1 = min(ratio * np.sqrt(beta2), 0.95)
    with mpmath.workdps(40):
        expected = alignment_by_mpmath(beta1, beta2, eta, extra)
    assert momentum_sums.momentum_sums(beta1, beta2, eta, extra).alignment == pytest.approx(
        float(expected), rel=1e-11, abs=1e-12
    )


def test_kappa_at_the_betas_in_use():
    """Four digits that a linear program over noise laws, written independently, found as the least descent."""
    etas = np.array([0.2, 0.5, 0.6, 0.9])
    for (beta1, beta2), expected in {
        (0.9, 0.95): [0.9652, 0.8036, 0.7265, 0.2919],
        (0.9, 0.999): [0.9640, 0.7970, 0.7175, 0.2863],
        (0.5, 0.9): [0.9422, 0.6813, 0.5636, 0.1156],
    }.items():
        assert np.round(momentum_sums.momentum_sums(beta1, beta2, etas, np.inf).alignment, 4) == pytest.approx(
            expected
        )


@pytest.mark.parametrize("beta1", [0.9999, 1 - 1e-6, 1 - 1e-12])
def test_the_sums_are_cut_and_stay_on_the_safe_side(beta1, monkeypatch):
    """Fewer terms lower kappa, so that a cut is safe; and there are never more than TERMS."""
    beta2 = 1 - (1 - beta1) / 10
    lengths = []

    def counted(beta1, beta2, age):
        lengths.append(len(age))
        return constants.frozen_weight(beta1, beta2, age)

    monkeypatch.setattr(momentum_sums, "frozen_weight", counted)
    full = momentum_sums.momentum_sums(beta1, beta2, 0.5, np.inf).alignment
    monkeypatch.setattr(momentum_sums, "TERMS", 1000)
    assert 0 < momentum_sums.momentum_sums(beta1, beta2, 0.5, np.inf).alignment <= full
    assert lengths == [2**14, 1000]


@given(
    st.floats(0, 0.9999), st.floats(1e-6, 1 - 1e-8), st.floats(1e-3, 0.999), st.floats(0, 1), st.integers(0, 40)
)
@settings(deadline=None, max_examples=100)
def test_kappa_rises_with_n_and_falls_with_eta(ratio, beta2, eta, part, extra):
    beta1 = ratio * np.sqrt(beta2)
    kappas = momentum_sums.momentum_sums(beta1, beta2, eta, np.array([extra, extra + 1, np.inf])).alignment
    assert np.all(np.diff(kappas) >= -1e-13)
    etas = np.array([eta, eta + part * (1 - eta)])
    assert np.diff(momentum_sums.momentum_sums(beta1, beta2, etas, np.inf).alignment) <= 1e-13


@given(problems())
@settings(deadline=None, max_examples=60)
def test_the_best_bound_is_finite_and_is_the_theorem_at_its_own_parameters(problem):
    bound = best_bound(*problem)
    assert np.isfinite(bound.value)
    chosen = FreeParameters(bound.parameters["M"], bound.parameters["N"])
    assert abs(bound.value / bound_by_mpmath(problem, chosen, bound.constants["kappa"]) - 1) < 1e-8


SHORT_RUN = parameters(
    smoothness=1.0, dimension=1, initial_gap=1.0, steps=100, step_size=1.0, beta1=0.0, beta2=0.999, eta=0.0
)


@given(
    problem=problems(extreme=False),
    window=st.floats(0, 4).map(lambda power: round(10**power)),
    extra=st.floats(0, 4).map(lambda power: round(10**power) - 1),
)
@example(problem=SHORT_RUN, window=6, extra=0)
@settings(deadline=None, max_examples=80)
def test_no_other_parameters_are_much_better(problem, window, extra):
    """The grids of M and N have a ratio of sqrt(2) or 2: off them the bound gains a few percent at most."""
    free = FreeParameters(window, extra)
    try:
        other = bound_at(*problem, free).value
    except HypothesisError:  # kappa <= 0 at this N
        return
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
    H, E, kappa, M, N = sympy.symbols("H E kappa M N", positive=True)
    formula = theorem2.bound_at_cost(*symbolic, FreeParameters(M, N), H, E, kappa).value
    numbers = {symbols[name]: sympy.Float((vars(PROBLEM[0]) | vars(PROBLEM[1]))[name], 40) for name in names}
    bound = bound_at(*PROBLEM, PARAMETERS)
    numbers |= {symbolic[1].beta1: sympy.Float(0.9, 40), M: 30, N: 25}
    numbers |= {H: bound.terms["H"], E: bound.terms["E"], kappa: bound.constants["kappa"]}
    scalar = bound.value
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


@given(st.floats(0, 0.999), st.floats(1e-6, 1 - 1e-8), st.floats(0, 0.99))
@settings(deadline=None)
def test_a_window_of_one_step_is_theorem_1(ratio, beta2, eta):
    growth = denominator_growth(beta2, eta, 1)
    start = denominator_start(*changed(PROBLEM, beta2=beta2, beta1=0.0, eta=eta, sum_sqrt_v0=2.5), 1, 0.0)
    assert growth == pytest.approx(preconditioner_growth(beta2, eta), rel=1e-13)
    assert start == pytest.approx(preconditioner_start(beta2, 2.5), rel=1e-13)
    assert constants.theorem2_alignment(1, 1, eta) == pytest.approx(
        momentum_sums.momentum_sums(0.0, beta2, eta, 5).alignment, rel=1e-14
    )


@given(st.floats(0, 0.9999), st.floats(1e-4, 1 - 1e-8))
@settings(deadline=None, max_examples=50)
def test_largest_eta_is_where_the_condition_ends(ratio, beta2):
    beta1 = float(ratio * np.sqrt(beta2))
    largest = largest_admissible_eta(beta1, beta2)
    assert freezing_threshold(beta1, beta2, largest * (1 - 1e-9)) < 1
    # At beta1 = 0 it is eta^2 c / c, where c = 1 - beta2 is rounded twice: for beta2 = .268167 an ulp below 1.
    assert freezing_threshold(beta1, beta2, min(largest * (1 + 1e-9), 1.0)) >= 1 - 1e-15
    assert largest**2 * (1 + beta1 / np.sqrt(beta2)) >= 1 - 1e-9  # the condition free of sums is enough
    assert largest > 0.7071
    best_bound(*changed(PROBLEM, beta1=beta1, beta2=beta2, eta=float(largest * 0.9999)))
    with pytest.raises(HypothesisError, match="supremum of the admissible"):
        best_bound(*changed(PROBLEM, beta1=beta1, beta2=beta2, eta=float(largest * 1.0001)))


def test_largest_eta_at_known_betas():
    """Roots of the closed form, computed apart with a linear program that confirms the worst law."""
    beta1, beta2 = np.array([0.9, 0.9, 0.5, 0.95, 0.8]), np.array([0.95, 0.999, 0.9, 0.99, 0.7])
    assert np.round(largest_admissible_eta(beta1, beta2), 4) == pytest.approx(
        [0.9557, 0.9598, 0.9566, 0.9667, 0.9157]
    )


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
        ({"window": 0}, "window"),
        ({"extra_steps": -1}, "extra_steps"),
        ({"window": 2.5}, "integer"),
    ],
)
def test_parameters_out_of_range_are_named(values, message):
    with pytest.raises(HypothesisError, match=message):
        replace(PARAMETERS, **values)


@pytest.mark.parametrize("eta", [1.0, 1.5])
def test_eta_is_below_1_where_the_threshold_is_an_ulp_below_1(eta):
    assert 1 - 1e-15 < freezing_threshold(0.0, 0.394643, 1.0) < 1
    with pytest.raises(HypothesisError, match="eta < 1"):
        require_condition(0.0, 0.394643, eta)


def test_too_few_virtual_steps_are_named():
    """At eta .85 kappa is positive for enough virtual steps, not for none."""
    with pytest.raises(HypothesisError, match="take a larger extra_steps"):
        bound_at(*changed(PROBLEM, eta=0.85), FreeParameters(30, 0))
    assert bound_at(*changed(PROBLEM, eta=0.85), FreeParameters(30, 100)).value > 0


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
# Lemma M on random laws; lemma S on exact trees; lemma Q' at random states.


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


DRAWS = np.random.default_rng(5)


def momentum_on_a_tree(depth, beta1, beta2, eta, v0, epsilon, drift, draws=DRAWS):
    """E sum_k beta1^k G_k / (sqrt(v_k) + eps) and E sum_k r^k D_k / (sqrt(v_0) + eps) on a random tree, exactly.

    From G_0 = 1 and v_0, the gradients change at every node, and so do the noise's two values.
    """
    ratio, own = beta1 / np.sqrt(beta2), np.sqrt(v0) + epsilon
    v, probability, gradient, path = np.array([v0]), np.ones(1), np.ones(1), np.zeros(1)
    total, loss = 1 / own, 0.0
    for age in range(1, depth + 1):
        change = drift * draws.normal(size=len(v)) * draws.integers(0, 2, size=len(v))
        gradient, path = gradient + change, path + np.abs(change)
        loss += ratio**age * probability @ path / own
        skew, part = np.exp(2 * draws.normal(size=len(v))), eta * draws.choice([0.5, 1.0])
        low, high = 1 - part / skew, 1 + part * skew  # with probabilities that make the mean 1, the deviation part
        rises = 1 / (1 + skew**2)
        probability = np.concatenate([probability * (1 - rises), probability * rises])
        v = np.concatenate([beta2 * v + (1 - beta2) * (gradient * x) ** 2 for x in (low, high)])
        gradient, path = np.tile(gradient, 2), np.tile(path, 2)
        total += beta1**age * probability @ (gradient / (np.sqrt(v) + epsilon))
    return total, loss


def both_bounds(depth, beta1, beta2, eta, v0, epsilon):
    """W_n(v_0) and V_n(v_0) for G = 1."""
    ages = np.arange(depth + 1)
    below = np.sqrt(frozen_second_moment(v0, np.sqrt(1 + eta**2), ages, beta2)) + epsilon
    above = np.sqrt(frozen_second_moment(v0, 1.0, ages, beta2)) + epsilon
    decay = uphill_decay(beta1, beta2, eta)
    return (beta1**ages / below).sum(), (swap_growth(beta1, beta2, eta) * decay**ages / above).sum()


def tree_settings(count):
    for _ in range(count):
        beta2 = DRAWS.choice([1e-6, 0.01, 0.5, 0.9, 0.999])
        beta1 = DRAWS.choice([0.3, 0.7, 0.95, 0.999]) * np.sqrt(beta2)
        eta, v0 = DRAWS.choice([0.1, 0.5, 0.95]), 10 ** DRAWS.uniform(-6, 3)
        yield float(beta1), float(beta2), float(eta), float(v0), float(DRAWS.choice([0.0, 0.1, 3.0]))


def test_lemma_s_on_exact_trees():
    for setting in tree_settings(400):
        for drift in (0.0, DRAWS.choice([0.05, 0.5, 3.0])):
            total, loss = momentum_on_a_tree(5, *setting, drift)
            lower, upper = both_bounds(5, *setting)
            assert lower - loss <= total * (1 + 1e-12) + 1e-12
            assert total <= (upper + loss) * (1 + 1e-12)


def test_lemma_s_needs_all_of_its_loss():
    """Where v is large, a gradient that changes once, to 0 or to 3, uses up all of it."""
    beta1, beta2, v0, ages = 0.5, 0.5, 1e12, np.arange(1, 4)
    decayed = beta1**ages / np.sqrt(beta2**ages * v0)
    lower, upper = both_bounds(3, beta1, beta2, 0.0, v0, 0.0)
    for gradient in (0.0, 3.0):
        total = 1 / np.sqrt(v0) + gradient * decayed.sum()
        loss = abs(gradient - 1) * decayed.sum()
        excess = lower - total if gradient < 1 else total - upper
        assert 0.999 * loss < excess <= loss * (1 + 1e-9)


def test_trees_leave_the_bounds_without_the_loss():
    outside = 0
    for setting in tree_settings(300):
        total, _ = momentum_on_a_tree(5, *setting, 1.0)
        lower, upper = both_bounds(5, *setting)
        outside += not lower <= total <= upper
    assert outside > 50


def response(x, past, ages, setting):
    """F(x) of lemma Q', and the parabola below it, with theory's constants: numbers, for one state."""
    beta1, beta2, eta, s, e0 = setting
    y, r, c = 1 + eta**2, beta1 / np.sqrt(beta2), 1 - beta2
    a = np.expm1(-ages * np.log(beta2)) / c
    e = e0 * beta2 ** (-ages / 2)
    root = np.sqrt(1 + s + a)
    phi = (r**ages / (root + e)).sum()
    decay = uphill_decay(beta1, beta2, eta) / np.sqrt(beta2)
    swap = past.swap
    right = (r**ages * x[:, None] / (np.sqrt(s + y * a + x[:, None] ** 2) + e)).sum(axis=1)
    left = (swap * decay**ages * x[:, None] / (np.sqrt(s + a + x[:, None] ** 2) + e)).sum(axis=1)
    omega, S = r**ages / np.sqrt(1 + e / root), s + y * a + root * e
    value, slope = (omega * y / np.sqrt(S + y * y)).sum(), (omega * S / (S + y * y) ** 1.5).sum()
    penalty = past.penalty * phi

    def below(x):
        return value + slope * (x - y) - (penalty + value - y * slope) * (x / y - 1) ** 2

    scale = phi + penalty + value
    gap = min(((right - below(x)) / scale).min(), ((-left - below(-x)) / scale / (1 + x) ** 2).min())
    return gap, (value - eta**2 * penalty) / y / phi - past.alignment


@dataclass(frozen=True)
class Perturbed:
    """C, Lambda and kappa, perhaps changed."""

    swap: float
    penalty: float
    alignment: float


def least_gaps(change, count=400):
    """The least of F(x) - parabola, and of its mean - kappa phi, over random states of lemma Q'."""
    draws = np.random.default_rng(11)
    x = np.concatenate([np.geomspace(1e-6, 1e3, 120), np.linspace(0.02, 3, 60)])
    worst = np.array([np.inf, np.inf])
    for _ in range(count):
        beta2 = draws.choice([1e-8, 1e-2, 0.3, 0.7, 0.9, 0.95, 0.99, 0.999])
        beta1 = draws.choice([0.05, 0.3, 0.6, 0.9, 0.97, 0.999]) * np.sqrt(beta2)
        eta, last = draws.choice([0.1, 0.3, 0.5, 0.7, 0.9, 0.99]), draws.choice([0, 1, 3, 10, 60])
        ages = np.arange(last + draws.choice([0, 0, 1, 10]) + 1.0)
        ages = ages[ages * -np.log(beta2) < 300]
        past = momentum_sums.momentum_sums(beta1, beta2, eta, len(ages) - 1 if len(ages) <= last else last)
        s, e0 = draws.choice([0, 0, 1e-3, 0.1, 1, 30]), draws.choice([0, 0, 0, 0.1, 3])
        worst = np.minimum(worst, response(x, change(past), ages, (beta1, beta2, eta, s, e0)))
    return worst


def penalties(past):
    swap, start = (
        swap_growth(past.beta1, past.beta2, past.eta),
        constants.uphill_start(past.beta1, past.beta2, past.eta),
    )
    slope = constants.slope_penalty(swap, start, past.uphill, past.frozen, past.eta)
    return swap, constants.jump_penalty(swap, past.frozen), constants.curvature_penalty(past.eta), slope


def as_proven(past: MomentumSums) -> Perturbed:
    return Perturbed(penalties(past)[0], past.penalty, past.alignment)


def smaller_jump(past):
    swap, jump, curvature, slope = penalties(past)
    return Perturbed(swap, min(swap, max(0.97 * jump, curvature, slope)), past.alignment)


def no_start(past):
    swap, jump, curvature, _ = penalties(past)
    slope = constants.slope_penalty(swap, 0.0, past.uphill, past.frozen, past.eta)
    return Perturbed(swap, min(swap, max(jump, curvature, slope)), past.alignment)


def half_the_past(past):
    swap, jump, curvature, _ = penalties(past)
    start = constants.uphill_start(past.beta1, past.beta2, past.eta)
    slope = constants.slope_penalty(swap, start, past.uphill / 2, past.frozen, past.eta)
    return Perturbed(swap, min(swap, max(jump, curvature, slope)), past.alignment)


def larger_kappa(past):
    return Perturbed(penalties(past)[0], past.penalty, 1.005 * past.alignment)


def test_the_parabola_and_its_mean_at_random_states():
    below, mean = least_gaps(as_proven)
    assert below > -1e-13
    assert mean > -1e-13


@pytest.mark.parametrize(
    ("change", "which"), [(smaller_jump, 0), (no_start, 0), (half_the_past, 0), (larger_kappa, 1)]
)
def test_a_perturbed_constant_is_caught_at_some_state(change, which):
    """Lambda_1 x .97, Lambda_3 without mu or with half of S_0, kappa x 1.005: each is a false statement."""
    assert least_gaps(change)[which] < -1e-6


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
    assert 1 < ratio < 5
    measured, bound, _, _ = simulate(4096, 0.9, 0.999, 0.2, paths=16, seed=2)
    assert 1 < bound.value / measured.mean() < 17


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beta1", "beta2", "eta", "largest"),
    [
        (0.9, 0.95, 0.2, 5.0),
        (0.9, 0.95, 0.5, 5.5),
        (0.9, 0.999, 0.2, 16.0),
        (0.5, 0.9, 0.5, 7.5),
        (0.0, 0.9, 0.5, 9.0),
    ],
)
def test_ratios_at_longer_runs(beta1, beta2, eta, largest):
    measured, bound, _, _ = simulate(16384, beta1, beta2, eta, paths=32, seed=3)
    assert 1 < bound.value / measured.mean() < largest


def test_chosen_parameters_are_the_ones_reported():
    chosen = best_parameters(*PROBLEM)
    reported = best_bound(*PROBLEM).parameters
    assert (chosen.window, chosen.extra_steps) == (reported["M"], reported["N"])


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


@pytest.mark.parametrize("module", [theorem2, constants, momentum_sums, choices, guarantee, sharpness_example])
def test_examples_of_the_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
