r"""Rule (R): the noise that a step takes of its path, from both sides, and in closed form where r is unbounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from proofs.calculus import square
from proofs.composition import Conclusion, cite, composed, summed
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.schedules.symbols import batch, first_ratio, noise_of_path, path_noise, rate, samples
from proofs.steps import Derivation, Provable, Step, prose, proves
from theory.schedules.path import LearningRatePath, PathSteps, kantorovich_share
from theory.schedules.shapes import Power

__all__ = ["all_steps", "noise_of_a_step", "share_of_a_step", "squares_over_a_step"]

x = named("inverse_r", r"\varrho", nonnegative=True)
"""rho = 1 / r."""
x_square = named("inverse_r_2", r"\varrho^{2}", nonnegative=True)
rate_square = named("rate_k_2", "a_k^{2}", nonnegative=True)
level = sympy.Symbol("y", nonnegative=True)
low = named("low", r"\varrho_{\min}", positive=True)
variation = sympy.Symbol("q", nonnegative=True)
WITHIN_THE_STEP = (Range(variation), Range(x, low, (1 + variation) * low))
OVER_THE_STEP = {x: rate, x_square: noise_of_path}
"""int dS / r = a_k (rule (R)) and int dS / r^2 = I_k."""


def all_steps(
    each: Step, term: Any, total: Any, telescoping: tuple[Any, Any, Any], lemma: Provable[Any]
) -> Derivation:
    """What a lemma concludes of a whole path, from one step of it.

    Args:
        each: linear in ``term`` and the noise of the step.
        term: of one step.
        total: its sum in expectation.
        telescoping: what a step passes on, before and after it, and its value at the start.
        lemma: whose first conclusion it is.
    """
    before, after, start = telescoping
    whole = yield summed(
        each,
        {term: total, noise_of_path: path_noise},
        {(before, after): start},
        reason="summed over the steps, in expectation",
    )
    yield composed(lemma.lemma.conclusions[0].relation, (whole,), (total, path_noise))


@proves(
    "squares over a step",
    "the square of a difference, integrated over a step's samples",
    concludes=(
        Conclusion(Relation(2 * level * rate, "<=", noise_of_path + level**2 * batch, ranges=(Range(level),))),
    ),
    source="Cauchy-Schwarz in its linear form",
)
def squares_over_a_step() -> Derivation:
    """int (1/r - y)^2 dS >= 0."""
    each = yield square(x - level, {x**2: x_square})
    found = yield summed(
        each, OVER_THE_STEP, count=batch, reason="integrated over the samples of the step, by rule (R)"
    )
    goal = squares_over_a_step.lemma.conclusions[0].relation
    yield composed(goal, (found,), (rate, noise_of_path))


@proves(
    "noise of a step",
    "rule (R): a step's noise is at most the path's, for any batch",
    r"With $a_k = \int dS/r$ and $I_k = \int dS/r^2$ over the $b_k$ samples of the step:",
    concludes=(Conclusion(Relation(rate**2 / batch, "<=", noise_of_path)),),
    uses=("squares over a step",),
    source="Cauchy-Schwarz",
)
def noise_of_a_step() -> Derivation:
    """At y = a / b."""
    goal = noise_of_a_step.lemma.conclusions[0].relation
    yield composed(goal, (cite(squares_over_a_step, {level: rate / batch}),), (noise_of_path,))


@proves(
    "share of a step",
    "how much of the path's noise a step keeps",
    r"If $\varrho$ lies between $\varrho_{\min}$ and $(1+q)\varrho_{\min}$ within the step, then "
    r"$\chi_k = (a_k^2/b_k)/I_k$ is bounded "
    r"below by $q$ alone:",
    concludes=(
        Conclusion(
            Relation(rate**2 / batch, ">=", kantorovich_share(variation) * noise_of_path, ranges=WITHIN_THE_STEP)
        ),
    ),
    source="Kantorovich's inequality",
)
def share_of_a_step() -> Derivation:
    """(M - rho)(rho - rho_min) >= 0 integrated; the last step, and those of the linear path, in closed form."""
    high = (1 + variation) * low
    each = yield inequality(
        (high + low) * x - high * low,
        ">=",
        x_square,
        WITHIN_THE_STEP,
        r"$(M-\varrho)(\varrho-\varrho_{\min}) \ge 0$ with $M = (1+q)\varrho_{\min}$",
        {x_square: x**2},
    )
    whole = yield summed(each, OVER_THE_STEP, count=batch, reason="integrated over the samples of the step")
    middle = yield square((high + low) * rate - 2 * high * low * batch, {rate**2: rate_square})
    least = kantorovich_share(variation) * noise_of_path
    yield composed(
        Relation(rate_square / batch, ">=", least, {rate_square: rate**2}, WITHIN_THE_STEP),
        (whole, middle),
        (noise_of_path, rate, rate_square),
    )
    yield from _closed_forms()


def _closed_forms() -> Derivation:
    m = sympy.Symbol("m", nonnegative=True)
    left, part = sympy.symbols("y h", positive=True)
    last = _shares(Power(m), [1 - left, 1])[0]
    yield equation(last, (2 * m + 1) / (m + 1) ** 2, "the last step of p = (1 - x)^m, where r is unbounded")
    linear = _shares(Power(1), [1 - left, 1 - left + part])[0]
    closed = 1 - part**2 / 12 / (left**2 - left * part + part**2 / 3)
    yield equation(linear, closed, "linear decay from y = 1 - x down to y - h")
    yield inequality(
        closed,
        ">=",
        sympy.Rational(3, 4),
        (Range(left, 0, strict=True), Range(part, 0, left)),
        "its last step is 3/4",
    )
    yield prose(r"\chi_k \text{ is used step by step: the bound by } q \text{ is } 0 \text{ at a last step}")


def _shares(shape: Power, ends: list[sympy.Expr]) -> np.ndarray:
    """chi_k by the code that schedules use."""
    path = LearningRatePath(shape=shape, samples=samples, initial_ratio=first_ratio)
    return PathSteps(path, np.array([samples * end for end in ends])).noise_shares
