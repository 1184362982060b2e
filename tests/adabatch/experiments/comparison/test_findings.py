"""Which differences are tested together, and what is left of them after the correction."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from adabatch.experiments.comparison.findings import CONTRASTS, Findings, contrasts
from tests.adabatch.experiments.comparison.synthetic import made_up

COMPARISON = made_up()
FINDINGS = Findings.of(COMPARISON)


def slow_holm(p_values):
    ordered = sorted(p_values)
    times = [min(1, (len(ordered) - before) * p) for before, p in enumerate(ordered)]
    return [max(times[: place + 1]) for place in range(len(times))]


def test_one_family_of_all_schedules_that_are_not_constant():
    assert list(FINDINGS.contrasts) == ["norm-test-1-sqrt", "norm-test-0.7", "cyclic"]
    found = [each for by_name in FINDINGS.contrasts.values() for each in by_name.values() if each is not None]
    assert len(found) == 3 + 2  # three gaps, and both controls of the one that moves its rate
    p_values = [each.interval.p_value for each in found]
    assert sorted(each.adjusted for each in found) == pytest.approx(slow_holm(p_values))


def test_more_schedules_make_each_claim_harder():
    few = contrasts(made_up(("constant-8", "constant-32", "norm-test-0.7")))["norm-test-0.7"]["gap"]
    many = FINDINGS.contrasts["norm-test-0.7"]["gap"]
    assert few.adjusted == few.interval.p_value
    assert many.adjusted > many.interval.p_value


def test_a_gain_that_is_the_rates_is_seen():
    found = FINDINGS.contrasts["norm-test-1-sqrt"]
    assert found["gap"].resolved
    assert found["gap"].interval.high < 0
    assert not found["minus_rates_replayed"].resolved
    assert found["minus_batches_replayed"].resolved


def test_what_is_missing_or_diverged_is_not_tested():
    one_seed = contrasts(made_up(seeds=range(1)))
    assert all(each.adjusted is None for each in one_seed["norm-test-1-sqrt"].values())
    assert not any(each.resolved for each in one_seed["norm-test-1-sqrt"].values())
    assert one_seed["cyclic"] == {name: one_seed["cyclic"]["gap"] if name == "gap" else None for name in CONTRASTS}
    runs = COMPARISON.results["cyclic"]
    diverged = {**runs, 0: replace(runs[0], final_loss=math.inf)}
    found = contrasts(replace(COMPARISON, results={**COMPARISON.results, "cyclic": diverged}))
    assert found["cyclic"]["gap"].adjusted == 1
    assert not found["cyclic"]["gap"].resolved


def test_a_run_that_diverged_does_not_make_other_claims_easier():
    """The family is as large as before: p values are adjusted by Holm with one of 1 for this contrast."""
    runs = COMPARISON.results["cyclic"]
    diverged = {**runs, 0: replace(runs[0], final_loss=math.inf)}
    found = contrasts(replace(COMPARISON, results={**COMPARISON.results, "cyclic": diverged}))
    each = [contrast for by_name in found.values() for contrast in by_name.values() if contrast is not None]
    p_values = [1.0 if one.interval.p_value is None else one.interval.p_value for one in each]
    assert len(p_values) == 3 + 2
    assert sorted(one.adjusted for one in each) == pytest.approx(slow_holm(p_values))
    smallest = min(each, key=lambda one: one.adjusted)
    assert smallest.adjusted == 5 * smallest.interval.p_value


def test_times_are_of_every_schedule_on_every_hardware():
    assert set(FINDINGS.times) == set(COMPARISON.results)
    assert list(FINDINGS.times["cyclic"]) == ["B_sat 8", "B_sat 32", "B_sat 128", "roofline 32"]
    assert all(time is not None for times in FINDINGS.times.values() for time in times.values())
    without = Findings.of(replace(COMPARISON, budgets={}))
    assert all(time is None for times in without.times.values() for time in times.values())
