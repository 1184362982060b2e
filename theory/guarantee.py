r"""What is guaranteed for Adam: the better of corrected Theorem 1 and Theorem 2, in one call.

Problem:
    Given an objective's constants, Adam's betas and the eta of the coordinate-wise norm test: which bound on
    sum_k E||grad L(w_k)||_1 holds, and is there one?

Guarantee:
    The smaller of the two theorems' bounds, elementwise, with the theorem and the free parameters that gave it.
    Theorem 1 (:mod:`theory.adam.theorem1`, with epsilon :mod:`theory.adam.variants`) needs eta^2 < 1 - beta1 /
    sqrt(beta2); Theorem 2 (:mod:`theory.adam_sharp.theorem2`) needs
    eta^2 (beta1 / sqrt(beta2) + sqrt(1 + eta^2)) < 1, of which eta < .6734 is enough.

    Either covers Adam without bias correction, at a constant step size.

References:
    Lau et al., CPAL 2025, arXiv 2412.21124, corrected.

Shapes:
    Floats or numpy arrays (broadcast together).

Example:
    >>> problem = dict(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6, beta1=0.9, beta2=0.95)
    >>> bound = adam_guarantee(**problem, eta=0.2, step_size=1e-4)
    >>> round(bound.value / 10**6, 3), bound.theorem
    (1.312, 'Theorem 2 (sharper, for any betas)')
    >>> adam_guarantee(**problem, eta=0.7, step_size=1e-4)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires ... of the admissible values is eta = 0.684364
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, maximum
from theory.adam import theorem1, variants
from theory.adam.constants import alignment, require_betas
from theory.adam_sharp import theorem2
from theory.adam_sharp.parameters import best_bound, best_step_size
from theory.adam_sharp.theorem2 import SharpProblem, freezing_threshold
from theory.bound import Bound

__all__ = ["adam_guarantee", "coverage", "largest_admissible_eta", "recommended_step_size"]

Array = NDArray[np.float64]
NAMES = (theorem1.NAME, theorem2.NAME)
CLASSIC = (
    "smoothness",
    "dimension",
    "initial_gap",
    "steps",
    "step_size",
    "beta1",
    "beta2",
    "eta",
    "sum_sqrt_v0",
    "epsilon",
)
SHARP = (*CLASSIC, "initial_gradient_norm", "log_growth")


def largest_admissible_eta(beta1: Value, beta2: Value) -> Value:
    """The supremum of the eta that one of the two theorems covers.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.

    >>> round(largest_admissible_eta(0.9, 0.95), 4), round(largest_admissible_eta(0.1, 0.95), 4)
    (0.6844, 0.9473)
    """
    return maximum(theorem1.largest_admissible_eta(beta1, beta2), theorem2.largest_admissible_eta(beta1, beta2))


def adam_guarantee(
    *,
    smoothness: Value,
    dimension: Value,
    initial_gap: Value,
    steps: Value,
    step_size: Value,
    beta1: Value,
    beta2: Value,
    eta: Value,
    sum_sqrt_v0: Value = 0.0,
    epsilon: Value = 0.0,
    initial_gradient_norm: Value | None = None,
    log_growth: Value | None = None,
) -> Bound:
    """The better bound of the two theorems on sum_k E||grad L(w_k)||_1.

    Args:
        smoothness: L > 0, in the l2 norm.
        dimension: d.
        initial_gap: Delta = L(w_1) - inf L >= 0.
        steps: K >= 1.
        step_size: alpha > 0; see :func:`recommended_step_size`.
        beta1: 0 <= beta1 < sqrt(beta2).
        beta2: < 1.
        eta: of the coordinate-wise norm test.
        sum_sqrt_v0: sum_i sqrt(v_{0,i}).
        epsilon: outside the root.
        initial_gradient_norm: ||G_1||_1, if known (Theorem 2 alone uses it).
        log_growth: see :class:`~theory.adam_sharp.theorem2.SharpProblem`; worth giving where v_0 > 0 or
            epsilon > 0.

    Returns:
        A bound whose ``theorem`` names the better theorem (for arrays, all that were best somewhere), with
        ``terms`` "Theorem 1" and "Theorem 2": both bounds, infinite where a theorem does not apply. ``parameters``
        has ``theorem`` (1 or 2), and Theorem 2's ``zeta``, ``M`` and ``N``.

    Raises:
        HypothesisError: where neither theorem applies; it names the largest admissible eta.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    require_coverage(beta1, beta2, eta)
    flat, shape = _flatten(given)
    classic_covers, sharp_covers = coverage(flat["beta1"], flat["beta2"], flat["eta"])
    classic, _ = _evaluate(_classic_bound, flat, CLASSIC, classic_covers)
    sharp, free = _evaluate(_sharp_bound, flat, SHARP, sharp_covers)
    which = np.where(classic <= sharp, 1, 2)
    return Bound(
        value=_shaped(np.minimum(classic, sharp), shape),
        quantity="sum_k E||grad L(w_k)||_1",
        theorem=" / ".join(name for k, name in enumerate(NAMES, start=1) if np.any(which == k)),
        terms={"Theorem 1": _shaped(classic, shape), "Theorem 2": _shaped(sharp, shape)},
        parameters={"theorem": _shaped(which, shape), **{k: _shaped(v, shape) for k, v in free.items()}},
    )


def coverage(beta1: Value, beta2: Value, eta: Value) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which elements Theorem 1 covers, and which Theorem 2.

    >>> [bool(x) for x in coverage(0.9, 0.95, 0.5)]
    [False, True]
    """
    classic = np.asarray(alignment(beta1, beta2, eta)) > 0
    threshold = freezing_threshold(beta1, beta2, np.minimum(eta, 1.0))
    return classic, (np.asarray(threshold) < 1) & (np.asarray(eta) < 1)


def require_coverage(beta1: Value, beta2: Value, eta: Value) -> None:
    """Raise ``HypothesisError`` unless one of the theorems covers each (betas, eta)."""
    require_betas(beta1, beta2)
    require(eta >= 0, "eta >= 0", describe("eta", eta), "take eta = 0 (no noise) or more")
    largest = largest_admissible_eta(beta1, beta2)
    require(
        np.logical_or(*coverage(beta1, beta2, eta)),
        "Theorem 1's eta^2 < 1 - r or Theorem 2's eta^2 (r + sqrt(1 + eta^2)) < 1, r = beta1 / sqrt(beta2)",
        ", ".join(describe(n, v) for n, v in (("eta", eta), ("beta1", beta1), ("beta2", beta2))),
        f"the supremum of the admissible values is {describe('eta', largest)}",
    )


def _flatten(given: Mapping[str, Value]) -> tuple[dict[str, Array], tuple[int, ...]]:
    """The arguments broadcast together, as vectors, and their common shape."""
    shape = np.broadcast_shapes(*(np.shape(value) for value in given.values()))
    return {k: np.broadcast_to(np.asarray(v, dtype=float), shape).ravel() for k, v in given.items()}, shape


def _evaluate(
    bound_of: Callable[[Mapping[str, Value]], Bound],
    flat: Mapping[str, Array],
    names: tuple[str, ...],
    covered: NDArray[np.bool_],
) -> tuple[Array, dict[str, Array]]:
    """A theorem's bound where it applies, infinity elsewhere; and its free parameters, NaN elsewhere."""
    values = np.full(covered.shape, np.inf)
    if not covered.any():
        return values, {}
    bound = bound_of({name: flat[name][covered] for name in names if name in flat})
    values[covered] = bound.value
    free = {}
    for name, value in bound.parameters.items():
        free[name] = np.full(covered.shape, np.nan)
        free[name][covered] = value
    return values, free


def _classic_bound(problem: Mapping[str, Value]) -> Bound:
    bound = variants.gradient_norm_sum_bound(**problem)
    return replace(bound, parameters={})


def _sharp_bound(problem: Mapping[str, Value]) -> Bound:
    return best_bound(SharpProblem(**problem))


def _shaped(values: Array, shape: tuple[int, ...]) -> Value:
    return values.reshape(shape) if shape else values.item()


def recommended_step_size(
    *,
    smoothness: Value,
    dimension: Value,
    initial_gap: Value,
    steps: Value,
    beta1: Value,
    beta2: Value,
    eta: Value,
    sum_sqrt_v0: Value = 0.0,
    epsilon: Value = 0.0,
    initial_gradient_norm: Value | None = None,
    log_growth: Value | None = None,
) -> Value:
    """The step size that makes :func:`adam_guarantee` least: the better theorem's own best step size.

    Arguments as there.

    Raises:
        HypothesisError: where neither theorem applies, or at Delta = 0 (the bound only falls with alpha).

    >>> problem = dict(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6, beta1=0.9, beta2=0.95, eta=0.2)
    >>> alpha = recommended_step_size(**problem)
    >>> f"{alpha:.3g}", round(adam_guarantee(**problem, step_size=alpha).value / 10**6, 3)
    ('1.33e-05', 0.385)
    """
    given = {name: value for name, value in locals().items() if value is not None}
    require_coverage(beta1, beta2, eta)
    gap = describe("initial_gap", initial_gap)
    require(initial_gap > 0, "initial_gap > 0", gap, "at 0 the smaller the step size, the smaller the bound")
    flat, shape = _flatten(given)
    classic_names = ("smoothness", "dimension", "initial_gap", "steps", "beta1", "beta2")
    classic = np.asarray(theorem1.best_step_size(**{name: flat[name] for name in classic_names}))
    sharp = classic.copy()
    _, covered = coverage(flat["beta1"], flat["beta2"], flat["eta"])
    if covered.any():
        problem = {name: flat[name][covered] for name in SHARP if name in flat}
        sharp[covered] = best_step_size(SharpProblem(**problem, step_size=classic[covered]))
    values = [np.asarray(adam_guarantee(**flat, step_size=step).value) for step in (classic, sharp)]
    return _shaped(np.where(values[0] <= values[1], classic, sharp), shape)
