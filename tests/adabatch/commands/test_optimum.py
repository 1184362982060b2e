"""``adabatch optimum``: its table, the file that ``adabatch worth`` reads, and what is refused."""

from __future__ import annotations

import json
import math

import pytest

from adabatch.worth.optimum import optimum_nearby

QUICK = ("optimum", "--tasks", 2, "--iterations", 1, "--duration", 0.01)


def test_the_file_is_the_table_and_worth_reads_it(adabatch, tmp_path):
    """Each mean, best and worst again from the tasks of the file."""
    file = tmp_path / "optimum.json"
    printed = adabatch.output(*QUICK, "--output", file)
    assert printed.endswith(f"written to {file}\n")
    content = json.loads(file.read_text())
    assert content["command"].startswith("adabatch optimum --tasks 2 ")
    assert [task["optimizer"] for task in content["tasks"]] == ["sgd"] * 2 + ["adam-like"] * 2
    lines = [line.split()[-3:] for line in printed.splitlines() if line.startswith("  both over the best rate")]
    for name, line in zip(("sgd", "adam-like"), lines, strict=True):
        ratios = [1 - task["saving"] for task in content["tasks"] if task["optimizer"] == name]
        assert line == [f"{x:.3f}" for x in (math.prod(ratios) ** 0.5, min(ratios), max(ratios))]
    nearby = {found.optimizer: found for found in optimum_nearby(1.0, 0.9, file)}
    assert nearby["sgd"].median == pytest.approx(sum(task["saving"] for task in content["tasks"][:2]) / 2)


def test_the_seed_draws_the_tasks(adabatch):
    one = (*QUICK, "--optimizer", "sgd")
    first = adabatch.output(*one)
    assert first == adabatch.output(*one, "--seed", 0) != adabatch.output(*one, "--seed", 1)
    assert "adam-like" not in first
    assert "sgd" in first


@pytest.mark.parametrize("equal", ["roofline", "samples", "steps"])
def test_schedules_that_are_hardly_optimised_still_have_a_time(adabatch, equal):
    printed = adabatch.output("optimum", "--tasks", 1, "--iterations", 2, "--duration", 0.05, "--equal", equal)
    assert printed.startswith(f"1 tasks, equal {equal}, 2 iterations; ")
    numbers = [float(x) for line in printed.splitlines() if line.startswith("  ") for x in line.split()[-3:]]
    assert len(numbers) == 2 * 6 * 3
    assert all(math.isfinite(x) for x in numbers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tasks", 0), "'--tasks': it must be from 1 to 4,096, but is 0"),
        (("--iterations", 0), "'--iterations': it must be from 1 to 10,000, but is 0"),
        (("--duration", "nan"), "'--duration'"),
        (("--duration", 0), "'--duration': it must be from 0.01 to 100, but is 0"),
        (("--seed", -1), "'--seed': it must be from 0 to 2,147,483,647, but is -1"),
        (("--optimizer", "adam"), "'adam' is not one of 'sgd', 'adam-like'"),
        (("--equal", "epochs"), "'epochs' is not one of 'time', 'roofline', 'samples', 'steps'"),
        (("--equal", "steps", "--output", "x.json"), "--output is the table of what is saved at equal time"),
    ],
)
def test_what_is_refused(adabatch, words, message):
    adabatch.refuses(message, *QUICK, *words)


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_computed(adabatch, tmp_path):
    (tmp_path / "a-file").write_text("x")
    adabatch.refuses(f"--output {tmp_path} is a folder: name a file", *QUICK, "--output", tmp_path)
    for folder in (tmp_path / "missing", tmp_path / "a-file"):
        message = f"--output {folder}/x.json cannot be written: {folder} is not a folder to write in"
        adabatch.refuses(message, *QUICK, "--output", folder / "x.json")
