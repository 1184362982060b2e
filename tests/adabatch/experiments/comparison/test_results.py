"""From records to paired numbers and tables, by hand."""

from __future__ import annotations

import math

import pytest

from adabatch.experiments.comparison.figures import wall_clock_figure
from adabatch.experiments.comparison.results import Comparison, RunResult
from adabatch.experiments.comparison.runs import Key
from adabatch.experiments.comparison.tables import gap_table, loss_table, wall_clock_table
from adabatch.experiments.comparison.variants import Variant
from adabatch.experiments.intervals import mean_interval
from adabatch.settings import Settings


def run(batch: int, final: float, samples: int = 640, first: float = 4.0) -> RunResult:
    """A run at a constant batch whose validation loss falls from ``first`` (after one step) to ``final``."""
    steps = samples // batch
    records = [
        {
            "step": step,
            "samples": step * batch,
            "tokens": step * batch * 8,
            "loss": 3.0,
            "batch_size": batch,
            "tokens_per_second": 100.0,
            "skipped": 0,
        }
        for step in range(1, steps + 1)
    ]
    records[0]["val_loss"], records[-1]["val_loss"] = first, final
    return RunResult.of_run(records, Settings())


CONSTANTS = [Variant(f"constant-{b}", f"constant {b}", "constant", {"initial_batch": b}) for b in (64, 16)]
ADAPTIVE = Variant("unbiased-0.8", "norm test", "adaptive")
RAMP = Variant("ramp", "ramp", "fixed")
RUNS = {
    **{Key("constant-16", 0.1, seed): run(16, 2.0 + 0.1 * seed) for seed in (0, 1)},  # 40 steps
    **{Key("constant-64", 0.1, seed): run(64, 3.0 + 0.1 * seed) for seed in (0, 1)},  # 10 steps
    **{Key("unbiased-0.8", 0.1, seed): run(32, 2.4 + 0.1 * seed) for seed in (0, 1)},  # 20 steps: frontier 2.5
    **{Key("ramp", 0.1, seed): run(32, 2.45 + 0.2 * seed) for seed in (0, 1)},
    **{Key("unbiased-0.8", 0.2, seed): run(32, 2.2 + 0.1 * seed) for seed in (0, 1)},
    Key("ramp", 0.2, 0): run(32, 1.0),  # one seed of two
}
COMPARISON = Comparison([*CONSTANTS, ADAPTIVE, RAMP], RUNS)
SELECTION = COMPARISON.at(0.1)


@pytest.mark.parametrize("constants", [1, 2])
def test_wall_clock_is_drawn_for_one_constant_or_two(constants):
    variants = [*CONSTANTS[:constants], ADAPTIVE]
    chosen = {key: found for key, found in RUNS.items() if key.variant in {variant.name for variant in variants}}
    assert len(wall_clock_figure(Comparison(variants, chosen).at(0.1)).axes) == constants


def test_gaps_are_paired_with_each_seeds_own_frontier():
    assert SELECTION.gaps("unbiased-0.8") == pytest.approx({0: -0.1, 1: -0.1})
    gap = SELECTION.gap("unbiased-0.8")
    assert gap.mean == pytest.approx(-0.1)
    assert gap.half_width == pytest.approx(0, abs=1e-12)
    assert SELECTION.gaps("ramp") == pytest.approx({0: -0.05, 1: 0.05})
    assert SELECTION.gap_difference("ramp", "unbiased-0.8").mean == pytest.approx(0.1)
    assert SELECTION.loss_difference("unbiased-0.8", "constant-16").mean == pytest.approx(0.4)


def test_steps_saved_at_equal_loss():
    """A loss of 2.4 costs the constants 10 * 4^0.6 = 22.97 steps."""
    saved, bound = SELECTION.steps_saved("unbiased-0.8")
    assert saved.mean == pytest.approx(1 - 2 / 4**0.6)
    assert bound == "exact"


def test_beyond_the_frontier_the_saving_is_a_bound():
    def saved(*losses):
        runs = {Key("ramp", 0.1, seed): run(32, loss) for seed, loss in enumerate(losses)}
        return Comparison(COMPARISON.variants, RUNS | runs).at(0.1).steps_saved("ramp")

    assert saved(1.9, 2.0) == (mean_interval([0.5, 0.5]), "at least")  # 20 steps against more than 40
    assert saved(3.5, 2.1) == (mean_interval([-1.0, 0.5]), "at most")
    assert saved(3.5, 1.9) is None


def test_each_at_its_own_best_rate_among_those_with_all_seeds():
    best = COMPARISON.at_best()
    assert best.rates == {"constant-64": 0.1, "constant-16": 0.1, "unbiased-0.8": 0.2, "ramp": 0.1}


def test_a_run_outside_of_the_frontier_has_no_gap():
    extended = Comparison(COMPARISON.variants, RUNS | {Key("ramp", 0.1, 0): run(8, 1.5)})
    assert set(extended.at(0.1).gaps("ramp")) == {1}


def test_a_loss_that_is_no_number_counts_as_infinite():
    diverged = run(16, 2.0).records
    diverged[-1]["val_loss"] = None
    assert RunResult.of_run(diverged, Settings()).final_loss == math.inf


def test_runs_without_validation_are_refused():
    records = [{key: value for key, value in r.items() if key != "val_loss"} for r in run(16, 2.0).records]
    with pytest.raises(ValueError, match="--validation-interval above 0"):
        RunResult.of_run(records, Settings())


def test_tables():
    text = loss_table(SELECTION, "Losses").markdown()
    assert (
        "| constant 16 | 0.1 |     2 | 40 ± 0 |       16.0 |      16 | 2.0500 ± 0.6353 | 2.0500 ± 0.6353 |" in text
    )
    gaps = gap_table(SELECTION, "Gaps")
    row = dict(zip(gaps.columns, gaps.rows[2], strict=True))
    assert row["schedule"] == "norm test"
    assert row["gap at equal steps"].startswith("-0.1000 ± 0.0000 *")
    assert row["minus constant 16"].startswith("+0.4000")
    assert (
        gaps.csv()
        .splitlines()[0]
        .startswith("schedule,gap at equal steps,steps saved at equal loss,minus constant 16")
    )


def test_simulated_time_to_the_loss_of_a_constant():
    """Seed 0, to 3.0: constant 64 takes all 10 steps, constant 16 half of the way from 1 to 40, 20.5."""
    target = CONSTANTS[0]
    table = wall_clock_table(SELECTION, target, "Time")
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["constant 64"]["B_sat 256"] == "1.00"
    assert rows["constant 64"]["B_sat 16"] != "1.00"  # samples cost there: 40 against 20.5
    assert rows["constant 16"]["B_sat 16"] == "1.00"
