r"""Steps that differentiate: what holds at the start of a range and along it, and what grows along an equation.

Example:
    >>> z = sympy.Symbol("z", real=True)
    >>> exponential = Relation(1 - z, "<=", sympy.exp(-z), ranges=(Range(z),))
    >>> increasing(exponential, z, factor=sympy.exp(z)).check().holds
    True
    >>> increasing(Relation(1 - z / 2, "<=", sympy.exp(-z), ranges=(Range(z),)), z).check().holds
    False
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy

from proofs.composition import Composition, Fact, assumed_by, facts_of
from proofs.relations import Range, Relation, certified, written
from proofs.steps import Evidence, Method, Step

__all__ = ["TIME", "along", "exponents", "increasing", "square"]

Expression = Any
TIME = sympy.Symbol("t", nonnegative=True)
"""What an equation runs in."""


def increasing(relation: Relation, symbol: Any, factor: Expression = 1, reason: str = "") -> Step:
    """A relation that holds where ``symbol`` is least, and whose slack times a positive factor rises with it."""

    def check() -> Evidence:
        low = next(r.low for r in relation.ranges if r.symbol == symbol)
        slack = sympy.expand(factor * relation.defined)
        slope = sympy.expand(sympy.diff(slack, symbol) / factor)
        for kind, expression, strict in (
            ("the factor", factor, True),
            ("the slack at the start", slack.subs(symbol, low), False),
            ("the slope", slope, False),
        ):
            evidence = certified(_without_exponentials(expression, relation.ranges), relation.ranges, strict)
            if not evidence.holds:
                return Evidence(False, f"{kind}, {expression}: {evidence.detail}")
        return Evidence(True, f"slope by certificate: {evidence.detail}")

    multiplied = "" if factor == 1 else f", times ${written(factor)}$,"
    text = f"the difference{multiplied} rises with ${written(symbol)}$ from its value at the start"
    return Step(relation.latex(), Method.CHECK, check, text + (f"; {reason}" if reason else ""), relation=relation)


def _without_exponentials(expression: Expression, ranges: Sequence[Range]) -> Expression:
    """With positive numbers in the place of e^x, for x that are real: their logarithms are of positive numbers."""
    found = {
        e: sympy.Dummy(positive=True)
        for e in sympy.sympify(expression).atoms(sympy.exp)
        if all(certified(logarithm.args[0], ranges, strict=True).holds for logarithm in e.atoms(sympy.log))
    }
    return expression.subs(found) if found else expression


def exponents(left: Expression, sense: str, right: Expression, ranges: Sequence[Range] = ()) -> Step:
    """``e^x <= e^y`` on the ranges, from x <= y; 1 is e^0."""
    relation = Relation(left, sense, right, ranges=tuple(ranges))
    powers = Relation(0 if left == 1 else left.exp, sense, 0 if right == 1 else right.exp)
    return Step(
        relation.latex(),
        Method.POLYNOMIAL,
        lambda: certified(powers.slack, tuple(ranges)),
        "by the exponents",
        relation=relation,
    )


def square(expression: Expression, opened: Mapping[Expression, Expression] | None = None) -> Step:
    """``expression^2 >= 0`` for a real expression, multiplied out; ``opened`` names what is then linear."""
    relation = Relation(sympy.expand(expression**2).xreplace(dict(opened or {})), ">=", 0)
    relation = replace(relation, where={name: value for value, name in (opened or {}).items()})

    def check() -> Evidence:
        real = sympy.sympify(expression).is_real
        return Evidence(bool(real), f"the square of {expression}" if real else f"{expression} may not be real")

    return Step(relation.latex(), Method.CHECK, check, f"the square of ${written(expression)}$", relation=relation)


def _called(power: Expression, exponent: Expression, name: Any) -> Expression:
    """e^power, with ``name`` in the place of e^exponent as often as the time occurs in it."""
    times = sympy.cancel(sympy.diff(power, TIME) / sympy.diff(exponent, TIME))
    return name**times * sympy.exp(sympy.expand(power - times * exponent))


def along(
    quantity: Expression,
    equation: Mapping[Any, Expression],
    start: Mapping[Any, Expression],
    end: Mapping[Any, Expression],
    facts: Sequence[Fact | Step] = (),
    sums: Sequence[Any] = (),
    ranges: Sequence[Range] = (),
    now: Mapping[Any, Any] | None = None,
    names: Mapping[Any, Expression] | None = None,
    reason: str = "",
) -> Step:
    """``quantity`` is no larger at the start of a span of time than at its end: by the equation it never falls.

    Args:
        quantity: of :data:`TIME` and of functions of it.
        equation: the derivative of each function.
        start: the value of each function at the start, and of the time.
        end: the same at the end.
        facts: what holds at every time in between, of the functions as their ``equation`` writes them.
        sums: what the derivative is linear in; see :class:`~proofs.composition.Composition`.
        ranges: of the time and of constants; those of the time are left out of what is concluded.
        now: what the functions are called in the facts; their own names otherwise.
        names: of exponentials e^-x whose x is certified to be at least 0, so that they lie in [0, 1].
        reason: in words.
    """
    facts = facts_of(facts)
    slope = sympy.diff(quantity, TIME).subs({sympy.diff(f, TIME): value for f, value in equation.items()})
    called = {f: sympy.Symbol(f.func.__name__, nonnegative=True) for f in equation} | dict(now or {})
    slope = slope.subs(called)
    named = dict(names or {})
    for name, exponential in named.items():
        slope = slope.replace(sympy.exp, lambda x, name=name, power=exponential.exp: _called(x, power, name))
    inside = (*ranges, *(Range(name, 0, 1) for name in named))
    rises = Relation(slope, ">=", 0, ranges=inside)
    composition = Composition(rises, facts, tuple(sums)) if facts else None

    def check() -> Evidence:
        for exponential in named.values():
            evidence = certified(-exponential.exp, tuple(ranges))
            if not evidence.holds:
                return Evidence(False, f"{exponential} may exceed 1: {evidence.detail}")
        return composition.check() if composition else certified(rises.slack, inside)

    def at(values: Mapping[Any, Expression]) -> Expression:
        functions = {f: value for f, value in values.items() if f != TIME}
        return quantity.subs(functions).subs(TIME, values[TIME])

    kept = tuple(r for r in ranges if r.symbol != TIME or end[TIME] == TIME)
    relation = Relation(at(start), "<=", at(end), ranges=kept)
    from_facts = f", from {', '.join(fact.source for fact in facts)}" if facts else ""
    text = rf"${written(quantity)}$ never falls{from_facts}" + (f": {reason}" if reason else "")
    assumes = assumed_by(step for fact in facts for step in fact.steps)
    return Step(relation.latex(), Method.CHECK, check, text, relation, composition, assumes)
