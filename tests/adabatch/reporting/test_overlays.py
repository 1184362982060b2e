"""Several runs in one figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adabatch.reporting.overlays import draw_runs, overlay_figure, run_labels


def records(batch: int, steps: int = 40) -> list[dict]:
    return [
        {
            "step": step,
            "samples": step * batch,
            "loss": 5 - step / 20,
            "batch_size": batch,
            **({"val_loss": 4.0} if step % 10 == 0 else {}),
        }
        for step in range(1, steps + 1)
    ]


def test_each_run_is_a_line_in_each_panel():
    figure = overlay_figure({"a": records(4), "b": records(8), "c": records(16)})
    panels = figure.axes
    assert [len(axes.lines) for axes in panels] == [3, 3, 3]
    assert list(panels[2].lines[1].get_ydata()) == [8] * 40
    assert list(panels[1].lines[0].get_xdata()) == [40, 80, 120, 160]
    against_steps = overlay_figure({"a": records(4)}, "step").axes[1]
    assert list(against_steps.lines[0].get_xdata()) == [10, 20, 30, 40]


def test_files_are_written(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records(4)))
    paths = draw_runs([tmp_path / "a", tmp_path / "b" / "metrics.jsonl"], tmp_path / "drawn", "step")
    assert [path.name for path in paths] == ["runs.png", "runs.pdf"]
    assert all(path.stat().st_size > 5000 for path in paths)


def test_bad_input(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match="no metrics at"):
        draw_runs([tmp_path / "missing"], tmp_path)
    with pytest.raises(ValueError, match="no step in its metrics"):
        draw_runs([tmp_path / "empty"], tmp_path)
    with pytest.raises(ValueError, match="against samples or step"):
        draw_runs([tmp_path / "empty"], tmp_path, "hours")
    with pytest.raises(ValueError, match="named twice"):
        draw_runs([tmp_path / "empty", tmp_path / "empty"], tmp_path)


def test_labels_tell_runs_apart():
    assert run_labels([Path("x/a"), Path("x/b")]) == ["a", "b"]
    assert run_labels([Path("x/a/0"), Path("y/a/0")]) == ["x/a/0", "y/a/0"]
