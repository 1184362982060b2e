"""What a proof is made of: steps, each with a check that can fail.

A proof is a list of steps. A step is

- an **identity**: two expressions whose difference SymPy reduces to zero;
- a **polynomial certificate**: an inequality ``expression >= 0`` on a box or an orthant, shown by substituting
  variables that range over [0, oo), clearing denominators and finding no negative coefficient: a reader can
  check it by looking at the coefficients;
- a **series**: a sum in closed form;
- an application of an **earlier lemma**, whose hypotheses are matched by steps of their own;
- **prose**: what is not mechanised (expectation, measurability, summation over k). It is marked as such
  wherever the proof is shown, and never counts as checked.

Checks raise nothing for a false statement: they return :class:`Evidence` that does not hold, so that negative
controls can look at it.

Example:
    >>> import sympy
    >>> x = sympy.Symbol("x")
    >>> identity(r"(1+x)^2 = 1+2x+x^2", (1 + x) ** 2, 1 + 2 * x + x**2).check().holds
    True
    >>> identity(r"(1+x)^2 = 1+3x+x^2", (1 + x) ** 2, 1 + 3 * x + x**2).check().holds
    False
    >>> nonnegative(r"1/(1+x) - 1/(2+x) >= 0 for x >= 0", 1 / (1 + x) - 1 / (2 + x), [x]).check().holds
    True
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, Protocol, cast

import sympy

__all__ = [
    "OF_ALL_STEPS",
    "CheckedProof",
    "CheckedStep",
    "Derivation",
    "Evidence",
    "Method",
    "Proof",
    "Provable",
    "Step",
    "all_of",
    "by_lemma",
    "cauchy_schwarz",
    "chebyshev",
    "checked",
    "checked_once",
    "difference",
    "identity",
    "nonnegative",
    "prose",
    "proves",
    "run",
    "steps_of",
    "told_apart",
    "vanishing",
]

Expression = Any
P = ParamSpec("P")


class Method(StrEnum):
    """How a step is established."""

    IDENTITY = "identity"
    POLYNOMIAL = "polynomial certificate"
    CHECK = "computation"
    INTERVALS = "interval arithmetic"
    LEMMA = "earlier lemma"
    COMPOSITION = "nonnegative combination"
    SUMMATION = "summation"
    GIVEN = "given"
    PROSE = "prose (not mechanised)"


@dataclass(frozen=True)
class Evidence:
    """Whether a check held, and what it saw: a residual, the number of coefficients, a certificate."""

    holds: bool
    detail: str = ""


@dataclass(frozen=True)
class Step:
    """One step of a proof.

    Attributes:
        statement: what the step says, in LaTeX.
        method: how it is established.
        check: computes the evidence.
        reason: why it is true or why it is needed, in words.
        relation: what is checked, if the statement is its rendering (:mod:`proofs.relations`).
        composition: the combination of facts, if it is one (:mod:`proofs.composition`).
        assumes: what it and the steps that it builds on assume.
    """

    statement: str
    method: Method
    check: Callable[[], Evidence]
    reason: str = ""
    relation: Any = None
    composition: Any = None
    assumes: frozenset[Any] = frozenset()

    @cached_property
    def checked(self) -> Evidence:
        """The evidence, computed once for all that build on the step."""
        return self.check()


Derivation = Generator[Step, Step, None]
"""The steps of a proof, or of a part of it: ``x = yield ...`` gives a step, and a name to build on it by.

``yield from`` takes another derivation; for steps that are in a list, see :func:`all_of`.
"""


def steps_of(derivation: Derivation) -> Iterator[Step]:
    """The steps, each handed back to the derivation as the value of its ``yield``."""
    with suppress(StopIteration):
        step = next(derivation)
        while True:
            yield step
            step = derivation.send(step)


def all_of(*parts: Step | Derivation) -> Generator[Step, Step, list[Step]]:
    """Steps and derivations, one after the other, as a part of a derivation; its value is all of their steps."""
    found = []
    for part in parts:
        for step in [part] if isinstance(part, Step) else steps_of(part):
            found.append(step)
            yield step
    return found


class Conclusion(Protocol):
    """What a lemma concludes (:class:`proofs.composition.Conclusion`)."""

    def latex(self) -> str:
        """As a statement."""

    def established(self, steps: Sequence[Step]) -> Step:
        """The step that says which of the lemma's own steps established it."""


@dataclass(frozen=True)
class Proof:
    """A lemma with its proof.

    Attributes:
        name: short name, for example ``"L5"``.
        title: what it is about, in a few words.
        statement: the lemma in LaTeX.
        steps: in order.
        source: where the statement comes from.
        uses: names of the proofs that its steps apply.
        conclusions: what later compositions may cite; each is the relation of one of the steps.
    """

    name: str
    title: str
    statement: str
    steps: tuple[Step, ...]
    source: str = ""
    uses: tuple[str, ...] = ()
    conclusions: tuple[Any, ...] = ()


OF_ALL_STEPS: list[Callable[[Sequence[Step]], Sequence[Step]]] = []
"""What is checked of all steps of a proof together, after them: :mod:`proofs.definitions` puts itself here."""


class Provable(Generic[P]):
    """A lemma without its steps, and the function that yields them; calling it gives the :class:`Proof`.

    Its steps name formulas of theory; the function's parameters, all with defaults, are numbers of the statement.
    """

    def __init__(self, steps: Callable[P, Derivation], lemma: Proof) -> None:
        self.steps, self.lemma = steps, lemma
        update_wrapper(self, steps)

    @cached_property
    def proof(self) -> Proof:
        """The proof at its defaults, built once, so that no step of it is checked twice."""
        return cast(Callable[[], Proof], self)()

    def __call__(self, *numbers: P.args, **named: P.kwargs) -> Proof:
        """The proof, at these numbers."""
        steps = tuple(steps_of(self.steps(*numbers, **named)))
        steps += tuple(step for of_all in OF_ALL_STEPS for step in of_all(steps))
        return replace(self.lemma, steps=(*steps, *(c.established(steps) for c in self.lemma.conclusions)))


def proves(
    name: str,
    title: str,
    statement: str = "",
    *,
    source: str = "",
    uses: tuple[str, ...] = (),
    concludes: Sequence[Conclusion] = (),
) -> Callable[[Callable[P, Derivation]], Provable[P]]:
    """Decorates a function that yields the steps of a proof; the arguments are the attributes of :class:`Proof`.

    A proof with conclusions needs no statement: the statement is the conclusions as they are checked.

    Example:
        >>> @proves("square", "a square is not negative", "$x^2 >= 0$")
        ... def square() -> Derivation:
        ...     x = sympy.Symbol("x")
        ...     yield nonnegative("x^2 >= 0 for x >= 0", x**2, [x])
        >>> run(square()).holds
        True
    """
    stated = "; ".join(conclusion.latex() for conclusion in concludes)
    lemma = Proof(name, title, f"{statement} {stated}".strip(), (), source, uses, tuple(concludes))
    return lambda steps: Provable(steps, lemma)


@dataclass(frozen=True)
class CheckedStep:
    """A step after its check, with the seconds it took."""

    step: Step
    evidence: Evidence
    seconds: float


@dataclass(frozen=True)
class CheckedProof:
    """A proof after all its checks."""

    proof: Proof
    steps: tuple[CheckedStep, ...]

    @property
    def holds(self) -> bool:
        """Whether every step held and at least one of them was mechanised."""
        mechanised = [s for s in self.steps if s.step.method is not Method.PROSE]
        return bool(mechanised) and all(s.evidence.holds for s in self.steps)

    @property
    def seconds(self) -> float:
        """Time of all checks."""
        return sum(s.seconds for s in self.steps)

    @property
    def failures(self) -> tuple[CheckedStep, ...]:
        """The steps that did not hold."""
        return tuple(s for s in self.steps if not s.evidence.holds)


def run(proof: Proof) -> CheckedProof:
    """Check every step of a proof, in order; a failing step does not stop the others."""
    results = []
    for step in proof.steps:
        start = time.perf_counter()
        evidence = step.checked
        results.append(CheckedStep(step, evidence, time.perf_counter() - start))
    return CheckedProof(proof, tuple(results))


def told_apart(left: Expression, right: Expression) -> str:
    """By how much two expressions differ at a point, "" if they agree there."""
    residual = sympy.sympify(left) - right
    free = sorted(residual.free_symbols, key=str)
    point = {s: 3 + k if s.is_integer else sympy.Rational(1, 3 + k) for k, s in enumerate(free)}
    value = residual.subs(point).evalf(30)
    if value.is_comparable and abs(value) > (1e-9 if residual.has(sympy.Float) else 1e-20):
        return f"residual {sympy.N(value, 6)} at {point}"
    return ""


def difference(left: Expression, right: Expression) -> str:
    """Where two expressions differ, "" if nowhere: by numbers first, which tell most apart at once."""
    residual = sympy.sympify(left) - right
    found = told_apart(left, right)
    for reduce in (sympy.expand, sympy.cancel, sympy.radsimp, sympy.simplify):  # by cheap means first
        if found or residual == 0:
            return found
        residual = reduce(residual)
    return "" if residual == 0 else f"residual {residual}"


def identity(statement: str, left: Expression, right: Expression, reason: str = "") -> Step:
    """``left = right``: the residual is reduced to zero; a false one is told by numbers."""

    def check() -> Evidence:
        found = difference(left, right)
        return Evidence(not found, found or "residual 0")

    return Step(statement, Method.IDENTITY, check, reason)


def cauchy_schwarz(statement: str, reason: str = "") -> Step:
    """(sum x y)^2 <= sum x^2 sum y^2 for any number of terms: one more pair adds sum_i (x_i y - x y_i)^2 >= 0."""
    x, y, before, after = sympy.symbols("x y x_i y_i", real=True)
    sums = squares_x, squares_y, products = sympy.symbols("S_xx S_yy S_xy", real=True)
    added = sympy.expand((before * y - x * after) ** 2)
    added = added.subs(dict(zip((before**2, after**2, before * after), sums, strict=True)), simultaneous=True)
    larger = (squares_x + x**2) * (squares_y + y**2) - (products + x * y) ** 2
    why = "Cauchy-Schwarz, by induction: one more term adds a sum of squares to the difference"
    difference = larger - (squares_x * squares_y - products**2)
    return identity(statement, difference, added, f"{why}; {reason}".rstrip("; "))


def chebyshev(statement: str, reason: str = "") -> Step:
    """sum w sum w x y >= sum w x sum w y, x and y rising together, for any number of terms and weights w >= 0."""
    w, x, y, x_i, y_i = sympy.symbols("w x y x_i y_i", real=True)
    weights, of_x, of_y, of_both = sympy.symbols("S_w S_x S_y S_xy", real=True)
    opened = sympy.expand((x_i - x) * (y_i - y) - x * y)
    added = opened.subs({x_i * y_i: of_both, x_i: of_x, y_i: of_y}, simultaneous=True) + weights * x * y
    larger = (weights + w) * (of_both + w * x * y) - (of_x + w * x) * (of_y + w * y)
    why = "Chebyshev's sum inequality, by induction: one more term adds products of differences of one sign"
    difference = larger - (weights * of_both - of_x * of_y)
    return identity(statement, difference, w * added, f"{why}; {reason}".rstrip("; "))


def nonnegative(
    statement: str,
    expression: Expression,
    variables: Sequence[sympy.Symbol],
    substitution: Mapping[sympy.Symbol, Expression] | None = None,
    reason: str = "",
) -> Step:
    """``expression >= 0`` for all ``variables >= 0``, by coefficients.

    Args:
        statement: in LaTeX.
        expression: rational in the variables after the substitution.
        variables: range over [0, oo).
        substitution: how the statement's own variables are parametrised by ``variables``, for example
            ``{x: 1 - 1/(1 + a)}`` for 0 <= x < 1 (closed intervals follow by continuity).
        reason: why, in words.

    The numerator and the denominator, expanded, must have no negative coefficient (up to one common sign of
    both), and the denominator must not vanish identically.
    """

    def check() -> Evidence:
        cleared = sympy.together(sympy.sympify(expression).subs(dict(substitution or {}), simultaneous=True))
        numerator, denominator = sympy.fraction(sympy.cancel(cleared))
        try:
            polynomials = [sympy.Poly(part, *variables) for part in (numerator, denominator)]
        except sympy.PolynomialError as error:
            return Evidence(False, f"not rational in the variables: {error}")
        top, bottom = ([sympy.sympify(c) for c in polynomial.coeffs()] for polynomial in polynomials)
        if all(c.is_nonpositive for c in bottom):
            top, bottom = [-c for c in top], [-c for c in bottom]
        if not all(c.is_positive for c in bottom):
            return Evidence(False, "the denominator has coefficients of both signs")
        negative = [c for c in top if not c.is_nonnegative]
        if negative:
            return Evidence(False, f"{len(negative)} of {len(top)} coefficients not >= 0: {negative[:3]}")
        return Evidence(True, f"{len(top)} coefficients, all >= 0")

    return Step(statement, Method.POLYNOMIAL, check, reason)


def checked(statement: str, check: Callable[[], Evidence], reason: str = "") -> Step:
    """A step with a computation of its own (a series, a limit, a solver, an exact enumeration)."""
    return Step(statement, Method.CHECK, check, reason)


def vanishing(statement: str, residuals: Callable[[], Sequence[Expression]], reason: str = "") -> Step:
    """A computation (an integral, a limit, a recursion): its ``residuals``, computed when checked, are zero."""

    def check() -> Evidence:
        found = next(filter(None, (difference(residual, 0) for residual in residuals())), "")
        return Evidence(not found, found or "residual 0")

    return checked(statement, check, reason)


@cache
def checked_once(lemma: Callable[[], Proof]) -> CheckedProof:
    """A lemma at its defaults, checked once per process."""
    return run(lemma.proof if isinstance(lemma, Provable) else lemma())


def by_lemma(
    statement: str, lemma: Proof | Callable[[], Proof], hypotheses: Sequence[Step] = (), reason: str = ""
) -> Step:
    """An application of an earlier lemma: it is checked again, with the steps that match its hypotheses.

    Given as a function, which makes it from its defaults, a lemma is checked once per process.
    """

    def check() -> Evidence:
        result = run(lemma) if isinstance(lemma, Proof) else checked_once(lemma)
        if not result.holds:
            return Evidence(False, f"{result.proof.name} does not hold")
        for step in hypotheses:
            evidence = step.check()
            if not evidence.holds:
                return Evidence(False, f"hypothesis not matched: {step.statement}: {evidence.detail}")
        return Evidence(True, f"{result.proof.name}, {len(hypotheses)} hypotheses matched")

    return Step(statement, Method.LEMMA, check, reason)


def prose(statement: str, reason: str = "") -> Step:
    """What is argued in words. It is marked so wherever the proof is shown."""
    return Step(statement, Method.PROSE, lambda: Evidence(True, "stated in words"), reason)
