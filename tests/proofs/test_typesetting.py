from __future__ import annotations

import pytest

from proofs.typesetting import in_table, typeset


@pytest.mark.parametrize(
    ("typed", "set_"),
    [
        ("c g^2 / u_k <= ln(u_k)", r"$c g^{2} / u_k \le \ln(u_k)$"),
        ("a sum to 1, and a = 1", "a sum to 1, and $a = 1$"),
        ("by lemma S, L5's and Theorem 2", "by lemma S, L5's and Theorem 2"),
        ("||G||_1 for all S_+ (K = 2)", r"$\|G\|_1$ for all $S_+$ ($K = 2$)"),
        ("<G, g - G> at K^-1/2", r"$\langle G, g - G\rangle$ at $K^{-1/2}$"),
        ("lambda_max at 1e-8 and B_noise", r"$\lambda_{\max}$ at $1\cdot 10^{-8}$ and $B_{\mathrm{noise}}$"),
        ("(e = 0 and e = Z by continuity)", "($e = 0$ and $e = Z$ by continuity)"),
        ("already $x^2 <= 1$ so", "already $x^2 <= 1$ so"),
        ("the bound (B.2) has c1's tr Sigma-hat", r"the bound (B.2) has $c_1$'s $\mathrm{tr} \hat\Sigma$"),
        ("over k = 1..K: O~(K) or {x >= m}", r"over $k = 1\ldots K$: $\tilde O(K)$ or $\{x \ge m\}$"),
    ],
)
def test_formulas_in_words(typed: str, set_: str) -> None:
    assert typeset(typed) == set_


def test_a_cell_has_no_bars() -> None:
    assert in_table(r"$\|x\| \le |y|$") == r"$\Vert x\Vert \le \vert y\vert$"
