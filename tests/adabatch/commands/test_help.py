"""What ``--help`` shows of every command: defaults and presets, each taken from where it is defined."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer

from adabatch.commands.application import app
from adabatch.experiments.comparison.schedules import standard_schedules
from adabatch.settings import Settings, load_settings, options, preset_summaries

GROUP = typer.main.get_command(app)
COMMANDS = {name: GROUP.get_command(None, name) for name in GROUP.list_commands(None)}  # type: ignore[attr-defined]


@pytest.fixture
def shown(adabatch):
    """The help of a command, its words as running text."""
    return lambda command: " ".join(re.sub(r"[│╭╮╰╯─]", " ", adabatch.output(command, "--help")).split())


def test_the_help_of_all_has_each_command_with_the_summary_of_its_own_help(adabatch, shown):
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", adabatch.output("--help")).split())
    for name, command in COMMANDS.items():
        summary = " ".join(command.help.split("\n\n")[0].split())
        assert f" {name} {summary}" in text
        assert summary in shown(name)


def test_the_help_of_all_loads_no_command():
    code = "import sys, atexit; atexit.register(lambda: print('adabatch.settings' in sys.modules)); "
    code += "sys.argv = ['adabatch', '--help']; from adabatch.commands import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_shows_its_default(shown, command):
    text = shown(command)
    optional = [option for option in COMMANDS[command].params if not option.required]
    assert text.count("[default: ") == len(optional)
    assert text.count("[required]") == len(COMMANDS[command].params) - len(optional)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("train", "--dry-run Print settings, memory, communication and steps; train nothing. [default: off]"),
        ("compare", "--tuned-by Folder of another comparison: search nothing, take what it found"),
        ("compare", "[default: comparison]"),
        ("export", "--overwrite Replace an earlier export there. [default: off]"),
        ("plot", "--output Folder of the figure. [default: runs/figures]"),
        ("verify-bounds", "--seeds Seeds per configuration. [default: none]"),
    ],
)
def test_the_defaults_are_those_of_the_options(shown, command, line):
    text = re.sub(r"<[\w\[\]]+> ", "", shown(command))
    assert line in text


def test_the_default_of_every_setting(shown):
    text, defaults = shown("train"), Settings()
    for section, item, _ in options():
        value = getattr(getattr(defaults, section), item.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            option = text.split(f" --{item.name.replace('_', '-')} ", 1)[1]
            assert option.split("[default: ", 1)[1].split("]")[0] == str(value), item.name


def test_compare_lists_every_schedule(shown):
    text = shown("compare")
    assert all(f" {schedule.name}" in text for schedule in standard_schedules(load_settings("comparison")))


def test_train_lists_the_presets_with_a_word_about_each(shown):
    text = shown("train")
    assert len(preset_summaries()) >= 7
    for name, summary in preset_summaries().items():
        assert len(summary.split()) >= 5
        assert f"{name}: {summary}." in text


def test_allow_is_repeated_like_data(adabatch, tmp_path):
    """Two names, of which the second is unknown: each is looked at by itself."""
    words = ["--allow", "seed", "--allow", "sead", "--data", tmp_path, "--output", tmp_path / "run"]
    adabatch.refuses("--allow sead names no setting", "train", *words)
