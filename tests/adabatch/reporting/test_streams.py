"""Standard streams that cannot be written."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from adabatch.reporting.streams import TolerantStream, tolerant_streams

WRITES = """
import sys
from rich.console import Console
from adabatch.reporting.streams import tolerant_streams
with tolerant_streams():
    for number in range(3):
        Console(stderr=True).print("a line for the error stream")
        Console().print("a line for the output" * 1000)
        print("another", file=sys.stderr, flush=True)
    open({done!r}, "w").close()
sys.exit(7)
"""


@pytest.mark.parametrize(
    "how", ["2>/dev/full", ">/dev/full", ">/dev/full 2>&1", "2>&-", ">&- 2>&-", "2>&1 | true"]
)
def test_what_cannot_be_written_ends_nothing_and_changes_no_exit_code(tmp_path, how):
    script, done = tmp_path / "script.py", tmp_path / "done"
    script.write_text(WRITES.format(done=str(done)))
    command = f"{sys.executable} {script} {how}"
    code = "exit ${PIPESTATUS[0]}" if "|" in how else "exit $?"
    ended = subprocess.run(["bash", "-c", f"{command}; {code}"], capture_output=True, text=True)
    assert ended.returncode == 7, ended.stderr
    assert done.exists()
    if how == "2>/dev/full":
        assert ended.stdout.count("the standard error could not be written") == 1
        assert "No space left on device" in ended.stdout
    if how == ">/dev/full":
        assert ended.stderr.count("the standard output could not be written") == 1
        assert ended.stderr.count("a line for the error stream\nanother\n") == 3


def test_without_it_the_program_ends():
    """The control."""
    code = "print('x', flush=True); print('reached', file=__import__('sys').stderr)"
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{code}" >/dev/full'], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "reached" not in done.stderr


def test_a_stream_that_works_is_as_it_was(capsys):
    streams = sys.stdout, sys.stderr
    with tolerant_streams():
        print("out")
        Console(stderr=True).print("error")
    assert capsys.readouterr() == ("out\n", "error\n")
    assert (sys.stdout, sys.stderr) == streams


def test_a_stream_that_works_again_is_written_again(tmp_path: Path):
    class Full(io.StringIO):
        failing = True

        def write(self, text: str) -> int:
            if self.failing:
                raise OSError("no room")
            return super().write(text)

    target = Full()
    stream = TolerantStream(target)
    print("lost", file=stream)
    target.failing = False
    print("kept", file=stream)
    assert target.getvalue() == "kept\n"
    assert str(stream.failure) == "no room"
