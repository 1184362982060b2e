"""Mutants are made from the syntax tree, each at one place; a fast sample of them is noticed in each run of CI."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from benchmarks.mutants import (
    ROOT,
    Mutant,
    checks_again,
    chosen_mutants,
    imports,
    modules,
    mutants,
    named_mutants,
    noticed_in,
    reasons,
)

SAMPLE = (
    "theory.adam.constants: B without its 1",
    "theory.adam.constants.freezing_constant: 1 1% larger",
    "theory.other_optimizers.sgd.descent_per_step: + for -",
    "theory.other_optimizers.adagrad: drift halved",
    "theory.adam_sharp.theorem2: log growth: K for K'",
    "theory.adam_sharp.constants.mean_step: minimum -> maximum",
    "theory.training.step_schedules: v_0 forgotten twice as fast",
    "theory.training.violated_steps: memory without sqrt(beta2)",
    "theory.l1.theorem3: Lambda 5% smaller",
    "theory.samples.goal.largest_batch",
)
"""Ten that the near-tight instances notice in half a second each."""


@cache
def all_mutants() -> list[Mutant]:
    """Of the syntax trees."""
    return [mutant for module in modules() for mutant in mutants(module)]


def test_there_are_enough_and_each_changes_one_module() -> None:
    found = all_mutants()
    assert len(found) > 1000
    assert len({mutant.description for mutant in found}) == len(found)
    chosen = chosen_mutants(13)
    assert len(chosen) >= 200
    assert {mutant.module for mutant in chosen} >= {mutant.module for mutant in found}
    some = [mutant for mutant in found if mutant.module == "theory.problem"]
    own = ast.unparse(ast.parse((ROOT / "theory" / "problem.py").read_text(encoding="utf-8")))
    assert some
    assert all(mutant.source != own for mutant in some)


def test_those_by_hand_are_still_changes() -> None:
    assert all(mutant.source != mutant.source.replace(*reversed(mutant.replacement)) for mutant in named_mutants())


def test_only_what_imports_the_module_is_checked() -> None:
    assert "theory.adam.constants" in imports("proofs.adam.theorem1")
    assert "theory.training.clipping" not in imports("proofs.adam.theorem1")


def test_what_is_excused_is_a_mutant_with_a_reason() -> None:
    descriptions = "\n".join(mutant.description for mutant in all_mutants())
    for pattern, reason in reasons().items():
        assert reason
        assert re.search(pattern, descriptions, re.MULTILINE), pattern


def test_what_noticed_a_mutant_is_tried_first_again(tmp_path: Path) -> None:
    table, check = tmp_path / "table.txt", "tests/theory/adam/test_constants.py"
    table.write_text(
        "$ python benchmarks/mutants.py\n"
        f"m.f: max -> min in x | tests, {check}: {check}::test | 1 s\n"
        "m.g: 1 1% larger in y | claims, Alg. 1, test: verdict: open | 2 s\n"
    )
    found = noticed_in(table)
    assert found == {"m.f: max -> min in x": f"tests, {check}", "m.g: 1 1% larger in y": "claims, Alg. 1, test"}
    assert next(checks_again(found["m.f: max -> min in x"], "theory.adam.constants"))[:2] == ("tests", check)


def test_numbers_of_examples_and_margins_are_named() -> None:
    found = [mutant.description for mutant in mutants("theory.audit.checks.algorithm")]
    assert any("enforced_at_the_step: margin 2.75 1% larger" in text for text in found)
    assert any("_mean_of_enlarged_batches: 2 1% larger in average" in text for text in found)
    assert any("started_from_zero: example's 0.99 1% larger" in text for text in found)


def noticed(names: tuple[str, ...], stage: str) -> str:
    """What a stage's checks find, in a process that has not imported the project."""
    code = (
        "import sys, benchmarks.mutants as m\n"
        "m.preload()\n"
        f"for name in {names!r}:\n"
        "    module = max((module for module in m.modules() if module in name), key=len, default='')\n"
        "    found = [*m.named_mutants(), *(m.mutants(module) if module else ())]\n"
        "    mutant = next(x for x in found if name in x.description)\n"
        f"    print(name, '|', m.try_mutant(mutant, m.{stage})[0])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout


def test_a_sample_is_noticed_by_the_near_tight_instances() -> None:
    lines = noticed(SAMPLE, "near_tight").splitlines()
    assert [line for line in lines if "| verify, near-tight: " not in line] == []
    assert len(lines) == len(SAMPLE)


@pytest.mark.slow
def test_what_once_survived_everything_is_proven_wrong() -> None:
    lines = noticed(("hi is the mean", "epsilon once, not K times"), "proofs").splitlines()
    assert ["| prove, proofs.adam.variants" in line for line in lines] == [True, True]
