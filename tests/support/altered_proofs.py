"""Negative controls of proofs: the same steps with a false formula in place of one of theory's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from proofs.steps import CheckedProof, Method, Provable, run


def altered(
    lemma: Provable, formulas: Mapping[str, Any], only: str = "", lemmas: bool = False, whole: bool = False
) -> CheckedProof:
    """The proof's own steps up to the first that fails, checked while its module's names stand for other formulas.

    Args:
        lemma: the proof; of the lemmas that it applies, nothing changes.
        formulas: by name as in the proof's module (``alignment_at``, ``theory.clipped_bound``), or by parameter.
        only: check the steps whose statement contains this.
        lemmas: check the lemmas too, which have tests of their own, and that their hypotheses are matched.
        whole: check the steps after the first that fails too.
    """
    module = lemma.steps.__globals__
    arguments = {name: formulas[name] for name in inspect.signature(lemma.steps).parameters if name in formulas}
    with pytest.MonkeyPatch.context() as patch:
        for path in formulas.keys() - arguments.keys():
            name, _, attribute = path.partition(".")
            found = module[name]
            if attribute:
                assert hasattr(found, attribute), path
                patch.setitem(module, name, SimpleNamespace(**{**vars(found), attribute: formulas[path]}))
            else:
                patch.setitem(module, name, formulas[path])
        proof = lemma(**arguments)
        own = [s for s in proof.steps if only in s.statement and (lemmas or s.method is not Method.LEMMA)]
        own.sort(key=lambda step: step.method is Method.COMPOSITION)  # which take longest, and seldom fail first
        failing = (count for count, step in enumerate(own, start=1) if not step.checked.holds)
        return run(replace(proof, steps=tuple(own[: None if whole else next(failing, None)])))
