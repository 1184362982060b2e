r"""A theorem as a nonnegative combination of inequalities between named sums.

Most proofs of this project end alike: a few lemmas, each an inequality that is *linear* in sums over the run
(:mod:`proofs.sums`: the progress I = sum_k E<G_k, u_k>, the preconditioned sum Q, S = sum_k E||G_k||_1, ...), are
multiplied by something and added, all sums but one or two cancel, and what is left is the theorem. Said in words,
that last part cannot fail. Here it is computed:

- A lemma has a **conclusion**: a :class:`~proofs.relations.Relation` that is linear in named sums, for all values
  in its ranges (its hypotheses on eta, rho, the betas), under named :class:`Assumption` (smoothness, the test,
  what is known before a step). The conclusion is what is printed as the lemma's statement, and one of the lemma's
  own steps must have established this very relation, else the lemma does not hold.
- A **citation** is a conclusion at values of its parameters. It is matched when the lemma holds, each of its
  ranges is certified on the ranges of the citing theorem, and its assumptions are among the theorem's.
- A **composition** is a goal and the facts it follows from: citations, relations of earlier steps of the same
  proof, and hypotheses. The multipliers are *found* by elimination over the sums and *checked*: goal minus
  combination is exactly zero in every sum, the constant left over is certified to be >= 0, each multiplier of an
  inequality is certified to be >= 0 (a Farkas certificate with rational functions of the parameters), and none is
  zero, so that nothing is cited in vain. Deleting a fact leaves a sum that does not cancel; citing another lemma
  brings sums that do not belong.
- **Summation**: a relation between terms of one step becomes one between their sums (:func:`summed`); what occurs
  before and after a step telescopes.
- The one closing step that is not linear, S^2 <= Q R (Cauchy-Schwarz, lemma L8), is used in its linear form
  2 S <= t Q + R / t for every t > 0. With sigma the bound's own value, t = (A + B sigma) / sigma makes the
  quadratic part of the same combination: its multipliers are rational in A, B and sigma.

Example:
    >>> x, y, z, c = sympy.symbols("x y z c", positive=True)
    >>> first = hypothesis(Relation(x, "<=", 2 * y))
    >>> second = hypothesis(Relation(y, "<=", c * z))
    >>> composed(Relation(x, "<=", 2 * c * z), (first, second), sums=(x, y, z)).check().detail
    'multipliers 1, 2'
    >>> composed(Relation(x, "<=", 2 * c * z), (first,), sums=(x, y, z)).check().holds
    False
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import sympy

from proofs.relations import Range, Relation, certified, same_relation, vanishes, written
from proofs.steps import Evidence, Method, Provable, Step, checked_once

__all__ = [
    "Assumption",
    "Composition",
    "Conclusion",
    "Fact",
    "cite",
    "composed",
    "compositions",
    "from_step",
    "hypothesis",
    "induction",
    "rooted",
    "summed",
    "with_implied",
]

Expression = Any


class Assumption(StrEnum):
    """What is assumed of the objective, the noise and the optimizer, apart from what holds of parameters."""

    SMOOTH = "L-smooth"
    BOUNDED_BELOW = "bounded below"
    UNBIASED = "E_k g_k = G_k"
    KNOWN_BEFORE = "the batch size is known before the step"
    COORDINATE_TEST = "coordinate-wise norm test"
    SCALAR_TEST = "scalar norm test"
    L1_TEST = "l1 norm test"
    ADAM = "Adam's recursion, m_0 = 0, v_0 >= 0"
    GRADIENTS_ONLY = "any gradients"


IMPLIED = {
    Assumption.COORDINATE_TEST: {Assumption.SCALAR_TEST, Assumption.L1_TEST},
    Assumption.ADAM: {Assumption.GRADIENTS_ONLY},
}


def with_implied(assumed: frozenset[Assumption]) -> frozenset[Assumption]:
    """The assumptions together with those that they imply."""
    return assumed.union(*(IMPLIED.get(a, set()) for a in assumed))


@dataclass(frozen=True)
class Conclusion:
    """What a lemma concludes: a relation between named sums, and what it assumes."""

    relation: Relation
    assumes: frozenset[Assumption] = frozenset()

    def latex(self) -> str:
        """The statement of the lemma: what it assumes, and the relation."""
        assumed = ", ".join(a for a in Assumption if a in self.assumes)
        return (f"Under {assumed}: " if assumed else "") + f"${self.relation.latex()}$"

    def established(self, steps: Sequence[Step]) -> Step:
        """It is the relation of one of the steps, on no smaller ranges and under no more assumptions."""

        def check() -> Evidence:
            for number, step in enumerate(steps, 1):
                if step.relation is None or not same_relation(step.relation, self.relation):
                    continue
                if step.composition and step.composition.assumes - with_implied(self.assumes):
                    continue
                return Evidence(step.checked.holds, f"step {number}")
            return Evidence(False, "no step establishes it")

        return Step(self.relation.latex(), Method.CHECK, check, "the statement")


@dataclass(frozen=True)
class Fact:
    """One inequality of a composition, and where it comes from.

    Attributes:
        relation: linear in the sums.
        source: the lemma's name, "step" or "hypothesis".
        lemma: the lemma cited, if one is.
        hypotheses: its ranges at the cited values: (value, range) pairs.
        assumes: what the lemma assumes.
        step: the earlier step, if it is one of the same proof.
    """

    relation: Relation
    source: str = "hypothesis"
    lemma: Provable[Any] | None = None
    hypotheses: tuple[tuple[Expression, Range], ...] = ()
    assumes: frozenset[Assumption] = frozenset()
    step: Step | None = None


def hypothesis(relation: Relation) -> Fact:
    """What the theorem assumes of the sums themselves."""
    return Fact(relation)


def from_step(step: Step, given: Sequence[Any] = ()) -> Fact:
    """The relation of an earlier step of the same proof; its ranges are hypotheses, but for symbols in ``given``.

    A symbol is given where it was shown before to be in its range, in every term that the step sums.
    """
    if step.relation is None:
        raise ValueError("the step has no relation to build on")
    relation = replace(step.relation, ranges=())
    return Fact(
        relation,
        "step",
        hypotheses=tuple((r.symbol, r) for r in step.relation.ranges if r.symbol not in given),
        step=step,
    )


def cite(lemma: Provable[Any], at: Mapping[Any, Expression] | None = None, part: int = 0) -> Fact:
    """A conclusion of a lemma, at values of its parameters (the others stand for themselves)."""
    if len(lemma.lemma.conclusions) <= part:
        raise ValueError(f"{lemma.lemma.name} has no conclusion {part + 1} to cite")
    conclusion: Conclusion = lemma.lemma.conclusions[part]
    values = dict(at or {})
    hypotheses = []
    for r in conclusion.relation.ranges:
        bounds = (sympy.sympify(bound).subs(values, simultaneous=True) for bound in (r.low, r.high))
        hypotheses.append((values.get(r.symbol, r.symbol), replace(r, low=next(bounds), high=next(bounds))))
    relation = replace(conclusion.relation.at(values), ranges=())
    return Fact(relation, lemma.lemma.name, lemma, tuple(hypotheses), conclusion.assumes)


@dataclass(frozen=True)
class Composition:
    """A goal, and the facts it is a nonnegative combination of.

    Attributes:
        goal: linear in the sums.
        facts: in the order of the argument.
        sums: the sums that are to cancel or to remain, as they occur.
        assumes: what the theorem assumes apart from the ranges of its goal.
    """

    goal: Relation
    facts: tuple[Fact, ...]
    sums: tuple[Any, ...]
    assumes: frozenset[Assumption] = field(default_factory=frozenset)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """What the theorem assumes of its parameters: the quantifiers of its goal."""
        return self.goal.ranges

    def without(self, index: int) -> Composition:
        """The composition with one fact left out."""
        return replace(self, facts=self.facts[:index] + self.facts[index + 1 :])

    def exchanged(self, index: int, other: Fact) -> Composition:
        """The composition with another fact in the place of one."""
        return replace(self, facts=(*self.facts[:index], other, *self.facts[index + 1 :]))

    def _opened(self, relation: Relation) -> list[Expression] | str:
        """The coefficient of every sum, and the constant, in the names of constants."""
        slack = sympy.sympify(relation.slack).subs(dict(zip(self.sums, self._stand_ins, strict=True)))
        return _coefficients(slack, self._stand_ins)

    def _defined(self, expression: Expression) -> Expression:
        """With definitions in the place of the names of constants."""
        for name, value in self._names.items():
            if name not in self.sums:
                expression = sympy.sympify(expression).subs(name, value)
        return expression

    @cached_property
    def _stand_ins(self) -> tuple[sympy.Dummy, ...]:
        return tuple(sympy.Dummy(str(atom), real=True) for atom in self.sums)

    @cached_property
    def _names(self) -> dict[Any, Expression]:
        """Every definition; that a name stands for two things is found by :meth:`check`."""
        names: dict[Any, Expression] = {}
        for relation in (self.goal, *(fact.relation for fact in self.facts)):
            for name, value in relation.where.items():
                names.setdefault(name, value)
        return dict(
            sorted(names.items(), key=lambda entry: -_depth(entry[0], names))
        )  # what uses a name before it

    def _residual(self, expression: Expression) -> Expression:
        """Zero if the expression vanishes once enough of its names are defined, else the expression defined."""
        for name in (None, *self._names):
            if name is not None and name in self.sums:
                continue
            expression = expression if name is None else sympy.sympify(expression).subs(name, self._names[name])
            if not vanishes(expression):
                return sympy.Integer(0)
        return expression

    def check(self, facts: bool = True) -> Evidence:
        """The combination, found and verified; the facts themselves too unless ``facts`` is False."""
        for fact in self.facts if facts else ():
            problem = self._unmatched(fact)
            if problem:
                return Evidence(False, problem)
        for relation in (self.goal, *(fact.relation for fact in self.facts)):
            clash = [n for n, value in relation.where.items() if vanishes(self._names[n] - value)]
            if clash:
                return Evidence(False, f"{clash[0]} stands for two things")
        columns = [self._opened(fact.relation) for fact in self.facts]
        goal = self._opened(self.goal)
        rows = [column for column in (*columns, goal) if not isinstance(column, str)]
        if len(rows) <= len(columns):
            return Evidence(False, next(c for c in (*columns, goal) if isinstance(c, str)))
        if any(all(_is_zero(c) for c in row[:-1]) for row in rows[:-1]):
            return Evidence(False, "a fact that is about none of the sums")
        found = _solved([row[:-1] for row in rows[:-1]], rows[-1][:-1])
        if found == DEPENDENT:  # then nothing may be left over: the constant is one more sum
            found = _solved(rows[:-1], rows[-1])
        return Evidence(False, found) if isinstance(found, str) else self._verified(found, rows)

    def _verified(self, found: list[Expression], rows: list[list[Expression]]) -> Evidence:
        """That these multipliers have the right signs, cancel every sum, and leave nothing negative."""
        for fact, multiplier in zip(self.facts, found, strict=True):
            if not vanishes(multiplier):
                return Evidence(False, f"{fact.source} is not needed")
            if fact.relation.sense != "=":
                sign = certified(self._defined(multiplier), self.ranges)
                if not sign.holds:
                    return Evidence(False, f"the multiplier {multiplier} of {fact.source}: {sign.detail}")
            if self.goal.sense == "=" != fact.relation.sense:
                return Evidence(False, "an equation does not follow from inequalities")
        left = [
            rows[-1][i] - sum(m * row[i] for m, row in zip(found, rows[:-1], strict=True))
            for i in range(len(rows[-1]))
        ]
        for atom, coefficient in zip(self.sums, left[:-1], strict=True):
            if self._residual(coefficient) != 0:
                return Evidence(False, f"{written(atom)} does not cancel")
        rest = self._residual(left[-1])
        if rest != 0:
            kept = certified(rest, self.ranges) if self.goal.sense != "=" else Evidence(False, "an equation")
            if not kept.holds:
                return Evidence(False, f"what is left, {str(rest)[:120]}, is not >= 0: {kept.detail}")
        return Evidence(True, "multipliers " + ", ".join(str(m) for m in found))

    def _unmatched(self, fact: Fact) -> str:
        if fact.step is not None and not fact.step.checked.holds:
            return "a step that it builds on does not hold"
        if fact.lemma is not None and not checked_once(fact.lemma).holds:
            return f"{fact.source} does not hold"
        missing = fact.assumes - with_implied(self.assumes)
        if missing:
            return f"{fact.source} assumes {', '.join(sorted(missing))}"
        for value, r in fact.hypotheses:
            for low, high in ((r.low, value), (value, r.high)):
                if sympy.oo in (low, high, -low):
                    continue
                kept = self._defined(sympy.sympify(high) ** r.power - sympy.sympify(low) ** r.power)
                evidence = certified(kept, self.ranges, r.strict)
                if not evidence.holds:
                    return f"{fact.source} needs {r.latex()}, here at {value}: {evidence.detail}"
        return ""


def _coefficient(slack: Expression, atom: Any) -> Expression:
    """The coefficient of one sum: the derivative, in a relation that is linear in it."""
    stand_in = sympy.Dummy()
    return sympy.diff(slack.subs(atom, stand_in), stand_in)


def _coefficients(slack: Expression, atoms: Sequence[Any]) -> list[Expression] | str:
    """The coefficient of every sum, and the constant; a message where it is not linear in them."""
    found = [sympy.diff(slack, atom) for atom in atoms]
    found = [c if c.free_symbols.isdisjoint(atoms) else sympy.cancel(c) for c in found]
    if not all(c.free_symbols.isdisjoint(atoms) for c in found):
        return f"{slack} is not linear in the sums"
    return [*found, slack.xreplace(dict.fromkeys(atoms, sympy.Integer(0)))]


def _depth(name: Any, names: Mapping[Any, Expression]) -> int:
    """How many definitions deep a name is."""
    used = sympy.sympify(names[name]).free_symbols & set(names) - {name}
    return 1 + max((_depth(other, names) for other in used), default=0)


DEPENDENT = "the facts are not independent: one of them is cited in vain"


def _solved(columns: list[list[Expression]], goal: list[Expression]) -> list[Expression] | str:
    """The only multipliers x that may give sum_j x_j columns[j] = goal, from as many rows; or a message."""
    count = len(columns)
    rows = [[column[i] for column in columns] + [goal[i]] for i in range(len(goal))]
    pivots: list[int] = []
    for unknown in range(count):
        free = [i for i in range(len(rows)) if i not in pivots and not _is_zero(rows[i][unknown])]
        if not free:
            return DEPENDENT
        chosen = min(free, key=lambda i: sum(not _is_zero(x) for x in rows[i]))
        pivots.append(chosen)
        rows[chosen] = [sympy.cancel(x / rows[chosen][unknown]) for x in rows[chosen]]
        for i in range(len(rows)):
            factor = rows[i][unknown]
            if i != chosen and not _is_zero(factor):
                rows[i] = [sympy.cancel(x - factor * y) for x, y in zip(rows[i], rows[chosen], strict=True)]
    return [rows[chosen][-1] for chosen in pivots]


def _is_zero(expression: Expression) -> bool:
    return expression == 0 or not vanishes(expression)


def composed(
    goal: Relation,
    facts: Sequence[Fact],
    sums: Sequence[Any],
    assumes: frozenset[Assumption] = frozenset(),
    reason: str = "",
) -> Step:
    """The goal as a nonnegative combination of the facts."""
    composition = Composition(goal, tuple(facts), tuple(sums), assumes)
    names = ", ".join(fact.source for fact in facts)
    text = f"from {names}" + (f": {reason}" if reason else "")
    return Step(goal.latex(), Method.COMPOSITION, composition.check, text, relation=goal, composition=composition)


def induction(
    now: Relation, before: Relation, base: Step, facts: Sequence[Fact], sums: Sequence[Any], reason: str = ""
) -> Step:
    """A relation for every step: ``base`` is its first case, and ``now`` follows from ``before`` and the facts."""
    composition = Composition(now, (Fact(replace(before, ranges=()), "induction hypothesis"), *facts), tuple(sums))

    def check() -> Evidence:
        return composition.check() if base.checked.holds else Evidence(False, "the first case does not hold")

    text = f"induction from ${base.statement}$" + (f"; {reason}" if reason else "")
    return Step(now.latex(), Method.COMPOSITION, check, text, relation=now, composition=composition)


def summed(
    step: Step,
    sums: Mapping[Any, Expression],
    telescoping: Mapping[tuple[Any, Any], Expression] | None = None,
    count: Expression = 0,
    reason: str = "summed over the steps (and coordinates), in expectation",
) -> Step:
    """A relation between the terms of one step, summed over the steps.

    Args:
        step: its relation is linear in the terms; it is checked there.
        sums: the named sum of each term.
        telescoping: (before, after) of what one step passes to the next, and its value at the start. Their
            coefficients are opposite, so that all but the first and the last cancel; what is left of the last is
            dropped, which is allowed where it is not negative and is subtracted from the slack.
        count: the number of terms, which multiplies what is constant (K, or K d).
        reason: in words.
    """
    one = step.relation
    assert one is not None
    moved = dict(telescoping or {})
    atoms = [*sums, *(end for pair in moved for end in pair)]
    constants = {name: value for name, value in one.where.items() if name not in atoms}
    slack = sympy.sympify(one.slack)
    constant = slack.subs(dict.fromkeys(atoms, 0), simultaneous=True)
    total = constant * count + sum(_coefficient(slack, t) * s for t, s in sums.items())
    total += sum(_coefficient(slack, before) * start for (before, _), start in moved.items())
    negative: list[Expression] = []
    positive: list[Expression] = []
    for term in sympy.Add.make_args(sympy.expand(total)):
        (negative if term.could_extract_minus_sign() else positive).append(term)
    relation = replace(one, left=-sympy.Add(*negative), sense="<=", right=sympy.Add(*positive), where=constants)
    if one.sense == "=" and not moved:
        relation = replace(relation, sense="=")

    def check() -> Evidence:
        evidence = step.checked
        if not evidence.holds:
            return Evidence(False, "the step it sums does not hold")
        rest = slack - constant - sum(_coefficient(slack, a) * a for a in atoms)
        if vanishes(rest):
            return Evidence(False, "not linear in the terms")
        for before, after in moved:
            gained, lost = (_coefficient(slack, end) for end in (before, after))
            if vanishes(gained + lost) or not certified(-lost, one.ranges).holds:
                return Evidence(False, f"{before} does not telescope")
        return Evidence(True, f"{len(sums)} sums, {len(moved)} telescoping")

    return Step(relation.latex(), Method.SUMMATION, check, reason, relation=relation)


def rooted(step: Step, squared: Any, value: Any, bound: Expression) -> Step:
    """``value <= bound`` from a step's ``squared <= bound^2``: value^2 - 2 bound value + bound^2 is a square."""
    one = step.relation
    assert one is not None
    goal = replace(one, left=value, sense="<=", right=bound, where={**one.where})
    perfect = Relation(squared - 2 * bound * value + bound**2, ">=", 0, one.where)
    facts = (from_step(step), Fact(perfect, rf"$({written(value)} - {written(bound)})^2 \ge 0$"))
    return composed(
        goal, facts, (squared, value), reason=f"${written(squared)}$ is the square of ${written(value)}$"
    )


def compositions(steps: Sequence[Step]) -> Iterator[Composition]:
    """The compositions among the steps of a proof."""
    for step in steps:
        if step.composition is not None:
            yield step.composition
