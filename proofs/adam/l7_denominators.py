r"""Lemma L7: the denominators grow at most linearly with the sum of the gradient norms.

Telescoping with the potential Phi(V) = sqrt(beta2) / (1 - sqrt(beta2)) V, V_k = sum_i E sqrt(v_{k,i}): one step's
sum_i E sqrt(D_{k,i}) plus the growth of Phi is at most B E||G_k||_1, and A = Phi(V_0).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.symbols import BETA2, BETAS, A, B, dimension, initial_sum, noise, q, same, steps
from proofs.calculus import square
from proofs.composition import (
    Assumption,
    Conclusion,
    Ground,
    assumed,
    composed,
    defined,
    granted,
    hypothesis,
    rooted,
    summed,
)
from proofs.relations import CONSTANTS, Relation, equation, inequality, named, written
from proofs.steps import Derivation, Step, proves
from proofs.sums import DENOMINATORS, MOMENTS, NORMS, denominator, epsilon, norm, root_moment
from theory.adam import constants

__all__ = [
    "AB_ARE",
    "BY_MOMENTS",
    "C_IS",
    "NEEDED",
    "PHI",
    "ROOT_C",
    "after",
    "before",
    "growing",
    "lemma_l7",
    "one_step",
]

NEEDED_BEFORE = frozenset({Assumption.ADAM})
NEEDED = NEEDED_BEFORE | {Assumption.SECOND_MOMENT}
UNIT = BETAS[1:]
before = named("V_before", r"\sqrt{v_{k-1}}", nonnegative=True)
after = named("V_after", r"E_k\sqrt{v_k}", nonnegative=True)
tau = named("tau", r"\tau", positive=True)
TAU_IS = {tau: sympy.sqrt(constants.squared_noise_growth(noise))}
ROOT_C = named("root_c", r"\sqrt c", positive=True)
C_IS = {ROOT_C: sympy.sqrt(constants.second_moment_weight(BETA2))}
CONSTANTS.update(C_IS | TAU_IS)
PHI = q / (1 - q)
"""Phi(1)."""


def growing(start: Any, moment: Any) -> dict[Any, Any]:
    """A and B, where the root of second moments starts at ``start`` and a moment is at most ``moment`` |G|."""
    return {A: PHI * start, B: ROOT_C * (1 + moment * PHI), **C_IS}


AB_ARE = growing(initial_sum, tau) | TAU_IS
AB_ARE[A] += steps * dimension * epsilon
BY_MOMENTS = Relation(DENOMINATORS, "<=", AB_ARE[A] + ROOT_C * NORMS + PHI * ROOT_C * MOMENTS, C_IS, UNIT)


@proves(
    "L7",
    "denominators",
    concludes=(
        Conclusion(Relation(DENOMINATORS, "<=", A + B * NORMS, AB_ARE, UNIT), NEEDED),
        Conclusion(BY_MOMENTS, frozenset({Assumption.ADAM}), (DENOMINATORS, NORMS, MOMENTS, initial_sum, epsilon)),
    ),
    source="corrected Theorem 1",
)
def lemma_l7() -> Derivation:
    """sum_k sum_i E sqrt(D_{k,i}) <= A + B S."""
    yield same(
        r"A - Kd\epsilon = \Phi(1)V_0, \; B = \sqrt c\,(1+\tau\Phi(1)): \text{ the functions}",
        (constants.preconditioner_start(BETA2, initial_sum), PHI * initial_sum),
        (constants.preconditioner_growth(BETA2, noise), AB_ARE[B].subs(C_IS | TAU_IS)),
    )
    own, next_one = yield from one_step()
    step = yield composed(
        Relation(
            denominator + PHI * (after - before),
            "<=",
            ROOT_C * norm + PHI * ROOT_C * root_moment + epsilon,
            C_IS,
            UNIT,
        ),
        (own, next_one),
        (denominator, after, before, norm, root_moment),
        NEEDED_BEFORE,
        reason="one step, with Phi(V) = sqrt(beta2) / (1 - sqrt(beta2)) V",
    )
    yield inequality(PHI, ">=", 0, UNIT)
    total = yield summed(
        step,
        {denominator: DENOMINATORS, norm: NORMS, root_moment: MOMENTS},
        {(before, after): initial_sum},
        count=steps * dimension,
    )
    named_start = yield composed(BY_MOMENTS, (total,), (DENOMINATORS, NORMS, MOMENTS), NEEDED_BEFORE)
    tested = assumed(Relation(root_moment, "<=", tau * norm, TAU_IS), Assumption.SECOND_MOMENT)
    of_norm = yield composed(
        Relation(root_moment, "<=", tau * norm, TAU_IS), (tested,), (root_moment,), frozenset(tested.assumes)
    )
    moments = yield summed(of_norm, {root_moment: MOMENTS, norm: NORMS})
    yield composed(
        Relation(DENOMINATORS, "<=", A + B * NORMS, AB_ARE, UNIT),
        (named_start, moments),
        (DENOMINATORS, NORMS, MOMENTS),
        NEEDED,
    )


def one_step() -> Generator[Step, Step, tuple[Step, Step]]:
    """Today's denominator and tomorrow's second moment, by today's second moment and gradient."""
    plain = named("root_D", r"\sqrt{D_k}", nonnegative=True)
    root = yield from _below_sum(plain, norm, "D_k = beta2 v_{k-1} + c G_k^2")
    whole = yield equation(denominator, plain + epsilon, where={denominator: plain + epsilon})
    own = yield composed(
        Relation(denominator, "<=", q * before + ROOT_C * norm + epsilon, C_IS, UNIT),
        (root, whole),
        (plain, denominator),
        NEEDED_BEFORE,
    )
    now, moment = named("V_now", r"\sqrt{v_k}", nonnegative=True), named("v_now", "v_k", nonnegative=True)
    pointwise = yield square(now - after, {now**2: moment})
    reason = "E_k v_k = beta2 v_{k-1} + c E_k g_k^2"
    next_one = yield from _below_sum(after, root_moment, reason, pointwise)
    return own, next_one


def _below_sum(root: Any, size: Any, reason: str, *steps: Step) -> Generator[Step, Step, Step]:
    """sqrt(x^2 + y^2) <= x + y for x = sqrt(beta2 v_{k-1}), y = sqrt(c) ``size``, x, y >= 0.

    The square of ``root`` is x^2 + y^2, or at most that by ``steps``, in expectation.
    """
    squared = named(f"{root}_2", rf"({written(root)})^2", nonnegative=True)
    bound = q * before + ROOT_C * size
    cross = named("cross", r"2\sqrt{\beta_2 v_{k-1}\,c}\,|G_k|", nonnegative=True)
    squares = BETA2 * before**2 + ROOT_C**2 * size**2
    exact = yield equation(cross, bound**2 - squares, reason, {cross: 2 * q * before * ROOT_C * size, **C_IS})
    below = yield composed(
        Relation(squared, "<=", bound**2, C_IS, UNIT),
        (
            granted(Relation(squared, "<=", squares, C_IS), Ground.EXPECTATION, *steps)
            if steps
            else defined(squared, squares),
            exact,
            hypothesis(Relation(cross, ">=", 0)),
        ),
        (squared, cross),
        NEEDED_BEFORE,
    )
    result = yield rooted(below, squared, root, bound)
    return result
