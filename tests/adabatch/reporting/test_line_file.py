"""Lines reach their file, also one that is moved, deleted or cannot be written for a while."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.reporting.line_file import LineFile


def lines_in(path: Path) -> list[str]:
    return path.read_text().splitlines()


EVENTS = ["delete", "move", "replace", "delete the folder", "disk full", "half a line", "room again"]


@given(st.lists(st.sampled_from([*EVENTS, "line", "line"]), max_size=12))
def test_every_line_is_in_its_place_in_the_end(events):
    """Also after a disk that was full and took a part of a line, if there is room again before the end."""
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        folder = Path(scratch, "run")
        folder.mkdir()
        path, written, write = folder / "lines", [], os.write
        path.write_text("before\n")
        file = LineFile(path)
        for number, event in enumerate([*events, "room again", "line"]):
            if event == "line":
                written.append(f"line {number}")
                file.append(written[-1])
            elif event == "disk full":
                patch.setattr(os, "write", full)
            elif event == "half a line":
                patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: -(len(data) // -2)]))
            elif event == "room again":
                patch.setattr(os, "write", write)
                folder.mkdir(exist_ok=True)
            elif path.exists():
                disturb(event, path, number)
        assert file.close() == []
        assert lines_in(path) == ["before", *written]


def full(descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disturb(event: str, path: Path, number: int) -> None:
    if event == "delete":
        path.unlink()
    elif event == "move":
        path.rename(path.with_name(f"moved-{number}"))
    elif event == "replace":
        path.with_name("other").write_text("other\n")
        path.with_name("other").replace(path)
    else:
        for each in path.parent.iterdir():
            each.unlink()
        path.parent.rmdir()


def test_lines_that_never_went_through_are_counted(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    path.touch()
    file = LineFile(path)
    file.append("one")
    monkeypatch.setattr(os, "write", full)
    file.append("two")
    file.append("three")
    (problem,) = file.close()
    assert problem.startswith(f"the last 2 lines could not be written to {path}")
    assert "No space left on device" in problem
    assert lines_in(path) == ["one"]


def test_a_file_that_cannot_be_put_back_is_reported(tmp_path):
    path = tmp_path / "run" / "lines"
    path.parent.mkdir()
    path.touch()
    file = LineFile(path)
    path.parent.rename(tmp_path / "moved")
    file.append("one")
    assert lines_in(tmp_path / "moved" / "lines") == ["one"]
    (problem,) = file.close()
    assert problem.startswith(f"its lines could not be written to {path}")
