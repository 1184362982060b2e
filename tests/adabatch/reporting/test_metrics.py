"""Metrics files, summaries and figures."""

import io
import json
import math

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from adabatch.reporting.console import ProgressReport, summary, summary_table
from adabatch.reporting.figures import plot_batch_size, plot_loss, plot_moments, save_figures
from adabatch.reporting.metrics import MetricsWriter, read_metrics
from adabatch.reporting.overlays import overlay_figure


def records(count=12):
    made, samples = [], 0
    for step in range(1, count + 1):
        batch = 4 if step < 6 else 8
        samples += batch
        made.append(
            {
                "step": step,
                "samples": samples,
                "tokens": samples * 16,
                "loss": 5 / step,
                "batch_size": batch,
                "tokens_per_second": 100.0,
                "noise_trace": 3.0 if step < 9 else None,
                "grad_sq_norm": 0.5 if step < 9 else None,
                "test_statistic": 6.0 if step < 9 else None,
                "skipped": 0,
                **({"val_loss": 6 / step} if step % 4 == 0 else {}),
            }
        )
    return made


def test_what_is_written_is_read_back(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for record in records():
            writer.write(record)
        assert read_metrics(tmp_path) == records()  # flushed while the file is open
    assert read_metrics(tmp_path / "metrics.jsonl") == records()


def test_numbers_that_are_not_finite_become_null(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        measured = {"loss": math.nan, "grad_norm": math.inf, "at_start": {"val_loss": math.nan}}
        writer.write({"step": 1, "samples": 1, **measured})
    line = (tmp_path / "metrics.jsonl").read_text()
    none = {"loss": None, "grad_norm": None, "at_start": {"val_loss": None}}
    assert json.loads(line) == {"step": 1, "samples": 1, **none}


def test_a_resumed_run_neither_misses_nor_repeats_a_record(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for record in records():
            writer.write(record)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "sam')  # cut short by a kill
    assert read_metrics(tmp_path) == records()
    with MetricsWriter(tmp_path, after_step=7) as writer:
        for record in records()[7:]:
            writer.write(record)
    assert read_metrics(tmp_path) == records()


def test_no_metrics(tmp_path):
    with pytest.raises(ValueError, match="no metrics at"):
        read_metrics(tmp_path)


def test_summary():
    numbers = summary(records())
    assert numbers["steps"] == 12
    assert numbers["mean batch"] == pytest.approx(76 / 12)
    assert numbers["best validation loss"] == numbers["final validation loss"] == 0.5
    assert numbers["tokens/s"] == pytest.approx(100)
    text = io.StringIO()
    Console(file=text, width=80).print(summary_table(records()))
    assert "mean batch" in text.getvalue()


def test_progress_prints_lines_where_there_is_no_terminal():
    text = io.StringIO()
    with ProgressReport(76, console=Console(file=text)) as progress:
        for record in records():
            progress.show(record)
        progress.show({**records()[-1], "loss": math.nan, "val_loss": 0.5})
    lines = text.getvalue().splitlines()
    assert "samples 4/76" in lines[0]
    assert "samples 16/76" in lines[1]
    assert "validation 1.5000" in lines[1]
    assert "nan" not in text.getvalue()


def of_two_sets():
    """The records with a second validation set, and losses on both before the first step."""
    made = records()
    for record in made[3::4]:
        record["val_loss/code"] = 2 * record["val_loss"]
    return [made[0] | {"at_start": {"val_loss": 7.0, "val_loss/code": 9.0}}, *made[1:]]


def test_each_validation_set_is_told_also_of_before_the_first_step():
    numbers = summary(of_two_sets())
    names = ("validation loss before the first step", "best validation loss", "final validation loss")
    assert [numbers[name] for name in names] == [7.0, 0.5, 0.5]
    names = ("validation loss code before the first step", "best validation loss code")
    assert [numbers[name] for name in names] == [9.0, 1.0]
    text = io.StringIO()
    with ProgressReport(76, console=Console(file=text)) as progress:
        for record in of_two_sets():
            progress.show(record)
    assert text.getvalue().startswith("before the first step:  validation 7.0000  validation code 9.0000\nstep 1 ")
    assert "validation 1.5000  validation code 3.0000\n" in text.getvalue()
    axes = plot_loss(of_two_sets(), Figure().subplots())
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert drawn["validation"][:2] == [[0, 7.0], [16, 1.5]]
    assert drawn["validation code"][:2] == [[0, 9.0], [16, 3.0]]
    first, second = overlay_figure({"a": of_two_sets()}).axes[1].get_lines()
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    assert second.get_ydata().tolist() == [9.0, 3.0, 1.5, 1.0]


def test_progress_draws_a_bar_on_a_terminal():
    text = io.StringIO()
    with ProgressReport(76, console=Console(file=text, force_terminal=True, width=120)) as progress:
        for record in records():
            progress.show(record)
    assert "tokens/s" in text.getvalue()
    assert "76/76 samples" in text.getvalue()


@pytest.mark.parametrize("against", ["samples", "step"])
def test_plots_show_the_records(against):
    axes = Figure().subplots()
    assert plot_loss(records(), axes, against) is axes
    validation = next(line for line in axes.get_lines() if line.get_label() == "validation")
    assert list(validation.get_ydata()) == [1.5, 0.75, 0.5]
    assert list(validation.get_xdata()) == [r[against] for r in records() if "val_loss" in r]
    axes = plot_batch_size(records(), Figure().subplots(), against)
    batch = next(line for line in axes.get_lines() if line.get_label() == "batch size")
    assert list(batch.get_ydata()) == [r["batch_size"] for r in records()]
    axes = plot_moments(records(), Figure().subplots(), against)
    assert len(axes.get_lines()) == 4


def test_figures_are_files(tmp_path):
    paths = save_figures(records(), tmp_path)
    assert {path.suffix for path in paths} == {".png", ".pdf"}
    assert all(path.stat().st_size > 5000 for path in paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)  # no temporary file is left
    with pytest.raises(ValueError, match="nothing to draw"):
        save_figures([], tmp_path)
