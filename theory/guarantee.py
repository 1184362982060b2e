r"""What is guaranteed for Adam: the best of the theorems that apply, in one call.

Problem:
    Given an objective's constants, Adam's betas and the eta of a norm test: which bound on
    sum_k E||grad L(w_k)||_1 holds, which is best, and at which step size?

Guarantee:
    The smallest of the theorems' bounds, elementwise, with the theorem that gave it. Under the coordinate-wise
    test

    - Theorem 1 (:mod:`theory.adam.theorem1`, with epsilon :mod:`theory.adam.variants`): eta^2 < 1 - r;
    - Theorem 2 (:mod:`theory.adam_sharp.theorem2`): Lambda eta^2 < h, for which eta^2 (1 + r) < 1 is enough, and
      so is eta <= .7071;
    - Theorem 3 (:mod:`theory.l1.theorem3`), for betas with a certificate: of the kind l1, since the test implies
      the l1 test with the same eta, eta < J / lambda; of the kind variance, eta^2 < J / lambda;

    and under the l1 test its theorem without a certificate (:mod:`theory.l1.theorem`) and Theorem 3 with the kind
    l1, which at small eta those of the kind variance are too (:mod:`theory.l1.costs`). r = beta1 / sqrt(beta2).
    Each covers Adam without bias correction, at a constant step size. Theorem 3's certificates say themselves how
    far they are proven; ``numerical=False`` leaves out what is not proven.

References:
    Lau et al., CPAL 2025, arXiv 2412.21124, corrected.

Shapes:
    Floats or numpy arrays (broadcast together).

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=1e-4)
    >>> bound = adam_guarantee(problem, adam, numerical=False)
    >>> {name: f"{value / 10**6:.2g}" for name, value in bound.terms.items() if name in ("Theorem 1", "Theorem 2")}
    {'Theorem 1': '18', 'Theorem 2': '0.2'}
    >>> bound.value == min(bound.terms.values())
    True
    >>> too_noisy = AdamParameters(beta1=0.9, beta2=0.98, eta=0.97, step_size=1e-4)
    >>> adam_guarantee(problem, too_noisy)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires ... of the admissible values is eta = 0.958...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.numeric import Value, item, maximum, where
from theory.adam import theorem1, variants
from theory.adam.constants import alignment
from theory.adam_sharp import theorem2
from theory.adam_sharp.parameters import best_bound, best_step_size
from theory.adam_sharp.theorem2 import freezing_threshold
from theory.bound import Bound
from theory.l1 import theorem as l1_theorem
from theory.l1.costs import Kind
from theory.l1.theorem3 import (
    NAMES,
    best_certified_step_size,
    certificates_of,
    certified_bound,
)
from theory.problem import AdamParameters, Problem, common_shape, map_values, require_betas, require_eta

__all__ = [
    "NormTestKind",
    "Standing",
    "Theorem",
    "adam_guarantee",
    "applicable",
    "largest_admissible_eta",
    "recommended_step_size",
    "require_applicable",
    "standings",
    "theorems",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
LONG = 1e16
"""Steps at which a bound is its leading term, to many digits."""


class NormTestKind(StrEnum):
    """Which norm test the run uses."""

    SCALAR = "scalar"
    """E||g - G||^2 <= eta^2 ||G||^2."""
    L1 = "l1"
    """sum_i sd_i <= eta ||G||_1."""
    COORDINATE = "coordinate"
    """sd_i <= eta |G_i| for every coordinate."""


@dataclass(frozen=True)
class Theorem:
    """A theorem as the guarantee sees it.

    Attributes:
        name: as in a bound's ``terms``.
        condition: on eta and the betas, in words.
        largest_eta: the supremum of the eta that it covers, by the betas and epsilon; 0 where it covers none.
        covers: where it applies, by Adam's parameters.
        bound: the bound where it applies.
        best_step_size: the step size that makes it least.
    """

    name: str
    condition: str
    largest_eta: Callable[[AdamParameters], Value]
    covers: Callable[[AdamParameters], Mask]
    bound: Callable[[Problem, AdamParameters], Bound]
    best_step_size: Callable[[Problem, AdamParameters], Value]


def _theorem_1() -> Theorem:
    return Theorem(
        name="Theorem 1",
        condition="eta^2 < 1 - beta1 / sqrt(beta2)",
        largest_eta=lambda adam: theorem1.largest_admissible_eta(adam.beta1, adam.beta2),
        covers=lambda adam: applicable(adam.beta1, adam.beta2, adam.eta)[0],
        bound=lambda *given: replace(variants.gradient_norm_sum_bound(*given), theorem=theorem1.NAME),
        best_step_size=theorem1.best_step_size,
    )


def _theorem_2() -> Theorem:
    return Theorem(
        name="Theorem 2",
        condition="Lambda eta^2 < h",
        largest_eta=lambda adam: theorem2.largest_admissible_eta(adam.beta1, adam.beta2),
        covers=lambda adam: applicable(adam.beta1, adam.beta2, adam.eta)[1],
        bound=best_bound,
        best_step_size=best_step_size,
    )


def _without_certificate() -> Theorem:
    def largest_eta(adam: AdamParameters) -> Value:
        limits = _of_betas(l1_theorem.largest_admissible_eta, adam.beta1, adam.beta2)
        return where(np.asarray(adam.epsilon) == 0, limits, 0.0)

    return Theorem(
        name="theorem of the l1 norm test",
        condition="eta (1 + rho) (1 + T sqrt(beta2)/(1 - sqrt(beta2))) < 1, no epsilon",
        largest_eta=largest_eta,
        covers=lambda adam: np.asarray((adam.eta <= largest_eta(adam)) & (np.asarray(adam.epsilon) == 0)),
        bound=l1_theorem.l1_test_bound,
        best_step_size=theorem1.best_step_size,
    )


def _certified(kind: Kind, numerical: bool) -> Theorem:
    """Theorem 3 with the best of the certificates of a kind: for their betas only."""
    known = [c for c in certificates_of(kind) if numerical or c.proven]
    ratio = "J / lambda" if kind is Kind.L1 else "sqrt(J / lambda)"

    def largest_eta(adam: AdamParameters) -> Value:
        return reduce(maximum, (c.largest_eta_covered(adam) for c in known), 0.0)

    def best(problem: Problem, adam: AdamParameters) -> tuple[Array, Array, str]:
        """The least bound of the certificates, each at its own step size if none is given, that step size, and how
        far those certificates are proven that gave it.
        """
        values = np.full((len(known), *common_shape(problem, adam)), np.inf)
        steps = np.full_like(values, np.nan)
        for k, certificate in enumerate(known):
            chosen = certificate.covers(adam) & np.ones(values.shape[1:], bool)
            if chosen.any():
                some, run = _where(chosen, problem, adam)
                if run.step_size is None:
                    run = replace(run, step_size=best_certified_step_size(certificate, some, run))
                values[k][chosen] = certified_bound(certificate, some, run).value
                steps[k][chosen] = run.step_size
        which = values.argmin(axis=0)[None]
        support = " / ".join(sorted({known[k].support for k in np.unique(which)}))
        return np.take_along_axis(values, which, axis=0)[0], np.take_along_axis(steps, which, axis=0)[0], support

    def bound(problem: Problem, adam: AdamParameters) -> Bound:
        value, _, support = best(problem, adam)
        return Bound(value, f"{NAMES[kind]}: {support}")

    return Theorem(
        name=NAMES[kind],
        condition=f"eta < {ratio} of a certificate for these betas",
        largest_eta=largest_eta,
        covers=lambda adam: reduce(np.logical_or, (c.covers(adam) for c in known), np.zeros((), bool)),
        bound=bound,
        best_step_size=lambda problem, adam: best(problem, replace(adam, step_size=None))[1],
    )


def theorems(test: NormTestKind = NormTestKind.COORDINATE, *, numerical: bool = True) -> tuple[Theorem, ...]:
    """The theorems on Adam under a test, those with certificates last.

    Args:
        test: coordinate-wise or l1; the scalar test has one theorem, in :mod:`theory.l1.theorem`, and none here.
        numerical: whether certificates count whose inequality is supported numerically only.
    """
    if test is NormTestKind.SCALAR:
        return ()
    if test is NormTestKind.L1:
        return _without_certificate(), _certified(Kind.L1, numerical)
    return _theorem_1(), _theorem_2(), _certified(Kind.L1, numerical), _certified(Kind.VARIANCE, numerical)


def largest_admissible_eta(
    beta1: Value, beta2: Value, test: NormTestKind = NormTestKind.COORDINATE, *, numerical: bool = True
) -> Value:
    """The supremum of the eta that one of the theorems covers.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.

    >>> round(largest_admissible_eta(0.9, 0.98), 4), round(largest_admissible_eta(0.1, 0.95), 4)
    (0.9583, 0.9905)
    """
    return _largest(theorems(test, numerical=numerical), AdamParameters(beta1=beta1, beta2=beta2, eta=0.0))


def _largest(candidates: Sequence[Theorem], adam: AdamParameters) -> Value:
    return reduce(maximum, (theorem.largest_eta(adam) for theorem in candidates))


def adam_guarantee(
    problem: Problem,
    adam: AdamParameters,
    test: NormTestKind = NormTestKind.COORDINATE,
    *,
    numerical: bool = True,
) -> Bound:
    """The best bound of the theorems on sum_k E||grad L(w_k)||_1.

    Args:
        problem: Theorems 2 and 3 use its ``initial_gradient_norm``.
        adam: see :func:`recommended_step_size`; ``log_growth`` is worth giving where v_0 > 0 or epsilon > 0.
        test: coordinate-wise or l1.
        numerical: whether certificates count whose inequality is supported numerically only.

    Returns:
        A bound whose ``theorem`` names the best theorem (for arrays, all that were best somewhere), with every
        theorem's bound as ``terms``, infinite where it does not apply. ``parameters`` has ``theorem`` (its number
        in ``terms``, from 1), and Theorem 2's ``M`` and ``N``.

    Raises:
        HypothesisError: where no theorem applies; it names the largest admissible eta.
    """
    candidates = theorems(test, numerical=numerical)
    _require_some(candidates, adam)
    problem, adam, shape = _flatten(problem, adam)
    found = [_evaluate(theorem, problem, adam) for theorem in candidates]
    values = np.array([value for value, _, _ in found])
    which = values.argmin(axis=0)
    full_names = [name for _, name, _ in found]
    free = {name: value for _, _, parameters in found for name, value in parameters.items()}
    return Bound(
        value=item(values.min(axis=0).reshape(shape)),
        theorem=" / ".join(full_names[k] for k in range(len(candidates)) if np.any(which == k)),
        terms={t.name: item(v.reshape(shape)) for t, v in zip(candidates, values, strict=True)},
        parameters={k: item(v.reshape(shape)) for k, v in {"theorem": which + 1, **free}.items()},
    )


def recommended_step_size(
    problem: Problem,
    adam: AdamParameters,
    test: NormTestKind = NormTestKind.COORDINATE,
    *,
    numerical: bool = True,
) -> Value:
    """The step size that makes :func:`adam_guarantee` least: the best theorem's own best step size.

    Raises:
        HypothesisError: where no theorem applies, or at Delta = 0 (the bound only falls with alpha).

    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.98, eta=0.2)
    >>> alpha = recommended_step_size(problem, adam)
    >>> at_best = adam_guarantee(problem, replace(adam, step_size=alpha))
    >>> f"{alpha:.3g}", round(at_best.value / 10**6, 3)
    ('2.16e-05', 0.161)
    """
    candidates = theorems(test, numerical=numerical)
    _require_some(candidates, adam)
    problem.require_gap()
    problem, adam, shape = _flatten(problem, adam)
    found = [_at_best(theorem, problem, adam) for theorem in candidates]
    values, steps = np.array([value for value, _, _ in found]), np.array([step for _, step, _ in found])
    return item(np.take_along_axis(steps, values.argmin(axis=0)[None], axis=0)[0].reshape(shape))


@dataclass(frozen=True)
class Standing:
    """What a theorem says at some betas and eta, next to the others.

    Attributes:
        name: of the theorem.
        condition: in words, with how far the certificate is proven where the theorem rests on one.
        largest_eta: the supremum of the eta that it covers; 0 if none.
        constant: A with (1/K) sum_k E||G_k||_1 <= A sqrt(L d Delta / K) + o(K^-1/2) at its own step size, from
            v_0 = 0 and without epsilon; None where it does not apply.
    """

    name: str
    condition: str
    largest_eta: float
    constant: float | None


def standings(
    beta1: float,
    beta2: float,
    eta: float,
    test: NormTestKind = NormTestKind.COORDINATE,
    *,
    epsilon: float = 0.0,
    numerical: bool = True,
) -> tuple[Standing, ...]:
    """All theorems of a test side by side; with epsilon, those that cover it.

    >>> [(s.name, s.constant is not None) for s in standings(0.9, 0.95, 0.5)][:2]
    [('Theorem 1', False), ('Theorem 2', True)]
    """
    adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta)
    problem, flat, _ = _flatten(Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=LONG), adam)
    with_epsilon = replace(adam, epsilon=epsilon)
    found = []
    for theorem in theorems(test, numerical=numerical):
        values, _, full_name = _at_best(theorem, problem, flat)
        constant, condition = None, theorem.condition
        if bool(theorem.covers(with_epsilon)):
            constant = float(values[0] / np.sqrt(LONG))
            support = full_name.partition(": ")[2]
            condition += f" ({support})" if support else ""
        found.append(Standing(theorem.name, condition, float(theorem.largest_eta(with_epsilon)), constant))
    return tuple(found)


def applicable(beta1: Value, beta2: Value, eta: Value) -> tuple[Mask, Mask]:
    """Where Theorem 1 applies, and where Theorem 2.

    >>> [bool(x) for x in applicable(0.9, 0.95, 0.5)]
    [False, True]
    """
    first = np.asarray(alignment(beta1, beta2, eta)) > 0
    threshold = freezing_threshold(beta1, beta2, np.minimum(eta, 1.0))
    return first, (np.asarray(threshold) < 1) & (np.asarray(eta) < 1)


def require_applicable(beta1: Value, beta2: Value, eta: Value) -> None:
    """Raise ``HypothesisError`` unless Theorem 1 or Theorem 2 applies at each (betas, eta)."""
    require_betas(beta1, beta2)
    limits = theorem1.largest_admissible_eta(beta1, beta2), theorem2.largest_admissible_eta(beta1, beta2)
    condition = "Theorem 1's eta^2 < 1 - beta1 / sqrt(beta2) or Theorem 2's Lambda eta^2 < h"
    meets = np.logical_or(*applicable(beta1, beta2, eta))
    require_eta(eta, meets, condition, maximum(*limits), beta1=beta1, beta2=beta2)


def _require_some(candidates: Sequence[Theorem], adam: AdamParameters) -> None:
    condition = " or ".join(f"{theorem.name}'s {theorem.condition}" for theorem in candidates)
    meets = reduce(np.logical_or, (theorem.covers(adam) for theorem in candidates))
    require_eta(adam.eta, meets, condition, _largest(candidates, adam), beta1=adam.beta1, beta2=adam.beta2)


def _flatten(problem: Problem, adam: AdamParameters) -> tuple[Problem, AdamParameters, tuple[int, ...]]:
    """All values broadcast together, as vectors, and their common shape."""
    shape = common_shape(problem, adam)

    def vector(value: Value) -> Array:
        return np.broadcast_to(np.asarray(value, dtype=float), shape).ravel()

    return map_values(problem, vector), map_values(adam, vector), shape


def _evaluate(theorem: Theorem, problem: Problem, adam: AdamParameters) -> tuple[Array, str, dict[str, Array]]:
    """A theorem's bound, infinite where it does not apply; its full name; its free parameters, NaN there."""
    applies = np.broadcast_to(theorem.covers(adam), np.shape(adam.eta))
    values = np.full(applies.shape, np.inf)
    if not applies.any():
        return values, theorem.name, {}
    bound = theorem.bound(*_where(applies, problem, adam))
    values[applies] = bound.value
    free = {}
    for name, value in bound.parameters.items():
        free[name] = np.full(applies.shape, np.nan)
        free[name][applies] = value
    return values, bound.theorem, free


def _at_best(theorem: Theorem, problem: Problem, adam: AdamParameters) -> tuple[Array, Array, str]:
    """Its bound at its own best step size, infinite where it does not apply; that step size; its full name."""
    applies = np.broadcast_to(theorem.covers(adam), np.shape(adam.eta))
    steps = np.ones(applies.shape)
    if applies.any():
        steps[applies] = theorem.best_step_size(*_where(applies, problem, adam))
    values, full_name, _ = _evaluate(theorem, problem, replace(adam, step_size=steps))
    return values, steps, full_name


def _where(chosen: Mask, problem: Problem, adam: AdamParameters) -> tuple[Problem, AdamParameters]:
    return map_values(problem, lambda value: value[chosen]), map_values(adam, lambda value: value[chosen])


def _of_betas(function: Callable[[float, float], float], beta1: Value, beta2: Value) -> Value:
    """A function of two floats at each pair of betas."""
    pairs = np.broadcast(beta1, beta2)
    return item(np.array([function(float(b1), float(b2)) for b1, b2 in pairs]).reshape(pairs.shape))
