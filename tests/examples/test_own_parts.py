"""Each example of an own part runs as a program, and as a part of the command line."""

import runpy
from pathlib import Path

import pytest

from simulate.laboratory import study

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "own_objective": "adam on log-cosh under gaussian,eta=0.2: guarantee holds",
    "own_noise": "adam on geman-mcclure under laplace: guarantee holds",
    "own_spectrum": "ramp: risk over the optimum's",
    "own_optimizer": "cautious-lion on rastrigin under gaussian,eta=0.5: no bound, slope -0.",
    "own_bound": "leading-terms violated",
    "own_template": "my-optimizer on my-objective under mynoise: my-bound holds",
}


def test_every_example_of_a_part_is_listed():
    assert {path.stem for path in EXAMPLES.glob("own_*.py")} == set(SAID)


@pytest.mark.parametrize("name", sorted(SAID))
def test_the_program_prints_its_verdict(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert SAID[name] in capsys.readouterr().out
    assert (tmp_path / "runs" / "cautious-lion" / "study.png").exists() == (name == "own_optimizer")


@pytest.mark.parametrize(
    ("objective", "noise", "optimizer", "bound", "verdict"),
    [
        ("own_objective.py:LogCosh", "own_noise.py:Laplace,eta=0.2", "adam", "own_bound.py:LeadingTerms", "holds"),
        ("quadratic", "gaussian,eta=0.3", "own_optimizer.py:CautiousLion,beta1=0.8", None, "no bound"),
    ],
)
def test_the_file_names_a_part(objective, noise, optimizer, bound, verdict, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    assert study(objective, noise, optimizer, bound, steps=32, seeds=2).verdict == verdict
