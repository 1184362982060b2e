from __future__ import annotations

import importlib
import pkgutil

import pytest

import proofs
from proofs.composition import compositions
from proofs.registry import MODULES, all_proofs, find_proof, proofs_of
from proofs.steps import Method, Provable, run
from theory.audit.claims import CLAIMS


def test_every_listed_module_is_there_and_holds_a_proof() -> None:
    for module in MODULES:
        assert proofs_of(module), module
    assert len(set(MODULES)) == len(MODULES)


def test_every_proof_module_is_listed() -> None:
    with_proofs = {
        entry.__module__
        for info in pkgutil.walk_packages(proofs.__path__, "proofs.")
        for entry in vars(importlib.import_module(info.name)).values()
        if isinstance(entry, Provable)
    }
    assert with_proofs == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_proof_holds_and_little_of_it_is_prose(module: str) -> None:
    for proof in proofs_of(module):
        result = run(proof)
        assert result.holds, [(proof.name, f.step.statement, f.evidence.detail) for f in result.failures]
        assert sum(step.method is not Method.PROSE for step in proof.steps) >= 2, proof.name


def test_names_are_unique_and_every_proof_says_what_it_proves() -> None:
    names = [proof.name for proof in all_proofs()]
    assert len(set(names)) == len(names)
    for proof in all_proofs():
        assert proof.title, proof.name
        assert proof.statement, proof.name


def test_what_a_proof_uses_is_proven_and_comes_before_it() -> None:
    seen: list[str] = []
    for proof in all_proofs():
        for used in proof.uses:
            assert used in seen, f"{proof.name} uses {used}"
        seen.append(proof.name)


def test_claims_name_proofs_that_exist() -> None:
    for claim in CLAIMS:
        for name in claim.proofs:
            assert find_proof(name).name == name


def test_find_proof() -> None:
    assert find_proof("l5").name == "L5"
    assert find_proof(" lemma B.1").name == "Lemma B.1"
    assert find_proof("Prop").name == "Prop. 1"
    with pytest.raises(ValueError, match=r"unknown proof 'L99'; known are: Eq. 2;"):
        find_proof("L99")
    with pytest.raises(ValueError, match=r"ambiguous proof 'Lemma B'; known are: Lemma B.1; Lemma B.2"):
        find_proof("Lemma B")


def test_every_step_that_a_proof_builds_on_is_shown() -> None:
    """What a composition cites of its own proof is a step of that proof, so that it is on the page and checked."""
    for proof in all_proofs():
        for composition in compositions(proof.steps):
            for fact in composition.facts:
                missing = [step.statement for step in fact.steps if step not in proof.steps]
                assert not missing, (proof.name, missing)
