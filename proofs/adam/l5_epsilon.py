r"""Lemma L5 with epsilon outside the root: the response is above L5's own at a longer effective history."""

from __future__ import annotations

import sympy

from proofs.adam.l5_key_inequality import UNIT, lemma_l5, mean
from proofs.adam.l5_key_inequality import rho as amplification
from proofs.adam.symbols import KAPPA_RHO, noise
from proofs.composition import Assumption, Conclusion, Ground, cite, composed, granted
from proofs.relations import Range, Relation
from proofs.steps import Derivation, all_of, identity, nonnegative, proves
from proofs.sums import response_e, root_of_one_e
from theory.adam.constants import alignment_at
from theory.adam.key_inequality import effective_history, minorant, normalized_response

__all__ = ["lemma_l5_epsilon"]

NEEDED = frozenset({Assumption.NORMALIZED})
R, e, u, a, x = sympy.symbols("R e u a x", positive=True)
WITH_EPSILON = Relation(
    response_e(amplification),
    ">=",
    KAPPA_RHO * root_of_one_e,
    {KAPPA_RHO: alignment_at(amplification, noise)},
    (UNIT, Range(amplification, 1)),
)


@proves(
    "L5 with epsilon",
    "key inequality, epsilon outside the root",
    r"For $e \ge 0$ and $f_{s,e}(x) = x/(\sqrt{s+x^2}+e)$ for $x \ge 0$, $\rho$ times that for $x < 0$, with "
    r"$E X = 1$ and $\mathrm{Var} X \le \eta^2$:",
    concludes=(Conclusion(WITH_EPSILON, NEEDED),),
    source="corrected Theorem 1, variants",
    uses=("L5",),
)
def lemma_l5_epsilon() -> Derivation:
    """L5 at the effective history S(s, e) = ``effective_history(s, e)``."""
    pointwise = yield from all_of(_pointwise())
    yield composed(
        WITH_EPSILON,
        (
            granted(
                Relation(response_e(amplification), ">=", root_of_one_e * mean), Ground.EXPECTATION, *pointwise
            ),
            cite(lemma_l5, part=1),
        ),
        (response_e(amplification), mean),
        NEEDED,
        reason="P the parabola at S, above which f is by L5's four ranges",
    )


def _pointwise() -> Derivation:
    s, eta, rho = sympy.symbols("s eta rho", positive=True)
    root = sympy.Symbol("T", positive=True)  # sqrt(s + x^2) for the same s, where R = sqrt(s + 1)
    effective = effective_history(R**2 - 1, e)
    with_offset = ((R + e) / (root + e)) ** 2
    without = (effective + 1) / (effective + 1 + root**2 - R**2)
    yield identity(
        r"\frac{(R+e)^2}{(T+e)^2} - \frac{S+1}{S+x^2} = "
        r"\frac{e(R-T)^2(R+e)}{(T+e)^2(S+x^2)}, \; R^2 = s+1, T^2 = s+x^2",
        with_offset - without,
        e * (R - root) ** 2 * (R + e) / ((root + e) ** 2 * (R * e + root**2)),
        "for x >= 0 the offset response is above L5's at S = s + e sqrt(s+1)",
    )
    yield nonnegative(
        r"R u \le \sqrt{s+u^2}, \; 0 < u \le 1",
        1 / normalized_response(x, s) ** 2 - (s + 1),
        [s, a],
        {x: 1 / (1 + a)},
        "so (R+e)u / (T+e) <= 1: the range x < 0 of L5, first half",
    )
    yield nonnegative(
        r"R \le \sqrt{s+u^2}, \; u \ge 1",
        (x / normalized_response(x, s)) ** 2 - (s + 1),
        [s, a],
        {x: 1 + a},
        "so (R+e)u / (T+e) <= u: second half",
    )
    yield identity(
        r"\text{the parabola with offset } e \text{ is L5's at } S",
        minorant(x, s, eta, rho, e),
        minorant(x, effective_history(s, e), eta, rho),
        "in the range x < 0 its value at S is at most -rho max(1, u) by L5",
    )
