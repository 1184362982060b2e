"""A composition holds as it is, and without any of its facts or with another in its place it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy

from benchmarks.citations import others
from proofs.adam.l5_key_inequality import lemma_l5
from proofs.adam.l5_key_inequality import rho as amplification
from proofs.adam.theorem1 import theorem_1
from proofs.adam.variants import epsilon_proof, multiplier_proof
from proofs.composition import Composition, cite, composed, compositions, hypothesis, induction, summed
from proofs.other_optimizers.adagrad import adagrad_theorem
from proofs.other_optimizers.sgd import relative_error_theorem, sgd_theorem
from proofs.relations import Range, Relation, certified, equation, holds, inequality
from proofs.steps import Provable

x, y, z = sympy.symbols("x y z", real=True)
n, t = sympy.symbols("n t", nonnegative=True)

PROOFS: tuple[Provable, ...] = (
    theorem_1, epsilon_proof, multiplier_proof, adagrad_theorem, sgd_theorem, relative_error_theorem,
)  # fmt: skip
CITATIONS = [
    pytest.param(lemma.lemma.name, composition, index, id=f"{lemma.lemma.name}, {number}: {fact.source}, {index}")
    for lemma in PROOFS
    for number, composition in enumerate(compositions(tuple(lemma.steps())), 1)
    for index, fact in enumerate(composition.facts)
]


@pytest.mark.parametrize(("name", "composition", "index"), CITATIONS)
def test_every_citation_is_needed(name: str, composition: Composition, index: int) -> None:
    assert not composition.without(index).check(facts=False).holds
    for other in others(name, composition.facts[index])[:3]:
        assert not composition.exchanged(index, other).check(facts=False).holds


def test_a_narrower_lemma_cannot_be_cited_beyond_its_range() -> None:
    goal = Relation(x, ">=", 0, ranges=(Range(t, 0, 2),))
    shown = inequality(t * (1 - t), ">=", 0, (Range(t, 0, 1),))
    assert shown.check().holds
    step = replace(shown, relation=Relation(x, ">=", 0, ranges=(Range(t, 0, 1),)))
    from proofs.composition import from_step

    evidence = composed(goal, (from_step(step),), (x,)).check()
    assert "needs" in evidence.detail
    within = replace(goal, ranges=(Range(t, 0, sympy.Rational(1, 2)),))
    assert composed(within, (from_step(step),), (x,)).check().holds


def test_a_hypothesis_of_a_lemma_is_compared_with_what_is_assumed() -> None:
    fact = cite(lemma_l5, {amplification: sympy.Rational(1, 2)})
    goal = replace(fact.relation, ranges=(Range(sympy.Symbol("eta", nonnegative=True), 0, 1, power=2),))
    sums = tuple(s for s in fact.relation.slack.free_symbols if s.name in ("response", "root_of_one"))
    assert "L5 needs" in composed(goal, (fact,), sums).check().detail


@pytest.mark.parametrize(
    ("goal", "problem"),
    [
        (Relation(x, "<=", z - 1), "is not >= 0"),
        (Relation(x, "<=", 2 * z), "does not cancel"),
        (Relation(x, "<=", x * z), "not linear"),
        (Relation(x, "=", z), "the multiplier -1"),
    ],
)
def test_what_does_not_follow(goal: Relation, problem: str) -> None:
    facts = (hypothesis(Relation(x, "<=", y)), hypothesis(Relation(y, "<=", z)))
    assert composed(Relation(x, "<=", z), facts, (x, y, z)).check().holds
    assert problem in composed(goal, facts, (x, y, z)).check().detail


def test_a_negative_multiplier_is_refused() -> None:
    facts = (hypothesis(Relation(x, "<=", y)),)
    assert not composed(Relation(x, ">=", y), facts, (x, y)).check().holds


def test_sums_and_telescoping() -> None:
    total, start = sympy.symbols("X s", nonnegative=True)
    before, after = sympy.symbols("b a", nonnegative=True)
    one = composed(
        Relation(x + after, "<=", before + 2),
        (hypothesis(Relation(x + after, "<=", before + 2)),),
        (x, before, after),
    )
    found = summed(one, {x: total}, {(before, after): start}, count=n)
    assert found.check().holds
    assert sympy.expand(found.relation.slack - (start + 2 * n - total)) == 0
    assert not summed(one, {x: total}, {(after, before): start}, count=n).check().holds


def test_an_induction_needs_its_first_case() -> None:
    facts = (hypothesis(Relation(x, ">=", y)),)
    assert (
        induction(Relation(x, ">=", 0), Relation(y, ">=", 0), inequality(1, ">=", 0), facts, (x, y)).check().holds
    )
    false = inequality(-1, ">=", 0)
    assert not induction(Relation(x, ">=", 0), Relation(y, ">=", 0), false, facts, (x, y)).check().holds


def test_what_is_printed_is_what_is_checked() -> None:
    step = equation(x + 1, y, where={y: 1 + x})
    assert step.statement == r"x + 1 = y, \quad \text{where } y = x + 1"
    assert step.check().holds
    assert not equation(x + 1, y, where={y: 2 + x}).check().holds
    narrow = Relation(t**2, "<=", t, ranges=(Range(t, 0, 1),))
    assert narrow.latex() == r"t^{2} \le t \quad \text{for all } 0 \le t \le 1"
    assert holds(narrow).holds
    assert not holds(replace(narrow, ranges=(Range(t, 0, 2),))).holds


def test_strict_ranges_and_roots() -> None:
    assert certified(t, (Range(t, 0, 1, strict=True),), strict=True).holds
    assert not certified(t, (Range(t, 0, 1),), strict=True).holds
    assert certified(sympy.sqrt(1 - t) + 1, (Range(t, 0, 1),), strict=True).holds
    assert not certified(x, ()).holds
