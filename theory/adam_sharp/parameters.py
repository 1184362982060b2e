r"""The free parameters of Theorem 2, chosen: M and N over a small grid, and the best step size.

Problem:
    Theorem 2 (:mod:`theory.adam_sharp.theorem2`) holds for every window M >= 1 and number N >= 0 of virtual steps
    at which kappa > 0. Which choice gives the smallest bound, and which step size makes that smallest?

Algorithm:
    - **M** and **N** run over geometric grids up to about 22 / (1 - beta2) and 45 / (1 - beta1). Their ratio is
      sqrt(2), and 2 for M below 1/16 of 1 / (1 - beta2), which is best for short runs only. On 1,500 random
      problems four times finer grids gain at most 1% in M, and 1.5% in N.
    - **The step size**: for each M and N, minimising the bound over alpha is a geometric program: the bound is
      convex on log axes, and golden section finds its minimum, for all at once.

    The grids depend on the betas alone, so that the best bound is still monotone in K, eta, d, L and Delta.

Shapes:
    Floats or numpy arrays (broadcast together); the grid is one more, trailing axis inside. No SymPy symbols: a
    minimum over a grid is not a formula.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.5, step_size=1e-4)
    >>> bound = best_bound(problem, adam)
    >>> round(bound.value / 10**6, 3), bound.parameters["M"], bound.parameters["N"]
    (0.245, 80.0, 114.0)
    >>> alpha = best_step_size(problem, adam)
    >>> round(best_bound(problem, replace(adam, step_size=alpha)).value / 10**6, 4)
    0.1405
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.numeric import Value, item, sqrt
from theory.adam_sharp.constants import gradient_energy, second_order_cost
from theory.adam_sharp.momentum_sums import momentum_sums
from theory.adam_sharp.theorem2 import FreeParameters, bound_at, bound_at_cost, require_condition
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, common_shape, map_values

__all__ = [
    "best_bound",
    "best_parameters",
    "best_step_size",
    "golden_section",
    "largest_extra_steps",
    "window_grid",
]

Array = NDArray[np.float64]
WINDOW_SCALES = np.concatenate([[0.0], 2.0 ** np.arange(-27.0, -4.0), 2.0 ** np.arange(-4.0, 5.0, 0.5)])
EXTRA_SCALES = np.concatenate([[0.0], 2.0 ** np.arange(-3.0, 6.0, 0.5)])
GOLDEN = (np.sqrt(5.0) - 1) / 2


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
    """A problem with a trailing axis for the choices of M and N, and what does not depend on the step size."""

    problem: Problem
    adam: AdamParameters
    free: FreeParameters
    energy: Value
    cost: Value
    alignment: Array

    def values(self, step_size: Value) -> Array:
        """The bound for every choice on the grid; infinite where kappa <= 0."""
        adam = replace(self.adam, step_size=step_size)
        positive = self.alignment > 0
        kappa = np.where(positive, self.alignment, 1.0)
        bound = bound_at_cost(self.problem, adam, self.free, self.energy, self.cost, kappa)
        return np.where(positive, np.asarray(bound.value), np.inf)


def _grid(problem: Problem, adam: AdamParameters) -> _Grid:
    require_condition(adam.beta1, adam.beta2, adam.eta)
    shape = common_shape(problem, adam)

    def with_trailing_axis(value: Value) -> Array:
        return np.broadcast_to(np.asarray(value, float), shape)[..., None]

    problem, adam = map_values(problem, with_trailing_axis), map_values(adam, with_trailing_axis)
    windows, extras = window_grid(adam.beta2[..., 0]), extra_grid(adam.beta1[..., 0])
    kappa = momentum_sums(adam.beta1, adam.beta2, adam.eta, extras).alignment
    axes = np.broadcast_arrays(windows[..., :, None], extras[..., None, :], np.asarray(kappa)[..., None, :])
    window, extra, alignment = (axis.reshape(*shape, -1) for axis in axes)
    horizon = problem.steps + extra
    energy = gradient_energy(horizon, problem.dimension, adam.beta2, adam.log_growth)
    cost = second_order_cost(horizon, problem.dimension, energy, adam.beta1, adam.beta2)
    return _Grid(problem, adam, FreeParameters(window, extra), energy, cost, alignment)


def _pick(values: Array, best: NDArray[np.intp]) -> Value:
    chosen = np.take_along_axis(np.broadcast_to(values, (*best.shape, values.shape[-1])), best[..., None], -1)
    return item(chosen[..., 0])


def best_parameters(problem: Problem, adam: AdamParameters) -> FreeParameters:
    """M and N that make Theorem 2's bound least (at the run's step size), elementwise."""
    grid = _grid(problem, adam)
    best = np.argmin(grid.values(grid.adam.alpha), axis=-1)
    return FreeParameters(_pick(grid.free.window, best), _pick(grid.free.extra_steps, best))


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
    # Q is least at alpha^2 = Delta / (L E), and A2 increases with alpha: the best alpha is not larger.
    least = grid.problem.initial_gap / (grid.problem.smoothness * grid.cost)
    high = np.log(np.asarray(sqrt(least))) + 0.1
    logarithm = golden_section(lambda a: grid.values(np.exp(a)), high - 40.0, high)
    return _pick(np.exp(logarithm), np.argmin(grid.values(np.exp(logarithm)), axis=-1))


def golden_section(function: Callable[[Array], Array], low: Array, high: Array, steps: int = 56) -> Array:
    """Where a unimodal function is least, elementwise; nearer than some 1e-8 its values do not tell places apart.

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
