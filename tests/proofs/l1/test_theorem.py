"""The proofs on the l1 norm test hold, and perturbed statements are rejected where they should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy
import z3

from adabatch.moments import l1 as estimators
from proofs.l1 import theorem as proofs
from proofs.steps import Provable
from tests.support.altered_proofs import altered
from theory.adam.constants import second_moment_weight
from theory.bound import Bound
from theory.l1 import theorem as theory
from theory.problem import AdamParameters, Problem


def scaled(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    share = sympy.Rational(str(factor))
    return lambda *arguments: function(*arguments) * share


@pytest.mark.parametrize("factor", [0.99, 0.9])
def test_a_smaller_noise_cost_is_rejected(factor: float) -> None:
    formulas = {"theory.l1_noise_cost": scaled(theory.l1_noise_cost, factor)}
    assert altered(proofs.key_lemma, formulas, only=r"x = -u < 0: -\rho + (1+\rho)(1+u) - 1").failures


def test_the_noise_cost_without_rho_is_rejected() -> None:
    def without_rho(_beta1: Any, beta2: Any, noise: Any) -> Any:
        return 2 * noise / sympy.sqrt(second_moment_weight(beta2))

    assert altered(proofs.key_lemma, {"theory.l1_noise_cost": without_rho}, only=r"-\rho").failures


def test_z3_confirms_the_key_lemma_and_refutes_a_smaller_cost() -> None:
    """f + (1+rho)|x-1| >= f_1 with f_s(x) = f, f_s(1) = f_1 given by f^2 (s+x^2) = x^2: no counterexample."""
    x, s, rho, f, f_1 = z3.Reals("x s rho f f_1")
    setting = [
        s >= 0,
        rho >= 1,
        f_1 > 0,
        f_1**2 * (s + 1) == 1,
        f * x >= 0,
        f**2 * (s + x**2) == x**2,
        s + x**2 > 0,
    ]

    def counterexample(cost: Any, case: Any) -> Any:
        solver = z3.Solver()
        solver.set("timeout", 20_000)
        value = z3.If(x < 0, rho * f, f)
        distance = z3.If(x >= 1, x - 1, 1 - x)
        solver.add(*setting, case, value + cost * distance < f_1)
        return solver.check()

    for case in (x < 0, z3.And(x >= 0, x <= 1), x > 1):
        assert counterexample(1 + rho, case) == z3.unsat
    assert counterexample((1 + rho) * 0.97, z3.And(x < 0, s == 0, rho == 2)) == z3.sat


def perturbed_bound(function: Callable[..., Bound], **changes: Callable[[Any], Any]) -> Callable[..., Bound]:
    def bound(*arguments: Any) -> Bound:
        found = function(*arguments)
        constants, terms = dict(found.constants), dict(found.terms)
        for name, change in changes.items():
            target = constants if name in constants else terms
            key = {"nu": "nu'", "gap": "initial gap", "simpler": "simpler form"}.get(name, name)
            target = constants if key in constants else terms
            target[key] = change(target[key])
        return replace(found, constants=constants, terms=terms)

    return bound


PERTURBATIONS = [
    ("B", r"A, \; B"),
    ("A", r"A, \; B"),
    ("nu", r"\nu'"),
    ("gap", r"\alpha P"),
    ("drift", r"\alpha P"),
    ("simpler", "simpler form"),
]


@pytest.mark.parametrize(
    ("proof", "function"),
    [(proofs.l1_theorem, theory.l1_test_bound), (proofs.scalar_theorem, theory.scalar_test_bound)],
    ids=["l1", "scalar"],
)
@pytest.mark.parametrize(("name", "fragment"), PERTURBATIONS)
def test_a_perturbed_constant_is_rejected(
    proof: Provable, function: Callable[..., Bound], name: str, fragment: str
) -> None:
    bound = perturbed_bound(function, **{name: lambda value: value * sympy.Rational(98, 100)})
    assert altered(proof, {f"theory.{function.__name__}": bound}, only=fragment).failures


def test_the_scalar_bound_without_the_dimension_is_rejected() -> None:
    def free_of_dimension(problem: Problem, adam: AdamParameters, sum_v0: Any) -> Bound:
        smaller = replace(adam, eta=adam.eta / sympy.sqrt(problem.dimension))
        return theory.scalar_test_bound(problem, smaller, sum_v0)

    assert altered(proofs.scalar_theorem, {"theory.scalar_test_bound": free_of_dimension}, only=r"\nu'").failures


def test_the_l1_bound_with_the_scalar_growth_is_rejected() -> None:
    """T = sqrt(1 + eta^2) instead of 1 + eta."""

    def too_small(problem: Problem, adam: AdamParameters) -> Bound:
        return theory.scalar_test_bound(problem, adam, adam.sum_sqrt_v0**2)

    assert altered(proofs.l1_theorem, {"theory.l1_test_bound": too_small}, only=r"A, \; B").failures


def test_a_smaller_solution_is_rejected() -> None:
    assert altered(
        proofs.l1_theorem, {"theory.solve_with_noise": scaled(theory.solve_with_noise, 0.99)}, only="S_+"
    ).failures


def test_a_wrong_effective_dimension_is_rejected() -> None:
    def without_square(sd: Any, variance: Any, l1: Any, square: Any) -> estimators.EffectiveDimensions:
        return estimators.EffectiveDimensions(sd / variance, l1**2 / square)

    assert altered(
        proofs.effective_dimensions,
        {"estimators.effective_dimensions": without_square},
        only=r"\sqrt{d_{\mathrm{sd}}/d_G}",
    ).failures
    inverted = lambda eta, dims: eta * sympy.sqrt(dims.gradient / dims.noise)  # noqa: E731
    assert altered(
        proofs.effective_dimensions, {"estimators.implied_l1_eta": inverted}, only=r"\sqrt{d_{\mathrm{sd}}/d_G}"
    ).failures


def test_the_deviation_without_its_correction_is_rejected() -> None:
    def uncorrected(groups: Any, size: Any, squares: Any, mean: Any) -> Any:
        return estimators.standard_deviation(groups, size, squares, mean) * estimators.deviation_correction(groups)

    assert altered(
        proofs.l1_estimators, {"estimators.standard_deviation": uncorrected}, only=r"E\hat\sigma"
    ).failures


def test_the_plug_in_norm_is_not_conservative() -> None:
    def plug_in(groups: np.ndarray) -> float:
        return float(estimators.plug_in_l1_norm(groups.mean(axis=0)))

    assert altered(
        proofs.l1_estimators, {"estimators.conservative_l1_norm": plug_in}, only=r"E N \le |G|"
    ).failures
