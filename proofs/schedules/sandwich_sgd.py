r"""The sandwich of SGD's schedules on one path: one step from both sides, and the induction over the steps."""

from __future__ import annotations

from collections.abc import Generator

import sympy

from proofs.calculus import TIME, along, exponents, increasing
from proofs.composition import Conclusion, cite, composed, defined, from_step, summed
from proofs.relations import Range, Relation, equation, inequality, named
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
from proofs.schedules.symbols import batch, chi, noise_of_path, rate, ratio
from proofs.steps import Derivation, Step, prose, proves
from theory.schedules import sandwich_sgd as theory
from theory.schedules.second_moments import gradient_variance, sgd_step, squared_gradient

__all__ = ["lower_step", "sgd_in_modes", "upper_step"]

error, level = sympy.symbols("c_i N", nonnegative=True)
move = sympy.Symbol("q", nonnegative=True)
contraction = sympy.Symbol("theta", nonnegative=True)
C, U, U_T = State("c"), State("u"), State("u", "t")
L, L_T = State("l"), State("l", "t")
after, upper_after, lower_after = C.after, U.after, L.after
u, low = (sympy.Function(name)(TIME) for name in ("u", "l"))
IN_THE_STEP = (Range(curvature, 0, largest), Range(rate, 0, move / largest), Range(TIME, 0, rate))
MODES = IN_THE_STEP[:2]
ONE_STEP = Relation(
    after,
    "=",
    (1 - rate * curvature) ** 2 * C.error + rate**2 / batch * C.variance,
    {
        after: sgd_step(curvature, C.error, level, rate, batch),
        C.variance: gradient_variance(curvature, C.error, level),
    },
)


@proves(
    "SGD in modes",
    "a step of SGD on Gaussian regression, by its path and its batch",
    concludes=(Conclusion(ONE_STEP, universal=(level,)),),
    source="this project",
)
def sgd_in_modes() -> Derivation:
    """The recursion in V_i; at a = b / r the batch enters by its last term only."""
    yield equation(ONE_STEP.left, ONE_STEP.right, where=ONE_STEP.where)
    yield equation(
        sgd_step(curvature, error, level, batch / ratio, batch),
        error
        + batch * (-2 * curvature * error / ratio + gradient_variance(curvature, error, level) / ratio**2)
        + batch**2 * squared_gradient(curvature, error) / ratio**2,
        "r = b / a: there is no noise scale in it",
    )


POSITIVE = prose(
    r"\text{errors stay} \ge 0 \text{ along the equation}",
    "it is linear, and in the derivative of an error no coefficient but that of this error is negative",
)
UPPER = Relation(after, "<=", upper_after, ranges=(Range(move, 0, 1), *MODES, ordered_errors(C, U)))
NOISE = theory.upper_noise(move)


@proves(
    "sandwich of SGD, above",
    "SGD on one path: no schedule exceeds the solution of one equation",
    r"Gaussian regression, one pass, rule (R) on a path in samples fixed before the run. Let $u$ solve "
    r"$du_i/dT = -2\lambda_iu_i + e^{2q}V_i(u)/r$, and let $c_i \le u_i$ in every mode before a step with "
    r"$a_k\lambda_{\max} \le q \le 1$. Then the same holds after it, and so after every step from $c = u$:",
    concludes=(Conclusion(UPPER),),
    source="this project",
    uses=("exponentials", "noise of a step", "SGD in modes"),
)
def upper_step() -> Derivation:
    """u falls at most as without noise, so the noise it takes is at least that of the step."""
    yield POSITIVE
    falls = {u: -2 * curvature * u + NOISE * density * U_T.variance, J: density}
    slowly = yield along(
        sympy.exp(2 * curvature * TIME) * u,
        falls,
        {u: U.error, TIME: 0},
        {u: U_T.error, TIME: TIME},
        ranges=IN_THE_STEP,
    )
    fastest, own = sympy.exp(-2 * largest * TIME), sympy.exp(-2 * curvature * TIME)
    faster = yield exponents(fastest, "<=", own, IN_THE_STEP)
    each = yield composed(
        Relation(U_T.error, ">=", fastest * U.error, ranges=IN_THE_STEP), (slowly, faster), (U_T.error, fastest)
    )
    below_one = yield exponents(fastest, "<=", sympy.Integer(1), IN_THE_STEP)
    kept = yield from variances(each, U_T, U, below_one)
    enough = yield exponents(fastest, ">=", sympy.exp(2 * curvature * (rate - TIME) - 2 * move), IN_THE_STEP)
    whole = yield along(
        sympy.exp(2 * curvature * (TIME - rate)) * u - U.variance * J,
        falls,
        {u: U.error, J: 0, TIME: 0},
        {u: upper_after, J: noise_of_path, TIME: rate},
        (kept, enough),
        (U_T.variance, fastest),
        IN_THE_STEP,
        reason="J = int rho dT is I_k over the step",
    )
    hypothesis, ordered = yield from in_order(C, U)
    yield composed(
        UPPER,
        (
            cite(sgd_in_modes, {level: C.risk + label_noise}, opaque=tuple(ONE_STEP.where)),
            whole,
            cite(against_exponentials, {exponent: rate * curvature}, part=1),
            cite(noise_of_a_step),
            hypothesis,
            ordered,
        ),
        (after, upper_after, sympy.exp(-2 * rate * curvature), noise_of_path, C.error, C.variance),
    )
    yield prose(
        r"c(0) = u(0), \text{ so } c_i(k) \le u_i(T_k) \text{ for all } k",
        "by induction. Where b_k depends on the past: the same step holds for $E_k(w_i-w^*_i)^2$, and what the "
        "equation makes of a state until D is affine with coefficients >= 0, so that it is a supermartingale",
    )


squares_sum = named("lambda_2_sum", r"\textstyle\sum_i\lambda_i^{2}", nonnegative=True)
weighted = named("VS", r"{\textstyle\sum_j}\lambda_jV_j", nonnegative=True)
weighted_term = named("VS_i", r"\lambda_iV_i", nonnegative=True)
curvature_square = named("lambda_i_2", r"\lambda_i^{2}", nonnegative=True)
SPREAD = theory.variance_growth(largest, squares_sum)
POWER = sympy.exp(curvature / largest * sympy.log(1 - rate * largest))
LOWER = Relation(after, ">=", lower_after, ranges=(Range(move, 0, 1), *MODES, ordered_errors(L, C)))


def _bounded() -> Generator[Step, Step, Step]:
    """lambda_i^2 V_i + lambda_i sum_j lambda_j V_j <= (2 lambda_max^2 + sum lambda^2) V_i: the last step."""
    each = yield inequality(
        weighted_term,
        "<=",
        largest**2 * L_T.term + curvature_square * level,
        (Range(curvature, 0, largest),),
        where={
            weighted_term: curvature * gradient_variance(curvature, L_T.error, level),
            L_T.term: curvature * L_T.error,
            curvature_square: curvature**2,
        },
    )
    total = yield summed(
        each,
        {weighted_term: weighted, L_T.term: L_T.risk, curvature_square: squares_sum},
        reason="summed over the modes",
    )
    alone = yield inequality(
        curvature**2 * L_T.variance, "<=", largest**2 * L_T.variance, (Range(curvature, 0, largest),)
    )
    together = yield composed(
        Relation(
            curvature**2 * L_T.variance + curvature * weighted,
            "<=",
            SPREAD * L_T.variance,
            ranges=(Range(curvature, 0, largest),),
        ),
        (
            total,
            alone,
            defined(L_T.variance, curvature**2 * L_T.error + curvature * level),
            defined(level, L_T.risk + label_noise),
        ),
        (L_T.variance, weighted, L_T.risk, level),
    )
    return together


@proves(
    "sandwich of SGD, below",
    "SGD on one path: no schedule falls below the solution of another equation",
    r"Gaussian regression, one pass, rule (R) on a path in samples fixed before the run. Let $l$ solve "
    r"$dl_i/dT = -2\theta_k\lambda_il_i + \chi_ke^{-w_k}V_i(l)/r$ in step $k$, with $a_k\lambda_{\max} = q < "
    r"1$, $\theta_k = -\ln(1-q)/q$, $\chi_k = (a_k^2/b_k)/I_k$ and $w_k = "
    r"I_k(2\lambda_{\max}^2+\sum_i\lambda_i^2)$, and let $c_i \ge l_i$ in every mode before the step. Then "
    r"the same holds after it, and so after every step from $c = l$:",
    concludes=(Conclusion(LOWER),),
    source="this project",
    uses=("Bernoulli's inequality", "SGD in modes", "noise of a step"),
)
def lower_step() -> Derivation:
    """l takes at most the noise of the step, and falls at least as far."""
    yield POSITIVE
    together = yield from _bounded()
    decay = -2 * contraction * curvature * L_T.error
    factor = chi * sympy.exp(-budget)
    noise = (L_T.variance, (weighted_term, weighted), SPREAD, together, factor)
    grown = yield from growing(L, L_T, decay, *noise)
    yield increasing(
        Relation(0, "<=", -sympy.log(1 - move), ranges=(Range(move, 0, 1),)), move, reason="theta >= 0"
    )
    fade = sympy.exp(2 * contraction * curvature * (TIME - rate))
    whole = yield along(
        chi * L.variance * J - fade * low,
        {low: -2 * contraction * curvature * low + factor * density * L_T.variance, J: density},
        {low: L.error, J: 0, TIME: 0},
        {low: lower_after, J: noise_of_path, TIME: rate},
        (grown,),
        (L_T.variance,),
        IN_THE_STEP,
        names={named("fade", r"e^{-2\theta\lambda_i(a_k-t)}", nonnegative=True): fade},
        reason="nu = chi_k e^{-w_k}",
    )
    hypothesis, ordered = yield from in_order(L, C)
    yield composed(
        LOWER,
        (
            cite(sgd_in_modes, {level: C.risk + label_noise}, opaque=tuple(ONE_STEP.where)),
            from_step(whole, at={contraction: theory.lower_contraction(rate * largest)}),
            cite(against_powers, {move_of_power: rate * largest, share_of_power: curvature / largest}, part=1),
            SHARE,
            hypothesis,
            ordered,
        ),
        (after, lower_after, POWER**2, C.error, C.variance, chi),
    )
    yield prose(r"c(0) = l(0), \text{ so } c_i(k) \ge l_i(T_k) \text{ for all } k", "by induction")
