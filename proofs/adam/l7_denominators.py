r"""Lemma L7: the denominators grow at most linearly with the sum of the gradient norms.

Telescoping with the potential Phi(V) = sqrt(beta2) / (1 - sqrt(beta2)) V, V_k = sum_i E sqrt(v_{k,i}): one step's
sum_i E sqrt(D_{k,i}) plus the growth of Phi is at most B E||G_k||_1, and A = Phi(V_0).
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.symbols import BETA2, initial_sum, noise, q
from proofs.steps import Step, identity, nonnegative, prose, proves
from theory.adam import constants

__all__ = ["lemma_l7"]


@proves(
    "L7",
    "denominators",
    r"$\sum_k\sum_i E\sqrt{D_{k,i}} \le A + B\,S$ with $S = \sum_k E\|G_k\|_1$, "
    r"$A = \frac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\sum_i\sqrt{v_{0,i}}$ and "
    r"$B = \sqrt c\,\bigl(1 + \tau\frac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\bigr)$.",
    source="corrected Theorem 1",
)
def lemma_l7() -> Iterator[Step]:
    """sum_k sum_i E sqrt(D_{k,i}) <= A + B S."""
    left, right, mean, square = sympy.symbols("p_1 p_2 z_0 z", positive=True)
    gradient = sympy.Symbol("G", nonnegative=True)
    root_weight = sympy.sqrt(constants.second_moment_weight(BETA2))
    tau = sympy.sqrt(constants.squared_noise_growth(noise))
    new = q * initial_sum + root_weight * tau * gradient
    yield nonnegative(
        r"\sqrt{p_1^2+p_2^2} \le p_1+p_2, \text{ squared}",
        (left + right) ** 2 - (left**2 + right**2),
        [left, right],
        reason="sqrt(D_k) <= sqrt(beta2 v_{k-1}) + sqrt(c) |G_k|, and with tau^2 G^2 likewise",
    )
    yield identity(
        r"\sqrt{z_0} + \frac{z-z_0}{2\sqrt{z_0}} - \sqrt z = \frac{(\sqrt z-\sqrt{z_0})^2}{2\sqrt{z_0}}",
        sympy.sqrt(mean) + (square - mean) / (2 * sympy.sqrt(mean)) - sympy.sqrt(square),
        (sympy.sqrt(square) - sympy.sqrt(mean)) ** 2 / (2 * sympy.sqrt(mean)),
        "Jensen: E sqrt(z) <= sqrt(E z), with the tangent at z_0 = E z",
    )
    yield prose(
        r"E_k\sqrt{v_k} \le \sqrt{\beta_2 v_{k-1}} + \sqrt c\,\tau\,|G_k|",
        "E_k g_k^2 <= tau^2 G_k^2 (Proposition 1) in the two steps before",
    )
    yield identity(
        r"\sqrt{\beta_2} V + \sqrt c\,G + \Phi(\sqrt{\beta_2} V + \sqrt c\,\tau G) - \Phi(V) = B\,G",
        q * initial_sum
        + root_weight * gradient
        + constants.preconditioner_start(BETA2, new)
        - constants.preconditioner_start(BETA2, initial_sum),
        constants.preconditioner_growth(BETA2, noise) * gradient,
        "one step; V = V_{k-1}, G = E||G_k||_1",
    )
    yield nonnegative(
        r"\Phi \ge 0 \text{ and increasing}",
        sympy.cancel(constants.preconditioner_start(BETA2, initial_sum).subs(q, 1 - 1 / (1 + square))),
        [initial_sum, square],
    )
    yield prose(r"\text{summed over } k = 1..K: \Phi(V_0) = A, \Phi(V_K) \ge 0 \text{ is dropped}")
