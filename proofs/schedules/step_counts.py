r"""How many steps a path needs: the fewest, and those of a batch that grows by a law."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy

from proofs.composition import (
    Assumption,
    Conclusion,
    Ground,
    assumed,
    cite,
    composed,
    from_step,
    granted,
    hypothesis,
    stated,
    summed,
)
from proofs.relations import Range, Relation, equation, named
from proofs.schedules.elementary import logarithm
from proofs.schedules.elementary import t as quotient
from proofs.schedules.symbols import PATH, batch, rate, time
from proofs.steps import Derivation, prose, proves
from theory.schedules import step_counts as theory
from theory.schedules.shapes import OneMinusSqrt, Power

__all__ = ["fewest_steps", "shares_of_steps", "steps_of_a_law"]

count, smoothness = sympy.symbols("n L", positive=True)
largest = named("theta_max", r"\theta", positive=True)
SMALL_STEPS, GROWING = frozenset({Assumption.SMALL_STEPS}), frozenset({Assumption.GROWING_BATCH})
FEWEST = theory.fewest_steps(PATH, smoothness, largest)


@proves(
    "fewest steps",
    "the fewest steps on a path, where each is small",
    r"On a path by rule (R), the number of steps is bounded below, with equality exactly where every $a_kL = "
    r"\theta$. Where $TL/\theta$ is an integer, a constant rate with a batch that follows the path attains it:",
    concludes=(Conclusion(Relation(count, ">=", FEWEST), SMALL_STEPS),),
    source="this project",
)
def fewest_steps() -> Derivation:
    """sum a_k = T by rule (R); each a_k is at most theta / L."""
    each = yield stated(assumed(Relation(rate, "<=", largest / smoothness), Assumption.SMALL_STEPS))
    whole = yield summed(each, {rate: time}, count=count, reason="summed over the steps: sum a_k = T by rule (R)")
    yield composed(fewest_steps.lemma.conclusions[0].relation, (whole,), (count, time))
    spare = named("spare_moves", r"\sum_k(\theta-a_kL)", nonnegative=True)
    yield equation(
        count - FEWEST,
        spare / largest,
        "terms >= 0, all 0 iff every a_k L = theta",
        {spare: count * largest - smoothness * time},
    )
    yield prose(
        r"T(S_k) = k\theta/L \text{ has a solution } S_k \text{ for every } k \le TL/\theta",
        "T(S) rises continuously from 0 to T",
    )


end_batch = named("b_next", "b_{k+1}", positive=True)
last_batch = named("b_last", "b(S_{n-1})", positive=True)
first_batch = named("b_first", "b_0", positive=True)
point = named("1/b(S)", "1/b(S)", nonnegative=True)
WITHIN = named("q_k", r"\int_{S_k}^{S_{k+1}}dS/b(S)", nonnegative=True)
FULL = named("q_full", r"\int_0^{S_{n-1}}dS/b(S)", nonnegative=True)
whole = named("integral", r"\int_0^DdS/b(S)", nonnegative=True)
LAST = named("q_last", r"\int_{S_{n-1}}^DdS/b(S)", nonnegative=True)
GROWTH = sympy.log(end_batch / batch)


@proves(
    "steps of a law",
    "the steps of a batch that grows by a law, counted",
    r"Let the batches be $b_k = b(S_k)$ with a law $b(S)$ that never falls (a rounded one, where batches are "
    r"rounded), but for the last batch, which is cut so that the run ends at $D$ samples:",
    concludes=(
        Conclusion(Relation(count, ">=", whole), GROWING),
        Conclusion(Relation(count, "<=", theory.step_count_bound(whole, first_batch, last_batch).value), GROWING),
    ),
    source="this project",
    uses=("logarithm",),
)
def steps_of_a_law() -> Derivation:
    """A full step counts between b_k / b_{k+1} and 1; the logarithms telescope."""
    grows, most, least = (
        stated(assumed(Relation(left, sense, right), Assumption.GROWING_BATCH))
        for left, sense, right in (
            (end_batch, ">=", batch),
            (point, "<=", 1 / batch),
            (point, ">=", 1 / end_batch),
        )
    )
    yield grows
    yield most
    yield least
    below, above = (
        summed(step, {point: WITHIN}, count=batch, reason="integrated over the b_k samples of a full step")
        for step in (most, least)
    )
    yield below
    yield above
    each = yield composed(
        Relation(1, "<=", WITHIN + GROWTH, ranges=(Range(end_batch, batch),)),
        (above, cite(logarithm, {quotient: end_batch / batch})),
        (WITHIN, GROWTH),
    )
    so_far, with_it = (named(f"ln {name}", rf"\ln {name}/b_0", real=True) for name in ("b_k", "b_{k+1}"))
    parted = yield equation(
        GROWTH,
        with_it - so_far,
        where={with_it: sympy.log(end_batch / first_batch), so_far: sympy.log(batch / first_batch)},
    )
    grown = yield composed(
        replace(each.relation, right=WITHIN + with_it - so_far),
        (each, from_step(parted, opaque=(with_it, so_far))),
        (WITHIN, GROWTH, with_it, so_far),
    )
    full = count - 1
    total_growth = sympy.log(last_batch / first_batch)
    up = yield summed(
        grown,
        {WITHIN: FULL},
        {(so_far, with_it): (sympy.Integer(0), total_growth)},
        count=full,
        reason="summed over the n - 1 full steps",
    )
    down = yield summed(below, {WITHIN: FULL}, count=full, reason="summed over the n - 1 full steps")
    cut = sympy.Symbol("c", positive=True)
    parts = granted(Relation(whole, "=", FULL + LAST), Ground.SPLIT, meaning=_halves())
    lower, upper = (conclusion.relation for conclusion in steps_of_a_law.lemma.conclusions)
    yield composed(
        lower,
        (
            down,
            parts,
            assumed(Relation(LAST, "<=", cut / last_batch), Assumption.GROWING_BATCH),
            assumed(Relation(cut, "<=", last_batch), Assumption.GROWING_BATCH),
        ),
        (whole, FULL, LAST, cut),
        GROWING,
    )
    yield composed(
        upper,
        (
            from_step(up, {end_batch: (grows,)}),
            parts,
            hypothesis(Relation(LAST, ">=", 0)),
        ),
        (whole, FULL, LAST),
    )


def _halves() -> dict[Any, Any]:
    """Of the integral of 1 / b(S), up to the last step and over it."""
    seen, start, end = sympy.symbols("S S_{n-1} D", positive=True)
    counted = 1 / sympy.Function("b", positive=True)(seen)
    limits = {whole: (0, end), FULL: (0, start), LAST: (start, end)}
    return {name: sympy.Integral(counted, (seen, *ends)) for name, ends in limits.items()}


@proves(
    "shares of steps",
    "the steps of usual paths over those of a constant batch",
    r"A batch $b = b_0p^{-e}$ on a path of the shape $p$ takes $\int_0^1p^e\,dx$ of the steps of a constant "
    r"batch $b_0$: for $p = (1-x)^m$ this is $1/(1+me)$; for $p = 1-\sqrt x$ it is $2/((e+1)(e+2))$; and for "
    r"linear decay with batches of at most $b_0/g$ it is $1/(1+e)+g^{(1+e)/e}e/(1+e)$.",
    source="this project",
    uses=("shapes",),
)
def shares_of_steps() -> Derivation:
    """The integrals of the shapes over the whole run, as the function returns them."""
    m, e, h = sympy.symbols("m e h", positive=True)
    for name, found, closed in (
        ("(1-x)^m", theory.step_share(Power(m), e), 1 / (1 + m * e)),
        (r"1-\sqrt x", theory.step_share(OneMinusSqrt(), e), 2 / ((e + 1) * (e + 2))),
        (
            r"1-x, g = h^e",
            theory.step_share(Power(sympy.Integer(1)), e, h**-e),
            1 / (1 + e) + h ** (1 + e) * e / (1 + e),
        ),
    ):
        share = named(f"share of {name}", rf"\int p^e, \; {name}", nonnegative=True)
        yield equation(share, closed, where={share: found})
