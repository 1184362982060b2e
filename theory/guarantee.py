r"""What is guaranteed for Adam: the better of corrected Theorem 1 and Theorem 2, in one call.

Problem:
    Given an objective's constants, Adam's betas and the eta of the coordinate-wise norm test: which bound on
    sum_k E||grad L(w_k)||_1 holds, and is there one?

Guarantee:
    The smaller of the two theorems' bounds, elementwise, with the theorem and the free parameters that gave it.
    Theorem 1 (:mod:`theory.adam.theorem1`, with epsilon :mod:`theory.adam.variants`) needs eta^2 < 1 - beta1 /
    sqrt(beta2); Theorem 2 (:mod:`theory.adam_sharp.theorem2`) needs
    Lambda eta^2 < h, for which eta^2 (1 + beta1 / sqrt(beta2)) < 1 is enough, and so is eta <= .7071.

    Either covers Adam without bias correction, at a constant step size.

References:
    Lau et al., CPAL 2025, arXiv 2412.21124, corrected.

Shapes:
    Floats or numpy arrays (broadcast together).

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> bound = adam_guarantee(problem, AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=1e-4))
    >>> round(bound.value / 10**6, 3), bound.theorem
    (0.2, 'Theorem 2 (sharper, for any betas)')
    >>> too_noisy = AdamParameters(beta1=0.9, beta2=0.95, eta=0.96, step_size=1e-4)
    >>> adam_guarantee(problem, too_noisy)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires ... of the admissible values is eta = 0.955...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.numeric import Value, item, maximum
from theory.adam import theorem1, variants
from theory.adam.constants import alignment
from theory.adam_sharp import theorem2
from theory.adam_sharp.parameters import best_bound, best_step_size
from theory.adam_sharp.theorem2 import freezing_threshold
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, common_shape, map_values, require_betas, require_eta

__all__ = ["adam_guarantee", "applicable", "largest_admissible_eta", "recommended_step_size", "require_applicable"]

Array = NDArray[np.float64]
NAMES = (theorem1.NAME, theorem2.NAME)


def largest_admissible_eta(beta1: Value, beta2: Value) -> Value:
    """The supremum of the eta that one of the two theorems covers.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.

    >>> round(largest_admissible_eta(0.9, 0.95), 4), round(largest_admissible_eta(0.1, 0.95), 4)
    (0.9557, 0.9905)
    """
    return maximum(theorem1.largest_admissible_eta(beta1, beta2), theorem2.largest_admissible_eta(beta1, beta2))


def adam_guarantee(problem: Problem, adam: AdamParameters) -> Bound:
    """The better bound of the two theorems on sum_k E||grad L(w_k)||_1.

    Args:
        problem: Theorem 2 alone uses its ``initial_gradient_norm``.
        adam: see :func:`recommended_step_size`; ``log_growth`` is worth giving where v_0 > 0 or epsilon > 0.

    Returns:
        A bound whose ``theorem`` names the better theorem (for arrays, all that were best somewhere), with
        ``terms`` "Theorem 1" and "Theorem 2": both bounds, infinite where a theorem does not apply. ``parameters``
        has ``theorem`` (1 or 2), and Theorem 2's ``M`` and ``N``.

    Raises:
        HypothesisError: where neither theorem applies; it names the largest admissible eta.
    """
    require_applicable(adam.beta1, adam.beta2, adam.eta)
    problem, adam, shape = _flatten(problem, adam)
    first_applies, second_applies = applicable(adam.beta1, adam.beta2, adam.eta)
    first, _ = _evaluate(variants.gradient_norm_sum_bound, problem, adam, first_applies)
    second, free = _evaluate(best_bound, problem, adam, second_applies)
    which = np.where(first <= second, 1, 2)
    return Bound(
        value=item(np.minimum(first, second).reshape(shape)),
        theorem=" / ".join(name for k, name in enumerate(NAMES, start=1) if np.any(which == k)),
        terms={"Theorem 1": item(first.reshape(shape)), "Theorem 2": item(second.reshape(shape))},
        parameters={k: item(v.reshape(shape)) for k, v in {"theorem": which, **free}.items()},
    )


def applicable(beta1: Value, beta2: Value, eta: Value) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where Theorem 1 applies, and where Theorem 2.

    >>> [bool(x) for x in applicable(0.9, 0.95, 0.5)]
    [False, True]
    """
    first = np.asarray(alignment(beta1, beta2, eta)) > 0
    threshold = freezing_threshold(beta1, beta2, np.minimum(eta, 1.0))
    return first, (np.asarray(threshold) < 1) & (np.asarray(eta) < 1)


def require_applicable(beta1: Value, beta2: Value, eta: Value) -> None:
    """Raise ``HypothesisError`` unless one of the theorems applies at each (betas, eta)."""
    require_betas(beta1, beta2)
    meets, largest = np.logical_or(*applicable(beta1, beta2, eta)), largest_admissible_eta(beta1, beta2)
    condition = "Theorem 1's eta^2 < 1 - r or Theorem 2's Lambda eta^2 < h, r = beta1 / sqrt(beta2)"
    require_eta(eta, meets, condition, largest, beta1=beta1, beta2=beta2)


def _flatten(problem: Problem, adam: AdamParameters) -> tuple[Problem, AdamParameters, tuple[int, ...]]:
    """All values broadcast together, as vectors, and their common shape."""
    shape = common_shape(problem, adam)

    def vector(value: Value) -> Array:
        return np.broadcast_to(np.asarray(value, dtype=float), shape).ravel()

    return map_values(problem, vector), map_values(adam, vector), shape


def _evaluate(
    bound_of: Callable[[Problem, AdamParameters], Bound],
    problem: Problem,
    adam: AdamParameters,
    applies: NDArray[np.bool_],
) -> tuple[Array, dict[str, Array]]:
    """A theorem's bound where it applies, infinity elsewhere; and its free parameters, NaN elsewhere."""
    values = np.full(applies.shape, np.inf)
    if not applies.any():
        return values, {}
    bound = bound_of(*_where(applies, problem, adam))
    values[applies] = bound.value
    free = {}
    for name, value in bound.parameters.items():
        free[name] = np.full(applies.shape, np.nan)
        free[name][applies] = value
    return values, free


def _where(chosen: NDArray[np.bool_], problem: Problem, adam: AdamParameters) -> tuple[Problem, AdamParameters]:
    return map_values(problem, lambda value: value[chosen]), map_values(adam, lambda value: value[chosen])


def recommended_step_size(problem: Problem, adam: AdamParameters) -> Value:
    """The step size that makes :func:`adam_guarantee` least: the better theorem's own best step size.

    Raises:
        HypothesisError: where neither theorem applies, or at Delta = 0 (the bound only falls with alpha).

    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2)
    >>> alpha = recommended_step_size(problem, adam)
    >>> f"{alpha:.3g}", round(adam_guarantee(problem, replace(adam, step_size=alpha)).value / 10**6, 3)
    ('3.08e-05', 0.114)
    """
    require_applicable(adam.beta1, adam.beta2, adam.eta)
    problem.require_gap()
    problem, adam, shape = _flatten(problem, adam)
    first = np.asarray(theorem1.best_step_size(problem, adam))
    second = first.copy()
    _, applies = applicable(adam.beta1, adam.beta2, adam.eta)
    if applies.any():
        second[applies] = best_step_size(*_where(applies, problem, adam))
    values = [np.asarray(adam_guarantee(problem, replace(adam, step_size=step)).value) for step in (first, second)]
    return item(np.where(values[0] <= values[1], first, second).reshape(shape))
