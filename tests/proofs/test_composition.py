"""A composition holds as it is, and without any of its facts or with another in its place it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy

from benchmarks.citations import cited, others
from proofs.adam.l5_key_inequality import lemma_l5
from proofs.adam.l5_key_inequality import rho as amplification
from proofs.composition import (
    Assumption,
    Conclusion,
    Fact,
    assumed,
    by_cases,
    cite,
    composed,
    from_step,
    hypothesis,
    induction,
    stated,
    summed,
)
from proofs.grounds import CHECKED
from proofs.points import Point, combined
from proofs.relations import Range, Relation, certified, equation, holds, inequality, tiled
from proofs.sums import PRECONDITIONED, response, root_of_one

x, y, z = sympy.symbols("x y z", real=True)
n, t = sympy.symbols("n t", nonnegative=True)


def test_every_citation_is_needed() -> None:
    """Each is left out, and exchanged for some of the other conclusions; benchmarks/citations.py tries all."""
    count = 0
    for name, number, composition in cited():
        for index, fact in enumerate(composition.facts):
            assert not composition.without(index).check(facts=False).holds, (name, number, fact.source)
            tried = others(name, composition, index)
            for other in tried[count % 9 :: 9]:
                exchanged = composition.exchanged(index, other).check(facts=False)
                assert not exchanged.holds, (name, number, fact.source, other.source)
            count += 1
    assert count > 250


def test_every_fact_has_its_reason() -> None:
    """A lemma, a step, an assumption, a checked instance of a ground, or the sign of a symbol."""
    for name, number, composition in cited():
        for fact in composition.facts:
            instance = fact.ground in CHECKED and fact.meaning
            assert fact.lemma or fact.steps or fact.assumes or instance or _is_sign(fact), (name, number, fact)


def _is_sign(fact: Fact) -> bool:
    return bool(fact.relation.sense == ">=" and fact.relation.left.is_nonnegative and fact.relation.right == 0)


def test_a_narrower_lemma_cannot_be_cited_beyond_its_range() -> None:
    goal = Relation(x, ">=", 0, ranges=(Range(t, 0, 2),))
    shown = inequality(t * (1 - t), ">=", 0, (Range(t, 0, 1),))
    assert shown.check().holds
    step = replace(shown, relation=Relation(x, ">=", 0, ranges=(Range(t, 0, 1),)))
    evidence = composed(goal, (from_step(step),), (x,)).check()
    assert "needs" in evidence.detail
    within = replace(goal, ranges=(Range(t, 0, sympy.Rational(1, 2)),))
    assert composed(within, (from_step(step),), (x,)).check().holds


def test_a_hypothesis_of_a_lemma_is_compared_with_what_is_assumed() -> None:
    fact = cite(lemma_l5, {amplification: sympy.Rational(1, 2)})
    goal = replace(fact.relation, ranges=(Range(sympy.Symbol("eta", nonnegative=True), 0, 1, power=2),))
    sums = (response(sympy.Rational(1, 2)), root_of_one)
    assert "assumes E X = 1" in composed(goal, (fact,), sums).check().detail
    assert "L5 needs" in composed(goal, (fact,), sums, fact.assumes).check().detail
    with pytest.raises(ValueError, match="not proven for other values"):
        cite(lemma_l5, {root_of_one: PRECONDITIONED})


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
    kept = summed(one, {x: total}, {(before, after): (start, t)}, count=n)
    assert sympy.expand(kept.relation.slack - (start - t + 2 * n - total)) == 0


def test_a_sign_is_that_of_the_value() -> None:
    """A name that is declared nonnegative has a value that is."""
    rest, whole = sympy.symbols("rest whole", nonnegative=True)
    for value, holds_so in ((t**2 + (x - z) ** 2, True), (t**2 - n, False)):
        parts = equation(whole, 2 * t + rest, where={whole: 2 * t + value, rest: value})
        facts = (from_step(parts), hypothesis(Relation(rest, ">=", 0)))
        assert composed(Relation(whole, ">=", 2 * t), facts, (whole, rest)).check().holds is holds_so


def test_an_induction_needs_its_first_case() -> None:
    facts, goal = (hypothesis(Relation(x, ">=", y)),), Relation(x, ">=", 0)
    assert induction(goal, {x: y}, {x: 1}, inequality(1, ">=", 0), facts, (x, y)).check().holds
    assert not induction(goal, {x: y}, {x: -1}, inequality(-1, ">=", 0), facts, (x, y)).check().holds
    other = induction(goal, {x: y}, {x: -1}, inequality(1, ">=", 0), facts, (x, y)).check()
    assert other.detail == "the first case is not what is shown first"


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


def test_a_point_tells_what_does_not_follow() -> None:
    at = Point({y: x + 1}, (Range(t, 2, 3),), number=2)
    assert 2 < at.value(t) < 3
    assert at.value(y - x) == pytest.approx(1)
    multipliers, left = combined([[1, -1, 0]], [2, -2, 1], at)
    assert multipliers == pytest.approx([2])
    assert left == pytest.approx([0, 0, 1])
    assert combined([[1, 0, 0], [2, 0, 0]], [1, 0, 0], at) is None
    assert combined([[sympy.sqrt(-t), 0]], [1, 0], at) is None


def test_cases_cover_what_they_say() -> None:
    goal = Relation(x, "<=", y)
    at_zero = composed(goal.at({y: 0}), (hypothesis(Relation(x, "<=", 0)),), (x,))
    at_one = composed(goal.at({y: 1}), (hypothesis(Relation(x, "<=", 1)),), (x,))
    assert by_cases(goal, ({y: 0}, at_zero), ({y: 1}, at_one)).check().holds
    assert not by_cases(goal, ({y: 0}, at_one), ({y: 1}, at_one)).check().holds


def test_a_symbol_is_in_a_range_only_where_both_ends_were_shown() -> None:
    step = replace(inequality(t, ">=", 0), relation=Relation(x, ">=", 0, ranges=(Range(t, 1, n),)))
    above, below = (replace(step, relation=Relation(t, sense, end)) for sense, end in (("<=", n), (">=", 1)))
    assert from_step(step, {t: (above, below)}).hypotheses == ()
    with pytest.raises(ValueError, match="nothing shows"):
        from_step(step, {t: (above,)})
    for_large_n = replace(above, relation=replace(above.relation, ranges=(Range(n, 2),)))
    assert from_step(step, {t: (for_large_n, below)}).hypotheses == ((n, Range(n, 2)),)


def test_what_a_step_assumes_is_assumed_by_all_that_build_on_it() -> None:
    convex = Assumption.CONVEX
    first = stated(assumed(Relation(x, "<=", y), convex))
    total = summed(first, {x: z, y: t})
    last = composed(Relation(z, "<=", t), (from_step(total),), (z, t))
    assert not Conclusion(last.relation).established((last,)).check().holds
    assert Conclusion(last.relation, frozenset({convex})).established((last,)).check().holds


def test_pieces_cover_and_say_the_goal() -> None:
    goal = Relation(y, "<=", z)
    low, high = (
        composed(replace(goal, ranges=(r,)), (hypothesis(goal),), (y, z))
        for r in (Range(x, -sympy.oo, 0), Range(x, 0))
    )
    assert tiled(goal, x, (low, high)).check().holds
    assert "not covered" in tiled(goal, x, (low,)).check().detail
    assert "not what is said" in tiled(replace(goal, right=z - 1), x, (low, high)).check().detail
