"""The tables of a made-up comparison."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

from adabatch.experiments.comparison.findings import Contrast, Findings
from adabatch.experiments.comparison.hardware import RelativeTime
from adabatch.experiments.comparison.noise import NoiseRange
from adabatch.experiments.comparison.report.cells import contrast_text, time_text
from adabatch.experiments.comparison.report.raw_tables import runs_table, search_table
from adabatch.experiments.comparison.report.tables import loss_table, noise_table, time_table, tuning_table
from adabatch.experiments.intervals import Interval, mean_interval, seeds_needed
from adabatch.experiments.text import interval_text
from adabatch.settings import overlay
from tests.adabatch.experiments.comparison.synthetic import BASE, SCHEDULES, made_up, result, search_of

COMPARISON = made_up()
FINDINGS = Findings.of(COMPARISON)


def by_label(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def lines(table):
    return list(csv.DictReader(io.StringIO(table.csv())))


def test_losses_and_contrasts():
    rows = by_label(loss_table(FINDINGS))
    constant, moving = rows["constant 16"], rows["norm test, eta 1, sqrt rate"]
    assert [constant[name] for name in ("seeds", "steps", "mean batch", "gap")] == ["4", "60", "16.0", "–"]
    assert moving["gap"].startswith("−0.0")
    assert moving["gap"].endswith(" *")
    assert "*" not in moving["minus rates replayed"]
    assert moving["minus batches replayed"].startswith("−0.0500")
    assert rows["norm test, eta 0.7"]["minus rates replayed"] == "–"
    gap = COMPARISON.gap("norm-test-1-sqrt")
    assert moving["seeds for ±0.01"] == str(seeds_needed(gap, 0.01))
    assert moving["loss"] == interval_text(mean_interval(list(COMPARISON.losses("norm-test-1-sqrt").values())))


def test_missing_controls_and_budgets_are_dashes():
    findings = Findings.of(replace(COMPARISON, rates_replayed={}, batches_replayed={}, budgets={}))
    row = by_label(loss_table(findings))["norm test, eta 1, sqrt rate"]
    assert row["minus rates replayed"] == row["minus batches replayed"] == "–"
    assert set(by_label(time_table(findings))["constant 16"].values()) == {"constant 16", "–"}


def test_a_star_is_of_the_family_and_not_of_the_interval_alone():
    interval = Interval(-0.02, 0.01, 5)
    assert interval.high < 0
    assert contrast_text(Contrast(interval, 0.2), 5) == "−0.0200 ± 0.0100"
    assert contrast_text(Contrast(interval, 0.04), 6) == "−0.0200 ± 0.0100 (n 5) *"
    assert contrast_text(Contrast(Interval(0.02, math.inf, 1), None), 1) == "+0.0200"


def test_times_and_bounds_on_them():
    assert time_text(RelativeTime(0.9, 0.8, 1.0, 4)) == "0.90 (0.80 to 1.00)"
    assert time_text(RelativeTime(0.9, 0.0, math.inf, 1)) == "0.90"
    assert time_text(RelativeTime(0.9, 0.0, 0.95, 4, "at most")) == "≤ 0.90"
    assert time_text(RelativeTime(1.2, 1.1, math.inf, 4, "at least")) == "≥ 1.20"
    table = time_table(FINDINGS)
    assert len(table.rows) == len(COMPARISON.schedules)
    assert by_label(table)["constant 32"]["B_sat 128"] == time_text(FINDINGS.times["constant-32"]["B_sat 128"])


def test_the_note_says_on_how_many_seeds_times_rest():
    first_two = {
        name: {budget: {seed: runs[seed] for seed in (0, 1)} for budget, runs in budgets.items()}
        for name, budgets in COMPARISON.budgets.items()
    }
    note = time_table(Findings.of(replace(COMPARISON, budgets=first_two))).note
    assert "95% t intervals over 2 of the 4 seeds. ≥: the ratio is at least this" in note
    assert "t intervals. ≥" in time_table(Findings.of(replace(COMPARISON, budgets={}))).note


def test_what_diverged_is_said_in_words():
    runs = COMPARISON.results["norm-test-1-sqrt"]
    diverged = {**runs, 0: replace(runs[0], final_loss=math.inf)}
    control = {"norm-test-1-sqrt": {seed: replace(run, final_loss=math.inf) for seed, run in runs.items()}}
    results = {**COMPARISON.results, "norm-test-1-sqrt": diverged}
    found = replace(COMPARISON, results=results, rates_replayed=control)
    row = by_label(loss_table(Findings.of(found)))["norm test, eta 1, sqrt rate"]
    contrasts = ("gap", "minus rates replayed", "minus batches replayed")
    assert {row[name] for name in ("loss", *contrasts)} == {"diverged"}


def test_what_was_chosen_and_what_a_schedule_sets_itself():
    rows = by_label(tuning_table(COMPARISON))
    search = COMPARISON.searches["constant-16"]
    assert rows["constant 16"]["learning rate"] == "0.004"
    assert rows["constant 16"]["path"] == "wsd 40%"
    assert rows["constant 16"]["warm-up"] == "5%"
    assert (rows["constant 16"]["points"], rows["constant 16"]["runs"]) == (
        str(len({one.point for one in search.losses})),
        str(len(search.losses)),
    )
    assert "rate" in rows["constant 16"]["at the edge"]
    assert rows["constant 16, cyclic"]["path"] == "(cyclic)"


def test_points_that_were_found_elsewhere_have_no_tries():
    untried = {name: replace(search, losses={}) for name, search in COMPARISON.searches.items()}
    elsewhere = replace(COMPARISON, searches=untried)
    row = by_label(tuning_table(elsewhere))["constant 16"]
    assert (row["path"], row["points"], row["runs"], row["at the edge"]) == ("wsd 40%", "0", "0", "–")
    assert search_table(elsewhere).rows == []


def test_every_try_is_in_the_search_table():
    found = lines(search_table(COMPARISON))
    assert len(found) == sum(len(search.losses) for search in COMPARISON.searches.values())
    assert {row["path"] for row in found if row["schedule"] == "cyclic"} == {""}
    assert {row["seed"] for row in found} == {"1000", "1001"}
    losses = [float(row["loss"]) for row in found if row["schedule"] == "constant-8"]
    assert losses == list(search_of(SCHEDULES["constant-8"]).losses.values())


def test_every_run_is_in_the_runs_table():
    found = lines(runs_table(COMPARISON))
    parts = [row["part"] for row in found]
    assert {part: parts.count(part) for part in parts} == {
        "result": 6 * 4,
        "rates replayed": 4,
        "batches replayed": 4,
        "budget": 3 * 4 * 4,
    }
    (row,) = [each for each in found if each["part"] == "batches replayed" and each["seed"] == "2"]
    run = COMPARISON.batches_replayed["norm-test-1-sqrt"][2]
    assert float(row["final_loss"]) == run.final_loss
    assert (int(row["steps"]), float(row["mean_batch"]), int(row["largest_batch"])) == (70, run.mean_batch, 32)
    half = next(each for each in found if (each["schedule"], each["budget"]) == ("constant-32", "0.5"))
    assert int(half["steps"]) == 15


def test_the_noise_scale_against_the_batches():
    noise = FINDINGS.noise
    table = noise_table(COMPARISON, noise)
    rows = by_label(table)
    assert set(rows) == {"norm test, eta 1, sqrt rate", "norm test, eta 0.7"}
    assert rows["norm test, eta 0.7"]["2nd"] == "12"
    assert "medians over all runs: 12, 12, 12, 12, within the constant batches of 8 to 32" in table.note
    outside = noise_table(COMPARISON, NoiseRange((2.0, 10.0, 90.0, math.inf), 8, 32))
    assert "2, 10, 90, ∞, not all within the constant batches of 8 to 32" in outside.note


def test_tests_on_coordinates_have_no_noise_scale():
    settings = overlay(BASE, {"schedule": "norm-test", "test": "l1"})
    results = {**COMPARISON.results, "norm-test-0.7": {0: result([8] * 120, 2.0, settings, noise=12.0)}}
    schedules = [each for each in COMPARISON.schedules if each.name != "norm-test-1-sqrt"]
    comparison = replace(COMPARISON, schedules=schedules, results=results)
    noise = NoiseRange((8.0, 8.0, 9.0, 9.0), 8, 32)
    assert noise_table(comparison, noise).rows == []
