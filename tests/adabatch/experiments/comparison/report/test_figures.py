"""The figures of a made-up comparison: which there are, and whether they show the numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from adabatch.experiments.comparison.findings import Findings
from adabatch.experiments.comparison.report.figures import (
    controls_figure,
    frontier_figure,
    gaps_figure,
    save_comparison_figures,
)
from adabatch.experiments.comparison.report.rows import COLOURS, Mark, rows_figure, rows_in_panels
from adabatch.experiments.comparison.report.tuning_figure import tuning_figure
from tests.adabatch.experiments.comparison import synthetic

COMPARISON = synthetic.made_up()
FINDINGS = Findings.of(COMPARISON)


@pytest.fixture
def written(monkeypatch):
    """The names that would be written; writing PNG and PDF is tested where it is done."""
    names = []
    module = "adabatch.experiments.comparison.report.figures.write_figures"
    monkeypatch.setattr(module, lambda figures, folder: names.extend(figures) or [])
    return names


def places(axes):
    """Where the points of all containers with intervals lie."""
    return [tuple(container.lines[0].get_xydata()[0]) for container in axes.containers]


def test_a_figure_for_each_question(written, tmp_path):
    save_comparison_figures(FINDINGS, tmp_path)
    assert written == ["frontier", "curves", "tuning", "gaps", "controls", "time"]


def test_what_is_not_finished_has_no_figure(written, tmp_path):
    part = replace(COMPARISON, rates_replayed={}, batches_replayed={}, budgets={})
    save_comparison_figures(Findings.of(part), tmp_path)
    assert written == ["frontier", "curves", "tuning", "gaps"]


def test_constants_alone_are_drawn(written, tmp_path):
    save_comparison_figures(Findings.of(synthetic.made_up(("constant-8", "constant-32"), range(1))), tmp_path)
    assert written == ["frontier", "curves", "tuning"]


def test_points_that_were_found_elsewhere_have_no_search_to_draw(written, tmp_path):
    untried = {name: replace(search, losses={}) for name, search in COMPARISON.searches.items()}
    save_comparison_figures(Findings.of(replace(COMPARISON, searches=untried)), tmp_path)
    assert "tuning" not in written


def test_the_frontier_goes_through_the_constants_means():
    (axes,) = frontier_figure(FINDINGS).axes
    steps, losses = axes.lines[0].get_data()
    for name in ("constant-8", "constant-16", "constant-32"):
        run = COMPARISON.results[name][0]
        mean = np.mean(list(COMPARISON.losses(name).values()))
        assert (run.steps, pytest.approx(mean)) in places(axes)
        assert np.interp(math.log(run.steps), np.log(steps), losses) == pytest.approx(mean, abs=2e-3)


def test_a_schedule_that_diverged_is_left_out():
    runs = {seed: replace(run, final_loss=math.inf) for seed, run in COMPARISON.results["cyclic"].items()}
    diverged = replace(COMPARISON, results={**COMPARISON.results, "cyclic": runs})
    (axes,) = frontier_figure(Findings.of(diverged)).axes
    assert len(places(axes)) == len(COMPARISON.schedules) - 1


def test_no_frontier_is_drawn_before_all_planned_constants_have_results(written, tmp_path):
    def lines(comparison):
        (axes,) = frontier_figure(Findings.of(comparison)).axes
        return sum(len(line.get_xdata()) > 2 for line in axes.lines)

    planned = [*COMPARISON.constants, synthetic.SCHEDULES["constant-8"]]
    planned[-1] = replace(planned[-1], name="constant-64", overrides={"initial_batch": 64})
    part = replace(COMPARISON, constants=planned)
    assert (lines(COMPARISON), lines(part)) == (1, 0)
    save_comparison_figures(Findings.of(part), tmp_path)
    assert written == ["frontier", "curves", "tuning", "gaps", "controls"]


def test_gaps_are_drawn_with_each_seeds_value():
    (axes,) = gaps_figure(FINDINGS).axes
    gap = COMPARISON.gap("norm-test-0.7")
    assert (pytest.approx(gap.mean), -1) in places(axes)
    seeds = [line.get_xdata() for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata()) == 4]
    assert [list(values) for values in seeds][1] == list(COMPARISON.gaps("norm-test-0.7").values())


def test_controls_are_of_the_schedules_that_have_them():
    (axes,) = controls_figure(FINDINGS).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["norm test, eta 1, sqrt rate"]
    assert len(places(axes)) == 3


def test_rows_and_panels_draw_the_same_marks():
    series = {"a": [Mark(1.0, 0.5, 2.0), None], "b": [Mark(3.0, -math.inf, math.inf, ">"), Mark(4.0, 3.0, 5.0)]}
    together = rows_figure(["first", "second"], series, 1, "ratio").axes[0]
    apart = rows_in_panels(["first", "second"], series, 1, "ratio").axes
    assert [x for x, _ in places(together)] == [x for axes in apart for x, _ in places(axes)] == [1, 3, 4]
    assert [round(y) for _, y in places(together)] == [0, 0, -1]
    bound = together.containers[1]
    assert bound.lines[0].get_marker() == ">"
    assert bound.lines[2] == ()  # no interval


def test_searches_are_drawn_by_path_with_what_was_chosen():
    figure = tuning_figure(COMPARISON)
    shown = dict(zip(COMPARISON.searches, figure.axes, strict=False))
    search = COMPARISON.searches["constant-8"]
    tries, chosen = shown["constant-8"].lines[:-1], shown["constant-8"].lines[-1]
    assert len(tries) == len(search.losses)
    assert {line.get_color() for line in tries} <= set(COLOURS)
    assert chosen.get_ydata()[0] == search.mean_loss(search.best())
    assert sum(line.get_markerfacecolor() == "none" for line in tries) == sum(
        one.seed > 0 for one in search.losses
    )
    assert not {line.get_color() for line in shown["cyclic"].lines} & set(COLOURS)


def test_a_try_that_diverged_is_an_arrow_at_the_top():
    search = COMPARISON.searches["constant-8"]
    one = next(iter(search.losses))
    diverged = replace(search, losses={**search.losses, one: math.inf})
    lines = tuning_figure(replace(COMPARISON, searches={"constant-8": diverged})).axes[0].lines
    assert lines[0].get_marker() == "^"
    assert lines[0].get_ydata()[0] >= max(line.get_ydata()[0] for line in lines)
