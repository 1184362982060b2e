from __future__ import annotations

import pytest
import sympy

from proofs.audit.published_adam import lemma_b1, proposition_1
from proofs.registry import all_proofs
from proofs.rendering import derivation, plain
from proofs.report import methods, selected, show_table
from proofs.steps import Proof, identity, run


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"$|m_k| \le C_m \sqrt{v_k}$", "|m_k| ≤ C_m √(v_k)"),
        (r"\frac{a}{b+c}", "a/(b+c)"),
        (r"\tfrac12 C_m^2", "1/2 C_m^2"),
        (r"\sum_{k\le K} \|g_k\|^2", "Σ_(k ≤ K) ‖g_k‖^2"),
        (r"\text{at } \beta_1 = 0,\quad \mathbb{E}\,g", "at β1 = 0, E g"),
        (r"\sqrt{\frac{a}{\sqrt{b}}}", "√(a/(√(b)))"),
    ],
)
def test_plain(latex: str, text: str) -> None:
    assert plain(latex) == text


def test_no_latex_command_is_left_in_any_derivation() -> None:
    for proof in all_proofs():
        for latex in (proof.statement, *(step.statement for step in proof.steps)):
            shown = plain(latex)
            assert shown, proof.name
            assert "\\" not in shown, proof.name
            assert "{" not in shown, proof.name


def test_derivation_shows_every_step_and_the_failing_one() -> None:
    text = derivation(run(lemma_b1()))
    assert text.count(" ok ") == 11
    assert "in words" in text
    assert "holds," in text
    x = sympy.Symbol("x")
    wrong = Proof("W", "wrong", "$x = 2x$", (identity("x = 2x", x, 2 * x),))
    text = derivation(run(wrong))
    assert "FAILS [identity: residual -0.333333 at {x: 1/3}]" in text
    assert "W DOES NOT HOLD" in text


def test_table_and_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert methods(proposition_1()) == "2 identity, 1 certificate"
    assert show_table((proposition_1(),))
    x = sympy.Symbol("x")
    wrong = Proof("W", "wrong", "$x = 2x$", (identity("x = 2x", x, 2 * x),))
    assert not show_table((proposition_1(), wrong))
    shown = capsys.readouterr().out
    assert "1 of 2 proofs hold" in shown
    assert "residual -0.333333 at {x: 1/3}" in shown
    assert selected([]) == all_proofs()
