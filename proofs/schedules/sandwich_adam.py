r"""The sandwich of an idealised Adam's schedules on one path: one step from both sides, and the induction."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import sympy

from proofs.calculus import TIME, along, exponents, increasing
from proofs.composition import (
    Assumption,
    Conclusion,
    Fact,
    Ground,
    assumed,
    cite,
    composed,
    defined,
    from_step,
    granted,
    rooted,
    stated,
)
from proofs.relations import Range, Relation, equation, inequality, named, written
from proofs.schedules.elementary import against_exponentials, against_powers
from proofs.schedules.elementary import q as move_of_power
from proofs.schedules.elementary import s as share_of_power
from proofs.schedules.elementary import z as exponent
from proofs.schedules.moments import NOISE_SO_FAR as J
from proofs.schedules.moments import (
    SHARE,
    State,
    budget,
    curvature,
    density,
    growing,
    in_order,
    label_noise,
    largest,
    ordered_errors,
    variances,
)
from proofs.schedules.path import noise_of_a_step
from proofs.schedules.symbols import batch, chi, noise_of_path, rate
from proofs.steps import Derivation, Step, prose, proves
from theory.schedules import sandwich_adam as theory
from theory.schedules.second_moments import adam_like_step, gradient_variance, squared_gradient

__all__ = ["adam_in_modes", "lower_step", "upper_step"]

C, U, U_T, L, L_T = State("c"), State("u"), State("u", "t"), State("l"), State("l", "t")
level = sympy.Symbol("N", nonnegative=True)
move, kept, contraction = sympy.symbols("q kappa theta", nonnegative=True)
after, upper_after, lower_after = C.after, U.after, L.after
taken = named("taken", "n_k", nonnegative=True)
"""a^2 / b, the noise of the step."""
own = named("G_i_2", r"G_i^{2}", nonnegative=True)
pull = named("pull", "h_i", nonnegative=True)
"""h_i = 2 theta lambda_i / sqrt(V_i(t)), by which the error of mode i falls."""
PACE = named("pace", "g_i", nonnegative=True)
"""g y_i / a, by which the error of mode i falls at least, g = -ln(1 - q) / q."""
u, low = (sympy.Function(name)(TIME) for name in ("u", "l"))


def moved(state: str) -> Any:
    """y_i at a state: 2 kappa a lambda_i / sqrt(V_i)."""
    return named(f"y_i({state})", f"y_i({state})", nonnegative=True)


Y_C, Y_U, Y_L = moved("c"), moved("u"), moved("l")
slowed, paced = named("s_i", "s_i", positive=True), named("p_i", "p_i", nonnegative=True)
"""1 / sqrt(V_i + b G_i^2), and kappa / sqrt(V_i)."""
LARGEST = Range(rate, 0, move / theory.move(largest, label_noise, 1), power=2)
"""2 sqrt(lambda_max) a_k / sigma <= q."""
MODES = (Range(curvature, 0, largest),)
IN_THE_STEP = (*MODES, LARGEST, Range(TIME, 0, rate))
CEILING = 1 / sympy.sqrt(1 + batch * own / C.variance)
"""(1 + b_k / B_i)^{-1/2}, as 1 / B_i = G_i^2 / V_i."""
BELOW_SCALE = stated(assumed(Relation(kept, "<=", CEILING, C.definition.meaning), Assumption.KEPT))
ONE_STEP = Relation(
    after,
    "=",
    C.error - 2 * rate * curvature * C.error / sympy.sqrt(C.variance + batch * own) + rate**2 / batch,
    {
        after: adam_like_step(curvature, C.error, level, rate / sympy.sqrt(batch), batch),
        C.variance: gradient_variance(curvature, C.error, level),
        own: squared_gradient(curvature, C.error),
    },
)


@proves(
    "Adam in modes",
    "an idealised step of Adam on Gaussian regression, by its path and its batch",
    r"At the learning rate $a_k/\sqrt{b_k}$:",
    concludes=(Conclusion(ONE_STEP, universal=(level,)),),
    source="this project",
)
def adam_in_modes() -> Derivation:
    """The recursion in the effective rate; B_i = V_i / G_i^2 slows it down by 1 / sqrt(1 + b / B_i)."""
    yield equation(ONE_STEP.left, ONE_STEP.right, where=ONE_STEP.where)
    yield equation(
        (1 / sympy.sqrt(1 + batch * own / C.variance)) ** 2 / C.variance,
        1 / (C.variance + batch * own),
        "b / B_i = b G_i^2 / V_i",
    )


def squared(symbol: Any) -> Any:
    """The name of a symbol's square."""
    return named(f"{symbol}_2", rf"{written(symbol)}^{{2}}", nonnegative=True)


OF_SQUARES = inequality(
    squared(kept), "<=", 1, (Range(kept, 0, CEILING, power=2),), where={squared(kept): kept**2}
)
KEPT_2 = composed(
    Relation(squared(kept), "<=", 1), (from_step(OF_SQUARES, {kept: (BELOW_SCALE,)}),), (squared(kept),)
)
KEPT = rooted(KEPT_2, squared(kept), kept, sympy.Integer(1))
"""kappa <= 1."""


def _bounded(
    value: Any, factor: Any, state: State, scale: Any, share: Step | None = None
) -> Generator[Step, Step, Step]:
    """2 factor lambda scale / sqrt(V_i) <= q scale / a; ``share`` says that the factor is <= 1."""
    variance = state.variance
    ranges = (
        *MODES,
        LARGEST,
        Range(variance, curvature * label_noise),
        *((Range(factor, 0, 1),) if share else ()),
    )
    bound = sympy.cancel(move * scale / rate)
    is_square = {squared(value): 4 * factor**2 * curvature**2 * scale**2 / variance}
    squares = inequality(squared(value), "<=", bound**2, ranges, where=is_square)
    noisy = state.noisy()
    shown = {variance: (noisy,)} | ({factor: (share,)} if share else {})
    each = composed(
        Relation(squared(value), "<=", bound**2, ranges=(*MODES, LARGEST)),
        (from_step(squares, shown),),
        (squared(value),),
    )
    said = rooted(each, squared(value), value, bound)
    yield squares
    yield noisy
    yield each
    yield said
    return said


def _pulled(
    sense: str, theta: Any, share: Any, kappa: Any, at: tuple[Any, State, State], between: Step
) -> Generator[Step, Step, Step]:
    """h_i against share y_i / a within the step, by their squares; ``between`` bounds V_i(t)."""
    y, start, now = at
    is_square = {
        squared(pull): 4 * theta**2 * curvature**2 / now.variance,
        squared(y): 4 * kappa**2 * rate**2 * curvature**2 / start.variance,
    }
    bound = between.relation.right
    of_variance = Range(now.variance, bound) if sense == "<=" else Range(now.variance, 0, bound)
    squares = yield inequality(
        squared(pull), sense, share**2 * squared(y) / rate**2, (of_variance,), "by the variances", is_square
    )
    goal = Relation(squared(pull), sense, (share * y / rate) ** 2, ranges=between.relation.ranges)
    value = 2 * kappa * rate * curvature / sympy.sqrt(start.variance)
    named_square = granted(
        Relation(squared(y), "=", y**2), Ground.DEFINITION, meaning={squared(y): y**2, y: value}
    )
    compared = yield composed(
        goal,
        (from_step(squares, {now.variance: (between,)}), named_square),
        (squared(pull), squared(y)),
    )
    if sense == "<=":
        said = yield rooted(compared, squared(pull), pull, share * y / rate)
        return said
    target = PACE
    flipped = yield composed(
        Relation(squared(target), "<=", pull**2, ranges=goal.ranges),
        (
            compared,
            granted(
                Relation(squared(target), "=", (share * y / rate) ** 2),
                Ground.DEFINITION,
                meaning={squared(target): target**2, target: share * y / rate},
            ),
            granted(
                Relation(squared(pull), "=", pull**2),
                Ground.DEFINITION,
                meaning={squared(pull): pull**2, pull: 2 * theta * curvature / sympy.sqrt(now.variance)},
            ),
        ),
        (squared(pull), squared(target)),
    )
    said = yield rooted(flipped, squared(target), target, pull)
    return said


def _one_step(sense: str, kappa: Any, slower: Fact | Step) -> Step:
    """c' against c (1 - y) + a^2 / b, y = 2 a lambda p, by how ``slower`` compares p with s."""
    root = 1 / sympy.sqrt(C.variance + batch * own)
    return composed(
        Relation(after, sense, C.error * (1 - Y_C) + taken),
        (
            cite(adam_in_modes, {level: C.risk + label_noise}, opaque=tuple(ONE_STEP.where)),
            defined(slowed, root),
            defined(taken, rate**2 / batch),
            granted(
                Relation(Y_C, "=", 2 * rate * curvature * paced),
                Ground.DEFINITION,
                meaning={Y_C: 2 * rate * curvature * paced, paced: kappa / sympy.sqrt(C.variance)},
            ),
            slower,
        ),
        (after, Y_C, root, slowed, paced, rate**2 / batch, taken),
    )


def _order(small: State, large: State, y_small: Any, y_large: Any, kappa: Any = 1) -> Generator[Step, Step, Step]:
    """x (1 - y(x)) is monotone: x <= X in every mode, so V(x) <= V(X), y(x) >= y(X), and 1 - y(X) >= 0."""
    _, ordered = yield from in_order(small, large)
    pace = 4 * kappa**2 * rate**2 * curvature**2
    y_2 = squared(y_large)
    squares = yield inequality(
        y_2,
        "<=",
        pace / small.variance,
        (Range(large.variance, small.variance),),
        "by the variances",
        {y_2: pace / large.variance},
    )
    value, before = 2 * kappa * rate * curvature / sympy.sqrt(small.variance), ordered_errors(small, large)
    falls = yield composed(
        Relation(y_2, "<=", y_small**2, ranges=(before,)),
        (
            from_step(squares, {large.variance: (ordered,)}),
            defined(y_small, value, pace / small.variance, y_small**2),
        ),
        (y_2, 1 / small.variance),
    )
    slower = yield rooted(falls, y_2, y_large, y_small)
    said = yield composed(
        Relation(
            small.error * (1 - y_small), "<=", large.error * (1 - y_large), ranges=(Range(y_large, 0, 1), before)
        ),
        (slower,),
        (y_small,),
    )
    return said


def _within(weaker: Any, noise: Any) -> Generator[Step, Step, Step]:
    """V_i(t) >= e^-q V_i along the upper solution."""
    fades = exponents(sympy.exp(-move / 2), "<=", sympy.Integer(1))
    is_weaker = defined(contraction, weaker)
    smaller = composed(Relation(contraction, "<=", kept), (is_weaker, fades), (contraction, sympy.exp(-move / 2)))
    below_one = composed(Relation(contraction, "<=", 1), (smaller, KEPT), (contraction, kept))
    yield BELOW_SCALE
    yield OF_SQUARES
    yield KEPT_2
    yield KEPT
    yield fades
    yield smaller
    yield below_one
    slow = yield from _bounded(pull, contraction, U_T, 1, below_one)
    falls = yield along(
        sympy.exp(move * TIME / rate) * u,
        {u: -pull * u + noise * density},
        {u: U.error, TIME: 0},
        {u: U_T.error, TIME: TIME},
        (slow,),
        (pull,),
        IN_THE_STEP,
    )
    least, found = sympy.exp(-move), sympy.exp(-move * TIME / rate)
    faster = yield exponents(least, "<=", found, IN_THE_STEP)
    each = yield composed(
        Relation(U_T.error, ">=", least * U.error, ranges=IN_THE_STEP), (falls, faster), (U_T.error, least)
    )
    no_more = yield exponents(least, "<=", sympy.Integer(1))
    return (yield from variances(each, U_T, U, no_more))


def _at_most_one(
    y: Any, state: State, factor: Any = 1, share: Step | None = None
) -> Generator[Step, Step, tuple[Step, Step]]:
    """y_i <= q, and so at most 1."""
    most = yield from _bounded(y, factor, state, rate, share)
    below_one = yield composed(Relation(y, "<=", 1, ranges=UPPER.ranges[:-1]), (most,), (y,))
    return most, below_one


POSITIVE = prose(
    r"\text{errors stay} \ge 0 \text{ along the equation}", "where one is 0 its derivative is nu rho >= 0"
)
UPPER = Relation(after, "<=", upper_after, ranges=(Range(move, 0, 1), *MODES, LARGEST, ordered_errors(C, U)))


@proves(
    "sandwich of Adam, above",
    "an idealised Adam on one path: what batches below the noise scale cost at most",
    r"Gaussian regression, one pass, $\sigma > 0$, rule (R) on a path in samples and batches fixed before the "
    r"run. Let $2\sqrt{\lambda_{\max}}a_k/\sigma \le q \le 1$ and $\kappa \le (1+b_k/B_i)^{-1/2}$ for all $i$ "
    r"and $k$, let $u$ solve $du_i/dT = -2\kappa e^{-q/2}\lambda_iu_i/\sqrt{V_i(u)} + e^q/r$, and let $c_i "
    r"\le u_i$ in every mode before a step. Then the same holds after it, and so after every step from $c = "
    r"u$:",
    concludes=(Conclusion(UPPER, BELOW_SCALE.assumes),),
    source="this project",
    uses=("exponentials", "noise of a step", "Adam in modes"),
)
def upper_step() -> Derivation:
    """Within a step V_i falls at most by e^-q, so u falls at most as far as the step's y_i says."""
    weaker, noise = theory.upper_factors(move, kept)
    yield POSITIVE
    grown = yield from _within(weaker, noise)
    slow = yield from _pulled("<=", weaker, 1, kept, (Y_U, U, U_T), grown)
    whole = yield along(
        sympy.exp(Y_U * (TIME / rate - 1)) * u - sympy.exp(move - Y_U) * J,
        {u: -pull * u + noise * density, J: density},
        {u: U.error, J: 0, TIME: 0},
        {u: upper_after, J: noise_of_path, TIME: rate},
        (slow,),
        (pull,),
        IN_THE_STEP,
        names={named("fade_y", r"e^{-y_it/a_k}", nonnegative=True): sympy.exp(-Y_U * TIME / rate)},
        reason="J is I_k over the step",
    )
    most, below_one = yield from _at_most_one(Y_U, U, kept, KEPT)
    ordered = yield from _order(C, U, Y_C, Y_U, kept)
    kept_2 = yield inequality(
        squared(paced),
        "<=",
        slowed**2,
        (Range(kept, 0, CEILING, power=2),),
        where={squared(paced): kept**2 / C.variance, slowed: 1 / sympy.sqrt(C.variance + batch * own)},
    )
    slower = yield rooted(kept_2, squared(paced), paced, slowed)
    stepped = yield _one_step("<=", kept, from_step(slower, {kept: (BELOW_SCALE,)}))
    enough = yield exponents(sympy.exp(move - Y_U), ">=", sympy.Integer(1), (Range(Y_U, 0, move),))
    yield composed(
        UPPER,
        (
            whole,
            cite(against_exponentials, {exponent: Y_U}),
            from_step(enough, {Y_U: (most,)}),
            cite(noise_of_a_step),
            defined(taken, rate**2 / batch),
            stepped,
            from_step(ordered, {Y_U: (below_one,)}),
        ),
        (after, upper_after, sympy.exp(-Y_U), sympy.exp(move - Y_U), taken, Y_C, 1 / batch),
    )
    yield prose(r"c(0) = u(0), \text{ so } c_i(k) \le u_i(T_k) \text{ for all } k", "by induction")


pace = sympy.Symbol("g", nonnegative=True)
trace = named("S_1", r"\textstyle\sum_i\lambda_i", nonnegative=True)
curvature_term = named("lambda_i_term", r"\lambda_i", nonnegative=True)
SPREAD = named("spread", "W", positive=True)
"""w_k / I_k."""
LOWER = Relation(after, ">=", lower_after, ranges=(*UPPER.ranges[:-1], ordered_errors(L, C)))


def _not_faster() -> Generator[Step, Step, Step]:
    """Its step goes at most as far as one that its own gradient does not slow."""
    unslowed = yield inequality(
        squared(slowed),
        "<=",
        paced**2,
        where={squared(slowed): 1 / (C.variance + batch * own), paced: 1 / sympy.sqrt(C.variance)},
    )
    slower = yield rooted(unslowed, squared(slowed), slowed, paced)
    stepped = yield _one_step(">=", sympy.Integer(1), slower)
    return stepped


@proves(
    "sandwich of Adam, below",
    "an idealised Adam on one path: no schedule falls below the solution of another equation",
    r"Gaussian regression, one pass, $\sigma > 0$, rule (R) on a path in samples and batches fixed before the "
    r"run. Let $l$ solve $dl_i/dT = -2\theta_k\lambda_il_i/\sqrt{V_i(l)} + \chi_k/r$ in step $k$, with $q = "
    r"2\sqrt{\lambda_{\max}}a_k/\sigma < 1$, $\theta_k = -e^{w_k/2}\ln(1-q)/q$, $w_k = "
    r"I_k(\sum_i\lambda_i+\lambda_{\max})/\sigma^2$ and $\chi_k = (a_k^2/b_k)/I_k$, and let $c_i \ge l_i$ in "
    r"every mode before the step. Then the same holds after it, and so after every step from $c = l$:",
    concludes=(Conclusion(LOWER),),
    source="this project",
    uses=("Bernoulli's inequality", "Adam in modes", "noise of a step"),
)
def lower_step() -> Derivation:
    """l takes at most the noise of the step, and falls at least as far as an unslowed step."""
    yield POSITIVE
    variance = yield L_T.noisy()
    noisy = yield composed(
        Relation(curvature**2 + curvature * trace, "<=", SPREAD * L_T.variance, ranges=MODES),
        (variance, defined(SPREAD, theory.variance_growth(largest, trace, label_noise))),
        (L_T.variance, trace),
    )
    noise = (sympy.Integer(1), (curvature_term, trace), SPREAD, noisy, chi)
    grown = yield from growing(L, L_T, -pull * L_T.error, *noise)
    yield increasing(Relation(0, "<=", -sympy.log(1 - move), ranges=(Range(move, 0, 1),)), move, reason="g >= 0")
    closer = yield composed(
        Relation(L_T.variance, "<=", sympy.exp(budget) * L.variance, ranges=MODES),
        (grown,),
        (L_T.variance, L.variance),
    )
    theta = theory.lower_contraction(move, budget).subs(sympy.log(1 - move), -pace * move)
    fast = yield from _pulled(">=", theta, pace, 1, (Y_L, L, L_T), closer)
    fade = sympy.exp(pace * Y_L * (TIME / rate - 1))
    whole = yield along(
        chi * J - fade * low,
        {low: -pull * low + chi * density, J: density},
        {low: L.error, J: 0, TIME: 0},
        {low: lower_after, J: noise_of_path, TIME: rate},
        (fast, defined(PACE, pace * Y_L / rate)),
        (pull, PACE),
        IN_THE_STEP,
        names={named("fade_l", r"e^{-gy_i(1-t/a_k)}", nonnegative=True): fade},
        reason="J is I_k over the step",
    )
    most = yield from _bounded(Y_L, 1, L, rate)
    _, below_one = yield from _at_most_one(Y_C, C)
    ordered = yield from _order(L, C, Y_L, Y_C)
    stepped = yield from _not_faster()
    of_path = yield composed(
        Relation(taken, "=", chi * noise_of_path),
        (defined(taken, rate**2 / batch), SHARE),
        (taken, 1 / batch, chi),
    )
    bounded = yield composed(
        replace(LOWER, ranges=(*LOWER.ranges, Range(Y_L, 0, move))),
        (
            from_step(whole, at={pace: -sympy.log(1 - move) / move}),
            cite(against_powers, {move_of_power: move, share_of_power: Y_L / move}),
            of_path,
            stepped,
            from_step(ordered, {Y_C: (below_one,)}),
        ),
        (after, lower_after, sympy.exp(Y_L / move * sympy.log(1 - move)), taken, Y_C, chi),
    )
    yield composed(LOWER, (from_step(bounded, {Y_L: (most,)}),), (after, lower_after))
    yield prose(r"c(0) = l(0), \text{ so } c_i(k) \ge l_i(T_k) \text{ for all } k", "by induction")
