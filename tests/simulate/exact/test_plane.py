"""Rules over the plane of source and capacity: the same numbers as by hand, own rules, the command's files."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from adabatch.commands.application import app
from adabatch.schedules import Constant
from simulate.exact.contest import RULES, contest, peaks
from simulate.exact.dynamics import Dynamics
from simulate.exact.plane import chosen_rules, over_optimum, plane, plane_tasks
from simulate.exact.tasks import RANGES, own_tasks
from simulate.table import Table


def test_ratios_are_the_contests_risks_over_an_optimum_that_no_rule_beats():
    found = plane(Dynamics.SGD, 2, ("constant 1", "late"), duration=20.0, iterations=8)
    tasks = plane_tasks(2, 20.0)
    risks = contest(
        Dynamics.SGD, tasks, {name: RULES[name] for name in ("constant 1", "late")}, peaks(Dynamics.SGD)
    )
    ratio = found.where(rule="late")["ratio"] / found.where(rule="constant 1")["ratio"]
    np.testing.assert_allclose(ratio, risks["late"] / risks["constant 1"], rtol=1e-12)
    assert found["ratio"].min() > 0.99
    assert set(found["capacity"]) == set(RANGES["spectrum"])


def test_rules_are_chosen_by_name_or_from_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from adabatch.schedules import Constant\ndef one(tasks, row, rates):\n    return Constant(4)\n"
    )
    rules = chosen_rules(["ramp", "mine.py:one"])
    assert isinstance(rules["mine.py:one"](plane_tasks(1), 0, None), Constant)
    assert list(chosen_rules([])) == list(RULES)
    with pytest.raises(ValueError, match=r"unknown rule 'hill'; known: constant 1, .*as in mine\.py:build"):
        chosen_rules(["hill"])
    with pytest.raises(ValueError, match=r"rule 'mine\.py:two': mine\.py has no 'two'; it has: one"):
        chosen_rules(["mine.py:two"])


def test_the_command_writes_figure_and_table(tmp_path):
    options = ["--tasks", "4", "--duration", "0.05", "--iterations", "2", "--optimizer", "sgd", "--rule", "late"]
    result = CliRunner().invoke(app, ["optimum", "--plane", *options, "--output", str(tmp_path / "plane")])
    assert result.exit_code == 0, result.output
    assert "  late" in result.output
    assert len(Table.read_csv(tmp_path / "plane" / "plane.csv")) == 4
    assert (tmp_path / "plane" / "plane.png").exists()
    refused = CliRunner().invoke(app, ["optimum", "--rule", "late"])
    assert "--rule is for --plane" in str(refused.exception)


OWN = """
from simulate.exact.tasks import spectrum_task
import numpy as np
def one(): return spectrum_task([1.0, 0.1], [1.0, 4.0], 0.5, 100, 16)
def short(): return spectrum_task([1.0, 0.1], [1.0], 0.5, 100, 16)
def falling(): return spectrum_task([1.0, -0.1], [1.0, 4.0], 0.5, 100, 16)
def unknown(): return spectrum_task([1.0, 0.1], [1.0, np.nan], 0.5, 100, 16)
def learned(): return spectrum_task([1.0, 0.1], [0.0, 0.0], 0.5, 100, 16)
def never(): return spectrum_task([1.0, 0.1], [1.0, 4.0], 0.5, 0, 16)
def listed(): return [1.0]
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "2 eigenvalues, but 1 errors; every mode needs both"),
        ("falling", "eigenvalues must be above 0 and finite, but are from -0.1 on"),
        ("unknown", "errors must be 0 or more and finite"),
        ("learned", "all errors are 0 at the start"),
        ("never", "duration must be above 0"),
        ("listed", "must return simulate.exact.tasks.Tasks, as spectrum_task does, not list"),
        ("absent", "has no 'absent'; it has: one"),
    ],
)
def test_tasks_of_your_own_that_cannot_be_run_are_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spectra.py").write_text(OWN)
    with pytest.raises(ValueError, match=re.escape(message)):
        own_tasks(f"spectra.py:{name}")


def test_the_command_takes_tasks_of_your_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spectra.py").write_text(OWN)
    words = ["optimum", "--task", "spectra.py:one", "--iterations", "2", "--duration", "0.5", "--optimizer", "sgd"]
    survey = CliRunner().invoke(app, words)
    assert survey.output.startswith("1 tasks, equal time, 2 iterations; relative to"), survey.output
    rules = CliRunner().invoke(app, [*words, "--rule", "late"])
    tasks = own_tasks("spectra.py:one").at([0], 0.5)
    (ratio,) = over_optimum(Dynamics.SGD, tasks, chosen_rules(["late"]), 2).rules
    assert [f"{ratio[0]:.3f}"] * 3 == rules.output.splitlines()[-1].split()[1:]
    for option, value in (("--tasks", "3"), ("--seed", "1"), ("--equal", "steps")):
        idle = CliRunner().invoke(app, [*words, option, value])
        assert f"{option} does nothing with --task: leave it out" in str(idle.exception)
    written = CliRunner().invoke(app, [*words, "--rule", "late", "--output", str(tmp_path / "o.json")])
    assert "--output does nothing with --rule: leave it out" in str(written.exception)
    both = CliRunner().invoke(app, [*words, "--plane"])
    assert "--plane has tasks of its own" in str(both.exception)
