"""The examples in the docstrings of the simulation core run."""

import doctest
import importlib
import pkgutil

import pytest

import simulate.consistency
import simulate.noise
import simulate.objectives
import simulate.optimizers

CORE = ["experiments.options", "rates", "registry", "running_sums", "streams", "trajectory"]
MODULES = [f"simulate.{name}" for name in CORE] + [
    module.name
    for package in (simulate.consistency, simulate.noise, simulate.objectives, simulate.optimizers)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize(
    "name", [*MODULES, "simulate.consistency", "simulate.noise", "simulate.objectives", "simulate.optimizers"]
)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    parser = doctest.DocTestFinder()
    counts = {name: sum(len(t.examples) for t in parser.find(importlib.import_module(name))) for name in MODULES}
    assert sum(counts.values()) > 20
