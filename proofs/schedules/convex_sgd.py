r"""SGD on one path: three guarantees, each one step of a potential; and what rule (R) is needed for."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import sympy

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
    induction,
    stated,
    summed,
)
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.schedules.path import OVER_THE_STEP, all_steps, noise_of_a_step
from proofs.schedules.path import x as inverse_r
from proofs.schedules.symbols import (
    PATH,
    batch,
    first_ratio,
    last_iterate_noise,
    noise_of_path,
    rate,
    samples,
    time,
)
from proofs.steps import Derivation, Evidence, Step, checked, identity, proves
from theory.schedules import convex_sgd as theory
from theory.schedules.path import LearningRatePath, PathSteps
from theory.schedules.shapes import Power

__all__ = ["average_of_convex", "average_squared_gradient", "best_ratio", "last_iterate", "without_rule"]

smoothness = sympy.Symbol("L", positive=True)
relative, gap, distance = sympy.symbols("M Delta d_0", nonnegative=True)
largest = named("theta_max", r"\theta", positive=True)
variance = named("sigma_2", r"\sigma^{2}", positive=True)
noise = named("xi_2", r"E_k\|\xi\|^2", nonnegative=True)
"""Of the step's gradient; xi = g - grad f, E_k xi = 0."""
steepness = named("grad_2", r"\|\nabla f\|^{2}", nonnegative=True)
value, next_value = named("f_gap", "f_k", nonnegative=True), named("f_gap_next", r"E_kf_{k+1}", real=True)
"""f(w_k) - f* (or - inf f), and of the next iterate in expectation."""
drop = named("inner", r"E_k\langle\nabla f, g\rangle", real=True)
length = named("step_2", r"E_k\|g\|^2", nonnegative=True)
GRADIENT = (
    assumed(Relation(length, "=", steepness + noise), Assumption.UNBIASED),
    assumed(Relation(drop, "=", steepness), Assumption.UNBIASED),
)
NOISY = frozenset({Assumption.SMOOTH, Assumption.UNBIASED, Assumption.NOISE, Assumption.SMALL_STEPS})
NOISY_CONVEX = NOISY | {Assumption.CONVEX}
STEP, THETA = Range(rate, 0, 1 / smoothness), Range(largest, 0, 1)
"""a L <= 1, by ``SHORT``: a L <= theta <= 1."""
SMALL = stated(assumed(Relation(rate, "<=", largest / smoothness), Assumption.SMALL_STEPS))
SHORT = composed(Relation(rate, "<=", 1 / smoothness, ranges=(THETA,)), (SMALL,), (rate,), SMALL.assumes)


def _bounded_noise(largest_noise: Any) -> Fact:
    return assumed(Relation(noise, "<=", largest_noise / batch), Assumption.NOISE)


def _problem(**known: Any) -> theory.SmoothProblem:
    return theory.SmoothProblem(smoothness=smoothness, variance=variance, **known)


weighted_steepness = named("a grad_2", r"a_k\|\nabla f\|^{2}", nonnegative=True)
STEEPNESSES = named("A_sum", r"\sum_k E\,a_k\|\nabla f(w_k)\|^2", nonnegative=True)
SLOWER = Range(inverse_r, 0, 1 / first_ratio)
"""r >= r_0."""
MOVES = (THETA, Range(rate, 0, largest / smoothness))
SETTING = (
    r"SGD on an $L$-smooth $f$ with $E_kg_k = \nabla f(w_k)$ follows rule (R) on a path in samples, with $D$ "
    r"and $r$ fixed before the run, with $\theta \le 1$; $b_k$ may depend on the past, not on its own samples."
)


@proves(
    "average squared gradient",
    "SGD on one path: the average squared gradient of any smooth f",
    SETTING + r" Let $E_k\|g_k-\nabla f\|^2 \le (\sigma^2+M\|\nabla f\|^2)/b_k$ and $r \ge r_0$.",
    concludes=(
        Conclusion(
            Relation(
                STEEPNESSES / time,
                "<=",
                theory.average_squared_gradient_bound(
                    _problem(relative_variance=relative, initial_gap=gap), PATH, largest
                ).value,
                ranges=(
                    Range(largest, 0, 1),
                    Range(relative, 0, (2 - largest) * first_ratio / smoothness, strict=True),
                    SLOWER,
                ),
            ),
            NOISY,
        ),
    ),
    source="descent lemma",
    uses=("noise of a step",),
)
def average_squared_gradient() -> Derivation:
    """The descent of one step, summed."""
    slowest = yield from _ratio()
    yield SMALL
    kept = 1 - largest / 2 - smoothness * relative / (2 * first_ratio)
    loses = yield inequality(
        kept * rate * steepness,
        "<=",
        (rate - smoothness * rate**2 / 2 - smoothness * relative * rate**2 / (2 * batch)) * steepness,
        (*MOVES, Range(first_ratio, 0, batch / rate)),
        "a L <= theta, and a / b <= 1 / r_0 as r >= r_0",
    )
    each = yield composed(
        Relation(
            kept * weighted_steepness + next_value,
            "<=",
            value + smoothness * variance / 2 * noise_of_path,
            ranges=(THETA, SLOWER),
        ),
        (
            assumed(
                Relation(next_value, "<=", value - rate * drop + smoothness * rate**2 / 2 * length),
                Assumption.SMOOTH,
            ),
            *GRADIENT,
            _bounded_noise(variance + relative * steepness),
            cite(noise_of_a_step),
            from_step(loses, {rate: (SMALL,), first_ratio: (slowest,)}),
            defined(weighted_steepness, rate * steepness),
        ),
        (next_value, value, drop, length, noise, steepness, weighted_steepness, noise_of_path),
        NOISY,
    )
    yield from all_steps(each, weighted_steepness, STEEPNESSES, (value, next_value, gap), average_squared_gradient)


def _ratio() -> Generator[Step, Step, Step]:
    """r_0 <= b / a by rule (R), from r >= r_0."""
    least = yield inequality(inverse_r, "<=", 1 / first_ratio, (SLOWER,), "r >= r_0")
    whole = yield summed(
        least, OVER_THE_STEP, count=batch, reason="integrated over the samples of the step, by rule (R)"
    )
    ratio = yield composed(Relation(first_ratio, "<=", batch / rate, ranges=(SLOWER,)), (whole,), (batch,))
    return ratio


squared_distance, next_distance = named("d_k", "d_k", nonnegative=True), named("d_next", r"E_kd_{k+1}", real=True)
"""||w_k - w*||^2."""
alignment = named("P_k", r"\langle\nabla f, w_k-w^*\rangle", real=True)
weighted_gap = named("a f", "a_kf_k", nonnegative=True)
GAPS = named("F_sum", r"\sum_k E\,a_k(f(w_k)-f^*)", nonnegative=True)
CONVEX = SETTING + r" Let $f$ be convex with a minimiser $w^*$, and $E_k\|g_k-\nabla f\|^2 \le \sigma^2/b_k$."


@proves(
    "average of convex f",
    "SGD on one path: the average of convex f, in which the batches do not occur",
    CONVEX,
    concludes=(
        Conclusion(
            Relation(
                GAPS / time,
                "<=",
                theory.average_gap_bound(_problem(distance=distance), PATH, largest).value,
                ranges=(THETA,),
            ),
            NOISY_CONVEX,
        ),
    ),
    source="Nesterov (2004), Theorem 2.1.5; this project for the path",
    uses=("noise of a step",),
)
def average_of_convex() -> Derivation:
    """The distance of one step, summed."""
    shorter = inequality(rate**2 * steepness, "<=", rate * steepness / smoothness, (STEP,))
    drawn = named("P_g", r"E_k\langle g_k, w_k-w^*\rangle", real=True)
    away, own = (sympy.Symbol(name, real=True) for name in ("(w_k-w^*)_i", "g_{k,i}"))
    moves = equation(
        next_distance,
        squared_distance - 2 * rate * drawn + rate**2 * length,
        "in every coordinate, and summed",
        {next_distance: (away - rate * own) ** 2, squared_distance: away**2, drawn: own * away, length: own**2},
    )
    yield SMALL
    yield SHORT
    yield shorter
    yield moves
    goal = Relation(2 * weighted_gap + next_distance, "<=", squared_distance + variance * noise_of_path)
    each = yield composed(
        replace(goal, ranges=(THETA,)),
        (
            from_step(moves, opaque=tuple(moves.relation.where)),
            assumed(Relation(drawn, "=", alignment), Assumption.UNBIASED),
            assumed(
                Relation(alignment, ">=", value + steepness / (2 * smoothness)),
                Assumption.SMOOTH,
                Assumption.CONVEX,
            ),
            GRADIENT[0],
            _bounded_noise(variance),
            cite(noise_of_a_step),
            from_step(shorter, {rate: (SHORT,)}),
            defined(weighted_gap, rate * value),
        ),
        (
            next_distance,
            squared_distance,
            drawn,
            alignment,
            value,
            steepness,
            length,
            noise,
            weighted_gap,
            noise_of_path,
        ),
        NOISY_CONVEX,
    )
    yield from all_steps(
        each, weighted_gap, GAPS, (squared_distance, next_distance, distance**2), average_of_convex
    )


left = named("G_k", "G_k", positive=True)
"""T - T(S_k), known at step k by rule (R)."""
at_z, next_at_z = named("f(z)", "f(z_k) - f^*", real=True), named("f(z_next)", "f(z_{k+1}) - f^*", real=True)
"""f(z_k) - f*, z_0 = w*, z_{k+1} = (1 - a_k / G_k) z_k + (a_k / G_k) w_{k+1}."""
mixture, next_mixture = named("Z_k", "Z_k", nonnegative=True), named("Z_next", r"E_kZ_{k+1}", real=True)
rise, last = named("rise", r"Z_{k+1}-Z_k", real=True), named("f_n", "E f(w_n)-f^*", nonnegative=True)
apart = named("zw", r"\|z_k-w_k\|^2", nonnegative=True)
next_apart = named("zw_next", r"E_k\|z_k-w_{k+1}\|^2", nonnegative=True)
weighed = named("V_k", r"\|z_k-w_k\|^2/G_k", nonnegative=True)
next_weighed = named("V_next", r"E_k\|z_{k+1}-w_{k+1}\|^2/G_{k+1}", nonnegative=True)
moved = named("moved_2", r"E_k\|w_{k+1}-w_k\|^2", nonnegative=True)
towards = named("g(w-z)", r"E_k\langle g, w_{k+1}-z_k\rangle", real=True)
across = named("grad(w-z)", r"E_k\langle\nabla f, w_{k+1}-z_k\rangle", real=True)
excess = named("e_k", "e_k", nonnegative=True)
"""(1 + a_k L) (a_k^2 / b_k) / G_k."""
EXCESSES = named("e_sum", r"E\sum_k(1+a_kL)(a_k^2/b_k)/(T-T_k)", nonnegative=True)
part = named("part", r"\int_{S_k}^{S_{k+1}}dS/(r^2(T-T(S)))", nonnegative=True)


@proves(
    "last iterate",
    "SGD on one path: the last iterate of convex f, whichever batches follow the path",
    CONVEX,
    concludes=(
        Conclusion(
            Relation(last, "<=", distance**2 / (2 * time) + variance / 2 * EXCESSES, ranges=(THETA,)), NOISY_CONVEX
        ),
        Conclusion(
            Relation(
                last,
                "<=",
                theory.last_iterate_bound(_problem(distance=distance), PATH, largest).value,
                ranges=(THETA,),
            ),
            NOISY_CONVEX,
        ),
    ),
    source="Zamani and Glineur, arXiv 2307.11134, for the points $z_k$; this project for the path",
    uses=("noise of a step",),
)
def last_iterate() -> Derivation:
    """A potential Z_k + ||z_k - w_k||^2 / (2 G_k), which is 0 + d_0^2 / (2 T) first and f(w_n) - f* last."""
    each = _one_step(*(yield from _points()))
    yield each
    yield SMALL
    yield SHORT
    whole = yield summed(
        each,
        {rise: last, excess: EXCESSES},
        {(weighed, next_weighed): distance**2 / time},
        reason="summed over the steps, in expectation: Z_0 = 0, Z_n = f(w_n) - f* as G_n = 0, and G_0 = T",
    )
    first, second = (conclusion.relation for conclusion in last_iterate.lemma.conclusions)
    found = from_step(whole, {rate: (SHORT,)})
    yield composed(first, (found,), (last, EXCESSES))
    of_path = yield from _by_the_path()
    yield composed(second, (found, of_path), (last, EXCESSES, last_iterate_noise))
    yield from _in_closed_form()


def _points() -> Generator[Step, Step, tuple[Step, Step, Step, Fact]]:
    """What moves together, how its weight falls, three points, and that Z_k is at least f(z_k) - f*."""
    z, w, g = sympy.symbols("z w g", real=True)
    share = rate / left
    moves = yield equation(
        (1 - share) * z + share * w - w,
        (1 - share) * (z - w),
        "z_{k+1} - w_{k+1}, in every coordinate; w = w_{k+1}",
    )
    falls = yield inequality(
        (1 - share) ** 2 / (left - rate),
        "<=",
        1 / left,
        (Range(rate, 0, left),),
        "so its weight falls; G_{k+1} = G_k - a_k",
    )
    three_points = yield equation(
        g * (w - rate * g - z),
        ((z - w) ** 2 - (z - w + rate * g) ** 2 - (rate * g) ** 2) / (2 * rate),
        "the three-point identity, in every coordinate; w = w_k",
    )
    after = named("f(w_next)", r"f(w_{k+1}) - f^*", nonnegative=True)
    drawn = named("Z_drawn", "Z_{k+1}", real=True)
    mixed = (1 - share) * mixture + share * after
    start = yield inequality(sympy.Integer(0), "<=", 0, (), "z_0 = w^* and Z_0 = 0")
    below = yield induction(
        Relation(next_at_z, "<=", drawn, ranges=(Range(rate, 0, left),)),
        {next_at_z: at_z, drawn: mixture},
        {next_at_z: sympy.Integer(0), drawn: sympy.Integer(0)},
        start,
        (
            assumed(Relation(next_at_z, "<=", (1 - share) * at_z + share * after), Assumption.CONVEX),
            defined(drawn, mixed),
        ),
        (next_at_z, at_z, mixture, drawn, after),
    )
    at_end = named("Z_n", "Z_n", real=True)
    yield equation(at_end, after, "where a_k = G_k, at the last step", {at_end: mixed.subs(rate, left)})
    fits = yield stated(
        granted(Relation(rate, "<=", left), Ground.PART, meaning=_steps_left()), "G_k = a_k + a_{k+1} + .."
    )
    here = from_step(below, {rate: (fits,)}, at={next_at_z: at_z, drawn: mixture})
    return moves, falls, three_points, here


def _steps_left() -> dict[Any, Any]:
    """G_k, the sum of a_j over j from k on, and a_k."""
    j, last = sympy.symbols("j N", integer=True, nonnegative=True)
    moves = sympy.Function("a", positive=True)
    return {left: sympy.Sum(moves(j), (j, 0, last)), rate: moves(0)}


def _one_step(moves: Step, falls: Step, three_points: Step, below: Fact) -> Step:
    share = rate / left
    return composed(
        Relation(rise + next_weighed / 2, "<=", weighed / 2 + variance / 2 * excess, ranges=(STEP,)),
        (
            defined(rise, next_mixture - mixture),
            defined(next_mixture, (1 - share) * mixture + share * next_value),
            below,
            assumed(
                Relation(next_value - at_z, "<=", across + smoothness / 2 * moved),
                Assumption.SMOOTH,
                Assumption.CONVEX,
            ),
            assumed(Relation(across, "=", towards + rate * noise), Assumption.UNBIASED),
            granted(
                Relation(towards, "=", (apart - next_apart - moved) / (2 * rate)), Ground.EXPECTATION, three_points
            ),
            assumed(Relation(moved, ">=", rate**2 * noise), Assumption.UNBIASED),
            granted(Relation(next_weighed, "<=", next_apart / left), Ground.EXPECTATION, moves, falls),
            defined(weighed, apart / left),
            _bounded_noise(variance),
            defined(excess, (1 + rate * smoothness) * rate**2 / batch / left),
        ),
        (
            rise, next_mixture, mixture, at_z, next_value, across, towards, moved, apart, next_apart, weighed,
            next_weighed, noise, excess,
        ),
        NOISY_CONVEX,
    )  # fmt: skip


def _by_the_path() -> Generator[Step, Step, Step]:
    """e_k summed is at most (1 + theta) times the path's integral."""
    ahead = sympy.Symbol("tau", positive=True)
    point = named("point", r"\varrho^{2}/\tau", nonnegative=True)
    density = named("density_2", r"\varrho^{2}", nonnegative=True)
    pointwise = yield inequality(
        density / left,
        "<=",
        point,
        (Range(ahead, 0, left),),
        "T - T(S) = tau is at most G_k within the step",
        {point: density / ahead},
    )
    within = yield summed(
        pointwise, {density: noise_of_path, point: part}, reason="integrated over the samples of the step"
    )
    ahead_of_it = yield stated(granted(Relation(ahead, "<=", left), Ground.PART, meaning=_time_left(ahead)))
    larger = yield inequality((1 + rate * smoothness) * part, "<=", (1 + largest) * part, MOVES)
    each = yield composed(
        Relation(excess, "<=", (1 + largest) * part, ranges=(THETA,)),
        (
            defined(excess, (1 + rate * smoothness) * rate**2 / batch / left),
            cite(noise_of_a_step),
            from_step(within, {ahead: (ahead_of_it,)}),
            from_step(larger, {rate: (SMALL,)}),
        ),
        (excess, noise_of_path, part),
    )
    said = yield summed(
        each, {excess: EXCESSES, part: last_iterate_noise}, reason="summed over the steps, in expectation"
    )
    return said


def _time_left(ahead: Any) -> dict[Any, Any]:
    """The integral of 1 / r from S on, which is in the step, and from the start S_k of the step on."""
    seen, start, further, rest = sympy.symbols("S S_k h g", nonnegative=True)
    density, now = 1 / sympy.Function("r", positive=True)(seen), start + further
    return {
        ahead: sympy.Integral(density, (seen, now, now + rest)),
        left: sympy.Integral(density, (seen, start, now + rest)),
    }


def _in_closed_form() -> Derivation:
    """What the bound functions return is this, on p = (1 - x)^m and on given steps."""
    m, seen = sympy.symbols("m S", positive=True)
    path = LearningRatePath(shape=Power(m), samples=samples, initial_ratio=first_ratio)
    left_of = (m + 1) / (m * first_ratio) * (1 - seen / samples) ** m
    inside = {seen: samples * (1 - sympy.Symbol("y", positive=True))}
    yield equation(
        (path.density(seen) ** 2 / path.time_left(seen) + sympy.diff(left_of, seen)).subs(inside),
        0,
        "p = (1 - x)^m: minus the derivative of what is left of the integral, which is 0 at S = D",
    )
    at_zero = {last_iterate_noise: path.last_iterate_noise}
    yield equation(last_iterate_noise, left_of.subs(seen, 0), "p = (1 - x)^m", at_zero)
    steps = PathSteps(
        LearningRatePath(samples=sympy.Integer(4), initial_ratio=sympy.Integer(2)),
        np.array([sympy.Integer(n) for n in (0, 1, 2, 4)]),
    )
    one = theory.SmoothProblem(smoothness=sympy.Integer(1), variance=variance, distance=distance)
    terms = zip(steps.rates, steps.batches, (1, sympy.Rational(9, 16), sympy.Rational(1, 4)), strict=True)
    yield identity(
        r"d_0^2/(2T)+\frac{\sigma^2}2\textstyle\sum_ke_k: \text{ the function of given steps}",
        theory.last_iterate_bound_of_steps(one, steps).value,
        distance**2 / 2 + variance / 2 * sum((1 + a) * a**2 / b / ahead for a, b, ahead in terms),
        "it adds up the $e_k$ of the steps; at batches 1, 1, 2 on linear decay with T = 1",
    )


@proves(
    "best ratio",
    "SGD on one path: the best ratio of batch and rate, and the best power",
    r"On the path $p = (1-x)^m$ the bound on the last iterate, at the $r_0$ that makes it least, is "
    r"$d_0\sigma\sqrt{(1+\theta)/D}\,(m+1)/\sqrt m$, which is least at $m = 1$. There a first batch of $b$ "
    r"samples meets $a_0L \le \theta$ exactly where $D \ge (bLd_0)^2/(\theta^2\sigma^2(1+\theta))$. The bound "
    r"on the average of $f$ is least at $m = 0$, a constant path.",
    source="this project; Defazio et al., arXiv 2310.07831, for linear decay",
    uses=("last iterate", "average of convex f"),
)
def best_ratio() -> Derivation:
    """The minimum over r_0, the power, and the samples that it needs."""
    m, apart_ = sympy.symbols("m d_0", positive=True)
    problem = _problem(distance=apart_)
    path = LearningRatePath(shape=Power(m), samples=samples, initial_ratio=first_ratio)
    best = theory.best_initial_ratio(problem, Power(m), samples, largest)
    bound = theory.last_iterate_bound(problem, path, largest).value
    least = bound.subs(first_ratio, best)
    yield equation(
        bound - least,
        (m + 1) * apart_**2 / (2 * samples * first_ratio) * (first_ratio - best) ** 2,
        "so best is least",
    )
    yield identity(
        r"\text{the least bound is } d_0\sigma\sqrt{(1+\theta)/D}\,(m+1)/\sqrt m",
        least**2,
        apart_**2 * variance * (1 + largest) / samples * (m + 1) ** 2 / m,
        "squared",
    )
    yield equation((m + 1) ** 2 / m - 4, (m - 1) ** 2 / m, "least at m = 1")
    first = sympy.Symbol("b", positive=True)
    needed = (first * smoothness * apart_) ** 2 / (largest**2 * variance * (1 + largest))
    yield identity(
        r"r_0\theta/L = b \text{ at } m = 1 \text{ and } D = (bLd_0)^2/(\theta^2\sigma^2(1+\theta))",
        theory.best_initial_ratio(problem, Power(sympy.Integer(1)), needed, largest) * largest / smoothness,
        first,
        "the largest first batch; it grows with D",
    )
    average = theory.average_gap_bound(problem, path, largest).value
    root = sympy.sqrt(variance * samples / (2 * m + 1)) / apart_
    yield equation(
        average - average.subs(first_ratio, root),
        (m + 1) * apart_**2 / (2 * samples * first_ratio) * (first_ratio - root) ** 2,
    )
    yield identity(
        r"\text{the least bound on the average is } d_0\sigma(m+1)/\sqrt{D(2m+1)}",
        average.subs(first_ratio, root) ** 2,
        apart_**2 * variance / samples * (m + 1) ** 2 / (2 * m + 1),
        "squared",
    )
    yield equation((m + 1) ** 2 / (2 * m + 1) - 1, m**2 / (2 * m + 1), "least at m = 0; linear decay: 2 / sqrt 3")


@proves(
    "without rule (R)",
    "rates that depend on the past have no such guarantee",
    r"On $f(w) = w^2/2$ from $w_1 = w^* = 0$ with $b_k = 1$, let $a_k = 1$ until the noise takes its rare "
    r"value for the first time, and 0 after it. Then $E f(w_n)$ exceeds the last-iterate bound of the planned "
    r"$n$ steps by a factor that grows without limit as $n$ grows.",
    source="this project",
    uses=("last iterate",),
)
def without_rule() -> Derivation:
    """Noise of mean 0 and variance 1 that is rarely large: once it was, the run stays there."""
    chance = sympy.Symbol("p", positive=True)
    odds = sympy.Symbol("o", positive=True)  # (1 - p) / p
    rare, usual = sympy.sqrt(odds), -1 / sympy.sqrt(odds)
    for name, power, target in (("E\\xi", 1, 0), ("E\\xi^{2}", 2, 1)):
        moment = named(name, name, real=True)
        yield equation(
            moment, target, "p = 1 / (1 + o)", {moment: (rare**power + odds * usual**power) / (1 + odds)}
        )
    w, xi, n = sympy.Symbol("w", real=True), sympy.Symbol("xi", real=True), sympy.Symbol("n", positive=True)
    moved_to = named("w_next", "w_{k+1}", real=True)
    yield equation(
        moved_to,
        -xi,
        "a = 1: the last noise is all that counts",
        {moved_to: sympy.Add(w, -(w + xi), evaluate=False)},
    )
    expected = _frozen(chance, n)
    yield equation(
        expected.subs(chance, 1 / (1 + odds)),
        (1 - (1 - 1 / (1 + odds)) ** n) * rare**2 / 2 + (1 - 1 / (1 + odds)) ** n * usual**2 / 2,
        "E f(w_n): a rare value within n steps, or none",
    )
    yield checked(r"p = 1/1000: E f(w_n) > 1.69, 2.75, 4.58 \text{ times the bound, } n = 10, 20, 40", _beyond)
    limit = named("limit", r"\lim_{p\to0}E f(w_n)", real=True)
    yield equation(
        limit, n / 2, "against sum_k 1/k, which grows as ln n", {limit: sympy.limit(expected, chance, 0)}
    )


def _frozen(chance: Any, steps: Any) -> Any:
    none = (1 - chance) ** steps
    return (1 - none) * (1 - chance) / (2 * chance) + none * chance / (2 * (1 - chance))


def _beyond() -> Evidence:
    problem = theory.SmoothProblem(
        smoothness=sympy.Integer(1), variance=sympy.Integer(1), distance=sympy.Integer(0)
    )
    ratios = []
    for n in (10, 20, 40):
        path = LearningRatePath(shape=Power(0), samples=sympy.Integer(n), initial_ratio=sympy.Integer(1))
        planned = PathSteps(path, np.array([sympy.Integer(k) for k in range(n + 1)]))
        bound = theory.last_iterate_bound_of_steps(problem, planned).value
        ratios.append(_frozen(sympy.Rational(1, 1000), n) / bound)
    stated = (sympy.Rational(169, 100), sympy.Rational(275, 100), sympy.Rational(458, 100))
    return Evidence(
        all(r > s for r, s in zip(ratios, stated, strict=True)), ", ".join(f"{float(r):.4f}" for r in ratios)
    )
