"""The pages docs/theory say what the code says, and the table of constants what it computes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from proofs.adam.l1_step import lemma_l1
from proofs.pages import FOLDER, pages, write_pages
from proofs.pages.claims import claims_page
from proofs.pages.derivations import anchor, proofs_page
from proofs.pages.theorems import BETAS, STATED
from proofs.registry import all_proofs
from theory.adam.theorem1 import largest_admissible_eta
from theory.audit.claims import CLAIMS
from theory.guarantee import standings


def test_the_pages_are_in_step_with_the_code() -> None:
    for name, text in pages().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, (
            f"docs/theory/{name} is out of date: run `adabatch prove --write-docs`"
        )


def test_pages_are_not_written_where_there_is_no_clone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no folder .*/theory: --write-docs writes a clone's pages"):
        write_pages(tmp_path / "theory")
    assert not list(tmp_path.iterdir())


def test_the_claims_are_those_of_the_command() -> None:
    page = claims_page(CLAIMS, all_proofs())
    table, _, details = page.partition("## The claims in full")
    assert table.count("\n| ") == len(CLAIMS) + 1
    for claim in CLAIMS:
        assert f"| {claim.place} |" in table
        assert claim.latex in details
    worse = replace(CLAIMS[0], correction="It is wrong.")
    assert claims_page((worse, *CLAIMS[1:]), all_proofs()) != page


def test_a_proof_is_shown_with_its_statement_and_every_step() -> None:
    proof = lemma_l1()
    page = proofs_page([("proofs.adam.l1_step", [proof])])
    assert "### L1: bounded steps" in page
    assert "Assumptions: Adam's recursion, $m_0 = 0$, $v_0 \\ge 0$." in page
    last = len(proof.steps) - len(proof.conclusions)
    assert [int(n) for n in re.findall(r"^(\d+)\. ", page, flags=re.MULTILINE)] == list(range(1, last + 2))
    changed = replace(proof, steps=(replace(proof.steps[0], reason="other"), *proof.steps[1:]))
    assert proofs_page([("proofs.adam.l1_step", [changed])]) != page


def test_every_link_to_a_proof_leads_to_one() -> None:
    anchors = {anchor(proof) for proof in all_proofs()}
    assert len(anchors) == len(all_proofs())
    for name in ("claims.md", "theorems.md"):
        found = re.findall(r"\(proofs\.md#([^)]*)\)", pages()[name])
        assert found, name
        assert set(found) <= anchors, name


def test_theorems_are_proofs_and_nothing_is_left_to_fill_in() -> None:
    assert set(STATED) <= {proof.name for proof in all_proofs()}
    assert not re.search(r"\{(statement|constants|comparison|support|published|schedules)", pages()["theorems.md"])


def test_constants_are_those_of_the_theorems() -> None:
    page = pages()["theorems.md"]
    for beta1, beta2 in BETAS:
        assert f"{largest_admissible_eta(beta1, beta2):.4g}" in page
        for one in standings(beta1, beta2, 0.2):
            if one.constant is not None and one.constant < 1000:
                row = next(
                    line
                    for line in page.split("\n")
                    if line.startswith(f"| {one.name} | $({beta1:g}, {beta2:g})$")
                )
                assert f"{one.constant:.4g}" in row


def test_no_formula_is_left_as_it_is_typed() -> None:
    for name, text in pages().items():
        words = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
        assert not re.search(r"\w\^\d|\bsqrt\(|\bbeta[12]\b|<=|>=|\|\|", words), name
