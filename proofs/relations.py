r"""Relations that are printed and checked from one object: what a reader sees is what was computed.

A :class:`Relation` is ``left <= right``, ``left >= right`` or ``left = right`` between SymPy expressions, with

- ``where``: what its names stand for. The relation is printed with the names and their definitions, and checked
  with the definitions in their place;
- ``ranges``: its quantifiers. A :class:`Range` is printed as ``low <= x <= high`` and is at the same time the
  substitution by variables in [0, oo) under which an inequality is shown by its coefficients. There is no second
  place where a range could be narrowed.

Example:
    >>> x, y = sympy.symbols("x y", positive=True)
    >>> unit = Range(x, 0, 1)
    >>> print(Relation(x**2, "<=", x, ranges=(unit,)).latex())
    x^{2} \le x \quad \text{for all } 0 \le x \le 1
    >>> holds(Relation(x**2, "<=", x, ranges=(unit,))).holds, holds(Relation(x, "<=", x**2, ranges=(unit,))).holds
    (True, False)
    >>> holds(Relation(y, "<=", 2 * x**2, where={y: x**2 + x**2})).holds
    True
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import sympy

from proofs.roots import rational_zero, rationalized
from proofs.steps import Evidence, Method, Step, difference, nonnegative, told_apart

__all__ = [
    "CONSTANTS",
    "Range",
    "Relation",
    "certified",
    "equation",
    "holds",
    "inequality",
    "named",
    "same_relation",
    "tiled",
    "vanishes",
    "written",
]

Expression = Any
SIGNS = {"<=": r"\le", ">=": r"\ge", "=": "="}
NAMES: dict[Any, str] = {}
"""LaTeX of symbols whose own name is not what a reader expects (sums of :mod:`proofs.sums`, q for sqrt(beta2))."""

CONSTANTS: dict[Any, Any] = {}
"""Symbols of the setting's page and their values: where a relation defines one as this, no page does so again."""

_ROOT, _SQUARE = sympy.Symbol("q", positive=True), sympy.Symbol(r"\beta_2", positive=True)
_RATIO, _PRODUCT = sympy.Symbol("r", positive=True), sympy.Symbol(r"\beta_1", positive=True)


def named(name: str, latex: str, **assumptions: bool) -> Any:
    """A symbol that is printed as ``latex`` (in parentheses where it is a sum).

    Raises:
        ValueError: if it is printed otherwise elsewhere: the page would depend on which module came first.
    """
    symbol = sympy.Symbol(name, **assumptions)
    is_sum = " - " in latex or " + " in latex or latex.startswith("-")
    printed = rf"\left({latex}\right)" if is_sum else latex
    if NAMES.setdefault(symbol, printed) != printed:
        raise ValueError(f"the symbol {name} is {NAMES[symbol]} already, so that it cannot be {printed}")
    return symbol


@dataclass(frozen=True)
class Range:
    """``low <= symbol <= high``, or of its ``power`` (2 where only the square is rational).

    Attributes:
        symbol: what ranges.
        low: -oo is allowed.
        high: oo is allowed; the end points follow by continuity.
        power: the range is that of symbol^power, between low^power and high^power.
        strict: neither end is attained, so that an inequality may be strict.
    """

    symbol: Any
    low: Expression = 0
    high: Expression = sympy.oo
    power: int = 1
    strict: bool = False

    @property
    def variable(self) -> sympy.Symbol:
        """The variable in [0, oo) that parametrises the range."""
        return sympy.Symbol(f"t_{self.symbol}", positive=True if self.strict else None, nonnegative=True)

    @property
    def parametrised(self) -> Expression:
        """The symbol as a function of :attr:`variable`."""
        low, high, t = self.low, self.high, self.variable
        if high == sympy.oo:
            value = low**self.power + t
        elif low == -sympy.oo:
            value = high - t
        else:
            value = low**self.power + (high**self.power - low**self.power) * t / (1 + t)
        return value if self.power == 1 else sympy.sqrt(value)

    def at(self, values: Mapping[Any, Expression]) -> Range:
        """With values of symbols in its ends."""
        low, high = (sympy.sympify(end).subs(dict(values), simultaneous=True) for end in (self.low, self.high))
        return replace(self, low=low, high=high)

    def latex(self) -> str:
        """``0 <= x < 1`` in LaTeX, without infinite ends."""
        sign = " < " if self.strict else r" \le "
        low = "" if self.low == -sympy.oo else written(self.low) + sign
        high = "" if self.high == sympy.oo else sign + written(self.high)
        return f"{low}{written(self.symbol)}{high}" if low or high else rf"{written(self.symbol)} \in \mathbb{{R}}"


@dataclass(frozen=True)
class Relation:
    """``left sense right`` for all values in its ``ranges``, with the names of ``where`` defined."""

    left: Expression
    sense: str
    right: Expression
    where: Mapping[Any, Expression] = field(default_factory=dict)
    ranges: tuple[Range, ...] = ()

    @property
    def slack(self) -> Expression:
        """What the relation says is not negative (or zero, for an equation), in its names."""
        difference = sympy.sympify(self.left) - self.right
        return -difference if self.sense == "<=" else difference

    @property
    def defined(self) -> Expression:
        """The slack with the definitions in the place of the names."""
        slack = self.slack
        for name, value in self.where.items():
            slack = slack.subs(name, value)
        return slack

    def at(self, values: Mapping[Any, Expression]) -> Relation:
        """The relation at values of some of its symbols; their ranges become hypotheses and are left out."""
        old = dict(values)
        left, right = (sympy.sympify(side).subs(old, simultaneous=True) for side in (self.left, self.right))
        kept = tuple(r for r in self.ranges if r.symbol not in old)
        where = {name: sympy.sympify(value).subs(old, simultaneous=True) for name, value in self.where.items()}
        return replace(self, left=left, right=right, ranges=kept, where=where)

    def latex(self) -> str:
        """What is printed: the relation, its quantifiers, the definitions of its names."""
        text = f"{written(self.left)} {SIGNS[self.sense]} {written(self.right)}"
        ranges = [r.latex() for r in self.ranges]
        pairs = [(written(name), written(value)) for name, value in self.where.items()]
        defined = [f"{name} = {value}" for name, value in pairs if name != value]
        text += r" \quad \text{for all } " + r", \; ".join(ranges) if ranges else ""
        return text + (r", \quad \text{where } " + r", \; ".join(defined) if defined else "")


def _bracketed(part: Expression) -> Expression:
    """A product or a power with brackets around the names in it that are quotients."""
    quotients = {s: NAMES[s] for s in part.args if s in NAMES and "/" in _outside_brackets(NAMES[s])}
    return part.xreplace(
        {s: sympy.Symbol(rf"\left({name}\right)", positive=True) for s, name in quotients.items()}
    )


def _outside_brackets(latex: str) -> str:
    return re.sub(r"\[.*\]|\(.*\)|\\langle.*\\rangle|\\\|.*\\\|", "", latex)


def written(expression: Expression) -> str:
    """LaTeX of an expression, with :data:`NAMES`; beta1 is written for r sqrt(beta2), in which proofs compute."""
    opened = (
        sympy.sympify(expression)
        .subs(_ROOT * _RATIO, _PRODUCT)
        .replace(
            lambda part: part.is_Pow and part.base == _ROOT and part.exp.is_Integer and part.exp % 2 == 0,
            lambda part: _SQUARE ** (part.exp / 2),
        )
    )
    opened = opened.replace(lambda part: part.is_Mul or part.is_Pow, _bracketed)
    as_they_are = {s: s.name for s in opened.free_symbols if "|" in s.name or s.name.startswith(r"\left(")}
    text = sympy.latex(opened, symbol_names=as_they_are | NAMES, root_notation=True)
    return str(text).replace(r"\leq", r"\le").replace(r"\geq", r"\ge")


def substituted(expression: Expression, ranges: Sequence[Range]) -> Expression:
    """The expression in the variables of the ranges; a bound may contain the symbols of earlier ranges."""
    for r in reversed(ranges):
        expression = sympy.sympify(expression).subs(r.symbol, r.parametrised)
    return expression


@cache
def _root_of(base: Expression) -> sympy.Dummy:
    """A square root of the variables is a nonnegative number like any other, the same wherever it occurs."""
    sign = certified(base, (), strict=True).holds
    return sympy.Dummy("root", positive=True if sign else None, nonnegative=True)


def _stand_in(power: Expression) -> Expression:
    return _root_of(power.base) ** power.exp.p


def _without_powers(expression: Expression, powers: dict[Any, sympy.Dummy]) -> Expression:
    """x^n and e^n are positive numbers like any other, the same wherever they occur; ``powers`` collects them."""

    def number(power: Expression) -> sympy.Dummy:
        return powers.setdefault(power, sympy.Dummy(positive=True))

    def opened(power: Expression) -> Expression:
        terms = sympy.Add.make_args(sympy.expand(power.exp))
        falls = [term.could_extract_minus_sign() for term in terms]
        numbers = (number(sympy.exp(-t if f else t)) for t, f in zip(terms, falls, strict=True))
        return sympy.Mul(*(1 / n if f else n for n, f in zip(numbers, falls, strict=True)))

    found = [p for p in expression.atoms(sympy.Pow, sympy.exp) if p.exp.free_symbols and p.is_positive]
    return expression.xreplace({p: opened(p) if isinstance(p, sympy.exp) else number(p) for p in found})


def certified(expression: Expression, ranges: Sequence[Range], strict: bool = False) -> Evidence:
    """``expression >= 0`` (or > 0) on the ranges, by coefficients; every other symbol must be nonnegative."""
    powers: dict[Any, sympy.Dummy] = {}
    opened = _without_powers(sympy.sympify(expression), powers)
    opened = _without_powers(substituted(opened, ranges), powers)
    roots = {p for p in opened.atoms(sympy.Pow) if p.exp.is_Rational and p.exp.q == 2}
    if roots:
        opened = opened.replace(lambda p: p in roots, _stand_in)
    free = sorted(opened.free_symbols, key=str)
    unknown = [s for s in free if not s.is_nonnegative]
    if unknown:
        return Evidence(False, f"nothing is known of {unknown}")
    if not free:
        sign = opened.is_positive if strict else opened.is_nonnegative
        return Evidence(bool(sign), f"{opened}")
    evidence = nonnegative("", opened, free).check()
    if strict and evidence.holds:
        top = sympy.Poly(sympy.fraction(sympy.cancel(sympy.together(opened)))[0], *free)
        if not any(all(s.is_positive for s, e in zip(free, term, strict=True) if e) for term in top.monoms()):
            return Evidence(False, "it may be zero")
    return evidence


def _plain_powers(expression: Expression) -> Expression:
    """Powers x^n of positive numbers, with a symbol n, as numbers of their own: (q r)^(n+1) = q r q^n r^n."""
    if not any(p.exp.free_symbols for p in expression.atoms(sympy.Pow)):
        return expression
    opened = sympy.expand_power_exp(sympy.expand_power_base(expression, force=True))
    opened = opened.replace(
        lambda p: p.is_Pow and p.exp.free_symbols and p.exp.as_coeff_Mul()[0] != 1,
        lambda p: (p.base ** p.exp.as_coeff_Mul()[1]) ** p.exp.as_coeff_Mul()[0],
    )
    return opened.replace(lambda p: p.is_Pow and p.exp.free_symbols, _power_of)


@cache
def _power(base: Expression, exponent: Expression) -> sympy.Dummy:
    return sympy.Dummy("power", positive=True)


def _power_of(power: Expression) -> Expression:
    factor, rest = power.exp.as_coeff_Mul()
    return _power(power.base, rest) ** factor


def vanishes(expression: Expression) -> str:
    """Nothing if the expression is zero, else where it is not: numbers first, then exactly."""
    expression = _plain_powers(sympy.sympify(expression))
    found = told_apart(expression, 0)
    if found or expression == 0 or sympy.expand(expression) == 0:
        return found
    roots = any(p.exp.is_Rational and p.exp.q == 2 for p in sympy.sympify(expression).atoms(sympy.Pow))
    rational = rationalized(expression) if roots else expression
    try:
        return "" if rational_zero(rational) else difference(expression, 0)
    except TypeError:
        return "" if sympy.cancel(rational) == 0 else difference(expression, 0)


def holds(relation: Relation) -> Evidence:
    """Whether a relation holds: an equation by algebra, an inequality by coefficients."""
    if relation.sense == "=":
        found = vanishes(relation.defined)
        return Evidence(not found, found or "residual 0")
    return certified(relation.defined, relation.ranges)


def equation(
    left: Expression, right: Expression, reason: str = "", where: Mapping[Any, Expression] | None = None
) -> Step:
    """``left = right``, printed as it is checked."""
    relation = Relation(left, "=", right, where or {})
    return Step(relation.latex(), Method.IDENTITY, lambda: holds(relation), reason, relation=relation)


def inequality(
    left: Expression,
    sense: str,
    right: Expression,
    ranges: Sequence[Range] = (),
    reason: str = "",
    where: Mapping[Any, Expression] | None = None,
) -> Step:
    """``left <= right`` or ``left >= right`` on the ranges, printed as it is checked."""
    relation = Relation(left, sense, right, where or {}, tuple(ranges))
    return Step(relation.latex(), Method.POLYNOMIAL, lambda: holds(relation), reason, relation=relation)


def tiled(
    goal: Relation,
    symbol: Any,
    pieces: Sequence[Step],
    low: Expression = -sympy.oo,
    high: Expression = sympy.oo,
) -> Step:
    """``goal``, as each of ``pieces`` says it on ranges of ``symbol`` without a gap from ``low`` to ``high``."""
    found = [r for step in pieces if step.relation for r in step.relation.ranges if r.symbol == symbol]

    def check() -> Evidence:
        reached = low
        for r in found:
            if reached == r.low or (sympy.sympify(reached) - r.low).is_nonnegative:
                reached = r.high
        if sympy.sympify(reached) != high:
            return Evidence(False, f"from {reached} on {symbol} is not covered")
        for step in pieces:
            assert step.relation
            own = (r for r in step.relation.ranges if r.symbol == symbol)
            here = replace(goal, where=step.relation.where, ranges=(*goal.ranges, *own))
            if not step.checked.holds or not same_relation(step.relation, here):
                return Evidence(False, f"not what is said for {[r.latex() for r in step.relation.ranges]}")
        return Evidence(True, f"{len(found)} ranges")

    text = f"in every case, as ${written(symbol)}$ is in one of the ranges before"
    return Step(goal.latex(), Method.CHECK, check, text, goal)


def same_relation(found: Relation, stated: Relation) -> bool:
    """Whether two relations say the same of their names, the first on no smaller ranges than the second."""
    equal = found.sense == "=" or stated.sense != "="
    narrower = [r for r in found.ranges if r not in stated.ranges]
    if not equal or narrower:
        return False
    same_names = all(found.where.get(name, value) == value for name, value in stated.where.items())
    if same_names and sympy.expand(found.slack - stated.slack) == 0:
        return True
    return not vanishes(found.defined - stated.defined)
