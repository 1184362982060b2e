"""Points that another comparison found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, Point
from adabatch.experiments.comparison.tuning.tuned_file import TUNED, read_tuned, write_tuned

POINTS = st.builds(Point, st.integers(-30, 30), st.integers(0, len(PATHS) - 1), st.integers(0, len(WARMUPS) - 1))


@settings(max_examples=20)
@given(st.dictionaries(st.text(max_size=5), POINTS, max_size=5))
def test_what_is_written_is_read(tmp_path_factory, points):
    folder = tmp_path_factory.mktemp("tuned")
    write_tuned(points, folder)
    assert read_tuned(folder, points) == points


def test_the_file_is_readable(tmp_path):
    write_tuned({"seesaw": Point(-1, 4, 0)}, tmp_path)
    assert json.loads((tmp_path / TUNED).read_text()) == {"seesaw": {"rate": -1, "path": "linear", "warmup": 0.01}}


def test_schedules_that_are_missing_are_named(tmp_path):
    write_tuned({"seesaw": Point(), "late": Point()}, tmp_path)
    assert read_tuned(tmp_path, ["late"]) == {"late": Point()}
    with pytest.raises(ValueError, match=r"has no constant-8, mine: leave these out \(--schedules"):
        read_tuned(tmp_path, ["late", "constant-8", "mine"])
    with pytest.raises(ValueError, match=r"elsewhere has no tuned.json: name the folder .*--tuned-by"):
        read_tuned(tmp_path / "elsewhere", ["late"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"late": 1}',
        '{"late": {"rate": 1, "path": "linear"}}',
        '{"late": {"rate": 1.5, "path": "linear", "warmup": 0.01}}',
        '{"late": {"rate": 1, "path": "steep", "warmup": 0.01}}',
        '{"late": {"rate": 1, "path": "linear", "warmup": 0.3}}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / TUNED).write_text(text)
    with pytest.raises(ValueError, match=r"tuned.json is damaged, or of another version.*--report-only"):
        read_tuned(tmp_path, ["late"])
