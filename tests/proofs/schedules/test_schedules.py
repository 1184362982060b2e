"""The proofs on schedules hold, need every fact that they cite, and reject formulas that are nearly right."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import sympy

from proofs.calculus import TIME, along, exponents, increasing, square
from proofs.composition import compositions, hypothesis
from proofs.relations import Range, Relation
from proofs.schedules import (
    adam_descent,
    best_path,
    convex_sgd,
    elementary,
    limit,
    path,
    sandwich_adam,
    sandwich_sgd,
    shapes,
    step_counts,
)
from proofs.steps import Provable, checked_once
from tests.support.altered_proofs import altered

MODULES = (
    elementary, path, sandwich_sgd, sandwich_adam, adam_descent, convex_sgd, shapes, step_counts, best_path, limit,
)  # fmt: skip
PROOFS = [
    entry
    for module in MODULES
    for entry in vars(module).values()
    if isinstance(entry, Provable) and entry.__module__ == module.__name__
]


each_proof = pytest.mark.parametrize(
    "proof", PROOFS, ids=lambda proof: f"{proof.__module__.split('.')[-1]}.{proof.__name__}"
)
LESS, MORE = sympy.Rational(99, 100), sympy.Rational(101, 100)


@pytest.mark.slow
@each_proof
def test_needs_every_fact(proof):
    for composition in compositions(checked_once(proof).proof.steps):
        for index, fact in enumerate(composition.facts):
            assert not composition.without(index).check(facts=False).holds, fact.source


def scaled(function, factor=LESS):
    return lambda *arguments, **named: factor * function(*arguments, **named)


def scaled_bound(function):
    return lambda *arguments, **named: SimpleNamespace(value=LESS * function(*arguments, **named).value)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


SGD, ADAM, CONVEX = sandwich_sgd, sandwich_adam, convex_sgd
OF_STEPS = CONVEX.theory.last_iterate_bound_of_steps


@pytest.mark.parametrize(
    ("proof", "formulas"),
    [
        slow(SGD.upper_step, {"NOISE": sympy.exp(sympy.Rational(9, 5) * SGD.move)}),
        (SGD.lower_step, {"theory.lower_contraction": scaled(SGD.theory.lower_contraction)}),
        slow(SGD.lower_step, {"SPREAD": SGD.largest**2 + SGD.squares_sum}),
        (SGD.sgd_in_modes, {"squared_gradient": scaled(SGD.squared_gradient)}),
        slow(ADAM.upper_step, {"theory.upper_factors": lambda q, kept: (kept, sympy.exp(q))}),
        (ADAM.upper_step, {"theory.upper_factors": lambda q, kept: (kept * sympy.exp(-q / 2), sympy.exp(q / 2))}),
        slow(ADAM.lower_step, {"theory.lower_contraction": lambda q, w: -sympy.log(1 - q) / q}),
        slow(ADAM.lower_step, {"theory.lower_contraction": lambda q, w: sympy.exp(w / 2)}),
        slow(ADAM.lower_step, {"theory.variance_growth": lambda largest, trace, noise: trace / noise}),
        (adam_descent.descent_on_a_path, {"theory.expected_change": scaled(adam_descent.theory.expected_change)}),
        (path.share_of_a_step, {"kantorovich_share": scaled(path.kantorovich_share, MORE)}),
        (step_counts.shares_of_steps, {"theory.step_share": scaled(step_counts.theory.step_share)}),
        (CONVEX.best_ratio, {"theory.best_initial_ratio": scaled(CONVEX.theory.best_initial_ratio)}),
        slow(CONVEX.last_iterate, {"theory.last_iterate_bound_of_steps": scaled_bound(OF_STEPS)}),
        (limit.limit_of_schedules, {"schedule_over_constant": scaled(limit.schedule_over_constant)}),
        (limit.limit_of_schedules, {"lowest_ratio": scaled(limit.lowest_ratio)}),
        (best_path.best_path, {"theory.noise_cost": scaled(best_path.theory.noise_cost)}),
    ],
    ids=lambda value: value.__name__ if hasattr(value, "__name__") else "-".join(value),
)  # fmt: skip
def test_a_formula_that_is_nearly_right_is_rejected(proof, formulas):
    assert not altered(proof, formulas).holds


@pytest.mark.parametrize(
    ("proof", "part"),
    [(proof, part) for proof in PROOFS for part, conclusion in enumerate(proof.lemma.conclusions)],
    ids=lambda value: value.lemma.name if isinstance(value, Provable) else str(value),
)
def test_a_stronger_statement_is_not_established(proof, part):
    """By 1% on the larger side: no step shows it."""
    conclusion = proof.lemma.conclusions[part]
    relation = conclusion.relation
    stronger = replace(relation, left=relation.left * (LESS if relation.sense == ">=" else MORE))
    assert not replace(conclusion, relation=stronger).established(checked_once(proof).proof.steps).check().holds


x, y = sympy.symbols("x y", nonnegative=True)


def test_a_slope_that_falls_is_refused():
    half = Range(x, 0, sympy.Rational(1, 2))
    assert increasing(Relation(1 + x, "<=", sympy.exp(x), ranges=(Range(x),)), x, sympy.exp(-x)).check().holds
    assert (
        not increasing(Relation(1 + 2 * x, "<=", sympy.exp(x), ranges=(Range(x),)), x, sympy.exp(-x)).check().holds
    )
    assert not increasing(Relation(1, "<=", sympy.exp(x) - x, ranges=(Range(x, 1),)), x, -1).check().holds
    assert not increasing(Relation(sympy.log(1 - x), ">=", -x, ranges=(half,)), x).check().holds
    assert not increasing(Relation(1 - x, "<=", 1 - x / 2 - sympy.log(2), ranges=(half,)), x).check().holds


def test_exponents_and_squares_are_compared():
    assert exponents(sympy.exp(-x), "<=", sympy.Integer(1)).check().holds
    assert not exponents(sympy.exp(-x), "<=", sympy.exp(-2 * x)).check().holds
    assert not square(sympy.sqrt(x - y)).check().holds


def test_growth_along_an_equation_needs_its_facts_and_its_names():
    u = sympy.Function("u")(TIME)
    rate, now, end, fade = sympy.symbols("k u_t u_1 f", nonnegative=True)
    start = sympy.Symbol("u_0", nonnegative=True)
    ends = {u: start, TIME: 0}, {u: end, TIME: 1}

    def grows(pull, facts=(), sums=(), names=None):
        quantity = sympy.exp(rate * TIME) * u
        return along(quantity, {u: -pull * u}, *ends, facts, sums, (Range(TIME, 0, 1),), {u: now}, names)

    found = grows(rate)
    assert found.check().holds
    assert found.relation == Relation(start, "<=", end * sympy.exp(rate))
    assert not grows(2 * rate).check().holds
    bounded = hypothesis(Relation(x, "<=", rate))
    assert grows(x, (bounded,), (x,)).check().holds
    assert not grows(x).check().holds
    assert not grows(x, (bounded,), (x,), {fade: sympy.exp(rate * TIME)}).check().holds
