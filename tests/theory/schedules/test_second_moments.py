"""The one-step identities of second moments, against exact expectations, sampling and symbols."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.schedules.second_moments import (
    Regression,
    adam_like_step,
    gradient_second_moment,
    gradient_variance,
    sgd_step,
    squared_gradient,
)

problems = st.lists(
    st.tuples(st.floats(0.01, 2.0), st.floats(0.0, 5.0), st.integers(1, 4)), min_size=1, max_size=6
)


def gaussian_moment(variances: dict[str, sympy.Expr], powers: dict[str, int]) -> sympy.Expr:
    """E of a monomial in independent centred Gaussians: products of (k - 1)!! v^(k/2)."""
    value = sympy.Integer(1)
    for name, power in powers.items():
        value *= 0 if power % 2 else sympy.factorial2(power - 1) * variances[name] ** (power // 2)
    return value


def expectation(expression: sympy.Expr, variances: dict[sympy.Symbol, sympy.Expr]) -> sympy.Expr:
    """E of a polynomial in independent centred Gaussians, term by term."""
    symbols = list(variances)
    polynomial = sympy.Poly(sympy.expand(expression), *symbols)
    named = {str(symbol): variances[symbol] for symbol in symbols}
    return sympy.expand(
        sum(
            coefficient * gaussian_moment(named, {str(s): p for s, p in zip(symbols, powers, strict=True)})
            for powers, coefficient in polynomial.terms()
        )
    )


def test_sgd_and_the_gradient_follow_from_gaussian_moments_with_two_coordinates_and_two_samples() -> None:
    """E over the iterate, the features and the label noise, from scratch, for b = 1 and b = 2."""
    rate, noise = sympy.symbols("a s", positive=True)
    eigenvalues, errors = sympy.symbols("l1 l2", positive=True), sympy.symbols("c1 c2", positive=True)
    e1, e2, *samples = sympy.symbols("e1 e2 x1 x2 z y1 y2 q")
    level = noise + sum(lam * c for lam, c in zip(eigenvalues, errors, strict=True))
    variances = dict(
        zip(
            (e1, e2, *samples),
            (*errors, eigenvalues[0], eigenvalues[1], noise, eigenvalues[0], eigenvalues[1], noise),
            strict=True,
        )
    )
    gradients = [x1 * (x1 * e1 + x2 * e2 - z) for x1, x2, z in (samples[:3], samples[3:])]
    one, two = gradients[0], (gradients[0] + gradients[1]) / 2
    lam, c = eigenvalues[0], errors[0]
    for gradient, batch in ((one, 1), (two, 2)):
        after = expectation((e1 - rate * gradient) ** 2, variances)
        assert sympy.expand(after - sgd_step(lam, c, level, rate, sympy.Integer(batch))) == 0
        second = expectation(gradient**2, variances)
        assert sympy.expand(second - gradient_second_moment(lam, c, level, sympy.Integer(batch))) == 0
    assert sympy.expand(expectation(one**2, variances) - squared_gradient(lam, c)) == sympy.expand(
        gradient_variance(lam, c, level)
    )
    assert expectation((e1 - rate * one) * e2, variances) == 0  # coordinates stay uncorrelated


def test_the_adam_like_step_is_an_expectation_over_the_same_gradient() -> None:
    """E(e - a g / D)^2 with E e g = lambda c and D^2 = E g^2: the last term is a^2 exactly."""
    lam, c, level, rate, batch = sympy.symbols("l c N a b", positive=True)
    second = gradient_second_moment(lam, c, level, batch)
    expected = c - 2 * rate * lam * c / sympy.sqrt(second) + rate**2 * second / second
    assert sympy.simplify(expected - adam_like_step(lam, c, level, rate, batch)) == 0


@given(problems, st.floats(0.0, 3.0), st.floats(0.0, 1.0), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_multiplicities_stand_for_repeated_coordinates(drawn, noise, rate, batch) -> None:
    eigenvalues, errors, counts = (np.array(values) for values in zip(*drawn, strict=True))
    errors += 1e-3
    blocks = Regression(eigenvalues, noise, counts)
    flat = Regression(np.repeat(eigenvalues, counts), noise)
    repeated = np.repeat(errors, counts)
    for name in ("risk", "noise_level", "squared_norm", "trace"):
        assert getattr(blocks, name)(errors) == pytest.approx(float(getattr(flat, name)(repeated)), rel=1e-12)
    for name, scale in flat.noise_scales(repeated).items():
        assert blocks.noise_scales(errors)[name] == pytest.approx(float(scale), rel=1e-12)
    for step in ("sgd", "adam_like"):
        stepped = getattr(blocks, step)(errors, rate, batch)
        assert np.allclose(np.repeat(stepped, counts), getattr(flat, step)(repeated, rate, batch), rtol=1e-12)
    # the trace is the sum of the coordinates' variances
    assert flat.trace(repeated) == pytest.approx(float(flat.variances(repeated).sum()), rel=1e-12)


def test_shapes_broadcast_over_problems_and_rates() -> None:
    eigenvalues = np.array([[1.0, 0.5], [2.0, 0.1]])
    problem = Regression(eigenvalues, np.array([0.0, 1.0]))
    errors = np.ones((3, 2, 2))
    rates, batches = np.array([[0.1], [0.2], [0.3]]), np.array([4.0, 8.0])
    stepped = problem.sgd(errors, rates, batches)
    for i, j in itertools.product(range(3), range(2)):
        one = Regression(eigenvalues[j], float(problem.noise[j]))
        assert np.allclose(stepped[i, j], one.sgd(errors[i, j], float(rates[i, 0]), float(batches[j])))
