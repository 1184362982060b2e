r"""Lemma L6: the key inequality L5 in the units of one coordinate of Adam."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.l5_key_inequality import lemma_l5
from proofs.adam.symbols import BETA1, BETA2, UNIT_INTERVALS, a, b, noise
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import momentum_amplification, second_moment_weight
from theory.adam.key_inequality import normalized_response

__all__ = ["lemma_l6"]


@proves(
    "L6",
    "conditional descent",
    r"$E_k[((G_k g_k)^+ - \rho (G_k g_k)^-)/\sqrt{v_k}] \ge \kappa\, G_k^2/\sqrt{D_k}$ with "
    r"$D_k = \beta_2 v_{k-1} + c\,G_k^2$, coordinate by coordinate.",
    source="corrected Theorem 1",
    uses=("L5",),
)
def lemma_l6() -> Iterator[Step]:
    """E_k[((G g)^+ - rho (G g)^-) / sqrt(v_k)] >= kappa G^2 / sqrt(D_k)."""
    beta2, true, old, ratio = sympy.symbols("beta2 G v_old X", positive=True)
    weight = second_moment_weight(beta2)
    s = beta2 * old / (weight * true**2)
    expected = beta2 * old + weight * true**2
    scale = true / sympy.sqrt(weight)
    key = lemma_l5
    yield identity(
        r"G\cdot(XG)/\sqrt{v_k} = \frac{|G|}{\sqrt c}\, \frac{X}{\sqrt{s+X^2}}, \quad "
        r"s = \beta_2 v_{k-1}/(c\,G^2)",
        (true * ratio * true) ** 2 / (beta2 * old + weight * (ratio * true) ** 2),
        (scale * normalized_response(ratio, s)) ** 2,
        "X = g / G, squared (both sides have the sign of X); G and X up to their signs",
    )
    yield by_lemma(
        r"E f_s(X) \ge \kappa/\sqrt{s+1}",
        key,
        (
            identity(
                r"E X = E g / G = 1, \mathrm{Var} X = \mathrm{Var} g / G^2 \le \eta^2",
                (noise * true) ** 2 / true**2,
                noise**2,
                "the coordinate-wise norm test",
            ),
            nonnegative(r"\rho \ge 1", momentum_amplification(BETA1, BETA2) - 1, [a, b], UNIT_INTERVALS),
        ),
        "eta <= 1 since eta^2 < 1 - r",
    )
    yield identity(
        r"\frac{G^4}{D_k} = \frac{G^2}{c\,(s+1)}",
        true**4 / expected,
        (scale / sympy.sqrt(s + 1)) ** 2,
        "so (|G| / sqrt(c)) kappa / sqrt(s+1) = kappa G^2 / sqrt(D_k)",
    )
    yield prose(r"G_k = 0: \mathrm{Var}\, g_k = 0, g_k = 0, \text{ both sides are } 0")
