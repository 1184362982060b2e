"""Each extra is enough for what it promises, and a command says in one line which one it lacks."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.support.blocked import without
from tests.support.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"tomli-w": "tomli_w", "python-flint": "flint"}
TORCH = {"torch"}


def modules_of(extra: str) -> set[str]:
    """The modules that an extra names."""
    names = [re.split(r"[\[<>=]", requirement)[0] for requirement in PROJECT["optional-dependencies"][extra]]
    return {MODULES.get(name, name) for name in names}


EXTRAS = modules_of("train") | modules_of("theory") | {"accelerate", "tensorboard", "wandb", "pandas"}
"""All that may be installed apart from numpy."""

MAIN = "from adabatch.commands import main; main()"

STEP = """
import torch
import adabatch.integrations, adabatch.integrations.noise_scale, adabatch.integrations.accelerate
import adabatch.schedules, adabatch.statistics
from adabatch import CoordinateStatistics, GradientStatistics, NormTest

torch.manual_seed(0)
model = torch.nn.Linear(8, 1)
statistics = GradientStatistics(model)
schedule = NormTest(eta=0.1, initial=8, maximum=64, multiple_of=8)
for _ in range(4):
    x = torch.randn(2, 8)
    (model(x) - 5 * torch.randn(2, 1)).square().mean().backward()
    statistics.end_microbatch(2)
schedule.update(statistics.finish())
print(schedule.batch_size, *sorted({"scipy", "typer", "transformers"} & set(sys.modules)))
"""


def test_torch_and_numpy_are_enough_to_measure_a_step():
    done = without(EXTRAS - TORCH - {"sympy", "mpmath", "jinja2"}, STEP)  # torch itself brings the last three
    assert done.stdout == "64\n", done.stderr


def test_numpy_is_enough_for_moments_and_schedules():
    code = """
import adabatch.moments.l1, adabatch.moments.noise_scale, adabatch.moments.coordinate_moments
from adabatch import GradientMoments, NormTest
print(NormTest(eta=0.1, initial=8, maximum=64).batch_size)
"""
    done = without(EXTRAS, code)
    assert done.stdout == "8\n", done.stderr


def test_the_statistics_say_that_they_need_torch():
    done = without(TORCH, "import adabatch.statistics")
    assert done.stderr.splitlines()[-1].endswith("adabatch.statistics needs torch: pip install 'adabatch[train]'")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("claims", "Thm B.1"),
        ("prove L5", "1 of 1 proofs hold"),
        ("verify-bounds --quick --experiment sign-descent", "verdict came out as it should"),
        ("--version", "adabatch 0."),
    ],
)
def test_the_extra_theory_is_enough_for_its_commands(tmp_path, arguments, shown):
    done = without(EXTRAS - modules_of("theory"), MAIN, *arguments.split(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


@pytest.mark.parametrize(
    ("missing", "arguments", "message"),
    [
        ("torch", "train --preset demo", "adabatch train needs torch: pip install 'adabatch[train]'"),
        ("filelock", "train --preset demo", "adabatch train needs filelock: pip install 'adabatch[train]'"),
        ("scipy", "verify-bounds", "adabatch verify-bounds needs scipy: pip install 'adabatch[theory]'"),
        ("cma", "attack sgd", "adabatch attack needs cma: pip install 'adabatch[theory]'"),
        ("sympy", "prove L5", "adabatch prove needs sympy: pip install 'adabatch[theory]'"),
        ("typer", "claims", "adabatch claims needs typer: pip install 'adabatch[theory]'"),
        ("typer", "--help", "adabatch needs typer: pip install 'adabatch[train]'"),
    ],
)
def test_a_command_without_its_extra_names_it_in_one_line(tmp_path, missing, arguments, message):
    done = without({missing}, MAIN, *arguments.split(), folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"Error: {message}\n")
    assert not list(tmp_path.iterdir())


def test_a_module_of_adabatch_that_is_missing_is_not_taken_for_an_extra():
    done = without({"proofs"}, MAIN, "prove", "L5")
    assert "Traceback" in done.stderr
    assert "pip install" not in done.stderr
