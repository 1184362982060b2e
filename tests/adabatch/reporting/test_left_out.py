"""What figures do not show is counted, named and written where people look."""

from __future__ import annotations

import json
import math

import pytest
from matplotlib.figure import Figure

from adabatch.reporting.figures import plot_batch_size, write_figures
from adabatch.reporting.left_out import left_out, note_what_is_left_out
from adabatch.reporting.overlays import draw_runs, overlay_figure


def run(losses, batch=100):
    return [
        {"step": step, "samples": batch * step, "loss": loss, "batch_size": batch}
        for step, loss in enumerate(losses, start=1)
    ]


FALLING = [9.0, 8.0, 3.0] + [2.0 - step / 100 for step in range(37)]
"""The panel begins at the value of the sixth point: five points lie above."""


def test_points_beyond_a_limit_are_counted_and_named():
    (line,) = left_out(overlay_figure({"mine": run(FALLING)}))
    # With 4000 samples the width is 40 and a batch of 100 weighs 1 - exp(-2.5): each mean lies near its own loss.
    assert line.startswith("training loss (nats) of mine: 5 of 40 points above 1.")
    assert line.endswith("(samples (sequences) 100 to 500)")


def test_a_run_that_ends_higher_than_another_lets_more_be_seen():
    lines = left_out(overlay_figure({"low": run(FALLING), "high": run([10.0] * 40)}))
    assert lines == []  # the other run reaches up to all points


def test_each_panel_names_what_it_is_drawn_against():
    figure = Figure()
    panels = figure.subplots(3, 1)
    panels[1].sharex(panels[2])
    for axes, name in zip(panels, "abc", strict=True):
        axes.plot([1, 2], [0, 5], label=name)
        axes.set(ylim=(0, 1), ylabel="loss")
    panels[0].set_xlabel("batch")
    panels[2].set_xlabel("samples")
    assert [line[line.index("(") :] for line in left_out(figure)] == ["(batch 2 to 2)", *["(samples 2 to 2)"] * 2]


def test_values_that_are_not_finite_are_counted_and_named():
    losses = [2.0] * 40
    losses[10] = losses[12] = None
    figure = overlay_figure({"mine": run(losses), "other": run([2.0] * 40)})
    assert left_out(figure) == [
        "training loss (nats) of mine: 2 of 40 points not finite (samples (sequences) 1,100 to 1,300)"
    ]


def test_statistics_far_from_the_batch_and_unresolved_ones():
    records = [record | {"test_statistic": 150.0, "decision": "grow"} for record in run([2.0] * 5)]
    records[1]["test_statistic"] = 401.0  # the panel ends at four times the largest batch
    records[2]["test_statistic"] = 49.0  # and begins at half the smallest
    records[3] |= {"test_statistic": None, "decision": "unresolved"}
    records[4] |= {"test_statistic": None, "decision": "not tested"}
    lines = left_out(plot_batch_size(records, Figure().subplots()).figure)
    assert [line.split(": ")[1].split(" (")[0] for line in lines] == [
        "1 of 4 points above 400",
        "1 of 4 points below 50",
        "1 of 4 points not finite",
    ]


def test_nothing_is_said_where_all_is_shown():
    figure = overlay_figure({"mine": run([2.0] * 40)})
    assert left_out(figure) == []
    assert note_what_is_left_out(figure).get_supxlabel() == ""


def test_the_note_is_below_the_figure_and_has_an_end(tmp_path):
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for name in range(10):
        axes.plot([1, 2], [1.0, math.inf], label=f"run {name}")
    axes.plot([1, 2], [1.0, math.inf])  # nobody can name it
    write_figures({"figure": figure}, tmp_path)
    note = figure.get_supxlabel()
    assert note.count("not shown: ") == 7
    assert "run 5: 1 of 2 points not finite" in note
    assert note.endswith("points of 4 curves more")
    figure.canvas.draw()
    (text,) = [text for text in figure.texts if text.get_text() == note]
    assert text.get_window_extent().y1 < axes.get_window_extent().y0  # below the panel
    assert text.get_window_extent().x1 < figure.bbox.x1


def test_the_command_says_it_on_standard_error_and_in_the_file(adabatch, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    records = run(FALLING)
    records[20]["loss"] = None
    (tmp_path / "a" / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "b" / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in run([1.9] * 40)))
    ended = adabatch("plot", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "drawn")
    assert ended.code == 0
    above, not_finite = ended.err.splitlines()
    assert above.startswith("not shown: training loss (nats) of a: 5 of 40 points above 1.9")
    assert not_finite == (
        "not shown: training loss (nats) of a: 1 of 40 points not finite (samples (sequences) 2,100 to 2,100)"
    )


def test_what_is_printed_is_what_the_figure_says(tmp_path, capsys, monkeypatch):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in run(FALLING)))
    seen = []
    monkeypatch.setattr(
        "adabatch.reporting.overlays.write_figures",
        lambda figures, folder, *_: seen.extend(map(note_what_is_left_out, figures.values())) or [],
    )
    draw_runs([tmp_path], tmp_path)
    (figure,) = seen
    assert capsys.readouterr().err.split() == figure.get_supxlabel().split()


@pytest.mark.parametrize("inverted", [False, True])
def test_the_direction_of_an_axis_does_not_matter(inverted):
    axes = Figure().subplots()
    axes.plot([1, 2, 3], [0.0, 5.0, 9.0], label="a")
    axes.set(ylim=(6, 1) if inverted else (1, 6))
    assert [line.split(": ")[1].split(" (")[0] for line in left_out(axes.figure)] == [
        "1 of 3 points above 6",
        "1 of 3 points below 1",
    ]
