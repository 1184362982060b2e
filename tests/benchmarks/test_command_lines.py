"""Twenty-five of the lines of benchmarks/command_lines.py, and whether it would notice one that ends badly."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.repository import ROOT, script

lines = script("benchmarks/command_lines.py")


@pytest.mark.slow
def test_generated_command_lines_end_well(tmp_path):
    """Forks of a process of its own: this one may have threads. The seed is not that of the table."""
    table = tmp_path / "table.txt"
    command = [sys.executable, str(ROOT / "benchmarks" / "command_lines.py"), "--forked", "25", "--started", "0"]
    done = subprocess.run(
        [*command, "--seed", "1", "--output", str(table)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong: none" in table.read_text()
    assert " all " in table.read_text()


def ended(code, err="", out="", words=("plot", "x")):
    return lines.Ended(lines.Line(words), code, out, err, 1.0).wrong


def test_what_is_wrong_is_noticed():
    assert ended(0) == ""
    assert ended(2, "Error: no metrics at x\n") == ""
    assert ended(2, "warning: one was left out\nError: no metrics at x\n") == ""
    assert ended(None) == "hang"
    assert ended(2, "Traceback (most recent call last):\n") == "traceback"
    assert ended(0, out="╭─ Traceback (most recent call last) ─╮") == "traceback"
    assert ended(1, "Error: x\n") == "exit code 1"
    assert ended(1, words=("claims", "--run")) == ""
    assert ended(-11) == "exit code -11"
    assert ended(2, "Error: x\nand more\n") == "not one line"
    assert ended(2, "") == "not one line"


def test_every_command_is_drawn_with_every_kind_of_change():
    drawn = [lines.draw(0, number, other_user=True) for number in range(1000)]
    assert drawn == [lines.draw(0, number, other_user=True) for number in range(1000)]
    assert {line.command for line in drawn} >= set(lines.COMMANDS)
    assert {line.user for line in drawn} == {None, lines.OTHER_USER}
    assert {line.encoding for line in drawn} == set(lines.ENCODINGS)
    assert sum(bool(line.environment) for line in drawn) > 100
    assert len({line.words for line in drawn}) > 800


def test_options_are_those_of_the_commands():
    options = lines.options_of("train")
    assert (options["--samples"], options["--lr"], options["--data"]) == (int, float, str)
    assert options["--no-figures"] is bool
    assert options["--dry-run"] is bool
    assert lines.options_of("covers")["--config"] is lines.Path
    assert lines.options_of("plot") == {
        "--against": str,
        "--output": lines.Path,
        "--style": lines.Path,
    } | dict.fromkeys(("--format", "--size"), str)
