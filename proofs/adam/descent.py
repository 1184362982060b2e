"""The descent lemma, summed over the steps: what a run can progress along its gradients."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.symbols import alpha, gap, smoothness
from proofs.composition import Assumption, Conclusion, Ground, assumed, composed, granted, summed
from proofs.grounds import inner, norm
from proofs.relations import Relation, equation, named
from proofs.steps import Derivation, Step, proves
from proofs.sums import PROGRESS, SQUARES, length, progress

__all__ = ["descent_lemma"]

NEEDED = frozenset({Assumption.SMOOTH, Assumption.BOUNDED_BELOW})
now = named("f_k", r"L(w_k) - \inf L", nonnegative=True)
later = named("f_later", r"L(w_{k+1}) - \inf L", nonnegative=True)
size, rest = named("u_2", r"\|u_k\|^2", nonnegative=True), named("rest", r"\rho_k", real=True)


@proves(
    "descent lemma",
    "smoothness, summed over the steps",
    r"For steps $w_{k+1} = w_k - \alpha u_k$:",
    concludes=(
        Conclusion(
            Relation(alpha * PROGRESS, "<=", gap + smoothness * alpha**2 / 2 * SQUARES),
            NEEDED,
            (alpha, PROGRESS, SQUARES),
        ),
    ),
    source="Nesterov (2004), Lemma 1.2.3",
)
def descent_lemma() -> Derivation:
    """L(w - alpha u) <= L(w) - alpha <G, u> + L alpha^2 ||u||^2 / 2, and its sum."""
    remainder = yield from _remainder()
    each = yield composed(
        Relation(later + alpha * progress, "<=", now + smoothness * alpha**2 / 2 * size),
        (
            granted(
                Relation(later, "=", now - alpha * progress + rest), Ground.CALCULUS, meaning=_along_the_step()
            ),
            remainder,
        ),
        (later, now, progress, size, rest),
        NEEDED,
    )
    yield summed(each, {progress: PROGRESS, size: SQUARES}, {(now, later): gap}, reason="summed; L(w_1) - inf L")


def _remainder() -> Generator[Step, Step, Step]:
    """The slope along the step changes by at most L x alpha^2 ||u||^2, by Cauchy-Schwarz and smoothness."""
    x = sympy.Symbol("x", positive=True)
    change, step = sympy.symbols(r"\nabla{L}(w_k-x\alpha{u_k})-G_k u_k", real=True)
    bend = named("bend", r"\langle \nabla L(w_k-x\alpha u_k)-G_k, -\alpha u_k\rangle", real=True)
    turned = named("turned", r"\|\nabla L(w_k-x\alpha u_k)-G_k\|", nonnegative=True)
    meaning = {bend: -alpha * inner(change, step), turned: norm(change), length: norm(step)}
    is_square = yield equation(size, length**2, where={size: length**2})
    pointwise = yield composed(
        Relation(bend, "<=", smoothness * x * alpha**2 * size),
        (
            granted(Relation(bend, "<=", alpha * turned * length), Ground.CAUCHY_SCHWARZ, meaning=meaning),
            assumed(Relation(turned, "<=", smoothness * x * alpha * length), Assumption.SMOOTH),
            is_square,
        ),
        (bend, turned, size),
        frozenset({Assumption.SMOOTH}),
    )
    half = {bend: rest, x: sympy.Rational(1, 2)}
    found = yield summed(pointwise, half, reason="integrated over $x\\in[0,1]$; the left side gives $\\rho_k$")
    return found


def _along_the_step() -> dict[Any, Any]:
    """With phi(x) = L(w_k - x alpha u_k) - inf L, whose slope is <grad L, -alpha u_k>."""
    x = sympy.Symbol("x", real=True)
    phi = sympy.Function("phi")
    slope = phi(x).diff(x)
    start = sympy.Symbol("slope at 0", real=True)
    return {later: phi(1), now: phi(0), progress: -start / alpha, rest: sympy.Integral(slope - start, (x, 0, 1))}
