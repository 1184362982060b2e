"""Figures read from comparison.json: by hand, and against scipy's tests."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from adabatch.experiments.comparison.claims.readings import (
    TESTED,
    AbsentError,
    Figure,
    Reading,
    read_difference,
    read_figure,
)
from adabatch.experiments.comparison.findings import CONTRASTS
from tests.support.comparison_content import comparison, schedule

GAPS = [0.01, 0.02, 0.015]
losses = st.floats(1, 9)
EXACT = {"ratio": 0.8, "low": 0.7, "high": 0.9, "bound": "exact"}


def reading(text: str, content: dict) -> Reading:
    return read_figure(content, Figure.parse(text))


@pytest.mark.parametrize(
    ("text", "owner", "name"),
    [
        ("norm-test-0.7-sqrt.gap", "norm-test-0.7-sqrt", "gap"),
        ("a.loss.loss", "a.loss", "loss"),
        ("a.time.roofline 2.5", "a", "time.roofline 2.5"),
        ("setting.tokens_per_parameter", "setting", "tokens_per_parameter"),
        ("setting.loss", "setting", "loss"),
    ],
)
def test_names_of_figures(text, owner, name):
    assert Figure.parse(text) == Figure(owner, name)
    assert str(Figure.parse(text)) == text


@pytest.mark.parametrize("text", ["gap", "late", "late.gaps", "other.parameters", "late.time.", "late. gap", ""])
def test_other_names_are_refused(text):
    with pytest.raises(ValueError, match=r"is not a figure: write <schedule>.<name> with one of loss, steps"):
        Figure.parse(text)


def test_figures_by_hand():
    content = comparison(late=schedule(GAPS, time={"B_sat 64": EXACT}))
    gap = reading("late.gap", content)
    half = 4.302653 * 0.005 / math.sqrt(3)
    assert gap.numbers == pytest.approx((0.015, half), rel=1e-6)
    assert gap.text == "+0.0150 ± 0.0124 (n 3), p 0.035 after Holm"
    assert gap.adjusted == pytest.approx(stats.ttest_1samp(GAPS, 0).pvalue)
    assert reading("late.loss", content).adjusted is None
    assert reading("late.loss", content).text == "1.5150 ± 0.0124 (n 3)"
    assert reading("late.steps", content).text == "301.0 ± 2.5 (n 3)"
    assert reading("late.mean_batch", content).text == "109.227"
    assert reading("setting.parameters", content).numbers == (29_000,)
    assert reading("late.time.B_sat 64", content) == Reading(
        0.8, 0.8, 0.7, 0.9, (0.8, 0.7, 0.9), "0.800 (0.700 to 0.900)"
    )


def test_the_tested_figures_are_the_family_of_a_comparison():
    assert set(TESTED) == set(CONTRASTS)


def test_bounds_on_a_time():
    times = {
        "fast": EXACT | {"low": None, "bound": "at most"},
        "slow": EXACT | {"high": None, "bound": "at least"},
    }
    content = comparison(late=schedule(GAPS, time=times))
    most, least = (reading(f"late.time.{name}", content) for name in times)
    assert (most.least, most.most, most.low, most.high) == (0, 0.8, 0, 0.9)
    assert (least.least, least.most, least.low, least.high) == (0.8, math.inf, 0.7, math.inf)
    assert most.text == "at most 0.800 (0.000 to 0.900)"


@settings(max_examples=30)
@given(st.lists(st.tuples(losses, losses), min_size=2, max_size=8, unique=True))
def test_a_difference_is_that_of_the_paired_t_test(pairs):
    first, second = zip(*pairs, strict=True)
    if len({a - b for a, b in pairs}) < 2:
        return
    found = read_difference(
        comparison(one=schedule([None] * len(pairs), first), other=schedule([None] * len(pairs), second)),
        Figure("one", "loss"),
        Figure("other", "loss"),
    )
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


def test_a_difference_pairs_the_seeds_that_both_have():
    content = comparison(one=schedule([0.01, None, 0.03]), other=schedule([0.0, 5.0, 0.01, 7.0]))
    found = read_difference(content, Figure("one", "gap"), Figure("other", "gap"))
    assert found.text.endswith("(n 2)")
    assert found.least == pytest.approx(0.015)


def test_controls_are_paired_with_the_schedule():
    content = comparison(late=schedule(GAPS, rates_replayed=[1.5, None, 1.5]))
    assert reading("late.minus_rates_replayed", content).least == pytest.approx(0.0125)


def test_a_diverged_run_is_not_left_out():
    content = comparison(late=schedule([0.01, None], [1.5, None]), other=schedule(GAPS))
    for name in ("loss", "gap"):
        found = reading(f"late.{name}", content)
        assert math.isnan(found.least)
        assert found.text == "not finite, a run diverged (n 2)"
        assert found.numbers == ()
    assert math.isnan(read_difference(content, Figure("other", "loss"), Figure("late", "loss")).most)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("early.gap", "the schedule 'early' is not in this comparison: it has late, outside"),
        ("outside.gap", "outside has no gap in this comparison"),
        ("late.minus_rates_replayed", "late has no minus_rates_replayed"),
        ("late.time.B_sat 16", "late has times for B_sat 64"),
        ("late.time.B_sat 1", "late has times for B_sat 64"),
        ("noise_scale.lowest", "was not measured in this comparison, or not resolved"),
    ],
)
def test_what_a_comparison_lacks(text, message):
    late = schedule(GAPS, time={"B_sat 64": EXACT, "B_sat 16": None})
    with pytest.raises(AbsentError, match=message):
        reading(text, comparison(late=late, outside=schedule([None])))


@pytest.mark.parametrize("name", ["tokens", "model"])
def test_unknown_names_of_a_section(name):
    with pytest.raises(ValueError, match="setting has parameters, samples, tokens_per_parameter") as caught:
        reading(f"setting.{name}", comparison(late=schedule(GAPS)))
    assert not isinstance(caught.value, AbsentError)


def test_a_comparison_without_a_noise_scale():
    content = comparison(late=schedule(GAPS)) | {"noise_scale": None}
    with pytest.raises(AbsentError, match="was not measured"):
        reading("noise_scale.highest", content)
