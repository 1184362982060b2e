"""Verdicts are derived from numbers, and can come out wrong."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulate.experiments.result import Result
from simulate.outcomes import Assertion, Expectation, Kind, Outcome
from simulate.rates import Slope
from simulate.report.contents import Report

TRUE, FALSE = Assertion("true", 1.0, "<=", 2.0), Assertion("false", 3.0, "<=", 2.0)
BROKEN = Assertion("broken", math.nan, "<=", 2.0)
numbers = st.floats(-1e6, 1e6)


def outcome(expected, *asserted, supporting=(), **more):
    return Outcome("name", "statement", asserted, expected, supporting, **more)


@pytest.mark.parametrize(
    ("expected", "asserted", "word"),
    [
        (Expectation.HOLDS, (TRUE, TRUE), "holds"),
        (Expectation.HOLDS, (TRUE, FALSE), "FAILED"),
        (Expectation.REFUTED, (TRUE, FALSE), "refuted"),
        (Expectation.REFUTED, (TRUE, TRUE), "FAILED"),
        (Expectation.CONTROL, (FALSE,), "caught"),
        (Expectation.CONTROL, (TRUE,), "FAILED"),
    ],
)
def test_verdict(expected, asserted, word):
    assert outcome(expected, *asserted).verdict == word


@pytest.mark.parametrize("expected", list(Expectation))
def test_nothing_follows_from_no_evidence_or_from_a_broken_simulation(expected):
    assert not outcome(expected).as_expected
    assert not outcome(expected, BROKEN).as_expected
    assert not outcome(expected, TRUE if expected is Expectation.HOLDS else FALSE, BROKEN).as_expected


def test_evidence_counts_only_if_its_hypotheses_were_met():
    assert not outcome(Expectation.REFUTED, FALSE, supporting=(FALSE,)).as_expected
    assert outcome(Expectation.REFUTED, FALSE, supporting=(TRUE,)).as_expected


@given(st.lists(st.tuples(numbers, st.sampled_from(["<=", "<", ">=", ">"]), numbers), min_size=1))
def test_the_headline_fails_whenever_anything_fails(cases):
    comparisons = [Assertion("case", left, relation, right) for left, relation, right in cases]
    one = outcome(Expectation.HOLDS, *comparisons)
    assert one.headline is not None
    if not one.stands and all(left != right for left, _, right in cases):
        assert not one.headline.holds


def test_next_to_zero_the_headline_is_the_smallest_difference():
    cases = [Assertion(f"by {gap}", -gap, "<=", 0.0) for gap in (177.0, 1.0, 30.0)]
    assert outcome(Expectation.HOLDS, *cases).measured == -1.0


@given(st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e3)), min_size=1))
def test_ratio_of_an_upper_bound_is_the_smallest(pairs):
    one = outcome(Expectation.HOLDS, *(Assertion("case", left, "<=", right) for left, right in pairs))
    assert one.ratio == pytest.approx(min(right / left for left, right in pairs), rel=1e-9)


def test_a_report_passes_if_there_are_verdicts_and_each_is_as_it_should_be():
    def passed(*outcomes):
        return Report("", {}, [Result("", "", "", outcomes)], {}, "").passed

    good, bad = outcome(Expectation.HOLDS, TRUE), outcome(Expectation.HOLDS, FALSE)
    assert passed(good, good)
    assert not passed(good, bad)
    assert not passed()


def test_as_dict_is_json_with_the_closest_cases_first():
    many = [Assertion(f"case {i}", 1.0, "<=", 2.0 + i) for i in range(50)]
    record = outcome(Expectation.HOLDS, *many, kind=Kind.TIGHT, slope=Slope(-0.5, -0.6, -0.4)).as_dict()
    assert record["cases"] == 50
    assert [case["what"] for case in record["asserted"]] == [f"case {i}" for i in range(10)]
    assert json.loads(json.dumps(record))["slope"] == {"value": -0.5, "low": -0.6, "high": -0.4}
