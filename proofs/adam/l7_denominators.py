r"""Lemma L7: the denominators grow at most linearly with the sum of the gradient norms.

Telescoping with the potential Phi(V) = sqrt(beta2) / (1 - sqrt(beta2)) V, V_k = sum_i E sqrt(v_{k,i}): one step's
sum_i E sqrt(D_{k,i}) plus the growth of Phi is at most B E||G_k||_1, and A = Phi(V_0).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import sympy

from proofs.adam.symbols import BETA2, BETAS, A, B, initial_sum, noise, q
from proofs.composition import Assumption, Conclusion, Fact, composed, from_step, hypothesis, rooted, summed
from proofs.relations import Relation, equation, inequality, named, written
from proofs.steps import Step, proves
from proofs.sums import DENOMINATORS, NORMS, denominator, norm
from theory.adam import constants

__all__ = ["AB_ARE", "NEEDED", "lemma_l7"]

AB_ARE = {
    A: constants.preconditioner_start(BETA2, initial_sum),
    B: constants.preconditioner_growth(BETA2, noise),
}
NEEDED = frozenset({Assumption.UNBIASED, Assumption.COORDINATE_TEST, Assumption.ADAM})
UNIT = BETAS[1:]
before, after = (
    named("V_before", r"\sqrt{v_{k-1}}", nonnegative=True),
    named("V_after", r"E_k\sqrt{v_k}", nonnegative=True),
)
tau = named("tau", r"\tau", positive=True)
TAU_IS = {tau: sympy.sqrt(constants.squared_noise_growth(noise))}
ROOT_C = named("root_c", r"\sqrt c", positive=True)
C_IS = {ROOT_C: sympy.sqrt(constants.second_moment_weight(BETA2))}


@proves(
    "L7",
    "denominators",
    concludes=(Conclusion(Relation(DENOMINATORS, "<=", A + B * NORMS, AB_ARE, UNIT), NEEDED),),
    source="corrected Theorem 1",
)
def lemma_l7() -> Iterator[Step]:
    """sum_k sum_i E sqrt(D_{k,i}) <= A + B S."""
    own = yield from _below_sum(denominator, sympy.Integer(1), "D_k = beta2 v_{k-1} + c G_k^2")
    next_one = yield from _below_sum(
        after, tau, "E_k v_k <= beta2 v_{k-1} + c tau^2 G_k^2 (Proposition 1, Jensen)"
    )
    start = constants.preconditioner_start(BETA2, sympy.Integer(1))
    step = composed(
        Relation(denominator + start * (after - before), "<=", B * norm, {**AB_ARE, **C_IS}, UNIT),
        (from_step(own), from_step(next_one)),
        (denominator, after, before, norm),
        NEEDED,
        reason="one step, with Phi(V) = sqrt(beta2) / (1 - sqrt(beta2)) V",
    )
    yield step
    yield inequality(AB_ARE[A], ">=", 0, UNIT)
    yield inequality(AB_ARE[B], ">=", 0, UNIT)
    yield summed(step, {denominator: DENOMINATORS, norm: NORMS}, {(before, after): initial_sum})


def _below_sum(root: sympy.Symbol, factor: sympy.Expr, reason: str) -> Generator[Step, None, Step]:
    """sqrt(x^2 + y^2) <= x + y for x = sqrt(beta2 v_{k-1}), y = sqrt(c) factor |G|, x, y >= 0."""
    squared = named(f"{root}_2", rf"({written(root)})^2", nonnegative=True)
    bound = q * before + ROOT_C * factor * norm
    cross = named("cross", r"2\sqrt{\beta_2 v_{k-1}\,c}\,|G_k|", nonnegative=True)
    where = {**C_IS, **(TAU_IS if factor == tau else {})}
    exact = equation(
        cross,
        bound**2 - (BETA2 * before**2 + ROOT_C**2 * factor**2 * norm**2),
        reason,
        {cross: 2 * q * before * ROOT_C * factor * norm, **where},
    )
    yield exact
    below = composed(
        Relation(squared, "<=", bound**2, where, UNIT),
        (
            Fact(Relation(squared, "<=", BETA2 * before**2 + ROOT_C**2 * factor**2 * norm**2, where), reason),
            from_step(exact),
            hypothesis(Relation(cross, ">=", 0)),
        ),
        (squared, cross),
        NEEDED,
    )
    yield below
    result = rooted(below, squared, root, bound)
    yield result
    return result
