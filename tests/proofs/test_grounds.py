"""Facts that rest on a definition or a named theorem: an instance of it, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.composition import Assumption, assumed, cite, composed, defined, granted, hypothesis
from proofs.definitions import definitions, introduced, restricting
from proofs.grounds import (
    Ground,
    infimum,
    inner,
    norm,
    norm_1,
    norm_max,
    supremum,
    unjustified,
)
from proofs.registry import all_proofs
from proofs.relations import Range, Relation, equation, written
from proofs.sums import length

a, b, c = sympy.symbols("a b c", nonnegative=True)
v, w = sympy.symbols("v w", real=True)
d = sympy.Symbol("d", positive=True)
k, n = sympy.symbols("k n", integer=True, nonnegative=True)
x = sympy.Function("x", positive=True)
f = sympy.Function("f", real=True)


def total(low: Any, high: Any, term: Any = x) -> Any:
    return sympy.Sum(term(k), (k, low, high))


@pytest.mark.parametrize(
    ("ground", "relation", "meaning"),
    [
        (Ground.SQUARE, Relation(2 * v * w, "<=", a + b), {a: v**2, b: w**2}),
        (Ground.MINKOWSKI, Relation(a, "<=", b + 2 * c), {a: norm(v + 2 * w), b: norm(v), c: norm(w)}),
        (
            Ground.MINKOWSKI,
            Relation(a, "<=", b),
            {a: norm(total(0, n, f)), b: sympy.Sum(norm(f(k)), (k, 0, n + 3))},
        ),
        (Ground.CAUCHY_SCHWARZ, Relation(v, ">=", -a * b), {v: inner(w, c), a: norm(w), b: norm(c)}),
        (Ground.CAUCHY_SCHWARZ, Relation(a, "<=", sympy.sqrt(d) * b), {a: norm_1(w), b: norm(w)}),
        (Ground.HOELDER, Relation(v, "<=", a * b), {v: inner(w, c), a: norm_1(w), b: norm_max(c)}),
        (Ground.PART, Relation(a, "<=", b), {a: total(1, n), b: total(0, n + 2)}),
        (Ground.PART, Relation(b, ">=", a), {a: x(0), b: total(0, n)}),
        (Ground.EXTREMUM, Relation(a, "<=", 2 * b), {b: supremum(a / 2)}),
        (Ground.SPLIT, Relation(a, "=", b + c), {a: total(0, n), b: total(0, 3), c: total(4, n)}),
        (Ground.DEFINITION, Relation(a**2, "=", 4 * b**2), {a: 2 * b}),
    ],
)
def test_an_instance_holds_and_another_statement_does_not(
    ground: Ground, relation: Relation, meaning: Mapping[Any, Any]
) -> None:
    assert not unjustified(ground, relation, meaning)
    for factor in (sympy.Rational(99, 100), sympy.Rational(101, 100)):
        scaled = Relation(relation.left, relation.sense, factor * relation.right)
        assert unjustified(ground, scaled, meaning), (scaled, meaning)
    assert unjustified(ground, relation, {}), "what the names stand for is not known"


@pytest.mark.parametrize(
    ("ground", "relation", "meaning", "problem"),
    [
        (Ground.MINKOWSKI, Relation(a, "<=", b), {a: norm(v + w), b: norm(v)}, "w is left"),
        (
            Ground.MINKOWSKI,
            Relation(a, "<=", b),
            {a: norm(total(0, n + 1, f)), b: sympy.Sum(norm(f(k)), (k, 0, n))},
            "not the norms",
        ),
        (
            Ground.CAUCHY_SCHWARZ,
            Relation(v, "<=", a * b),
            {v: inner(w, c), a: norm(w), b: norm(w)},
            "not the norms",
        ),
        (Ground.HOELDER, Relation(v, "<=", a * b), {v: inner(w, c), a: norm_1(w), b: norm_1(c)}, "the norms"),
        (Ground.PART, Relation(a, "<=", b), {a: total(0, n + 1), b: total(0, n)}, "not a part"),
        (Ground.PART, Relation(a, "<=", b), {a: total(0, n, f), b: total(0, n + 1, f)}, "may be negative"),
        (Ground.PART, Relation(a, "<=", b), {a: x(1), b: total(0, n)}, "not the first term"),
        (Ground.EXTREMUM, Relation(a, "<=", b), {b: infimum(a)}, "on that side"),
        (Ground.SPLIT, Relation(a, "=", b + c), {a: total(0, n), b: total(0, 3), c: total(3, n)}, "do not fit"),
        (Ground.CALCULUS, Relation(a, "=", b), {a: f(1), b: f(0)}, "the integral"),
        (Ground.DEFINITION, Relation(a, "<=", b), {a: b}, "an equation"),
        (Ground.DEFINITION, Relation(a, "=", a + b), {a: a + b}, "not a name"),
        (Ground.DEFINITION, Relation(a, "=", b - c), {a: b - c}, "may be"),
        (Ground.EXPECTATION, Relation(a, "<=", b), {}, "by which step"),
    ],
)
def test_what_is_not_an_instance_is_refused(
    ground: Ground, relation: Relation, meaning: Mapping[Any, Any], problem: str
) -> None:
    assert problem in unjustified(ground, relation, meaning)


def test_hypotheses_of_a_theorem_are_compared_on_the_ranges() -> None:
    weighted = Relation((1 - c) * a, "<=", (1 - c) * b)
    meaning = {a: norm_1(w), b: sympy.sqrt(d) * norm(w)}
    assert not unjustified(Ground.CAUCHY_SCHWARZ, weighted, meaning, (Range(c, 0, 1),))
    assert unjustified(Ground.CAUCHY_SCHWARZ, weighted, meaning)


def _defining(*facts: Any) -> list[str]:
    step = composed(Relation(b, "<=", c), (*facts, hypothesis(Relation(c, ">=", 0))), (b, c))
    return list(restricting([step]))


def test_a_definition_restricts_nothing() -> None:
    assert _defining(defined(b, 2 * d)) == []
    (line,) = _defining(defined(b, 2 * d), assumed(Relation(b, "<=", c), Assumption.SMOOTH))
    assert line == "b, which step 1 defines, has a meaning already: L-smooth"
    (line,) = _defining(defined(b, 2 * d), defined(b, d))
    assert line == "b is d in step 1, and 2*d by definition"
    (line,) = _defining(defined(b, 2 * d), hypothesis(Relation(b, ">=", 0)))
    assert "has a meaning already: hypothesis" in line
    (line,) = _defining(defined(length, sympy.Integer(0)), cite(lemma_l1, part=2))
    assert "has a meaning already: L1" in line
    step = equation(b, 3 * d, where={b: 3 * d})
    assert len([*restricting([step, composed(Relation(b, "<=", c), (defined(b, 2 * d),), (b, c))])]) == 1
    assert _defining(defined(b, 2 * d), granted(Relation(a, "=", b), Ground.DEFINITION, meaning={a: b})) == []


def test_every_proof_with_definitions_has_the_step_that_they_restrict_nothing() -> None:
    found = [proof for proof in all_proofs() if definitions(proof.steps)]
    assert len(found) > 5
    for proof in found:
        (step,) = introduced(proof.steps)
        assert step.statement in [s.statement for s in proof.steps]
    bad = composed(Relation(b, "<=", c), (defined(b, c), assumed(Relation(b, "<=", 0), Assumption.SMOOTH)), (b, c))
    (step,) = introduced([bad])
    assert not step.check().holds


def test_norms_are_printed_as_they_are_meant() -> None:
    """A name with the bars of a norm shows the vector that the named theorem is about."""
    compositions = (s.composition for p in all_proofs() for s in p.steps if s.composition is not None)
    meanings = (entry for c in compositions for fact in c.facts for entry in fact.meaning.items())
    norms = [(n, x.args[0]) for n, x in meanings if isinstance(x, norm | norm_1 | norm_max) and "|" in written(n)]
    assert len(norms) > 8
    for name, vector in norms:
        shown, meant = (re.sub(r"[{}|\s\\]", "", written(each)) for each in (name, vector))
        assert not vector.is_Symbol or meant in shown, (name, vector)
