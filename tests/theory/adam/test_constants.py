"""The constants against mpmath at 50 digits, on numbers, arrays and symbols."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from theory.adam import constants as constants
from theory.problem import AdamParameters, Problem, require_betas

mpmath.mp.dps = 50


@st.composite
def betas(draw) -> tuple[float, float]:
    """beta2 from 1e-8 to 1 - 1e-8, beta1 from 0 to (1 - 1e-6) sqrt(beta2)."""
    near_one = 1 - 10.0 ** -draw(st.floats(0.05, 8))
    beta2 = near_one if draw(st.booleans()) else 10.0 ** -draw(st.floats(0.01, 8))
    distance = 10.0 ** -draw(st.floats(0, 6))
    return (1 - distance) * math.sqrt(beta2), beta2


def twin(beta1: float, beta2: float, eta: float) -> dict[str, mpmath.mpf]:
    b1, b2, noise = mpmath.mpf(beta1), mpmath.mpf(beta2), mpmath.mpf(eta)
    r, c = b1 / mpmath.sqrt(b2), 1 - b2
    gamma2 = 1 / (2 * (1 - r**2)) + r / ((1 - r) ** 2 * mpmath.sqrt(1 - r**2))
    tau = mpmath.sqrt(1 + noise**2)
    return {
        "root_gap": 1 - mpmath.sqrt(b2),
        "momentum_ratio": r,
        "momentum_gap": 1 - r,
        "momentum_amplification": 1 / (1 - r),
        "second_moment_weight": c,
        "normalized_step_bound": (1 - b1) / mpmath.sqrt(c * (1 - r**2)),
        "step_variance": gamma2,
        "drift_constant": (1 - b1) ** 2 / c * gamma2,
        "freezing_constant": (1 - b1) * r / (mpmath.sqrt(c) * (1 - r) ** 2),
        "preconditioner_growth": mpmath.sqrt(c) * (1 + tau * mpmath.sqrt(b2) / (1 - mpmath.sqrt(b2))),
        "preconditioner_start": mpmath.sqrt(b2) / (1 - mpmath.sqrt(b2)) * 3,
    }


def value(name: str, beta1, beta2, eta):
    arguments = {
        "root_gap": (beta2,),
        "second_moment_weight": (beta2,),
        "preconditioner_growth": (beta2, eta),
        "preconditioner_start": (beta2, 3),
    }
    return getattr(constants, name)(*arguments.get(name, (beta1, beta2)))


NAMES = sorted(twin(0.5, 0.9, 0.1))


@given(betas(), st.floats(0, 1))
@settings(deadline=None, max_examples=300)
def test_no_constant_loses_digits(pair: tuple[float, float], eta: float) -> None:
    for name, exact in twin(*pair, eta).items():
        found = value(name, *pair, eta)
        assert abs(found - exact) <= 1e-14 * abs(exact) * (10 if name != "momentum_gap" else 1), name


@given(betas(), st.floats(0, 1))
@settings(deadline=None, max_examples=200)
def test_kappa_loses_digits_only_near_its_zero(pair: tuple[float, float], eta: float) -> None:
    rho = twin(*pair, eta)["momentum_amplification"]
    exact = (1 - rho * mpmath.mpf(eta) ** 2) / (1 + mpmath.mpf(eta) ** 2)
    assert abs(constants.alignment(*pair, eta) - exact) <= 1e-14 * (1 + rho * eta**2)


def test_the_plain_difference_would_lose_digits() -> None:
    beta2 = 1 - 1e-8
    beta1 = (1 - 1e-6) * math.sqrt(beta2)
    exact = twin(beta1, beta2, 0.0)["momentum_gap"]
    assert abs((1 - beta1 / math.sqrt(beta2)) - exact) > 1e-13 * exact
    assert abs(constants.momentum_gap(beta1, beta2) - exact) < 1e-15 * exact


@pytest.mark.parametrize("name", NAMES)
def test_numbers_arrays_and_symbols_agree(name: str) -> None:
    beta1, beta2, eta = np.array([0.0, 0.5, 0.9]), np.array([0.5, 0.9, 0.999]), np.array([0.0, 0.2, 0.3])
    symbols = sympy.symbols("b1 b2 e", nonnegative=True)
    formula = sympy.sympify(value(name, *symbols))
    array = value(name, beta1, beta2, eta)
    for index in range(3):
        point = (beta1[index].item(), beta2[index].item(), eta[index].item())
        number = value(name, *point)
        assert isinstance(number, float)
        assert array[index] == pytest.approx(number, rel=1e-15)
        assert float(formula.subs(dict(zip(symbols, point, strict=True)))) == pytest.approx(number, rel=1e-11)


positive = st.floats(1e-150, 1e150)


@given(positive, st.one_of(st.just(0.0), positive), st.one_of(st.just(0.0), positive))
@settings(deadline=None, max_examples=300)
def test_self_bounding_root_is_exact(growth: float, start: float, q: float) -> None:
    b, a, x = (mpmath.mpf(v) for v in (growth, start, q))
    exact = (b * x + mpmath.sqrt(b**2 * x**2 + 4 * a * x)) / 2
    found = constants.solve_self_bounding(growth, start, q)
    assert abs(found - exact) <= 2e-15 * exact + 1e-300
    assert constants.solve_self_bounding(growth, start, 2 * q) >= found


def test_self_bounding_without_overflow() -> None:
    assert constants.solve_self_bounding(1.0, 0.0, 1e200) == 1e200
    assert constants.solve_self_bounding(1e-200, 1.0, 1e-200) == pytest.approx(1e-100)
    with pytest.raises(HypothesisError, match="q >= 0"):
        constants.solve_self_bounding(1.0, 1.0, -1.0)


@pytest.mark.parametrize(
    ("beta1", "beta2"), [(-0.1, 0.9), (0.95, 0.9), (0.9, 0.81), (0.5, 1.0), (0.0, 0.0), (0.1, math.nan)]
)
def test_inadmissible_betas_raise(beta1: float, beta2: float) -> None:
    with pytest.raises(HypothesisError, match="beta1 < sqrt"):
        require_betas(beta1, beta2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"smoothness": 0.0}, "smoothness > 0"),
        ({"dimension": 0}, "dimension >= 1"),
        ({"initial_gap": -1e-9}, "initial_gap"),
        ({"steps": 0}, "steps >= 1"),
        ({"steps": np.array([1, 0])}, "steps >= 1"),
    ],
)
def test_inadmissible_problems_raise(changed: dict, message: str) -> None:
    with pytest.raises(HypothesisError, match=message):
        Problem(**{"smoothness": 1.0, "dimension": 1, "initial_gap": 0.0, "steps": 1, **changed})


def test_the_least_budget_is_the_least() -> None:
    problem = Problem(smoothness=2.0, dimension=3, initial_gap=5.0, steps=7)
    least = constants.least_descent_budget(problem, 1.5)
    grid = np.geomspace(1e-3, 1e3, 20001)
    budgets = constants.descent_budget(problem, AdamParameters(beta1=0, beta2=0.5, eta=0, step_size=grid), 1.5)
    assert budgets.min() >= least * (1 - 1e-12)
    assert budgets.min() == pytest.approx(least, rel=1e-6)
