r"""Steps that both sandwiches share: the variance of a sample's gradient is monotone in the errors of all modes.

A mode i has the error c_i, its curvature lambda_i <= lambda_max and V_i = lambda_i^2 c_i + lambda_i (R + sigma^2),
R = sum_j lambda_j c_j. Names: ``below`` c_i of the smaller state, ``above`` u_i of the larger one, of any mode.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.calculus import TIME, along, exponents
from proofs.composition import Fact, Ground, cite, composed, defined, from_step, granted, summed
from proofs.relations import Range, Relation, inequality, named
from proofs.schedules.path import noise_of_a_step
from proofs.schedules.symbols import batch, chi, noise_of_path, rate
from proofs.steps import Step
from theory.schedules.second_moments import gradient_variance

__all__ = [
    "ABOVE",
    "BELOW",
    "NOISE_SO_FAR",
    "NOISE_SO_FAR_T",
    "State",
    "budget",
    "curvature",
    "density",
    "growing",
    "growth",
    "in_order",
    "label_noise",
    "largest",
    "variances",
]

Expression = Any

curvature = named("lambda_i", r"\lambda_i", positive=True)
largest = named("lambda_max", r"\lambda_{\max}", positive=True)
label_noise = named("sigma_2", r"\sigma^{2}", nonnegative=True)
density, growth, budget = sympy.symbols("rho nu w", nonnegative=True)
"""1 / r, and in the lower solution the factor of its noise and w_k."""
NOISE_SO_FAR = sympy.Function("J")(TIME)
"""J = int rho dT within a step, I_k at its end."""
NOISE_SO_FAR_T = named("J_t", "J_t", nonnegative=True)

SHARE = defined(chi, rate**2 / batch / noise_of_path, rate**2 / batch, chi * noise_of_path)
"""chi_k, the share of the path's noise that a step keeps."""


class State:
    """One state of all modes: the names of a mode's error and variance, of R, and of the error after a step."""

    def __init__(self, letter: str, time: str = "") -> None:
        at = f"({time})" if time else ""
        self.after = named(f"{letter}_next", rf"{letter}_i'", nonnegative=True)
        self.error = named(f"{letter}_i{at}", f"{letter}_i{at}", nonnegative=True)
        self.variance = named(f"V_i({letter}{at})", f"V_i({letter}{at})", nonnegative=True)
        self.risk = named(f"R({letter}{at})", f"R({letter}{at})", nonnegative=True)
        self.term = named(f"lambda {letter}_i{at}", rf"\lambda_i{letter}_i{at}", nonnegative=True)

    @property
    def definition(self) -> Fact:
        """V_i in the mode's error and R."""
        return defined(
            self.variance, sympy.expand(gradient_variance(curvature, self.error, self.risk + label_noise))
        )

    def noisy(self) -> Step:
        """V_i >= lambda_i sigma^2: what is left of V_i is not negative."""
        goal = Relation(self.variance, ">=", curvature * label_noise)
        return composed(goal, (self.definition,), (self.variance,))


BELOW, ABOVE = State("c"), State("u")


def variances(each: Step, above: State, below: State, share: Step | None = None) -> Generator[Step, Step, Step]:
    """V_i(above) >= share V_i(below), from the same of every error and a share of at most 1.

    Args:
        each: above.error >= share * below.error, for every mode.
        above: the larger state.
        below: the smaller one.
        share: the step that bounds the share by 1; None: it is 1.
    """
    kept = share.relation.left if share else sympy.Integer(1)
    ranges = each.relation.ranges
    term = yield composed(
        Relation(above.term, ">=", kept * below.term, ranges=ranges),
        (each, defined(above.term, curvature * above.error), defined(below.term, curvature * below.error)),
        (above.error, below.error, above.term, below.term),
    )
    total = yield summed(term, {above.term: above.risk, below.term: below.risk}, reason="summed over the modes")
    facts: list[Fact | Step] = [above.definition, below.definition, total]
    errors: tuple[Any, ...] = ()
    if ordered_errors(below, above) not in ranges:  # else their order is among the quantifiers
        facts.append(each)
        errors = (above.error, below.error)
    if share:
        less = Relation(label_noise, ">=", kept * label_noise, ranges=ranges)
        noise = yield composed(less, (share,), (kept,))
        facts.append(noise)
    sums = (above.variance, below.variance, *errors, above.risk, below.risk, label_noise)
    said = yield composed(Relation(above.variance, ">=", kept * below.variance, ranges=ranges), facts, sums)
    return said


def ordered_errors(small: State, large: State) -> Range:
    """One state is at least the other in every mode."""
    return Range(large.error, small.error)


def in_order(small: State, large: State) -> Generator[Step, Step, tuple[Step, Step]]:
    """The order of the errors before the step, and what it says of the variances."""
    hypothesis = yield inequality(
        large.error, ">=", small.error, (ordered_errors(small, large),), "before the step"
    )
    ordered = yield from variances(hypothesis, large, small)
    return hypothesis, ordered


def growing(
    start: State,
    now: State,
    decay: Expression,
    noise: Expression,
    sums: tuple[Any, Any],
    spread: Expression,
    bounded: Step,
    factor: Expression,
) -> Generator[Step, Step, Step]:
    """e^-w V_i(t) <= V_i(0) along an equation whose modes take nu rho times some noise.

    Args:
        start: of the step.
        now: t into it.
        decay: of a mode's error, which only helps.
        noise: that a mode takes, times nu rho.
        sums: names of lambda_i times the noise, and of its sum over the modes.
        spread: W, w in units of I_k.
        bounded: lambda_i^2 noise + lambda_i sum <= W V_i(t).
        factor: nu, chi_k or less.
    """
    below_one, so_far = yield from _little_noise(factor, spread)
    modes = (Range(curvature, 0, largest),)
    slope = named("V_slope", r"\dot V_i", real=True)
    moves = yield from _moving(slope, decay, noise, sums)
    variance = sympy.Function("V")(TIME)
    spreads = yield along(
        -variance * sympy.exp(-growth * spread * NOISE_SO_FAR),
        {variance: slope, NOISE_SO_FAR: density},
        {variance: start.variance, NOISE_SO_FAR: 0, TIME: 0},
        {variance: now.variance, NOISE_SO_FAR: NOISE_SO_FAR_T, TIME: TIME},
        (moves, bounded),
        (slope, now.variance, sums[1]),
        modes,
        now={variance: now.variance},
    )
    least, found = sympy.exp(-budget), sympy.exp(-growth * spread * NOISE_SO_FAR_T)
    within = yield exponents(least, "<=", found, (Range(growth, 0, 1), Range(NOISE_SO_FAR_T, 0, budget / spread)))
    said = yield composed(
        Relation(least * now.variance, "<=", start.variance, ranges=modes),
        (spreads, from_step(within, {growth: (below_one,), NOISE_SO_FAR_T: (so_far,)})),
        (start.variance, found),
    )
    return said


def _little_noise(factor: Expression, spread: Expression) -> Generator[Step, Step, tuple[Step, Step]]:
    """nu <= 1, and J <= w / W within a step."""
    shares = yield composed(
        Relation(chi, "<=", 1),
        (SHARE, cite(noise_of_a_step)),
        (chi, 1 / batch),
    )
    facts: list[Fact | Step] = [defined(growth, factor)]
    if factor != chi:
        fades = yield exponents(sympy.exp(-budget), "<=", sympy.Integer(1))
        facts.append(fades)
    smaller = yield composed(Relation(growth, "<=", chi), facts, (growth, sympy.exp(-budget)))
    below_one = yield composed(Relation(growth, "<=", 1), (smaller, shares), (growth, chi))
    so_far = yield composed(
        Relation(NOISE_SO_FAR_T, "<=", budget / spread),
        (
            granted(Relation(NOISE_SO_FAR_T, "<=", noise_of_path), Ground.PART, meaning=_within_the_step()),
            defined(budget, spread * noise_of_path),
        ),
        (NOISE_SO_FAR_T, noise_of_path, budget),
    )
    return below_one, so_far


def _within_the_step() -> dict[Any, Any]:
    """The integral of rho over t and over the whole step."""
    passed, moment, rest = sympy.symbols("T t h", nonnegative=True)
    density_there = sympy.Function("rho", positive=True)(passed)
    ends = {NOISE_SO_FAR_T: moment, noise_of_path: moment + rest}
    return {name: sympy.Integral(density_there, (passed, 0, end)) for name, end in ends.items()}


def _moving(
    slope: Any, decay: Expression, noise: Expression, sums: tuple[Any, Any]
) -> Generator[Step, Step, Step]:
    """dV_i/dt <= nu rho (lambda_i^2 noise + lambda_i sum), from the equation of a mode."""
    term_noise, all_noise = sums
    error_slope = named("l_slope", r"\dot l_i", real=True)
    term_slope = named("lambda l_slope", r"\lambda_i\dot l_i", real=True)
    risk_slope = named("R_slope", r"\dot R", real=True)
    mode = yield inequality(
        error_slope,
        "<=",
        growth * density * noise,
        where={error_slope: decay + growth * density * noise},
        reason="the equation, without its decay",
    )
    atoms = (noise,) if noise.free_symbols else ()
    term = yield composed(
        Relation(term_slope, "<=", growth * density * term_noise),
        (mode, defined(term_slope, curvature * error_slope), defined(term_noise, curvature * noise)),
        (term_slope, term_noise, error_slope, *atoms),
    )
    risk = yield summed(term, {term_slope: risk_slope, term_noise: all_noise}, reason="summed over the modes")
    moves = yield composed(
        Relation(slope, "<=", growth * density * (curvature**2 * noise + curvature * all_noise)),
        (defined(slope, curvature**2 * error_slope + curvature * risk_slope), mode, risk),
        (slope, error_slope, risk_slope, *atoms, all_noise),
    )
    return moves
