"""Every lemma of Theorem 2 holds, and perturbed statements are rejected, each for the step that says so."""

import dataclasses
from dataclasses import replace

import pytest
import sympy

from proofs.adam_sharp.alignment import lemma_q
from proofs.adam_sharp.coupling import lemma_s
from proofs.adam_sharp.drift import lemma_d
from proofs.adam_sharp.energy import lemma_h
from proofs.adam_sharp.growth import FIRST, KNOWN_GROWTH, first_gradient, log_growth
from proofs.adam_sharp.minorant import lemma_l5_half_line
from proofs.adam_sharp.mixture import lemma_m
from proofs.adam_sharp.parameters import admissible_eta
from proofs.adam_sharp.symbols import first
from proofs.adam_sharp.theorem2 import theorem_2
from proofs.adam_sharp.uphill import lemma_v
from proofs.adam_sharp.weights import lemma_p
from proofs.adam_sharp.windows import UNROLLED, lemma_l7
from proofs.steps import by_lemma, run
from proofs.sums import NORMS
from tests.support.altered_proofs import altered
from theory.adam_sharp import constants as constants
from theory.adam_sharp import theorem2

LESS, MORE = sympy.Rational(99, 100), sympy.Rational(101, 100)


def scaled(function, by=LESS):
    return lambda *arguments: by * function(*arguments)


@pytest.mark.parametrize(
    ("proof", "name", "relation"),
    [(first_gradient, "FIRST", FIRST), (log_growth, "KNOWN_GROWTH", KNOWN_GROWTH)],
)
def test_what_is_known_before_a_run_and_that_no_less_is(proof, name, relation):
    assert run(proof.proof).holds
    smaller = replace(relation, right=relation.right - sympy.Rational(1, 100))
    assert not altered(proof, {name: smaller}).holds


def smaller_mixture(at_one, at_zero, eta):
    return at_one + LESS * eta**2 * (at_zero - at_one)


def wrong_forgetting(second_moment, gradient, age, beta2):
    return beta2**age * second_moment + (1 - beta2 ** (age - 1)) * gradient**2


def slope_without_start(swap, start, uphill_sum, frozen_sum, eta):
    return constants.slope_penalty(swap, 0, uphill_sum, frozen_sum, eta)


def penalty_of_two(beta1, beta2, eta, frozen_sum, uphill_sum):
    """min(C, max(Lambda_1, Lambda_2)): the slope forgotten."""
    swap = constants.swap_growth(beta1, beta2, eta)
    return sympy.Min(swap, sympy.Max(constants.jump_penalty(swap, frozen_sum), constants.curvature_penalty(eta)))


def of_a_square(beta1, beta2, eta, age):
    """y^2 for y in the terms of H."""
    return constants.noisy_weight(beta1, beta2, sympy.sqrt((1 + eta**2) ** 2 - 1), age)


def energy_without_log(horizon, dimension, beta2, log_growth=None):
    energy = horizon * dimension / (1 - beta2)
    return energy if log_growth is None else sympy.Min(energy, log_growth / (1 - beta2))


def growth_without_root(beta2, eta, window):
    """(1 + x) / (1 - x) where its root belongs, M = 1 excepted."""
    x = sympy.sqrt(beta2**window)
    return sympy.sqrt(1 - beta2) + sympy.sqrt(1 + eta**2) * sympy.sqrt(beta2) * (1 + x) / (1 - x)


CONTROLS = {
    "M: smaller constant": (lemma_m, {"constants.mixture": smaller_mixture}, "mathrm{Var}"),
    "V: C too small": (lemma_v, {"constants.swap_growth": scaled(constants.swap_growth)}, "f_0"),
    "V: C without noise": (lemma_v, {"constants.swap_growth": lambda *_: sympy.Integer(1)}, "f_0"),
    "V: p x .97": (
        lemma_v,
        {"constants.uphill_decay": scaled(constants.uphill_decay, sympy.Rational(97, 100))},
        "f_m",
    ),
    "V: mixture too small": (lemma_v, {"constants.mixture": lambda one, zero, eta: zero}, "f_m"),
    "V: memory one step short": (lemma_v, {"constants.frozen_second_moment": wrong_forgetting}, "f_{m+1}"),
    "S: memory one step short": (lemma_s, {"constants.frozen_second_moment": wrong_forgetting}, "M_0"),
    "S: tau^2 too small": (lemma_s, {"squared_noise_growth": scaled(constants.squared_noise_growth)}, "M_{m+1}"),
    "L5': 1/24 for 1/16": (
        lemma_l5_half_line,
        {"curvature_penalty": scaled(constants.curvature_penalty, sympy.Rational(2, 3))},
        "sigma",
    ),
    "H: without ln(1/beta2)": (lemma_h, {"constants.gradient_energy": energy_without_log}, "min"),
    "H: smaller": (
        lemma_h,
        {"constants.gradient_energy": scaled(constants.gradient_energy, sympy.Rational(9, 10))},
        "min",
    ),
    "H: smaller gain": (lemma_h, {"constants.momentum_gain": scaled(constants.momentum_gain)}, "convolution"),
    "D: first form too small": (lemma_d, {"constants.uniform_cost": scaled(constants.uniform_cost)}, "first form"),
    "D: second form too small": (lemma_d, {"constants.energy_cost": scaled(constants.energy_cost)}, "other form"),
    "D: E not the minimum of the forms": (
        lemma_d,
        {"constants.second_order_cost": scaled(constants.second_order_cost)},
        "smaller of the two",
    ),
    "Q': kappa x 1.005": (
        lemma_q,
        {"constants.theorem2_alignment": scaled(constants.theorem2_alignment, sympy.Rational(1005, 1000))},
        "kappa",
    ),
    "Q': Lambda_1 x .97": (
        lemma_q,
        {"constants.jump_penalty": scaled(constants.jump_penalty, sympy.Rational(97, 100))},
        "Lambda_1",
    ),
    "Q': Lambda_2 too small": (
        lemma_q,
        {"constants.curvature_penalty": scaled(constants.curvature_penalty)},
        "Lambda_2",
    ),
    "Q': Lambda_3 without mu": (lemma_q, {"constants.slope_penalty": slope_without_start}, "Lambda_3"),
    "Q': Lambda without Lambda_3": (lemma_q, {"constants.uphill_penalty": penalty_of_two}, "max_i"),
    "Q': mu too small": (lemma_q, {"constants.uphill_start": scaled(constants.uphill_start)}, "mu=\\max"),
    "Q': p x .97": (
        lemma_q,
        {"constants.uphill_weight": scaled(constants.uphill_weight, sympy.Rational(97, 100))},
        "pi^m",
    ),
    "Q': phi with one step more": (
        lemma_q,
        {"constants.frozen_weight": lambda b1, b2, m: constants.frozen_weight(b1, b2, m + 1)},
        "a_m",
    ),
    "Q': y^2 for y in H": (lemma_q, {"constants.noisy_weight": of_a_square}, "a_m/y"),
    "Q': one step too old": (
        lemma_q,
        {"constants.frozen_second_moment": lambda v, G, n, b: b ** (n + 1) * v + G**2},
        "second moment",
    ),
    "P: omega with N + 2 terms": (
        lemma_p,
        {"constants.kept_momentum": lambda b, n: constants.kept_momentum(b, n + 1)},
        "omega",
    ),
    "P: p1 too small": (lemma_p, {"constants.momentum_root": scaled(constants.momentum_root)}, "p_1"),
    "P: p2 too small": (lemma_p, {"constants.momentum_growth": scaled(constants.momentum_growth)}, "p_2"),
    "L7': B1 too small": (
        lemma_l7,
        {"UNROLLED": replace(UNROLLED, right=UNROLLED.right - NORMS / 100)},
        r"E\sqrt{D_{j,i}}",
    ),
    "L7': B1 without the root": (lemma_l7, {"constants.denominator_growth": growth_without_root}, "B_1"),
    "L7': A1 with a smaller first gradient": (
        lemma_l7,
        {"UNROLLED": replace(UNROLLED, where={n: v.subs(first, LESS * first) for n, v in UNROLLED.where.items()})},
        r"E\sqrt{D_{j,i}}",
    ),
    "L7': e_M too small": (lemma_l7, {"constants.window_drift": scaled(constants.window_drift)}, "e_M"),
    "L7': s_t too small": (lemma_l7, {"constants.mean_step": scaled(constants.mean_step)}, "s_t"),
    "eta: largest too large": (
        admissible_eta,
        {"theorem2.largest_admissible_eta": lambda *betas: 1.0001 * theorem2.largest_admissible_eta(*betas)},
        "root",
    ),
    "eta: C too small": (admissible_eta, {"constants.swap_growth": scaled(constants.swap_growth)}, "C"),
    "eta: .7072 for all betas": (admissible_eta, {"universal": 7072}, "2\\eta^2"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_perturbed_statement_is_rejected(name):
    lemma, changed, words = CONTROLS[name]
    assert altered(lemma, changed, only=words).failures, f"{name}: not rejected"


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
    step = by_lemma("eta up to .7072 for all betas", admissible_eta(universal=7072))
    assert not step.check().holds
