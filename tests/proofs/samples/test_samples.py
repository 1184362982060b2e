"""The proofs on samples hold, and reject what is nearly true."""

from __future__ import annotations

import dataclasses

import pytest
import sympy

from proofs.samples import a_posteriori, adam, contraction, growth, relaxed_smoothness, sgd, tails
from tests.support.altered_proofs import altered
from theory.other_optimizers.sgd import best_step_size
from theory.samples import a_posteriori as after_theory
from theory.samples import adam as adam_theory
from theory.samples import contraction as contraction_theory
from theory.samples import growth as growth_theory
from theory.samples import relaxed_smoothness as relaxed_theory
from theory.samples import sgd as sgd_theory
from theory.samples import tails as tails_theory

MORE = sympy.Rational(101, 100)


def larger(function, factor=MORE):
    """The function, 1% larger, or the bound with a value and constants that are."""

    def scaled(found):
        if not dataclasses.is_dataclass(found):
            return found * factor
        constants = {name: value * factor if "sum" in name else value for name, value in found.constants.items()}
        terms = {name: value * factor for name, value in found.terms.items()}
        return dataclasses.replace(found, value=found.value * factor, constants=constants, terms=terms)

    return lambda *arguments, **named: scaled(function(*arguments, **named))


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("proof", "formulas"),
    [
        slow(sgd.steps_and_samples, {"theory.steps_to_goal": larger(sgd_theory.steps_to_goal)}),
        slow(sgd.steps_and_samples, {"theory.samples_to_goal": larger(sgd_theory.samples_to_goal)}),
        slow(sgd.steps_and_samples, {"theory.best_eta": larger(sgd_theory.best_eta)}),
        slow(sgd.steps_and_samples, {"theory.hyperbola": larger(sgd_theory.hyperbola)}),
        slow(sgd.steps_and_samples, {"best_step_size": larger(best_step_size)}),
        (sgd.floored_test, {"theory.floored_bound": larger(sgd_theory.floored_bound)}),
        (contraction.contracting_gaps, {"theory.contraction": larger(contraction_theory.contraction)}),
        (contraction.contracting_gaps, {"theory.steps_to_gap": larger(contraction_theory.steps_to_gap)}),
        (contraction.contracting_gaps, {"theory.samples_to_gap": larger(contraction_theory.samples_to_gap)}),
        # a tangent that lies higher breaks the drift
        (
            contraction.contracting_gaps,
            {"tangent": lambda value, weight: weight * (value - sympy.Rational(19, 10))},
        ),
        (contraction.contracting_gaps, {"reciprocal_potential": lambda value, weight: -weight / (MORE * value)}),
        (
            contraction.constant_batch,
            {"theory.constant_batch_factor": larger(contraction_theory.constant_batch_factor)},
        ),
        (
            contraction.constant_batch,
            {"theory.constant_batch_samples": larger(contraction_theory.constant_batch_samples)},
        ),
        (adam.samples_of_adam, {"theory.expected_steps": larger(adam_theory.expected_steps)}),
        (adam.samples_of_adam, {"theory.best_step_size": larger(adam_theory.best_step_size)}),
        (adam.samples_of_adam, {"theory.best_eta": larger(adam_theory.best_eta)}),
        (adam.samples_of_adam, {"theory.kept_descent": larger(adam_theory.kept_descent)}),
        (adam.floored_l1_test, {"theory.floor_cost": larger(adam_theory.floor_cost)}),
        (growth.square_of_the_steps, {"theory.least_samples": larger(growth_theory.least_samples)}),
        slow(growth.one_run, {"theory.large_value": larger(growth_theory.large_value)}),
        slow(growth.one_run, {"theory.gradient_after": larger(growth_theory.gradient_after)}),
        slow(growth.one_run, {"theory.with_probability": larger(growth_theory.with_probability)}),
        slow(tails.infinite_expectation, {"theory.small_gradient": larger(tails_theory.small_gradient)}),
        slow(tails.infinite_expectation, {"theory.tail_index": larger(tails_theory.tail_index)}),
        slow(tails.infinite_expectation, {"theory.normal_density": larger(tails_theory.normal_density)}),
        slow(tails.small_norms, {"theory.tail_index": larger(tails_theory.tail_index)}),
        slow(tails.small_norms, {"theory.mean_reciprocal_square": larger(tails_theory.mean_reciprocal_square)}),
        (relaxed_smoothness.relaxed_theorem, {"theory.relaxed_sum": larger(relaxed_theory.relaxed_sum)}),
        (relaxed_smoothness.relaxed_theorem, {"theory.gradient_share": larger(relaxed_theory.gradient_share)}),
        (a_posteriori.measured_deviations, {"theory.measured_sum": larger(after_theory.measured_sum)}),
    ],
    ids=lambda value: value.__name__ if hasattr(value, "__name__") else "-".join(value),
)
def test_a_formula_that_is_nearly_right_is_rejected(proof, formulas):
    assert not altered(proof, formulas).holds
