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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, cached_property
from typing import Any

import sympy

import proofs.definitions  # noqa: F401 (every proof with definitions is checked for what they say)
from proofs.grounds import Ground, nonnegative_value, unjustified
from proofs.points import Point, combined
from proofs.relations import Range, Relation, certified, same_relation, vanishes, written
from proofs.steps import Evidence, Method, Provable, Step, checked_once

__all__ = [
    "Assumption",
    "Composition",
    "Conclusion",
    "Fact",
    "Ground",
    "assumed",
    "by_cases",
    "cite",
    "composed",
    "compositions",
    "defined",
    "facts_of",
    "from_step",
    "granted",
    "hypothesis",
    "induction",
    "rooted",
    "stated",
    "summed",
    "with_implied",
]

Expression = Any


class Assumption(StrEnum):
    """What is assumed of the objective, the noise and the optimizer, apart from what holds of parameters."""

    SMOOTH = "L-smooth"
    RELAXED_SMOOTH = "(L0, L1)-smooth"
    BOUNDED_BELOW = "bounded below"
    UNBIASED = "E_k g_k = G_k"
    KNOWN_BEFORE = "the batch size is known before the step"
    COORDINATE_TEST = "coordinate-wise norm test"
    SCALAR_TEST = "scalar norm test"
    L1_TEST = "l1 norm test"
    ADAM = "Adam's recursion, m_0 = 0, v_0 >= 0"
    NORMALIZED = "E X = 1 and Var X <= eta^2"
    SECOND_MOMENT = "E_k g_k^2 <= (1 + eta^2) G_k^2"
    CERTIFICATE = "a certificate's inequality"
    CONVEX = "convex"
    COORDINATE_SMOOTH = "coordinate-wise smooth"
    KEPT = "kappa <= (1 + b_k/B_i)^{-1/2} in every mode"
    FALLING_STEPS = "s_{k+1} <= s_k in every step"
    STOPPED = "||G_k||_1 > epsilon in every step"
    BOUNDED_WEIGHTS = "|w_{k,i}| <= W in every step"
    NOISE = "a noise of bounded variance over b"
    SMALL_STEPS = "a_k L <= theta in every step"
    GROWING_BATCH = "a batch that never falls"
    BELOW_NOISE_SCALE = "b_k <= B_k / eta^2 in every step"


IMPLIED: tuple[tuple[frozenset[Assumption], frozenset[Assumption]], ...] = (
    (
        frozenset({Assumption.COORDINATE_TEST}),
        frozenset({Assumption.SCALAR_TEST, Assumption.L1_TEST}),
    ),
    (
        frozenset({Assumption.COORDINATE_TEST, Assumption.UNBIASED}),
        frozenset({Assumption.NORMALIZED, Assumption.SECOND_MOMENT}),
    ),
)
"""All of the first imply the second; X is g_k / G_k, in expectation given the past."""


def with_implied(assumed: frozenset[Assumption]) -> frozenset[Assumption]:
    """The assumptions together with those that they imply."""
    return assumed.union(*(conclusions for premises, conclusions in IMPLIED if premises <= assumed))


@dataclass(frozen=True)
class Conclusion:
    """What a lemma concludes: a relation between named sums, and what it assumes.

    Attributes:
        relation: for all values in its ranges.
        assumes: what its proof assumes.
        universal: the symbols without a range that may stand for anything of their sign, in a citation too.
    """

    relation: Relation
    assumes: frozenset[Assumption] = frozenset()
    universal: tuple[Any, ...] = ()

    def latex(self) -> str:
        """The statement of the lemma: what it assumes, and the relation."""
        assumed = ", ".join(a for a in Assumption if a in self.assumes)
        return (f"Under {assumed}: " if assumed else "") + f"${self.relation.latex()}$"

    def established(self, steps: Sequence[Step]) -> Step:
        """It is the relation of one of the steps, on no smaller ranges and under no more assumptions."""

        def check() -> Evidence:
            numbered = sorted(
                enumerate(steps, 1), key=lambda entry: entry[1].relation != self.relation
            )  # as it is
            for number, step in numbered:
                if step.relation is None or not same_relation(step.relation, self.relation):
                    continue
                if step.assumes - with_implied(self.assumes):
                    continue
                return Evidence(step.checked.holds, f"step {number}")
            return Evidence(False, "no step establishes it")

        return Step(self.relation.latex(), Method.CHECK, check, "the statement")


@dataclass(frozen=True)
class Fact:
    """One inequality of a composition, and where it comes from.

    Attributes:
        relation: linear in the sums.
        source: the lemma's name, "step", an assumption, a :class:`Ground`, or "hypothesis".
        lemma: the lemma cited, if one is.
        hypotheses: its ranges at the cited values: (value, range) pairs.
        assumes: what the lemma assumes.
        steps: the earlier steps of the same proof that it is, or that show that it applies.
        ground: the definition or the named theorem that it rests on.
        meaning: what its names stand for, with which it is an instance of the ground.
        defined: the definitions that a citation leaves out.
    """

    relation: Relation
    source: str = "hypothesis"
    lemma: Provable[Any] | None = None
    hypotheses: tuple[tuple[Expression, Range], ...] = ()
    assumes: frozenset[Assumption] = frozenset()
    steps: tuple[Step, ...] = ()
    ground: Ground | None = None
    meaning: Mapping[Any, Expression] = field(default_factory=dict)
    defined: Mapping[Any, Expression] = field(default_factory=dict)

    @property
    def says(self) -> str:
        """What is taken from an assumption, a sign or a named theorem, in LaTeX; "" where it is shown."""
        told = self.lemma is not None or (self.steps and self.ground is None)
        silent = (Ground.DEFINITION, Ground.SQUARE, Ground.INDUCTION)
        return "" if told or self.ground in silent else self.relation.latex()


def hypothesis(relation: Relation) -> Fact:
    """The sign of a symbol, or what a statement assumes of the sums themselves."""
    return Fact(relation)


def assumed(relation: Relation, *assumptions: Assumption) -> Fact:
    """What an assumption, or several together, say of the sums."""
    return Fact(relation, ", ".join(assumptions), assumes=frozenset(assumptions))


def granted(
    relation: Relation, ground: Ground, *steps: Step, meaning: Mapping[Any, Expression] | None = None
) -> Fact:
    """What holds by a named theorem, or by ``steps`` that say so before expectations are taken."""
    return Fact(relation, str(ground), ground=ground, steps=steps, meaning=meaning or {})


def defined(name: Any, value: Expression, left: Expression | None = None, right: Expression | None = None) -> Fact:
    """``name = value``, which introduces a name, or what it says of ``left = right``."""
    relation = Relation(name if left is None else left, "=", value if right is None else right)
    return granted(relation, Ground.DEFINITION, meaning={name: value})


def assumed_by(steps: Iterable[Step]) -> frozenset[Assumption]:
    """What any of the steps assumes."""
    return frozenset().union(*(step.assumes for step in steps))


def stated(fact: Fact, reason: str = "") -> Step:
    """What an assumption, a definition or a named theorem says, as a step that others can build on."""
    step = composed(fact.relation, (fact,), (fact.relation.left,), fact.assumes)
    return replace(step, method=Method.GIVEN, reason=fact.source + (f": {reason}" if reason else ""))


def from_step(
    step: Step,
    within: Mapping[Any, Sequence[Step]] | None = None,
    opaque: Sequence[Any] = (),
    at: Mapping[Any, Expression] | None = None,
) -> Fact:
    """The relation of an earlier step of the same proof; its ranges are hypotheses.

    Args:
        step: has a relation.
        within: the steps that showed, in every term that is summed, that a symbol is in its range.
        opaque: names that stand for themselves: what is concluded holds for any value of them.
        at: values of symbols; a value of what has a range must lie in it, another must have the symbol's sign.

    Raises:
        ValueError: for a step without a relation, or if the steps of ``within`` do not show both ends.
    """
    if step.relation is None:
        raise ValueError("the step has no relation to build on")
    shown = dict(within or {})
    for r in (r for r in step.relation.ranges if r.symbol in shown):
        for bound in (Relation(r.symbol, ">=", r.low), Relation(r.symbol, "<=", r.high)):
            evident = bound.sense == ">=" and bound.right == 0 and r.symbol.is_nonnegative
            if evident or bound.right in (sympy.oo, -sympy.oo):
                continue
            found = [s.relation for s in shown[r.symbol] if s.relation is not None]
            if not any(same_relation(replace(f, ranges=()), replace(bound, where=f.where)) for f in found):
                raise ValueError(f"nothing shows that {bound.latex()}")
    values = dict(at or {})
    relation = stripped(step.relation.at(values), opaque)
    built_on = (step, *(s for steps in shown.values() for s in steps))
    return Fact(
        relation,
        "step",
        hypotheses=tuple(
            (values.get(r.symbol, r.symbol), r.at(values))
            for r in dict.fromkeys(r for s in built_on if s.relation for r in s.relation.ranges)
            if r.symbol not in shown
        ),
        steps=built_on,
    )


def facts_of(given: Iterable[Fact | Step]) -> tuple[Fact, ...]:
    """Facts as they are, and steps as :func:`from_step` takes them."""
    return tuple(from_step(each) if isinstance(each, Step) else each for each in given)


def stripped(relation: Relation, opaque: Sequence[Any]) -> Relation:
    """Without its ranges, and without the definitions of the names in ``opaque``."""
    where = {name: value for name, value in relation.where.items() if name not in opaque}
    return replace(relation, ranges=(), where=where)


def cite(
    lemma: Provable[Any], at: Mapping[Any, Expression] | None = None, part: int = 0, opaque: Sequence[Any] = ()
) -> Fact:
    """A conclusion of a lemma, at values of its parameters (the others stand for themselves).

    Raises:
        ValueError: for a conclusion that the lemma does not have, or a value of what is not a parameter of it.
    """
    if len(lemma.lemma.conclusions) <= part:
        raise ValueError(f"{lemma.lemma.name} has no conclusion {part + 1} to cite")
    conclusion: Conclusion = lemma.lemma.conclusions[part]
    values = dict(at or {})
    fixed = set(values) - {r.symbol for r in conclusion.relation.ranges} - set(conclusion.universal)
    if fixed:
        raise ValueError(f"{lemma.lemma.name} is not proven for other values of {fixed}")
    hypotheses = tuple((values.get(r.symbol, r.symbol), r.at(values)) for r in conclusion.relation.ranges)
    whole = conclusion.relation.at(values)
    left_out = {name: value for name, value in whole.where.items() if name in opaque}
    relation = stripped(whole, opaque)
    return Fact(relation, lemma.lemma.name, lemma, hypotheses, conclusion.assumes, defined=left_out)


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
        return _coefficients(sympy.sympify(relation.slack), self.sums)

    def _defined(self, expression: Expression) -> Expression:
        """With definitions in the place of the names of constants."""
        for name, value in self._names.items():
            if name not in self.sums:
                expression = sympy.sympify(expression).subs(name, value)
        return expression

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
        """The combination, found and verified; that the facts were proven, too, unless ``facts`` is False."""
        if not self.facts:
            return Evidence(False, "nothing is cited")
        problem = next(filter(None, map(self._unassumed, self.facts)), "")
        problem = problem or next(filter(None, map(self._unproven, self.facts if facts else ())), "")
        if problem:
            return Evidence(False, problem)
        columns = [self._opened(fact.relation) for fact in self.facts]
        goal = self._opened(self.goal)
        rows = [column for column in (*columns, goal) if not isinstance(column, str)]
        if len(rows) <= len(columns):
            return Evidence(False, next(c for c in (*columns, goal) if isinstance(c, str)))
        wrong = self._lone_sum(rows) or self._clash() or self._refuted(rows)
        wrong = wrong or next(filter(None, map(self._out_of_range, self.facts)), "")
        if wrong:
            return Evidence(False, wrong)
        found = _solved([row[:-1] for row in rows[:-1]], rows[-1][:-1])
        if found == DEPENDENT:  # then nothing may be left over: the constant is one more sum
            found = _solved(rows[:-1], rows[-1])
        return Evidence(False, found) if isinstance(found, str) else self._verified(found, rows)

    def _lone_sum(self, rows: list[list[Expression]]) -> str:
        """A fact about none of the sums, or a sum that occurs only once, so that nothing can cancel it."""
        at = Point(self._names, self.ranges)

        def occurs(coefficient: Expression) -> bool:
            try:
                return coefficient != 0 and at.value(coefficient) != 0
            except (ArithmeticError, TypeError, ValueError):
                return True

        if any(all(entry == 0 for entry in row[:-1]) for row in rows[:-1]):
            return "a fact that is about none of the sums"
        for place, atom in enumerate(self.sums):
            where = [row[place] for row in rows if row[place] != 0]
            if len(where) == 1 and occurs(where[0]):
                return f"{written(atom)} does not cancel"
        return ""

    def _clash(self) -> str:
        for relation in (self.goal, *(fact.relation for fact in self.facts)):
            for name, value in relation.where.items():
                if self._names[name] != value and vanishes(self._names[name] - value):
                    return f"{name} stands for two things"
        return ""

    def _refuted(self, rows: list[list[Expression]]) -> str:
        """What is wrong at some point of the ranges; exact algebra has the last word where nothing is."""
        return next(filter(None, (self._refuted_at(rows, number) for number in range(4))), "")

    def _refuted_at(self, rows: list[list[Expression]], number: int) -> str:
        found = combined(rows[:-1], rows[-1], Point(self._names, self.ranges, number))
        if found is None:
            return ""
        multipliers, left = found
        worst = max(range(len(left) - 1), key=lambda i: abs(left[i]), default=0)
        if len(left) > 1 and left[worst] != 0:
            return f"{written(self.sums[worst])} does not cancel"
        for fact, multiplier in zip(self.facts, multipliers, strict=True):
            if multiplier == 0 and number == 0:  # it may only be small where points are far apart
                return f"{fact.source} is not needed"
            if multiplier < 0 and fact.relation.sense != "=":
                return f"the multiplier {multiplier:.3g} of {fact.source} is negative"
        if left[-1] < 0 or (left[-1] != 0 and self.goal.sense == "="):
            return f"what is left is not >= 0: {left[-1]:.3g} at a point"
        return ""

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

    def _unassumed(self, fact: Fact) -> str:
        missing = fact.assumes - with_implied(self.assumes)
        return f"{fact.source} assumes {', '.join(sorted(missing))}" if missing else ""

    def _unproven(self, fact: Fact) -> str:
        if not all(step.checked.holds for step in fact.steps):
            return "a step that it builds on does not hold"
        if fact.lemma is not None and not checked_once(fact.lemma).holds:
            return f"{fact.source} does not hold"
        if fact.ground is not None and not fact.steps:
            wrong = unjustified(fact.ground, fact.relation, fact.meaning, self.ranges)
            return f"{fact.source}: {wrong}" if wrong else ""
        return "" if fact.steps or fact.lemma is not None or fact.assumes else self._unsigned(fact.relation)

    def _unsigned(self, sign: Relation) -> str:
        """A name with a definition is not negative if its value is not."""
        value = self._names.get(sign.left)
        wrong = value is not None and not nonnegative_value(self._defined(value), self.ranges)
        return f"{written(sign.left)} may be negative" if wrong else ""

    def _out_of_range(self, fact: Fact) -> str:
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


@cache
def _stand_in(atom: Any) -> sympy.Dummy:
    return sympy.Dummy(str(atom), real=True)


@cache
def _coefficients(slack: Expression, sums: tuple[Any, ...]) -> list[Expression] | str:
    """The coefficient of every sum, and the constant; a message where it is not linear in them."""
    atoms = [_stand_in(atom) for atom in sums]
    opened = slack.xreplace(dict(zip(sums, atoms, strict=True)))
    found = [sympy.diff(opened, atom) for atom in atoms]
    found = [c if c.free_symbols.isdisjoint(atoms) else sympy.cancel(c) for c in found]
    if not all(c.free_symbols.isdisjoint(atoms) for c in found):
        return f"{slack} is not linear in the sums"
    return [*found, opened.xreplace(dict.fromkeys(atoms, sympy.Integer(0)))]


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
    facts: Sequence[Fact | Step],
    sums: Sequence[Any],
    assumes: frozenset[Assumption] = frozenset(),
    reason: str = "",
) -> Step:
    """The goal as a nonnegative combination of the facts; an earlier step counts as what it says."""
    facts = facts_of(facts)
    composition = Composition(goal, facts, tuple(sums), assumes)
    names = ", ".join(dict.fromkeys(fact.source for fact in facts))
    text = f"from {names}" + (f": {reason}" if reason else "")
    assumed_of_all = assumes | assumed_by(step for fact in facts for step in fact.steps)
    return Step(goal.latex(), Method.COMPOSITION, composition.check, text, goal, composition, assumed_of_all)


def induction(
    now: Relation,
    before: Mapping[Any, Any],
    first: Mapping[Any, Expression],
    base: Step,
    facts: Sequence[Fact | Step],
    sums: Sequence[Any],
    reason: str = "",
) -> Step:
    """A relation for every step: it holds in the first case, and follows from the case before and the facts.

    Args:
        now: the relation.
        before: the names in it, and what they are called one step before.
        first: their values in the first case.
        base: the step that shows the relation there.
        facts: of one step; see :func:`composed`.
        sums: see :class:`Composition`.
        reason: in words.
    """
    facts = facts_of(facts)
    hypothesis = granted(replace(now.at(before), ranges=()), Ground.INDUCTION, base)
    assumes = assumed_by((base, *(step for fact in facts for step in fact.steps)))
    assumes = assumes.union(*(fact.assumes for fact in facts))
    composition = Composition(now, (hypothesis, *facts), tuple(sums), assumes)

    def check() -> Evidence:
        shown = base.relation is not None and not vanishes(now.at(first).defined - base.relation.defined)
        return composition.check() if shown else Evidence(False, "the first case is not what is shown first")

    text = f"induction from ${base.statement}$" + (f"; {reason}" if reason else "")
    return Step(now.latex(), Method.COMPOSITION, check, text, now, composition, assumes)


def summed(
    step: Step,
    sums: Mapping[Any, Expression],
    telescoping: Mapping[tuple[Any, Any], Expression | tuple[Expression, Expression]] | None = None,
    count: Expression = 0,
    reason: str = "summed over the steps (and coordinates), in expectation",
) -> Step:
    """A relation between the terms of one step, summed over the steps.

    Args:
        step: its relation is linear in the terms; it is checked there.
        sums: the named sum of each term.
        telescoping: (before, after) of what one step passes to the next, and its value at the start, or at the
            start and the end. Their coefficients are opposite, so that all but the first and the last cancel;
            the last is dropped where its value is not given, which is allowed where it is not negative and is
            subtracted from the slack.
        count: the number of terms, which multiplies what is constant (K, or K d).
        reason: in words.
    """
    one = step.relation
    assert one is not None
    moved = dict(telescoping or {})
    ends = {pair: value if isinstance(value, tuple) else (value, None) for pair, value in moved.items()}
    atoms = [*sums, *(end for pair in moved for end in pair)]
    constants = {name: value for name, value in one.where.items() if name not in atoms}
    slack = sympy.sympify(one.slack)
    constant = slack.subs(dict.fromkeys(atoms, 0), simultaneous=True)
    total = constant * count + sum(_coefficient(slack, t) * s for t, s in sums.items())
    total += sum(_coefficient(slack, before) * (start - (end or 0)) for (before, _), (start, end) in ends.items())
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
        for (before, after), (_, last) in ends.items():
            gained, lost = (_coefficient(slack, end) for end in (before, after))
            if vanishes(gained + lost) or (last is None and not certified(-lost, one.ranges).holds):
                return Evidence(False, f"{before} does not telescope")
        return Evidence(True, f"{len(sums)} sums, {len(moved)} telescoping")

    return Step(relation.latex(), Method.SUMMATION, check, reason, relation, assumes=step.assumes)


def by_cases(goal: Relation, *cases: tuple[Mapping[Any, Expression], Step]) -> Step:
    """A relation whose terms take different values in different cases, each with the step that shows it there."""

    def check() -> Evidence:
        for values, step in cases:
            if not step.checked.holds:
                return Evidence(False, "a case does not hold")
            if step.relation is None or not same_relation(step.relation, goal.at(values)):
                return Evidence(False, f"not what is needed where {values}")
        return Evidence(True, f"{len(cases)} cases")

    reason = "; ".join(
        ", ".join(f"${written(name)} = {written(value)}$" for name, value in case.items()) for case, _ in cases
    )
    assumes = assumed_by(step for _, step in cases)
    return Step(goal.latex(), Method.CHECK, check, f"in each case: {reason}", goal, assumes=assumes)


def rooted(step: Step, squared: Any, value: Any, bound: Expression) -> Step:
    """``value <= bound`` from a step's ``squared <= bound^2``: value^2 - 2 bound value + bound^2 is a square."""
    one = step.relation
    assert one is not None
    goal = replace(one, left=value, sense="<=", right=bound, where={**one.where})
    perfect = Relation(squared - 2 * bound * value + bound**2, ">=", 0, one.where)
    facts = (step, granted(perfect, Ground.SQUARE, meaning={squared: value**2}))
    reason = f"${written(squared)}$ is the square of ${written(value)}$"
    return composed(goal, facts, (squared, value), reason=reason)


def compositions(steps: Sequence[Step]) -> Iterator[Composition]:
    """The compositions among the steps of a proof."""
    for step in steps:
        if step.composition is not None:
            yield step.composition
