"""The descent lemma, summed over the steps: what a run can progress along its gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy

from proofs.adam.symbols import alpha, gap, smoothness
from proofs.composition import Assumption, Conclusion, Ground, assumed, composed, granted, summed
from proofs.relations import Relation, equation, named
from proofs.steps import Step, proves
from proofs.sums import PROGRESS, SQUARES, progress

__all__ = ["descent_lemma"]

NEEDED = frozenset({Assumption.SMOOTH, Assumption.BOUNDED_BELOW})
now, later = (
    named("f_k", r"L(w_k) - \inf L", nonnegative=True),
    named("f_later", r"L(w_{k+1}) - \inf L", nonnegative=True),
)
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
def descent_lemma() -> Iterator[Step]:
    """L(w - alpha u) <= L(w) - alpha <G, u> + L alpha^2 ||u||^2 / 2, and its sum."""
    x = sympy.Symbol("x", positive=True)
    yield equation(
        sympy.Integral(smoothness * x * alpha**2 * size, (x, 0, 1)).doit(),
        smoothness * alpha**2 / 2 * size,
        "at least rho_k, the integral over x of <grad L(w_k - x alpha u_k) - G_k, -alpha u_k>",
    )
    each = composed(
        Relation(later + alpha * progress, "<=", now + smoothness * alpha**2 / 2 * size),
        (
            granted(
                Relation(later, "=", now - alpha * progress + rest), Ground.CALCULUS, meaning=_along_the_step()
            ),
            assumed(Relation(rest, "<=", smoothness * alpha**2 / 2 * size), Assumption.SMOOTH),
        ),
        (later, now, progress, size, rest),
        NEEDED,
    )
    yield each
    yield summed(each, {progress: PROGRESS, size: SQUARES}, {(now, later): gap}, reason="summed; L(w_1) - inf L")


def _along_the_step() -> dict[Any, Any]:
    """With phi(x) = L(w_k - x alpha u_k) - inf L, whose slope is <grad L, -alpha u_k>."""
    x = sympy.Symbol("x", real=True)
    phi = sympy.Function("phi")
    slope = phi(x).diff(x)
    start = sympy.Symbol("slope at 0", real=True)
    return {later: phi(1), now: phi(0), progress: -start / alpha, rest: sympy.Integral(slope - start, (x, 0, 1))}
