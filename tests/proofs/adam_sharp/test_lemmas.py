"""Every lemma of Theorem 2 holds, and perturbed statements are rejected, each for the step that says so."""

import dataclasses
from dataclasses import replace

import pytest
import sympy

from proofs.adam_sharp.alignment import lemma_q
from proofs.adam_sharp.drift import lemma_d
from proofs.adam_sharp.energy import lemma_h
from proofs.adam_sharp.mixture import lemma_m
from proofs.adam_sharp.parameters import admissible_eta, best_zeta
from proofs.adam_sharp.stopping import lemma_s
from proofs.adam_sharp.theorem2 import theorem_2
from proofs.adam_sharp.weights import lemma_p
from proofs.adam_sharp.windows import lemma_l7
from proofs.steps import Method, by_lemma, run
from tests.support.altered_proofs import altered
from theory.adam_sharp import constants as constants
from theory.adam_sharp import parameters, theorem2

LESS, MORE = sympy.Rational(99, 100), sympy.Rational(101, 100)


def scaled(function, by=LESS):
    return lambda *arguments: by * function(*arguments)


@pytest.mark.parametrize(
    "proof", [lemma_m, lemma_s, lemma_h, lemma_d, lemma_q, lemma_p, lemma_l7, best_zeta, admissible_eta]
)
def test_lemma_holds(proof):
    result = run(proof())
    assert result.holds, [(s.step.statement, s.evidence.detail) for s in result.failures]
    mechanised = [s for s in result.steps if s.step.method is not Method.PROSE]
    assert len(mechanised) >= 4
    assert proof.__doc__


def test_theorem_2_holds():
    result = run(theorem_2())
    assert result.holds, [(s.step.statement, s.evidence.detail) for s in result.failures]


def smaller_mixture(at_one, at_zero, eta):
    return at_one + LESS * eta**2 * (at_zero - at_one)


def without_zeta(second_moment, gradient, age, beta2, zeta):
    return constants.frozen_second_moment(second_moment, gradient, age, beta2, 0)


def wrong_forgetting(second_moment, gradient, age, beta2, zeta):
    return beta2**age * second_moment + (1 - beta2 ** (age - 1)) * ((1 - zeta) * gradient) ** 2


def without_tau(beta1, eta, zeta):
    return constants.freezing_ratio(zeta)


def energy_without_log(horizon, dimension, beta2, log_growth=None):
    energy = horizon * dimension / (1 - beta2)
    return energy if log_growth is None else sympy.Min(energy, log_growth / (1 - beta2))


def uniform_without_zeta(horizon, dimension, beta1, beta2, zeta):
    return constants.uniform_cost(horizon, dimension, beta1, beta2, sympy.oo)


def growth_without_root(beta2, eta, window):
    """(1 + x) / (1 - x) where its root belongs, M = 1 excepted."""
    x = sympy.sqrt(beta2**window)
    return sympy.sqrt(1 - beta2) + sympy.sqrt(1 + eta**2) * sympy.sqrt(beta2) * (1 + x) / (1 - x)


def start_of_m_windows(problem, adam, window, drift):
    """M times too much of ||G_1||: not what the windows add up to."""
    too_large = replace(problem, initial_gradient_norm=problem.initial_gradient_norm * window)
    return constants.denominator_start(too_large, adam, window, drift)


def penalty_without_lambda(beta1, beta2, eta, zeta):
    return constants.swap_growth(beta1, beta2, eta)


CONTROLS = {
    "M: smaller constant": (lemma_m, {"constants.mixture": smaller_mixture}, "mathrm{Var}"),
    "S: C too small": (lemma_s, {"constants.swap_growth": scaled(constants.swap_growth)}, "phi_0"),
    "S: C without noise": (lemma_s, {"constants.swap_growth": lambda *_: sympy.Integer(1)}, "phi_0"),
    "S: mixture too small": (lemma_s, {"constants.mixture": lambda one, zero, eta: zero}, "C\\sum"),
    "S: lambda too small": (lemma_s, {"constants.freezing_factor": scaled(constants.freezing_factor)}, "M_{m+1}"),
    "S: lambda without tau": (lemma_s, {"constants.freezing_factor": without_tau}, "M_{m+1}"),
    "S: gradients taken as constant": (lemma_s, {"constants.frozen_second_moment": without_zeta}, "phi_{m+1}"),
    "S: memory one step short": (lemma_s, {"constants.frozen_second_moment": wrong_forgetting}, "phi_{m+1}"),
    "S: R too small": (lemma_s, {"constants.sign_penalty": scaled(constants.sign_penalty)}, "R/\\lambda"),
    "H: without ln(1/beta2)": (lemma_h, {"constants.gradient_energy": energy_without_log}, "min"),
    "H: smaller": (
        lemma_h,
        {"constants.gradient_energy": scaled(constants.gradient_energy, sympy.Rational(9, 10))},
        "min",
    ),
    "H: smaller gain": (lemma_h, {"constants.momentum_gain": scaled(constants.momentum_gain)}, "convolution"),
    "D: z = 1/zeta": (lemma_d, {"constants.drift_multiplier": lambda zeta: 1 / zeta}, "G_j"),
    "D: first form without 1/zeta": (lemma_d, {"constants.uniform_cost": uniform_without_zeta}, "first form"),
    "D: second form too small": (lemma_d, {"constants.energy_cost": scaled(constants.energy_cost)}, "other form"),
    "D: E not the minimum of the forms": (
        lemma_d,
        {"constants.second_order_cost": scaled(constants.second_order_cost)},
        "smaller of the two",
    ),
    "Q': R below 1": (lemma_q, {"constants.sign_penalty": penalty_without_lambda}, "kappa_R"),
    "Q': kappa too large": (
        lemma_q,
        {"constants.theorem2_alignment": scaled(constants.theorem2_alignment, MORE)},
        "mean",
    ),
    "Q': Q too small": (lemma_q, {"constants.preconditioned_sum": scaled(constants.preconditioned_sum)}, "solved"),
    "Q': one step too old": (
        lemma_q,
        {"constants.frozen_second_moment": lambda v, G, n, b, z: b ** (n + 1) * v + G**2},
        "s_m",
    ),
    "P: omega with N + 2 terms": (
        lemma_p,
        {"constants.kept_momentum": lambda b, n: constants.kept_momentum(b, n + 1)},
        "omega",
    ),
    "P: p1 too small": (lemma_p, {"constants.momentum_root": scaled(constants.momentum_root)}, "p_1"),
    "P: p2 too small": (lemma_p, {"constants.momentum_growth": scaled(constants.momentum_growth)}, "p_2"),
    "P: B2 too small": (lemma_p, {"constants.theorem2_growth": scaled(constants.theorem2_growth)}, "B_2S"),
    "P: A2 too small": (lemma_p, {"constants.theorem2_start": scaled(constants.theorem2_start)}, "A_2"),
    "L7': B1 too small": (
        lemma_l7,
        {"constants.denominator_growth": scaled(constants.denominator_growth)},
        "A_1+B_1S",
    ),
    "L7': B1 without the root": (lemma_l7, {"constants.denominator_growth": growth_without_root}, "B_1"),
    "L7': A1 with more windows": (lemma_l7, {"constants.denominator_start": start_of_m_windows}, "A_1"),
    "L7': e_M too small": (lemma_l7, {"constants.window_drift": scaled(constants.window_drift)}, "e_M"),
    "L7': s_t too small": (lemma_l7, {"constants.mean_step": scaled(constants.mean_step)}, "s_t"),
    "zeta not the best": (best_zeta, {"parameters.best_zeta": scaled(parameters.best_zeta)}, "vanishes"),
    "zeta: z = 1/zeta": (best_zeta, {"constants.drift_multiplier": lambda zeta: 1 / zeta}, "z=2/y"),
    "eta: threshold too small": (
        admissible_eta,
        {"theorem2.freezing_threshold": scaled(theorem2.freezing_threshold)},
        "R\\eta^2",
    ),
    "eta: largest too large": (
        admissible_eta,
        {"theorem2.largest_admissible_eta": lambda *betas: 1.0001 * theorem2.largest_admissible_eta(*betas)},
        "root",
    ),
    "eta: .6735 for all betas": (admissible_eta, {"universal": 6735}, "changes sign"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_perturbed_statement_is_rejected(name):
    lemma, changed, words = CONTROLS[name]
    failures = altered(lemma, changed).failures
    assert failures, f"{name}: not rejected"
    assert any(words in s.step.statement for s in failures), [s.step.statement for s in failures]


def assembly_with(change):
    """The theorem's assembly with one constant of the returned bound replaced."""

    def bound_at_cost(*arguments):
        return change(theorem2.bound_at_cost(*arguments))

    return bound_at_cost


def replaced(kind, name, by):
    def change(bound):
        values = {**getattr(bound, kind)}
        values[name] = by * values[name]
        return dataclasses.replace(bound, **{kind: values})

    return assembly_with(change)


ASSEMBLIES = {
    "Q": (replaced("terms", "Q", LESS), "Q="),
    "B2": (replaced("constants", "B2", LESS), "B_2"),
    "A2": (replaced("constants", "A2", LESS), "A_2"),
    "the value": (
        assembly_with(lambda bound: dataclasses.replace(bound, value=LESS * bound.value)),
        "returned value",
    ),
}


@pytest.mark.parametrize("name", ASSEMBLIES)
def test_theorem_2_is_rejected_when_its_assembly_is_altered(name):
    assembly, words = ASSEMBLIES[name]
    assert altered(theorem_2, {"theorem2.bound_at_cost": assembly}, only=words).failures


def test_a_used_lemma_that_fails_fails_the_proof():
    step = by_lemma("eta up to .6735 for all betas", admissible_eta(universal=6735))
    assert not step.check().holds
