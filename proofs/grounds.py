r"""What a fact may rest on apart from a lemma, a step and an assumption, and the check of each such ground.

A ground is a definition, or a named theorem of the literature. The relation alone does not show that the theorem
applies, so that a fact has, next to its relation, a **meaning**: what its names stand for. With the meaning in the
place of the names the relation must be an instance of the theorem:

- a **definition** is an identity then; :mod:`proofs.definitions` sees to it that it introduces a new name;
- a **square**: the slack is a quadratic in some symbol whose discriminant is 0;
- **Minkowski**: norms of vectors, the vector on the left being the sum of those on the right;
- **Cauchy-Schwarz** and **Hölder**: an inner product and the norms of its two vectors;
- a **part** of a sum: both are sums of the same nonnegative terms, and one has the indices of the other and more;
- a sum or an integral is **split** where its first part ends;
- an **extremum**: an infimum or supremum, and one of the values;
- the **fundamental theorem of calculus**: a difference of a function's values, and the integral of its derivative.

Vectors are real symbols: what is linear in a vector holds in every coordinate.

Example:
    >>> x, y = sympy.symbols("x y", real=True)
    >>> whole, one, two = sympy.symbols("a b c", nonnegative=True)
    >>> meaning = {whole: norm(x + y), one: norm(x), two: norm(y)}
    >>> unjustified(Ground.MINKOWSKI, Relation(whole, "<=", one + two), meaning)
    ''
    >>> unjustified(Ground.MINKOWSKI, Relation(whole, "<=", one), {whole: norm(x + y), one: norm(x)})
    'the vector on the left is not the sum of the others: -y is left'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import sympy

from proofs.relations import Range, Relation, certified, vanishes

__all__ = [
    "CHECKED",
    "Ground",
    "infimum",
    "inner",
    "nonnegative_value",
    "norm",
    "norm_1",
    "norm_max",
    "opened",
    "supremum",
    "unjustified",
]

Expression = Any
Meaning = Mapping[Any, Expression]
DIMENSION = sympy.Symbol("d", positive=True)


class Ground(StrEnum):
    """Why a fact needs no proof of its own: a definition, or a named theorem of the literature."""

    DEFINITION = "a definition"
    SQUARE = "a square is not negative"
    INDUCTION = "induction hypothesis"
    CALCULUS = "the fundamental theorem of calculus"
    CAUCHY_SCHWARZ = "Cauchy-Schwarz"
    HOELDER = "Hoelder's inequality"
    MINKOWSKI = "Minkowski's inequality"
    YOUNG = "Young's inequality for convolutions"
    EXPECTATION = "the pointwise inequality before, in expectation"
    PART = "a sum of nonnegative terms is at least a part of it"
    SPLIT = "a sum or an integral in two parts"
    EXTREMUM = "an infimum is at most, a supremum at least each of its values"


class _Norm(sympy.Function):
    """Positively homogeneous: nonnegative factors stand before it."""

    is_nonnegative = True
    subscript = ""

    @classmethod
    def eval(cls, vector: Expression) -> Expression:
        if vector.could_extract_minus_sign():
            return cls(-vector)
        factors = sympy.Mul.make_args(sympy.factor_terms(vector))
        scale = sympy.Mul(*(x for x in factors if x.is_nonnegative))
        return scale * cls(sympy.Mul(*(x for x in factors if not x.is_nonnegative))) if scale != 1 else None

    def _latex(self, printer: Any, exp: str = "") -> str:
        power = f"^{{{exp}}}" if exp else ""
        return rf"\|{printer.doprint(self.args[0])}\|{self.subscript}{power}"


class norm(_Norm):  # noqa: N801
    """||x||_2."""


class norm_1(_Norm):  # noqa: N801
    """||x||_1."""

    subscript = "_1"


class norm_max(_Norm):  # noqa: N801
    """The largest coordinate's absolute value."""

    subscript = r"_\infty"


class inner(sympy.Function):  # noqa: N801
    """<x, y>."""


class infimum(sympy.Function):  # noqa: N801
    """Of a value over the steps."""


class supremum(sympy.Function):  # noqa: N801
    """Of a value over the steps."""


def opened(expression: Expression, meaning: Meaning) -> Expression:
    """The expression with the meaning in the place of the names; a meaning may use names of others."""
    for _ in meaning:
        found = sympy.sympify(expression).subs(dict(meaning), simultaneous=True)
        if found == expression:
            break
        expression = found
    return expression


def nonnegative_value(value: Expression, ranges: Sequence[Range], strict: bool = False) -> bool:
    """Whether a value is certified not to be negative: even powers of real numbers are not."""
    value = sympy.sympify(value)
    if value.is_nonnegative and not strict:
        return True
    squares: dict[Any, sympy.Dummy] = {}

    def even(power: Expression) -> sympy.Dummy:
        return squares.setdefault(power, sympy.Dummy(nonnegative=True))

    value = value.replace(
        lambda p: (
            p.is_Pow
            and p.exp.is_Integer
            and p.exp.is_even
            and p.exp > 0
            and p.base.is_real
            and not p.base.is_nonnegative
        ),
        even,
    )
    return certified(value, ranges, strict).holds


def unjustified(ground: Ground, relation: Relation, meaning: Meaning, ranges: Sequence[Range] = ()) -> str:
    """What is wrong with a fact that rests on a ground, "" if it is an instance of it."""
    check = CHECKED.get(ground)
    return check(relation, meaning, ranges) if check else f"{ground}: by which step?"


def _slack(relation: Relation, meaning: Meaning) -> Expression:
    return sympy.expand(opened(opened(relation.slack, relation.where), meaning))


def _factor(slack: Expression, atom: Expression) -> Expression:
    stand_in = sympy.Dummy()
    return sympy.diff(slack.xreplace({atom: stand_in}), stand_in)


def _definition(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    if relation.sense != "=":
        return "a definition is an equation"
    for name, value in meaning.items():
        if not name.is_Symbol or name in opened(value, meaning).free_symbols:
            return f"{name} is not a name for {value}"
        signed = name.is_positive or name.is_nonnegative
        if signed and not nonnegative_value(opened(value, meaning), ranges):
            return f"{name} is not negative, which {value} may be"
    return "it does not follow from what the names stand for" if vanishes(_slack(relation, meaning)) else ""


def _square(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    slack = sympy.expand(opened(relation.slack, meaning))
    for symbol in sorted(slack.free_symbols, key=str):
        first, second = (sympy.diff(slack, symbol, times) for times in (1, 2))
        if second == 0 or symbol in sympy.expand(second).free_symbols:
            continue
        discriminant = first.subs(symbol, 0) ** 2 - 2 * second * slack.subs(symbol, 0)
        if not vanishes(discriminant) and nonnegative_value(second, ranges):
            return ""
    return f"{slack} is not a square"


def _minkowski(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    """Of finitely many vectors, or of a sum over indices, all of which the other sum has, too."""
    slack, rest = _slack(relation, meaning), sympy.Integer(0)
    for whole in (term for term in slack.atoms(norm) if isinstance(term.args[0], sympy.Sum)):
        vector, (index, low, high) = whole.args[0].function, whole.args[0].limits[0]
        factor, left = -_factor(slack, whole), slack.subs(whole, 0)
        for sum_of_norms in left.atoms(sympy.Sum):
            (place, first, last) = sum_of_norms.limits[0]
            weight, ends = _factor(left, sum_of_norms), (factor, low - first, last - high)
            term = weight * sum_of_norms.function.subs(place, index)
            wrong = vanishes(left - weight * sum_of_norms) or vanishes(term - factor * norm(vector))
            if not wrong and all(nonnegative_value(end, ranges) for end in ends):
                return ""
        return f"not the norms of {vector}"
    norms = slack.atoms(norm)
    for term in norms:
        factor = _factor(slack, term)
        if not nonnegative_value(factor, ranges) and not nonnegative_value(-factor, ranges):
            return f"the sign of {factor} is not known"
        rest -= factor * term.args[0]
    if vanishes(slack - sum(_factor(slack, term) * term for term in norms)):
        return "not a relation between norms"
    left = [term for term in norms if nonnegative_value(-_factor(slack, term), ranges)]
    rest = sympy.expand(rest)
    if len(left) != 1:
        return "not one norm on the left"
    return f"the vector on the left is not the sum of the others: {-rest} is left" if vanishes(rest) else ""


def _of_inner(relation: Relation, meaning: Meaning, ranges: Sequence[Range], *norms: Any) -> str:
    """``c <x, y> <= c n(x) m(y)``, or the same for -x, with two norms."""
    slack = _slack(relation, meaning)
    products = slack.atoms(inner)
    if len(products) != 1:
        return "not one inner product"
    (product,) = products
    factor, (x, y) = _factor(slack, product), product.args
    for weight in (factor, -factor):
        for first, second in (norms, norms[::-1]):
            if nonnegative_value(weight, ranges) and not vanishes(
                slack - factor * product - weight * first(x) * second(y)
            ):
                return ""
    return f"not the norms of {x} and {y}"


def _cauchy_schwarz(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    """Of an inner product, or ||x||_1 <= sqrt(d) ||x||_2, which is <|x|, 1> in dimension d."""
    slack = _slack(relation, meaning)
    if slack.atoms(inner):
        return _of_inner(relation, meaning, ranges, norm, norm)
    return _by_dimension(slack, ranges, norm_1, norm)


def _by_dimension(slack: Expression, ranges: Sequence[Range], larger: Any, smaller: Any) -> str:
    """``larger(x) <= sqrt(d) smaller(x)``, times what is not negative."""
    sizes = slack.atoms(larger)
    if len(sizes) != 1:
        return "not one norm on the left"
    (size,) = sizes
    weight, longest = -_factor(slack, size), sympy.sqrt(DIMENSION) * smaller(size.args[0])
    wrong = vanishes(slack - weight * (longest - size)) or not nonnegative_value(weight, ranges)
    return f"not sqrt(d) times the norm of {size.args[0]}" if wrong else ""


def _hoelder(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    """Of an inner product, or ||x||_2 <= sqrt(d) ||x||_max, its square being <x, x>."""
    slack = _slack(relation, meaning)
    if slack.atoms(inner):
        return _of_inner(relation, meaning, ranges, norm_1, norm_max)
    return _by_dimension(slack, ranges, norm, norm_max)


def _part(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    """A sum is at least another of the same terms at fewer indices, or its first term, if none is negative."""
    part, whole = opened(relation.left, meaning), opened(relation.right, meaning)
    if relation.sense == ">=":
        part, whole = whole, part
    if not isinstance(whole, sympy.Sum | sympy.Integral):
        return f"{whole} is not a sum"
    term, (index, low, high) = whole.function, whole.limits[0]
    if not nonnegative_value(term, ranges):
        return f"{term} may be negative"
    if not isinstance(part, whole.func):
        return f"{part} is not the first term of {whole}" if vanishes(term.subs(index, low) - part) else ""
    inside, (place, first, last) = part.function, part.limits[0]
    for shift in (sympy.Integer(0), first - low, last - high):  # the part's index is the whole's, and this
        ends = (first - shift - low, high - last + shift)
        if not vanishes(inside.subs(place, index + shift) - term) and all(
            nonnegative_value(end, ranges) for end in ends
        ):
            return ""
    return f"{part} is not a part of {whole}"


def _split(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    """The whole on the left, the parts on the right, over adjacent ranges."""
    whole = opened(relation.left, meaning)
    parts = [opened(part, meaning) for part in sympy.Add.make_args(relation.right)]
    if relation.sense != "=" or len(parts) != 2 or any(p.func != whole.func or not p.args[1:] for p in parts):
        return "not a sum and its two parts"
    if any(part.function != whole.function for part in parts):
        return "not of the same terms"
    step = 1 if isinstance(whole, sympy.Sum) else 0
    (_, low, high), *ends = (each.limits[0] for each in (whole, *parts))
    fits = any(
        a[1] == low and b[2] == high and not vanishes(a[2] + step - b[1]) for a, b in (ends, reversed(ends))
    )
    return "" if fits else "the ranges do not fit"


def _extremum(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    """A value at a step is between the infimum and the supremum of all, times what is not negative."""
    slack = _slack(relation, meaning)
    ends = slack.atoms(infimum, supremum)
    if len(ends) != 1:
        return "not one infimum or supremum"
    (end,) = ends
    factor = _factor(slack, end)
    signed = factor if isinstance(end, supremum) else -factor
    wrong = vanishes(slack - factor * (end - end.args[0])) or not nonnegative_value(signed, ranges)
    return f"not a value of {end.args[0]} on that side" if wrong else ""


def _calculus(relation: Relation, meaning: Meaning, ranges: Sequence[Range]) -> str:
    slack = opened(relation.slack, meaning)
    found = sympy.simplify(sympy.expand(slack.doit()))
    return f"the integral is not the difference: {found}" if found != 0 else ""


CHECKED: dict[Ground, Callable[[Relation, Meaning, Sequence[Range]], str]] = {
    Ground.DEFINITION: _definition,
    Ground.SQUARE: _square,
    Ground.MINKOWSKI: _minkowski,
    Ground.CAUCHY_SCHWARZ: _cauchy_schwarz,
    Ground.HOELDER: _hoelder,
    Ground.PART: _part,
    Ground.SPLIT: _split,
    Ground.EXTREMUM: _extremum,
    Ground.CALCULUS: _calculus,
}
