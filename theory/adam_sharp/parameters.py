r"""The free parameters of Theorem 2, chosen: the best zeta in closed form, M and N over a small grid.

Problem:
    Theorem 2 (:mod:`theory.adam_sharp.theorem2`) holds for every zeta in (0, 1), window M >= 1 and number N >= 0
    of virtual steps. Which choice gives the smallest bound, and which step size makes that smallest?

Algorithm:
    - **zeta** enters Q alone. With y = 2 zeta / (1 + zeta), so that 1 / u = (1 - zeta) / (1 + zeta) = 1 - y and
      z = 2 / y, and with Y = 1 - tau eta^2 / (1 - r eta^2),

          Q = tau^3 (P + 2 R / y) / (Y - y),   0 < y < Y,

      where P = Delta / alpha + alpha L E_0, R = alpha L E_1 and E = E_0 + E_1 z. It is least at
      y = 2 R Y / (2 R + sqrt(4 R^2 + 2 P R Y)). E is the smaller of two such sums; both are tried.
    - **M** and **N** run over geometric grids up to about 22 / (1 - beta2) and 45 / (1 - beta1). Their ratio is
      sqrt(2), and 2 for M below 1/16 of 1 / (1 - beta2), which is best for short runs only. On 1,500 random
      problems four times finer grids gain at most 1% in M, and 1.5% in N.
    - **The step size**: for each M, N and form of E, minimising the bound over alpha and y is a geometric program.
      So the bound at its best zeta is convex on log axes, and golden section finds its minimum, for all at once.

    The grids depend on the betas alone, so that the best bound is still monotone in K, eta, d, L and Delta.

Shapes:
    Floats or numpy arrays (broadcast together); the grid is one more, trailing axis inside. No SymPy symbols: a
    minimum over a grid is not a formula.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.5, step_size=1e-4)
    >>> bound = best_bound(problem, adam)
    >>> round(bound.value / 10**6, 3), bound.parameters["M"], bound.parameters["N"]
    (3.887, 160.0, 114.0)
    >>> alpha = best_step_size(problem, adam)
    >>> round(best_bound(problem, replace(adam, step_size=alpha)).value / 10**6, 3)
    0.96
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.numeric import Value, item, sqrt
from theory.adam_sharp.constants import energy_cost, gradient_energy, uniform_cost
from theory.adam_sharp.theorem2 import (
    FreeParameters,
    bound_at,
    bound_at_cost,
    freezing_threshold,
    require_condition,
)
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, common_shape, map_values

__all__ = [
    "best_bound",
    "best_parameters",
    "best_step_size",
    "best_zeta",
    "golden_section",
    "largest_extra_steps",
    "window_grid",
]

Array = NDArray[np.float64]
WINDOW_SCALES = np.concatenate([[0.0], 2.0 ** np.arange(-27.0, -4.0), 2.0 ** np.arange(-4.0, 5.0, 0.5)])
EXTRA_SCALES = np.concatenate([[0.0], 2.0 ** np.arange(-3.0, 6.0, 0.5)])
GOLDEN = (np.sqrt(5.0) - 1) / 2


def best_zeta(threshold: Value, fixed: Value, drift: Value) -> Value:
    """The zeta that makes (P + 2 R / y) / (Y - y), y = 2 zeta / (1 + zeta), least.

    Args:
        threshold: 1 - Y = tau eta^2 / (1 - r eta^2) < 1.
        fixed: P >= 0.
        drift: R > 0.

    >>> round(best_zeta(threshold=0.0, fixed=1.0, drift=0.0016), 4)
    0.0275
    """
    room = 1 - threshold
    y = 2 * drift * room / (2 * drift + sqrt(4 * drift**2 + 2 * fixed * drift * room))
    return y / (2 - y)


def window_grid(beta2: Value) -> Array:
    """The windows M tried: 1 and up to about 22 / (1 - beta2). Shape [..., windows]."""
    gap = 1 - np.asarray(beta2, dtype=float)[..., None]
    scales = WINDOW_SCALES[(WINDOW_SCALES == 0) | (gap.min(initial=1.0) < WINDOW_SCALES)]  # the others give 1 too
    grid: Array = np.maximum(1.0, np.ceil(scales / gap))
    return grid


def extra_grid(beta1: Value) -> Array:
    """The numbers N of virtual steps tried: 0 and up to about 45 / (1 - beta1); 0 at beta1 = 0."""
    momentum = np.asarray(beta1, dtype=float)[..., None]
    return np.where(momentum == 0, 0.0, np.ceil(EXTRA_SCALES / (1 - momentum)))


def largest_extra_steps(beta1: Value) -> Value:
    """The largest N that :func:`best_bound` may use.

    >>> largest_extra_steps(0.9), largest_extra_steps(0.0)
    (453.0, 0.0)
    """
    return item(extra_grid(beta1).max(axis=-1))


@dataclass(frozen=True)
class _Grid:
    """A problem with a trailing axis for the choices of M, N and of the form of E."""

    problem: Problem
    adam: AdamParameters
    window: Array
    extra_steps: Array
    uniform: Array

    @property
    def threshold(self) -> Value:
        """1 - Y of :func:`best_zeta`."""
        return freezing_threshold(self.adam.beta1, self.adam.beta2, self.adam.eta)


def _grid(problem: Problem, adam: AdamParameters) -> _Grid:
    require_condition(adam.beta1, adam.beta2, adam.eta)
    shape = common_shape(problem, adam)

    def with_trailing_axis(value: Value) -> Array:
        return np.broadcast_to(np.asarray(value, float), shape)[..., None]

    problem, adam = map_values(problem, with_trailing_axis), map_values(adam, with_trailing_axis)
    windows, extras = window_grid(adam.beta2[..., 0]), extra_grid(adam.beta1[..., 0])
    axes = np.broadcast_arrays(windows[..., :, None, None], extras[..., None, :, None], np.array([True, False]))
    return _Grid(problem, adam, *(axis.reshape(*shape, -1) for axis in axes))


def _evaluate(grid: _Grid, step_size: Value) -> tuple[Array, Array]:
    """The bound and the best zeta for every choice on the grid."""
    problem, adam = grid.problem, replace(grid.adam, step_size=step_size)
    energy, cost = _costs(grid)
    at_zero, slope = _affine_in_drift(adam, cost)
    scale = adam.alpha * problem.smoothness
    fixed = problem.initial_gap / adam.alpha + scale * at_zero
    zeta = np.where(slope > 0, best_zeta(grid.threshold, fixed, scale * np.where(slope > 0, slope, 1.0)), 0.5)
    free = FreeParameters(zeta, grid.window, grid.extra_steps)
    return np.asarray(bound_at_cost(problem, adam, free, energy, cost(zeta)).value), zeta


def _costs(grid: _Grid) -> tuple[Value, Callable[[Value], Value]]:
    """H, and the chosen form of E as a function of zeta."""
    adam, dimension, horizon = grid.adam, grid.problem.dimension, grid.problem.steps + grid.extra_steps
    energy = gradient_energy(horizon, dimension, adam.beta2, adam.log_growth)

    def cost(zeta: Value) -> Value:
        return np.where(
            grid.uniform,
            uniform_cost(horizon, dimension, adam.beta1, adam.beta2, zeta),
            energy_cost(energy, adam.beta1, adam.beta2, zeta),
        )

    return energy, cost


def _affine_in_drift(adam: AdamParameters, cost: Callable[[Value], Value]) -> tuple[Value, Value]:
    """E_0 and E_1 of E = E_0 + E_1 z, z = 1 + 1 / zeta, read off at z = 0 (zeta = -1) and z = 1 (zeta = oo).

    E_1 is 0 at beta1 = 0 only; a rounding error there moves zeta off its best value, and nothing else.
    """
    at_zero = cost(-1.0)
    slope = np.maximum(cost(np.inf) - at_zero, np.finfo(float).eps * at_zero)
    return at_zero, np.where(np.asarray(adam.beta1) > 0, slope, 0.0)


def _pick(values: Array, best: NDArray[np.intp]) -> Value:
    chosen = np.take_along_axis(np.broadcast_to(values, (*best.shape, values.shape[-1])), best[..., None], -1)
    return item(chosen[..., 0])


def best_parameters(problem: Problem, adam: AdamParameters) -> FreeParameters:
    """zeta, M and N that make Theorem 2's bound least (at the run's step size), elementwise."""
    grid = _grid(problem, adam)
    values, zeta = _evaluate(grid, grid.adam.alpha)
    best = np.argmin(values, axis=-1)
    return FreeParameters(_pick(zeta, best), _pick(grid.window, best), _pick(grid.extra_steps, best))


def best_bound(problem: Problem, adam: AdamParameters) -> Bound:
    """Theorem 2's bound on sum_k E||grad L(w_k)||_1 at the best free parameters.

    Raises:
        HypothesisError: if eta is not admissible.
    """
    return bound_at(problem, adam, best_parameters(problem, adam))


def best_step_size(problem: Problem, adam: AdamParameters) -> Value:
    """The step size that makes :func:`best_bound` least, in place of ``adam.step_size``.

    ``log_growth`` is taken as given: if it came from a step size, compute it again for the one returned.

    Raises:
        HypothesisError: at Delta = 0, where the bound only falls with the step size.
    """
    problem.require_gap()
    grid = _grid(problem, adam)
    high = np.log(_largest_step_size(grid)) + 0.1
    logarithm = golden_section(lambda a: _evaluate(grid, np.exp(a))[0], high - 40.0, high)
    values, _ = _evaluate(grid, np.exp(logarithm))
    return _pick(np.exp(logarithm), np.argmin(values, axis=-1))


def _largest_step_size(grid: _Grid) -> Array:
    """Where Q, minimised over zeta too, is least: A2 increases with alpha, so the best alpha is not larger.

    There alpha^2 = Delta / (L E), E = E_0 + 2 E_1 / y, y = 2 E_1 Y / (3 E_1 + sqrt(9 E_1^2 + 4 E_0 E_1 Y)).
    """
    at_zero, slope = _affine_in_drift(grid.adam, _costs(grid)[1])
    room = 1 - grid.threshold
    momentum = np.where(slope > 0, slope, 1.0)
    y = 2 * momentum * room / (3 * momentum + sqrt(9 * momentum**2 + 4 * at_zero * momentum * room))
    cost = np.where(slope > 0, at_zero + 2 * momentum / y, at_zero)
    return np.asarray(sqrt(grid.problem.initial_gap / (grid.problem.smoothness * cost)))


def golden_section(function: Callable[[Array], Array], low: Array, high: Array, steps: int = 80) -> Array:
    """Where a unimodal function is least, elementwise.

    >>> round(float(golden_section(lambda x: (x - 2.0) ** 2, np.array(0.0), np.array(5.0))), 6)
    2.0
    """
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        shrink = at_left <= at_right
        low, high = np.where(shrink, low, left), np.where(shrink, right, high)
        inner = np.where(shrink, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        value = function(inner)
        left, right = np.where(shrink, inner, right), np.where(shrink, left, inner)
        at_left, at_right = np.where(shrink, value, at_right), np.where(shrink, at_left, value)
    return np.asarray((low + high) / 2)
