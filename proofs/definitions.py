r"""Definitions introduce names, and say nothing of what has a meaning already.

A fact on the ground of a definition needs no proof, so that it must not be able to say anything: with
``norm := 0`` every bound on a norm would follow. :func:`restricting` lists what is wrong with the definitions of a
proof, and every proof has the step that nothing is (:func:`introduced`):

- a name has one value in the whole proof, by definitions, next to relations and in lemmas that are cited;
- no assumption, no sign that is assumed and no lemma that is cited is about the name, if it does not define it
  itself: the definition would restrict what they speak of. What else is said of it holds for any value.

That the value has the sign of the name and does not depend on it is checked with each fact (see proofs.grounds).

Example:
    >>> from proofs.composition import assumed, Assumption, composed, defined
    >>> x, y, z = sympy.symbols("x y z", nonnegative=True)
    >>> step = composed(Relation(x, "<=", z), (defined(y, 2 * z), assumed(Relation(2 * x, "<=", y))), (x, y))
    >>> list(restricting([step]))
    ['y, which step 1 defines, has a meaning already: an assumption']
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sympy

from proofs.grounds import Ground, opened
from proofs.relations import CONSTANTS, Relation, vanishes, written
from proofs.steps import OF_ALL_STEPS, Evidence, Method, Step

__all__ = ["definitions", "introduced", "restricting"]

Expression = Any


def definitions(steps: Sequence[Step]) -> dict[Any, tuple[Expression, int]]:
    """Each name that a definition introduces, with its value and the number of the step."""
    found: dict[Any, tuple[Expression, int]] = {}
    for number, fact in _facts(steps):
        if fact.ground is Ground.DEFINITION and not fact.steps:
            for name, value in fact.meaning.items():
                found.setdefault(name, (value, number))
    return found


def introduced(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The step that the definitions of a proof only introduce names; none if it has none."""
    found = definitions(steps)
    if not found:
        return ()

    def check() -> Evidence:
        wrong = next(restricting(steps), "")
        return Evidence(not wrong, wrong or f"{len(found)} names")

    names = r"\text{definitions of } " + r", \; ".join(map(written, found))
    return (Step(names, Method.CHECK, check, "each name has one definition, and nothing is assumed of it"),)


def restricting(steps: Sequence[Step]) -> Iterator[str]:
    """What the definitions of a proof say of names that have a meaning already."""
    found = definitions(steps)
    values = {name: value for name, (value, _) in found.items()}
    for name, (_, number) in found.items():
        if name in CONSTANTS:
            yield f"{name}, which step {number} defines, is a constant of the setting"
    for number, name, value in _other_values(steps):
        if name in found and _differ(name, value, values):
            yield f"{name} is {value} in step {number}, and {values[name]} by definition"
    for _, fact in _facts(steps):
        for name in _about(fact) & set(found):
            said_by = fact.source or "an assumption"
            yield f"{name}, which step {found[name][1]} defines, has a meaning already: {said_by}"


def _facts(steps: Sequence[Step]) -> Iterator[tuple[int, Any]]:
    for number, step in enumerate(steps, 1):
        if step.composition is not None:
            yield from ((number, fact) for fact in step.composition.facts)


def _symbols(relation: Relation) -> set[Any]:
    return set().union(*(sympy.sympify(side).free_symbols for side in (relation.left, relation.right)))


def _about(fact: Any) -> set[Any]:
    """The symbols that a fact speaks of which is assumed, or cited, without a definition."""
    if fact.lemma is not None:
        found = set()
        for conclusion in fact.lemma.lemma.conclusions:
            ranged = {r.symbol for r in conclusion.relation.ranges}
            own = ranged | set(conclusion.universal) | set(conclusion.relation.where)
            found |= _symbols(conclusion.relation) - own
        return found & _symbols(fact.relation)
    is_given = fact.assumes or (fact.ground is None and not fact.steps)
    return _symbols(fact.relation) - set(fact.relation.where) if is_given else set()


def _other_values(steps: Sequence[Step]) -> Iterator[tuple[int, Any, Expression]]:
    """Every value of a name, with the number of the step where it stands."""
    for number, step in enumerate(steps, 1):
        if step.relation is not None:
            yield from ((number, name, value) for name, value in step.relation.where.items())
    for number, fact in _facts(steps):
        meaning = fact.meaning if fact.ground is Ground.DEFINITION else {}
        for values in (fact.relation.where, fact.defined, meaning):
            yield from ((number, name, value) for name, value in values.items())


def _differ(name: Any, value: Expression, values: Mapping[Any, Expression]) -> bool:
    """Whether a value of a name is not the one that is defined, by all definitions but its own."""
    others = {other: v for other, v in values.items() if other != name}
    return value != values[name] and bool(vanishes(opened(value, others) - opened(values[name], others)))


OF_ALL_STEPS.append(introduced)
