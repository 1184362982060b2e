"""Conditions: what is read, what holds, what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.comparison.claims.conditions import Condition
from adabatch.experiments.comparison.claims.readings import AbsentError, Reading
from tests.support.comparison_content import comparison, schedule

CONTENT = comparison(
    **{
        "norm_test_0.7": schedule([0.02, 0.03, 0.025]),
        "late": schedule([-0.01, 0.01, 0.0], rates_replayed=[1.6, 1.6, 1.6], time={
            "B_sat 64": {"ratio": 1.05, "low": 0.9, "high": 1.2, "bound": "exact"},
            "B_sat 16": {"ratio": 0.7, "low": None, "high": 0.8, "bound": "at most"},
            "B_sat 256": {"ratio": 1.3, "low": 1.2, "high": None, "bound": "at least"},
        }),
        "many": schedule([0.02, 0.03, 0.025], rates_replayed=[1.5, 1.5, 1.5], p_holm=0.06),
        "lone": schedule([0.5]),
        "diverged": schedule([None] * 2, [None, 1.5]),
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("norm-test-0.7.gap resolved above 0", True),
        ("norm-test-0.7.gap resolved above 0.02", False),
        ("norm-test-0.7.gap resolved below 0.04", True),
        ("norm-test-0.7.gap unresolved", False),
        ("norm-test-0.7.gap mean above 0.024", True),
        ("norm-test-0.7.gap mean below 0.024", False),
        ("norm-test-0.7.gap - late.gap resolved above 0", True),
        ("late.gap - norm-test-0.7.gap mean between −0.03 and -0.02", True),
        ("late.gap - norm-test-0.7.gap mean between 0.02 and 0.03", False),
        ("late.gap unresolved", True),
        ("late.minus_rates_replayed resolved below 0", True),
        ("late.steps mean below 301.5", True),
        ("late.mean_batch mean above 109", True),
        ("late.time.B_sat 64 unresolved", True),
        ("late.time.B_sat 64 mean below 1", False),
        ("late.time.B_sat 16 mean below 1", True),
        ("late.time.B_sat 16 mean above 0.5", False),
        ("late.time.B_sat 16 resolved below 1", True),
        ("late.time.B_sat 16 unresolved", False),
        ("late.time.B_sat 256 mean above 1", True),
        ("late.time.B_sat 256 mean between 1 and 2", False),
        ("late.time.B_sat 256 resolved above 1", True),
        ("many.gap resolved above 0", False),
        ("many.gap unresolved", True),
        ("many.gap resolved above 0.001", True),
        ("many.gap mean above 0", True),
        ("many.minus_rates_replayed resolved above 0", False),
        ("many.minus_rates_replayed unresolved", True),
        ("many.gap - late.gap resolved above 0", True),
        ("many.loss resolved above 0", True),
        ("lone.gap mean above 0", True),
        ("lone.gap resolved above 0.1", False),
        ("lone.loss resolved above 0", False),
        ("setting.tokens_per_parameter mean above 16", True),
        ("noise_scale.highest mean below 1e2", True),
    ],
)  # fmt: skip
def test_what_holds(text, holds):
    condition = Condition.parse(f"29k:  {text}")
    assert condition.holds(condition.read(CONTENT)) is holds


@pytest.mark.parametrize(
    "text",
    [
        "late.gap unresolved",
        "29k: late.gap",
        "29k: late.gap resolved",
        "29k: late.gap resolved above",
        "29k: late.gap resolved above zero",
        "29k: late.gap resolved between 0 and 1",
        "29k: late.gap unresolved 0",
        "29k: late.gap mean between 1",
        "29k: late.gap mean below 1 and 2",
        "29k: late.gap median below 1",
        "",
    ],
)
def test_malformed_conditions(text):
    with pytest.raises(ValueError, match=r"is not a condition: .* resolved below X, .* mean between X and Y"):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("late.mean_batch - other.mean_batch mean above 0", "cannot be taken seed by seed"),
        ("late.time.B_sat 64 - other.time.B_sat 64 mean above 0", "cannot be taken seed by seed"),
        ("a.gap - b.gap - c.gap unresolved", "cannot be taken seed by seed"),
        ("late.mean_batch unresolved", "has no interval"),
        ("setting.parameters resolved above 0", "has no interval"),
        ("late.gap mean between 1 and 0", "smaller number first"),
        ("late.speed mean above 0", "is not a figure"),
    ],
)
def test_conditions_that_cannot_hold(text, message):
    with pytest.raises(ValueError, match=message):
        Condition.parse(f"29k: {text}")


numbers = st.floats(-9, 9)


@given(numbers, numbers, st.floats(0, 5), st.floats(0, 1))
def test_at_most_one_of_above_below_and_unresolved(mean, limit, half, adjusted):
    value = Reading(mean, mean, mean - half, mean + half, (mean, half), "", adjusted)
    words = ("resolved above 0", "resolved below 0", "unresolved")
    for figure in ("b.gap", "b.loss", "b.gap - c.gap"):
        assert sum(Condition.parse(f"a: {figure} {each}").holds(value) for each in words) == 1
    above, below = (Condition.parse(f"a: b.gap mean {each} {limit:.17f}") for each in ("above", "below"))
    assert (above.holds(value), below.holds(value)) == (mean > above.limits[0], mean < below.limits[0])


@given(st.sampled_from(["norm-test-0.7.gap", "lone.loss", "late.time.B_sat 64"]), numbers, st.booleans())
def test_a_condition_is_read_back_from_its_words(figure, limit, resolved):
    condition = Condition.parse(f"29k: {figure} {'resolved' if resolved else 'mean'} above {limit:.3f}")
    assert Condition.parse(f"29k: {condition.what} {condition.wanted}") == condition


@pytest.mark.parametrize("relation", ["resolved above 0", "resolved below −0.0", "unresolved"])
def test_of_one_seed_nothing_was_tested(relation):
    with pytest.raises(AbsentError, match=r"lone\.gap was not tested: more than one seed is needed"):
        Condition.parse(f"29k: lone.gap {relation}").read(CONTENT)


def test_one_seed_resolves_nothing():
    value = Condition.parse("29k: lone.gap mean above 0").read(CONTENT)
    assert (value.low, value.high) == (-math.inf, math.inf)
    assert value.text == "+0.5000 (n 1)"


@pytest.mark.parametrize(
    "relation",
    ["resolved above 0", "resolved below 9", "unresolved", "mean above 0", "mean below 9", "mean between 0 and 9"],
)
def test_nothing_holds_where_a_run_diverged(relation):
    for figure in ("loss", "gap"):
        condition = Condition.parse(f"29k: diverged.{figure} {relation}")
        assert not condition.holds(condition.read(CONTENT))
