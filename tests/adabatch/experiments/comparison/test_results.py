"""From records to paired numbers, by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.experiments.comparison.results import Comparison, RunResult
from adabatch.experiments.run import ExperimentRun
from tests.adabatch.experiments.comparison.synthetic import BASE, SCHEDULES, made_up, result

LOSSES = {8: {0: 2.0, 1: 2.1}, 32: {0: 3.0, 1: 3.1}}
"""Of constant batches of 960 samples, 120 and 30 steps: a straight line in log steps between them."""

NAMES = ("constant-32", "constant-8", "norm-test-1-sqrt")


def comparison(losses, batch=16, **parts) -> Comparison:
    results = {f"constant-{size}": of_losses(by_seed, size) for size, by_seed in LOSSES.items()}
    results["norm-test-1-sqrt"] = of_losses(losses, batch)
    constants = [SCHEDULES[name] for name in ("constant-8", "constant-32")]
    return Comparison(BASE, [SCHEDULES[name] for name in NAMES], constants, {}, {}, results, **parts)


def of_losses(losses, batch=16):
    return {seed: result([batch] * (960 // batch), loss) for seed, loss in losses.items()}


def run_with(tmp_path, records):
    run = ExperimentRun("run", tmp_path, lambda: BASE)
    run.folder.mkdir(parents=True)
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


def test_a_result_is_read_from_the_records_of_its_run(tmp_path):
    records = result([8, 8, 16], 2.5).records()
    found = RunResult.of(run_with(tmp_path, records))
    assert (found.steps, found.samples, found.largest_batch, found.final_loss) == (3, 32, 16, 2.5)
    assert found.mean_batch == pytest.approx(32 / 3)
    assert found.records() == records
    assert found.settings == BASE


def test_a_loss_that_is_no_number_counts_as_infinite(tmp_path):
    records = result([8, 8], 2.5).records()
    records[-1]["val_loss"] = None
    assert RunResult.of(run_with(tmp_path, records)).final_loss == math.inf


def test_runs_without_validation_are_refused(tmp_path):
    records = result([8, 8], 2.5).records()
    for record in records:
        del record["val_loss"]
    with pytest.raises(ValueError, match="--validation-interval above 0"):
        RunResult.of(run_with(tmp_path, records))


def test_steps_on_shorter_sequences_are_smaller_loads(tmp_path):
    """Of 16 tokens, and of 8: in units of full length, 16 tokens, the latter are halves."""
    records = result([8, 8, 16], 2.5).records()
    for record, length in zip(records, (8, 8, 16), strict=True):
        record["sequence_length"] = length
    found = RunResult.of(run_with(tmp_path, records))
    assert list(found.loads) == [4, 4, 16]
    assert (found.samples, found.largest_batch) == (32, 16)
    plain = result([8, 8, 16], 2.5)
    assert list(plain.loads) == list(plain.batch_sizes)


def test_gaps_are_to_each_seeds_own_frontier():
    """60 steps are half way between 30 and 120 in the logarithm: 2.5 and 2.6."""
    found = comparison({0: 2.4, 1: 2.7})
    assert found.gaps("norm-test-1-sqrt") == pytest.approx({0: -0.1, 1: 0.1})
    assert found.gap("norm-test-1-sqrt").mean == pytest.approx(0)


def test_a_gap_needs_the_seed_of_all_constants_and_steps_between_theirs():
    assert set(comparison({0: 2.4, 7: 2.4}).gaps("norm-test-1-sqrt")) == {0}
    assert comparison({0: 2.4}, batch=4).gaps("norm-test-1-sqrt") == {}
    assert comparison({0: 2.4}, batch=4).gap("norm-test-1-sqrt") is None
    assert comparison({}).gap("another") is None


def test_a_seed_that_a_planned_constant_lacks_has_no_frontier():
    """A line through the constants that are finished would be another frontier."""
    found = comparison({0: 2.4, 1: 2.7})
    planned = [*found.constants[:1], SCHEDULES["constant-16"], *found.constants[1:]]
    assert replace(found, constants=planned).gaps("norm-test-1-sqrt") == {}
    third = {"constant-16": of_losses({1: 2.6}, 16)}
    later = replace(found, constants=planned, results={**found.results, **third})
    assert later.gaps("norm-test-1-sqrt") == pytest.approx({1: 0.1})


def test_controls_are_paired_by_seed():
    found = comparison(
        {0: 2.4, 1: 2.7, 2: 9.0},
        rates_replayed={"norm-test-1-sqrt": of_losses({0: 2.5, 1: 2.7})},
        batches_replayed={"norm-test-1-sqrt": of_losses({1: 2.6})},
    )
    rates = found.minus_rates_replayed("norm-test-1-sqrt")
    assert (rates.mean, rates.count) == (pytest.approx(-0.05), 2)
    assert found.minus_batches_replayed("norm-test-1-sqrt").mean == pytest.approx(0.1)
    assert found.minus_batches_replayed("constant-8") is None


ORIGINAL = made_up(("constant-8", "constant-32", "norm-test-0.7"), seeds=range(2))


@settings(max_examples=20)
@given(st.floats(-1, 1))
def test_what_all_schedules_share_changes_no_gap(shift):
    """Seeds, data and model shift all losses; a shift of the schedule alone shows as a whole."""

    def gap(moved):
        results = {
            name: {
                seed: replace(run, final_loss=run.final_loss + shift * moved(name)) for seed, run in runs.items()
            }
            for name, runs in ORIGINAL.results.items()
        }
        return replace(ORIGINAL, results=results).gap("norm-test-0.7").mean

    before = ORIGINAL.gap("norm-test-0.7").mean
    assert gap(lambda name: True) == pytest.approx(before, abs=1e-9)
    assert gap(lambda name: name == "norm-test-0.7") == pytest.approx(before + shift, abs=1e-9)
