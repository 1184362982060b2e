"""The exact norm tests, all in one form: variance / b <= eta^2 * signal, in every column.

    ================  ======================  =================  =======
    test              variance                signal             columns
    ================  ======================  =================  =======
    coordinate-wise   sigma_i^2               G_i^2              d
    norm-wise (4)     sum_i sigma_i^2         ||G||_2^2          1
    l1                (sum_i sigma_i)^2       ||G||_1^2          1
    ================  ======================  =================  =======

Example:
    >>> variance, gradient = np.array([[0.04, 0.0]]), np.array([[0.1, 1.0]])
    >>> [bool(passes(test, variance, gradient, 0.2)[0]) for test in ("coordinate-wise", "norm-wise", "l1")]
    [False, True, True]
    >>> [float(independent_batch_size(test, variance, gradient, 0.2)[0]) for test in TESTS]
    [100.0, 1.0, 1.0]
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from simulate.streams import Array
from theory.estimators.finite_population import smallest_batch_size

__all__ = [
    "TESTS",
    "Test",
    "independent_batch_size",
    "passes",
    "replacement_free_batch_size",
    "require_test",
    "sides",
]

Test = Literal["coordinate-wise", "norm-wise", "l1"]
TESTS: tuple[Test, ...] = get_args(Test)

_ROUNDING = 1e-12


def require_test(test: str) -> None:
    """Raise ValueError unless the test's name is known."""
    if test not in TESTS:
        raise ValueError(f"unknown test {test!r}; known: {', '.join(TESTS)}")


def sides(test: Test, variance: Array, gradient: Array) -> tuple[Array, Array]:
    """Variance and signal of the table, each [seeds, columns], from sigma_i^2 and G_i, each [seeds, d]."""
    if test == "coordinate-wise":
        return variance, gradient * gradient
    if test == "norm-wise":
        return variance.sum(axis=-1, keepdims=True), (gradient * gradient).sum(axis=-1, keepdims=True)
    deviation = np.sqrt(variance).sum(axis=-1, keepdims=True)
    norm = np.abs(gradient).sum(axis=-1, keepdims=True)
    return deviation * deviation, norm * norm


def passes(test: Test, variance: Array, gradient: Array, eta: Any) -> NDArray[np.bool_]:
    """Whether a stochastic gradient of this variance passes, [seeds]; equality up to rounding passes."""
    left, signal = sides(test, variance, gradient)
    passed: NDArray[np.bool_] = (left <= eta**2 * signal * (1.0 + _ROUNDING)).all(axis=-1)
    return passed


def independent_batch_size(test: Test, variance: Array, gradient: Array, eta: Any) -> Array:
    """Smallest b >= 1 of independent samples that passes, [seeds]; inf where no b does.

    Args:
        test: which.
        variance: of one sample, [seeds, d].
        gradient: G, [seeds, d].
        eta: > 0.
    """
    left, signal = sides(test, variance, gradient)
    level = eta**2 * signal
    hopeless = np.where(left > 0, np.inf, 1.0)
    with np.errstate(over="ignore"):
        demanded = np.divide(left * (1.0 - _ROUNDING), level, out=hopeless, where=level > 0)
    result: Array = np.maximum(np.ceil(demanded), 1.0).max(axis=-1)
    return result


def replacement_free_batch_size(test: Test, variance: Array, gradient: Array, eta: Any, population: int) -> Array:
    """Smallest b in 1..n drawn without replacement that passes, [seeds].

    Args:
        test: which.
        variance: sigma_i^2 of one sample with n in the denominator, [seeds, d].
        gradient: G, [seeds, d].
        eta: > 0.
        population: n.
    """
    left, signal = sides(test, variance, gradient)
    result: Array = np.asarray(smallest_batch_size(left, signal, eta, float(population))).max(axis=-1)
    return result
