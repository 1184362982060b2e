r"""What every bound is told: the problem, and how Adam is run on it.

Notation of the statements: L, d, Delta, K and G_1 belong to the :class:`Problem`; beta1, beta2, alpha, v_0,
epsilon and the eta of the norm test to :class:`AdamParameters`.

Shapes:
    Every field is a float, a numpy array (they broadcast together) or a SymPy expression.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=2.0, steps=10_000)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=1e-4)
    >>> Problem(smoothness=1.0, dimension=10, initial_gap=2.0, steps=0)
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires steps >= 1, but steps = 0; take steps = 1 or more
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt

__all__ = ["AdamParameters", "Problem", "common_shape", "map_values", "require_betas", "require_eta"]

Parameters = TypeVar("Parameters", "Problem", "AdamParameters")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An L-smooth objective that is bounded below, and how many steps are taken on it.

    Attributes:
        smoothness: L > 0, the Lipschitz constant of the gradient in the l2 norm.
        dimension: d >= 1.
        initial_gap: Delta = L(w_1) - inf L >= 0.
        steps: K >= 1.
        initial_gradient_norm: ||G_1||_1, if known: Theorem 2 and the theorem on schedules use it.
    """

    smoothness: Value
    dimension: Value
    initial_gap: Value
    steps: Value
    initial_gradient_norm: Value | None = None

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless every value is in its range."""
        smoothness, gap = describe("smoothness", self.smoothness), describe("initial_gap", self.initial_gap)
        require(self.smoothness > 0, "smoothness > 0", smoothness, "any bound L > 0 will do")
        dimension, steps = describe("dimension", self.dimension), describe("steps", self.steps)
        require(self.dimension >= 1, "dimension >= 1", dimension, "take dimension = 1 or more")
        require(self.initial_gap >= 0, "initial_gap = L(w_1) - inf L >= 0", gap, "take initial_gap = 0 or more")
        require(self.steps >= 1, "steps >= 1", steps, "take steps = 1 or more")

    @property
    def first_gradient_norm(self) -> Value:
        """||G_1||_1, or sqrt(2 d L Delta), which it never exceeds: ||G_1||^2 <= 2 L Delta."""
        if self.initial_gradient_norm is not None:
            return self.initial_gradient_norm
        return sqrt(self.smoothness * self.dimension * self.initial_gap * 2)

    def require_gap(self) -> None:
        """Raise ``HypothesisError`` at Delta = 0, where w_1 is a minimiser and no step size is best."""
        gap = describe("initial_gap", self.initial_gap)
        advice = "at 0 the smaller the step size, the smaller the bound"
        require(self.initial_gap > 0, "initial_gap > 0", gap, advice)


@dataclass(frozen=True, kw_only=True)
class AdamParameters:
    """Adam's run, and the eta of the norm test that its gradients meet.

    Attributes:
        beta1: decay of m, 0 <= beta1 < sqrt(beta2).
        beta2: decay of v, below 1.
        eta: of the norm test, >= 0.
        step_size: alpha > 0; None where the bound chooses it.
        sum_sqrt_v0: sum_i sqrt(v_{0,i}) >= 0.
        epsilon: added outside the root, >= 0.
        log_growth: an upper bound on sum_i E ln((v_{K',i} + epsilon^2) / (v_{0,i} + epsilon^2)) for every horizon
            K' >= K in use, for example by :func:`~theory.adam_sharp.theorem2.log_growth_bound`. None (nothing
            known, as at v_0 = epsilon = 0) leaves Theorems 2 and 3 valid, but weaker by up to
            sqrt(1 / (1 - beta2)).
    """

    beta1: Value
    beta2: Value
    eta: Value
    step_size: Value | None = None
    sum_sqrt_v0: Value = 0.0
    epsilon: Value = 0.0
    log_growth: Value | None = None

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless every value is in its range."""
        require_betas(self.beta1, self.beta2)
        require(self.eta >= 0, "eta >= 0", describe("eta", self.eta), "take eta = 0 (no noise) or more")
        if self.step_size is not None:
            step_size = describe("step_size", self.step_size)
            require(self.step_size > 0, "step_size > 0", step_size, "see best_step_size")
        for name in ("sum_sqrt_v0", "epsilon"):
            value = getattr(self, name)
            require(value >= 0, f"{name} >= 0", describe(name, value), "take 0 or more")
        if self.log_growth is not None:
            growth = describe("log_growth", self.log_growth)
            require(self.log_growth == self.log_growth, "log_growth not NaN", growth, "None if it is not known")

    @property
    def alpha(self) -> Value:
        """The step size, for a bound that needs one.

        Raises:
            HypothesisError: if there is none.
        """
        require(self.step_size is not None, "a step size", "step_size = None", "see best_step_size")
        return self.step_size

    def require_no_epsilon(self, advice: str = "take epsilon = 0, or Theorem 1 or 3, which allow it") -> None:
        """Raise ``HypothesisError`` for epsilon > 0: steps are smaller than a bound on (6) itself assumes."""
        require(self.epsilon == 0, "epsilon = 0", describe("epsilon", self.epsilon), advice)


def require_betas(beta1: Value, beta2: Value) -> None:
    """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless 0 <= beta1 < sqrt(beta2) < 1."""
    given = f"{describe('beta1', beta1)}, {describe('beta2', beta2)}"
    require(beta1 >= 0, "0 <= beta1 < sqrt(beta2) < 1", given, "take beta1 >= 0")
    require(beta2 > 0, "0 <= beta1 < sqrt(beta2) < 1", given, "take beta2 > 0")
    require(beta2 < 1, "0 <= beta1 < sqrt(beta2) < 1", given, "take beta2 < 1")
    require(beta1**2 < beta2, "0 <= beta1 < sqrt(beta2) < 1", given, "take beta2 > beta1^2")


def require_eta(eta: Value, meets: Value, condition: str, largest: Value, **others: Value) -> None:
    """Raise ``HypothesisError`` unless eta >= 0 meets a theorem's condition; it names the supremum of such eta.

    Args:
        eta: of the norm test.
        meets: whether the condition holds.
        condition: in words.
        largest: the supremum of the eta that meet it.
        others: the values that the condition depends on, by name.
    """
    require(eta >= 0, "eta >= 0", describe("eta", eta), "take eta = 0 (no noise) or more")
    given = ", ".join(describe(name, value) for name, value in {"eta": eta, **others}.items())
    require(meets, condition, given, f"the supremum of the admissible values is {describe('eta', largest)}")


def map_values(given: Parameters, function: Callable[[Value], Value]) -> Parameters:
    """The same parameters with ``function`` applied to every value that is known."""
    known = {f.name: value for f in fields(given) if (value := getattr(given, f.name)) is not None}
    return replace(given, **{name: function(value) for name, value in known.items()})


def common_shape(problem: Problem, adam: AdamParameters) -> tuple[int, ...]:
    """The shape that all values broadcast to; () for numbers.

    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=2.0, steps=np.array([10, 100]))
    >>> common_shape(problem, AdamParameters(beta1=0.9, beta2=0.95, eta=0.2))
    (2,)
    """
    values = [getattr(given, f.name) for given in (problem, adam) for f in fields(given)]
    return np.broadcast_shapes(*(np.shape(value) for value in values if value is not None))
