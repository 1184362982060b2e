"""A batch rule is registered next to its class: a module put into the package is all that a new one takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import adabatch
from adabatch.schedules.registry import batch_rules
from adabatch.settings import ScheduleSettings, field_docs

DOUBLING = '''
from __future__ import annotations

from dataclasses import dataclass

from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.registry import register

@dataclass(frozen=True)
class DoublingOptions:
    """Options of the doubling schedule."""

    doubling_steps: int = 2
    """doubling: the batch doubles every this many steps."""

@register("doubling", DoublingOptions)
class Doubling(BatchSizeSchedule):
    """Twice the batch every few steps.

    A second paragraph, which is not help.
    """

    def __init__(self, initial, maximum, steps):
        super().__init__(initial, maximum)
        self.doubling_steps = steps

    @classmethod
    def from_settings(cls, settings, context):
        return cls(settings.initial_batch, settings.max_batch, settings.doubling_steps)

    def _decide(self, moments):
        proposal = self.batch_size * 2 if (self.steps + 1) % self.doubling_steps == 0 else self.batch_size
        return Decision(proposal, proposal)
'''

USE = """
from adabatch.commands import main
from adabatch.settings import load_settings
from adabatch.training.building import build_schedule

settings = load_settings(overrides={"schedule": "doubling", "initial_batch": 4, "doubling_steps": 3})
schedule = build_schedule(settings)
print([schedule.update().batch_size for _ in range(6)])
main()
"""


def test_a_new_rule_is_one_module(tmp_path):
    package = tmp_path / "adabatch"
    shutil.copytree(Path(adabatch.__file__).parent, package)  # with what is compiled
    (package / "schedules" / "doubling.py").write_text(DOUBLING)
    environment = {"PATH": "", "PYTHONPATH": str(tmp_path), "COLUMNS": "300"}
    words = [sys.executable, "-c", USE, "train", "--help"]
    ended = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == "[4, 4, 8, 8, 8, 16]"
    assert "--doubling-steps" in ended.stdout
    assert "doubling: Twice the batch every few steps." in " ".join(ended.stdout.split())
    assert "which is not help" not in ended.stdout


@pytest.mark.parametrize("name", batch_rules())
def test_each_rule_has_help_and_its_options_are_settings(name):
    rule = batch_rules()[name]
    assert rule.summary
    assert "\n" not in rule.summary
    settings = {item.name for item in fields(ScheduleSettings)}
    for item in fields(rule.options) if rule.options else ():
        assert item.name in settings
        assert field_docs(ScheduleSettings)[item.name].startswith((name, "All that looks at"))
