"""Mutants are made from the syntax tree, each at one place, and the ones that once survived are caught."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from benchmarks.mutants import NAMED, ROOT, imports, modules, mutants, named_mutants


def test_there_are_enough_and_each_changes_one_module() -> None:
    found = [mutant for module in modules() for mutant in mutants(module)]
    assert len(found) > 1000
    assert len(list(named_mutants())) == len(NAMED)
    some = [mutant for mutant in found if mutant.module == "theory.problem"]
    own = ast.unparse(ast.parse((ROOT / "theory" / "problem.py").read_text(encoding="utf-8")))
    assert some
    assert all(mutant.source != own for mutant in some)


def test_only_what_imports_the_module_is_checked() -> None:
    assert "theory.adam.constants" in imports("proofs.adam.theorem1")
    assert "theory.training.clipping" not in imports("proofs.adam.theorem1")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hi is the mean", "epsilon once, not K times"])
def test_what_once_survived_everything_is_caught(name: str) -> None:
    mutant = next(m for m in named_mutants() if name in m.description)
    code = (
        "from benchmarks.mutants import *; from benchmarks.mutants import caught_by\n"
        f"m = next(m for m in named_mutants() if m.description == {mutant.description!r})\n"
        "print(caught_by(m, ('prove',)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith("prove, proofs.adam.variants")
