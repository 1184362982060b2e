"""The l1 norm test: bounds of its theorem."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import evaluate
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.l1 import theorem as l1

PROBLEM = {"smoothness": 2.0, "dimension": 10, "initial_gap": 3.0, "steps": 1000, "step_size": 1e-3}
BETAS = [(0.0, 0.5), (0.5, 0.9), (0.9, 0.95), (0.9, 0.999)]
vectors = st.lists(st.floats(-10, 10), min_size=2, max_size=2)


def twin(beta1: float, beta2: float, nu: float, growth: float, start: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Both forms of the bound, typed out again in 50 digits."""
    b1, b2, nu, growth = map(mpmath.mpf, (beta1, beta2, nu, growth))
    root, c = mpmath.sqrt(b2), 1 - b2
    r = b1 / root
    gamma = 1 / (2 * (1 - r**2)) + r / ((1 - r) ** 2 * mpmath.sqrt(1 - r**2))
    drift = (1 - b1) ** 2 / c * gamma
    p = {key: mpmath.mpf(value) for key, value in PROBLEM.items()}
    budget = (
        p["initial_gap"] / p["step_size"] + p["step_size"] * p["steps"] * p["smoothness"] * p["dimension"] * drift
    )
    a, b = root / (1 - root) * start, mpmath.sqrt(c) * (1 + growth * root / (1 - root))
    cost, per_step = (1 + 1 / (1 - r)) * nu / mpmath.sqrt(c), budget / (1 - b1)
    leading, linear = 1 - b * cost, a * cost + b * per_step
    root_form = (linear + mpmath.sqrt(linear**2 + 4 * leading * a * per_step)) / (2 * leading)
    return root_form, (per_step + a / b**2) / (1 / b - cost)


@pytest.mark.parametrize(("beta1", "beta2"), BETAS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_l1_bound_against_fifty_digits(beta1: float, beta2: float, share: float) -> None:
    eta = share * l1.largest_admissible_eta(beta1, beta2)
    bound = evaluate(l1.l1_test_bound, **PROBLEM, beta1=beta1, beta2=beta2, eta=eta, sum_sqrt_v0=2.5)
    with mpmath.workdps(50):
        root_form, simpler = twin(beta1, beta2, eta, 1 + mpmath.mpf(eta), mpmath.mpf(2.5))
        assert abs(bound.value / root_form - 1) < 1e-8
        assert abs(bound.terms["simpler form"] / simpler - 1) < 1e-8


@pytest.mark.parametrize(("beta1", "beta2"), BETAS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_scalar_bound_against_fifty_digits(beta1: float, beta2: float, share: float) -> None:
    eta = share * l1.largest_admissible_eta(beta1, beta2, dimension=10)
    bound = evaluate(l1.scalar_test_bound, **PROBLEM, beta1=beta1, beta2=beta2, eta=eta, sum_v0=6.25)
    with mpmath.workdps(50):
        growth = mpmath.sqrt(1 + mpmath.mpf(eta) ** 2)
        root_form, simpler = twin(beta1, beta2, eta * mpmath.sqrt(10), growth, mpmath.mpf(2.5))
        assert abs(bound.value / root_form - 1) < 1e-8
        assert abs(bound.terms["simpler form"] / simpler - 1) < 1e-8


@settings(deadline=None)
@given(
    st.floats(0.0, 0.99), st.floats(0.01, 0.9999), st.floats(0, 0.999), st.floats(0, 1e4), st.floats(1e-6, 10.0)
)
def test_the_simpler_form_is_never_below(
    ratio: float, beta2: float, share: float, v0: float, alpha: float
) -> None:
    beta1 = ratio * beta2**0.5
    eta = share * l1.largest_admissible_eta(beta1, beta2)
    problem = PROBLEM | {"step_size": alpha}
    bound = evaluate(l1.l1_test_bound, **problem, beta1=beta1, beta2=beta2, eta=eta, sum_sqrt_v0=v0)
    assert 0 < bound.value <= bound.terms["simpler form"] * (1 + 1e-9)


@pytest.mark.parametrize(("beta1", "beta2"), BETAS)
def test_without_noise_it_is_the_bound_of_theorem_1(beta1: float, beta2: float) -> None:
    with_l1 = evaluate(l1.l1_test_bound, **PROBLEM, beta1=beta1, beta2=beta2, eta=0.0, sum_sqrt_v0=2.5)
    theorem = evaluate(gradient_norm_sum_bound, **PROBLEM, beta1=beta1, beta2=beta2, eta=0.0, sum_sqrt_v0=2.5)
    assert with_l1.value == pytest.approx(theorem.value, rel=1e-12)


@pytest.mark.parametrize(("beta1", "beta2"), BETAS)
def test_too_large_an_eta_is_refused_with_the_largest_one(beta1: float, beta2: float) -> None:
    largest = l1.largest_admissible_eta(beta1, beta2)
    with pytest.raises(HypothesisError) as caught:
        evaluate(l1.l1_test_bound, **PROBLEM, beta1=beta1, beta2=beta2, eta=1.001 * largest)
    assert f"{largest:.4g}" in caught.value.nearest
    assert np.isfinite(evaluate(l1.l1_test_bound, **PROBLEM, beta1=beta1, beta2=beta2, eta=0.999 * largest).value)


def test_the_largest_eta_at_the_usual_betas() -> None:
    assert 0.00179 < l1.largest_admissible_eta(0.9, 0.95) < 0.0018


def test_the_scalar_condition_is_one_on_the_dimension() -> None:
    eta = 0.5 * l1.largest_admissible_eta(0.9, 0.95, dimension=10)
    allowed = PROBLEM | {"beta1": 0.9, "beta2": 0.95, "eta": eta}
    assert evaluate(l1.scalar_test_bound, **allowed).value > 0
    with pytest.raises(HypothesisError, match=r"nu \(1 \+ rho\)"):
        evaluate(l1.scalar_test_bound, **(allowed | {"dimension": 100}))


@pytest.mark.parametrize(
    ("change", "hypothesis"),
    [
        ({"step_size": 0.0}, "step_size > 0"),
        ({"eta": -0.1}, "eta >= 0"),
        ({"beta1": 0.99}, "beta1"),
        ({"steps": 0}, "steps"),
    ],
)
def test_violated_hypotheses_are_named(change: dict[str, float], hypothesis: str) -> None:
    with pytest.raises(HypothesisError, match=hypothesis):
        evaluate(l1.l1_test_bound, **(PROBLEM | {"beta1": 0.9, "beta2": 0.95, "eta": 0.001} | change))


def test_arrays_broadcast() -> None:
    etas = np.array([0.0, 0.0005, 0.001])
    bound = evaluate(l1.l1_test_bound, **PROBLEM, beta1=0.9, beta2=0.95, eta=etas)
    one_by_one = [evaluate(l1.l1_test_bound, **PROBLEM, beta1=0.9, beta2=0.95, eta=float(e)).value for e in etas]
    np.testing.assert_allclose(bound.value, one_by_one, rtol=1e-13)
    with pytest.raises(HypothesisError):
        evaluate(l1.l1_test_bound, **PROBLEM, beta1=0.9, beta2=np.array([0.95, 0.999]), eta=0.0017)


def test_the_bound_holds_where_noise_sits_on_one_coordinate() -> None:
    """RMSProp on a pseudo-Huber function: the l1 budget of all coordinates is spent on the first one."""
    eta, dimension, steps, alpha = 0.02, 5, 400, 0.05
    generator = np.random.default_rng(4)
    w, v = np.full((500, dimension), 3.0), np.zeros((500, dimension))
    total = 0.0
    for _ in range(steps):
        gradient = w / np.sqrt(1 + w**2)
        total += np.abs(gradient).sum(axis=1).mean()
        noise = np.zeros_like(w)
        noise[:, 0] = eta * np.abs(gradient).sum(axis=1) * generator.choice([-1.0, 1.0], len(w))
        g = gradient + noise
        v = 0.5 * v + 0.5 * g**2
        w = w - alpha * g / np.sqrt(v)
    gap = dimension * (np.sqrt(10.0) - 1)
    bound = evaluate(
        l1.l1_test_bound,
        smoothness=1.0,
        dimension=dimension,
        initial_gap=gap,
        steps=steps,
        step_size=alpha,
        beta1=0.0,
        beta2=0.5,
        eta=eta,
    )
    assert 1 <= bound.value / total < 30
