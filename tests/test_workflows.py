"""The workflows: each job is one make target, and the target exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def targets() -> set[str]:
    """What the Makefile declares as phony; each of them with a rule."""
    text = (ROOT / "Makefile").read_text()
    names = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE) for name in line.split()}
    assert all(re.search(rf"^{name}:", text, re.MULTILINE) for name in names)
    return names


def problems(workflow: str) -> list[str]:
    """Jobs that run anything but one existing make target."""
    found = []
    for name, job in yaml.safe_load(workflow)["jobs"].items():
        commands = [step["run"].split() for step in job["steps"] if "run" in step]
        if [command[0] for command in commands] != ["make"] or commands[0][1] not in targets():
            found.append(f"{name}: {commands}")
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_job_is_one_make_target(path):
    assert problems(path.read_text()) == []


@pytest.mark.parametrize("command", ["make tset", "pytest", "make lint\n      - run: make test"])
def test_another_command_is_noticed(command):
    assert problems(f"jobs:\n  one:\n    steps:\n      - run: {command}\n")


def test_the_promised_pythons_are_tested():
    (ci,) = (path for path in WORKFLOWS if path.stem == "ci")
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert yaml.safe_load(ci.read_text())["jobs"]["test"]["strategy"]["matrix"]["python"] == classifiers
