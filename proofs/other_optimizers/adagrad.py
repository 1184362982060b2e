r"""Coordinate AdaGrad under the coordinate-wise norm test: L5 at rho = 1, and a telescoping logarithm."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.l5_key_inequality import lemma_l5
from proofs.adam.symbols import PROBLEM, alpha, gap, smoothness
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import alignment_at
from theory.adam.key_inequality import normalized_response
from theory.other_optimizers.adagrad import preconditioned_sum_bound

__all__ = ["adagrad_theorem"]


@proves(
    "AdaGrad",
    "coordinate AdaGrad under the coordinate-wise norm test",
    r"$v_0 > 0$, $\eta < 1$: $\sum_k\sum_i E[G_{k,i}^2/\sqrt{v_{k-1,i}+G_{k,i}^2}] \le "
    r"\frac{1+\eta^2}{(1-\eta^2)\alpha}\bigl[\Delta + "
    r"\tfrac{L\alpha^2}{2}\sum_i E\log(v_{K,i}/v_{0,i})\bigr]$.",
    source="lemma L5 at rho = 1",
    uses=("L5",),
)
def adagrad_theorem() -> Iterator[Step]:
    """The bound, and kappa at rho = 1."""
    true, old, ratio, growth = sympy.symbols("G v X H", positive=True)
    eta, u = sympy.symbols("eta u", nonnegative=True)
    total = preconditioned_sum_bound(PROBLEM, step_size=alpha, eta=eta, log_growth=growth).value
    s = old / true**2
    log_gap = sympy.log(1 + u) - 1 + 1 / (1 + u)
    yield prose(
        r"L(w_{k+1}) \le L(w_k) - \alpha\sum_i G_i g_i/\sqrt{v_{k,i}} "
        r"+ \tfrac{L\alpha^2}2\sum_i g_i^2/v_{k,i}",
        "descent lemma",
    )
    yield identity(
        r"(G\cdot XG)^2/v_k = \bigl(|G|\, X/\sqrt{s+X^2}\bigr)^2, \quad s = v_{k-1}/G^2",
        (true * ratio * true) ** 2 / (old + (ratio * true) ** 2),
        (true * normalized_response(ratio, s)) ** 2,
        "X = g / G; both sides have the sign of X",
    )
    yield by_lemma(
        r"E_k[G g_k/\sqrt{v_k}] \ge \kappa\,|G|/\sqrt{s+1}, \; \rho = 1",
        lemma_l5,
        (identity(r"G^4/(v_{k-1}+G^2) = G^2/(s+1)", true**4 / (old + true**2), true**2 / (s + 1)),),
        "kappa |G| / sqrt(s+1) = kappa G^2 / sqrt(v_{k-1} + G^2)",
    )
    yield identity(
        r"g_k^2/v_k = 1 - v_{k-1}/v_k = 1 - 1/(1+u), \; 1+u = v_k/v_{k-1}",
        (u * old) / (old + u * old),
        1 - 1 / (1 + u),
    )
    yield identity(r"\log(1+u) - 1 + 1/(1+u) = 0 \text{ at } u = 0", log_gap.subs(u, 0), 0)
    yield nonnegative(
        r"\text{and its derivative is } \ge 0, \text{ so } g_k^2/v_k \le \log(v_k/v_{k-1})",
        sympy.diff(log_gap, u),
        [u],
        reason="summed over k the logarithms telescope to log(v_K / v_0)",
    )
    yield identity(
        r"\alpha\kappa\cdot\text{bound} = \Delta + \tfrac{L\alpha^2}2\sum_i E\log(v_{K,i}/v_{0,i})",
        alpha * alignment_at(1, eta) * total,
        gap + smoothness * alpha**2 / 2 * growth,
        "the sum over k",
    )
    yield identity(r"\kappa(1+\eta^2) = 1-\eta^2", alignment_at(1, eta) * (1 + eta**2), 1 - eta**2)
