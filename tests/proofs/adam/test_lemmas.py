"""Every lemma of the corrected Theorem 1 holds, and every perturbed statement is rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import sympy
import z3

from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.l3_freeze import DEFINED, FREEZING, lemma_l3
from proofs.adam.l4_swap import RHO_IS, lemma_l4
from proofs.adam.l5_key_inequality import lemma_l5
from proofs.adam.l6_descent import lemma_l6
from proofs.adam.l7_denominators import AB_ARE, PHI, lemma_l7, tau
from proofs.adam.l8_self_bounding import lemma_l8
from proofs.adam.symbols import BETA1, RHO, B, r
from proofs.adam.theorem1 import theorem_1
from proofs.steps import CheckedProof, by_lemma, run
from tests.support.altered_proofs import altered
from theory.adam import constants as constants
from theory.adam import theorem1
from theory.adam.key_inequality import curvature, minorant, normalized_response, tangent_slope
from theory.bound import Bound

ONE_PERCENT, TEN_PERCENT = sympy.Rational(101, 100), sympy.Rational(11, 10)


PROOFS = (lemma_l1, lemma_l2, lemma_l3, lemma_l4, lemma_l5, lemma_l6, lemma_l7, lemma_l8, theorem_1)


@cache
def checked(index: int) -> CheckedProof:
    return run(PROOFS[index]())


def test_the_two_polynomial_certificates_of_l5() -> None:
    details = {s.step.statement: s.evidence.detail for s in checked(PROOFS.index(lemma_l5)).steps}
    below_one = [d for statement, d in details.items() if r"0 \le x \le 1 \le y" in statement]
    up_to_y = [d for statement, d in details.items() if statement.startswith(r"(s+1)x^2/(s+x^2) \ge (1")]
    assert below_one == ["128 coefficients, all >= 0"]
    assert up_to_y == ["114 coefficients, all >= 0"]


def scaled(function: Callable, factor: sympy.Rational) -> Callable:
    return lambda *arguments: factor * function(*arguments)


def scaled_bound(function: Callable[..., Bound], factor: sympy.Rational) -> Callable[..., Bound]:
    def bound(*arguments: object) -> Bound:
        found = function(*arguments)
        terms = {name: factor * term for name, term in found.terms.items()}
        return replace(found, value=factor * found.value, terms=terms)

    return bound


def moved_minorant(slope_factor: object = 1, curvature_factor: object = 1) -> Callable:
    def moved(x, s, eta, amplification, offset=0):
        y = 1 + eta**2
        slope = slope_factor * tangent_slope(s, y)
        return 1 + slope * (x - 1) - curvature_factor * curvature(amplification) * (x / y - 1) ** 2

    return moved


def wrong_root(growth, start, q):
    return (growth * q + sympy.sqrt(growth**2 * q**2 + 2 * start * q)) / 2


PERTURBED: dict[str, Callable[[], CheckedProof]] = {
    "L1 with C_m 1% smaller": lambda: altered(
        lemma_l1, {"normalized_step_bound": scaled(constants.normalized_step_bound, 1 / ONE_PERCENT)}
    ),
    "L1 with C_m 1% larger (not the least)": lambda: altered(
        lemma_l1, {"normalized_step_bound": scaled(constants.normalized_step_bound, ONE_PERCENT)}
    ),
    "L1 with 1 - r for 1 - r^2": lambda: altered(
        lemma_l1,
        {"normalized_step_bound": lambda b1, b2: (1 - b1) / sympy.sqrt((1 - b2) * constants.momentum_gap(b1, b2))},
    ),
    "L2 without decay": lambda: altered(lemma_l2, {"_kept": lambda n: sympy.Integer(1)}),
    "L2 with a slower decay": lambda: altered(
        lemma_l2, {"_kept": lambda n: sympy.Symbol("q", positive=True) ** n}
    ),
    "L3 with a freezing error 1% smaller": lambda: altered(
        lemma_l3, {"DEFINED": {**DEFINED, FREEZING: DEFINED[FREEZING] / ONE_PERCENT}}
    ),
    "L3 with sum r^n for sum n r^n": lambda: altered(
        lemma_l3, {"DEFINED": {**DEFINED, FREEZING: DEFINED[FREEZING] * (1 - r)}}
    ),
    "L4 with rho 1% smaller": lambda: altered(lemma_l4, {"RHO_IS": {RHO: RHO_IS[RHO] / ONE_PERCENT}}),
    "L4 with rho of beta1": lambda: altered(lemma_l4, {"RHO_IS": {RHO: 1 / (1 - BETA1)}}),
    "L5 with kappa 1% larger": lambda: altered(
        lemma_l5, {"alignment_at": scaled(constants.alignment_at, ONE_PERCENT)}
    ),
    "L5 with the slope t 5% larger": lambda: altered(
        lemma_l5, {"theory_minorant": moved_minorant(sympy.Rational(21, 20))}
    ),
    "L5 with the slope t 5% smaller": lambda: altered(
        lemma_l5, {"theory_minorant": moved_minorant(sympy.Rational(19, 20))}
    ),
    "L5 with the curvature 1% smaller": lambda: altered(
        lemma_l5, {"theory_minorant": moved_minorant(1, 1 / ONE_PERCENT)}
    ),
    "L5 with a response of s + 2 x^2": lambda: altered(
        lemma_l5, {"normalized_response": lambda x, s: x / sympy.sqrt(s + 2 * x**2)}
    ),
    "L7 with A 1% smaller": lambda: altered(lemma_l7, {"PHI": PHI / ONE_PERCENT}),
    "L7 with B 1% smaller": lambda: altered(lemma_l7, {"AB_ARE": {**AB_ARE, B: AB_ARE[B] / ONE_PERCENT}}),
    "L7 with B without tau": lambda: altered(lemma_l7, {"AB_ARE": {**AB_ARE, B: AB_ARE[B].subs(tau, 1)}}),
    "L8 with 2 A Q for 4 A Q": lambda: altered(lemma_l8, {"solve_self_bounding": wrong_root}),
    "L8 with a root 1% smaller": lambda: altered(
        lemma_l8, {"solve_self_bounding": scaled(constants.solve_self_bounding, 1 / ONE_PERCENT)}
    ),
    "Theorem 1 with Gamma 1% smaller": lambda: altered(
        theorem_1, {"constants.drift_constant": scaled(constants.drift_constant, 1 / ONE_PERCENT)}
    ),
    "Theorem 1 with Qbar 1% smaller": lambda: altered(
        theorem_1,
        {"theorem1.preconditioned_sum_bound": scaled_bound(theorem1.preconditioned_sum_bound, 1 / ONE_PERCENT)},
    ),
    "Theorem 1 with bound (2) 1% smaller": lambda: altered(
        theorem_1,
        {"theorem1.gradient_norm_sum_bound": scaled_bound(theorem1.gradient_norm_sum_bound, 1 / ONE_PERCENT)},
    ),
    "Theorem 1 with bound (3) 10% smaller": lambda: altered(
        theorem_1,
        {
            "theorem1.average_gradient_norm_bound": scaled_bound(
                theorem1.average_gradient_norm_bound, 1 / TEN_PERCENT
            )
        },
    ),
    "Theorem 1 with a best step size 1% larger": lambda: altered(
        theorem_1, {"theorem1.best_step_size": lambda *given: ONE_PERCENT * theorem1.best_step_size(*given)}
    ),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_statement_is_rejected(name: str) -> None:
    assert not PERTURBED[name]().holds


def test_a_lemma_that_fails_fails_what_applies_it() -> None:
    """L6 applies L5 from rho = 1 on; below, L5's own steps do not hold."""
    evidence = by_lemma("L5", lemma_l5(least_amplification=0)).check()
    assert not evidence.holds
    assert "L5 does not hold" in evidence.detail


def test_l5_uses_that_rho_is_at_least_one() -> None:
    """The convexity beyond y rests on it (the inequality itself seems to hold from rho = 0 on)."""
    assert altered(lemma_l5, {"least_amplification": 0}, only=r"2(1+\rho)/y^2").failures


def test_negative_side_confirmed_by_z3() -> None:
    """The ranges u <= 1 and u >= 1 of L5's negative side, decided independently."""
    u, s, rho, y = z3.Reals("u s rho y")
    domain = [s >= 0, u > 0, rho >= 1, y >= 1, y <= 2]
    for claim in (
        z3.Implies(u <= 1, (s + 1) * u * u <= s + u * u),
        z3.Implies(u >= 1, s + 1 <= s + u * u),
        z3.Implies(u >= 1, (1 + rho) * (y + u) * (y + u) >= (1 + rho * u) * y * y),
    ):
        solver = z3.Solver()
        solver.set("timeout", 10_000)
        solver.add(*domain, z3.Not(claim))
        assert solver.check() == z3.unsat
    beyond = z3.Solver()
    beyond.add(s >= 0, rho >= 1, y == 6, u >= 1, (1 + rho) * (y + u) * (y + u) < (1 + rho * u) * y * y)
    assert beyond.check() == z3.sat


def test_l5_certificate_needs_the_true_response() -> None:
    """The certificate is computed from theory's own response: the statement with another one is another one."""
    x, s = sympy.symbols("x s", positive=True)
    assert normalized_response(x, s) == x / sympy.sqrt(s + x**2)
    assert sympy.simplify(minorant(x, s, 0, 1) - moved_minorant()(x, s, 0, 1)) == 0
