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
    write_tuned(points, [1000], 8, folder)
    assert read_tuned(folder, points, [0, 1], 8) == points


def test_the_file_is_readable(tmp_path):
    write_tuned({"seesaw": Point(-1, 4, 0)}, [1000, 1001], 8, tmp_path)
    assert json.loads((tmp_path / TUNED).read_text()) == {
        "search_seeds": [1000, 1001],
        "first_batch": 8,
        "points": {"seesaw": {"rate": -1, "path": "linear", "warmup": 0.0}},
    }


def test_other_schedules_of_the_file_stay(tmp_path):
    write_tuned({"seesaw": Point(-1, 4, 0), "late": Point(1)}, [1000], 8, tmp_path)
    write_tuned({"late": Point(2)}, [1000], 8, tmp_path)
    assert read_tuned(tmp_path, ["seesaw", "late"], [], 8) == {"seesaw": Point(-1, 4, 0), "late": Point(2)}


def test_after_another_first_batch_the_same_multiples_are_taken(tmp_path):
    points = {name: Point(rate) for rate, name in enumerate(["constant-8", "constant-16", "goodput-32", "late"])}
    write_tuned(points, [], 8, tmp_path)
    found = read_tuned(tmp_path, ["constant-32", "goodput-64", "constant-16", "late"], [], 16)
    assert [point.rate for point in found.values()] == [1, 2, 0, 3]
    with pytest.raises(ValueError, match="has no constant-24:"):
        read_tuned(tmp_path, ["constant-48"], [], 16)
    with pytest.raises(ValueError, match="has no constant-17:"):
        read_tuned(tmp_path, ["constant-17"], [], 16)


def test_seeds_of_the_searches_are_refused(tmp_path):
    write_tuned({"late": Point()}, [1000, 1001], 8, tmp_path)
    assert read_tuned(tmp_path, ["late"], range(998, 1000), 8)
    with pytest.raises(ValueError, match=r"used the seeds \[1000, 1001\]: take another --seed, or fewer --seeds"):
        read_tuned(tmp_path, ["late"], range(998, 1010), 8)


def test_schedules_that_are_missing_are_named(tmp_path):
    write_tuned({"seesaw": Point(), "late": Point()}, [], 8, tmp_path)
    assert read_tuned(tmp_path, ["late"], [], 8) == {"late": Point()}
    with pytest.raises(ValueError, match=r"has no constant-8, mine: leave these out \(--schedules"):
        read_tuned(tmp_path, ["late", "constant-8", "mine"], [], 8)
    with pytest.raises(ValueError, match=r"elsewhere has no tuned.json: name the folder .*--tuned-by"):
        read_tuned(tmp_path / "elsewhere", ["late"], [], 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"points": {}}',
        '{"search_seeds": ["x"], "points": {}}',
        '{"search_seeds": [], "first_batch": 8, "points": {"late": 1}}',
        '{"search_seeds": [], "first_batch": 8, "points": {"late": {"rate": 1, "path": "linear"}}}',
        '{"search_seeds": [], "points": {}}',
        '{"search_seeds": [], "first_batch": 0, "points": {}}',
        '{"search_seeds": [], "first_batch": 8, "points": {"late": {"rate": 1.5, "path": "linear", "warmup": 0}}}',
        '{"search_seeds": [], "first_batch": 8, "points": {"late": {"rate": 1, "path": "steep", "warmup": 0.0}}}',
        '{"search_seeds": [], "first_batch": 8, "points": {"late": {"rate": 1, "path": "linear", "warmup": 0.3}}}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / TUNED).write_text(text)
    with pytest.raises(ValueError, match=r"tuned.json is damaged, or of another version: delete it"):
        read_tuned(tmp_path, ["late"], [], 8)
