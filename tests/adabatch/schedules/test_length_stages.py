"""Progressive sequence length."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.schedules.length_stages import LengthStages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("64", "not '64'"),
        ("64:0.3:1", "not '64:0.3:1'"),
        ("a:1", "not 'a:1'"),
        ("64:0.3,", "not '64:0.3,'"),
        ("1:1", "from 2 to the sequence length, 128"),
        ("64:0.5,129:1", "from 2 to the sequence length, 128"),
        ("64:0.3,128:0.9", "must ascend from above 0 to 1"),
        ("64:0.3", "must ascend from above 0 to 1"),
        ("64:0,128:1", "must ascend from above 0 to 1"),
        ("64:0.5,96:0.5,128:1", "must ascend from above 0 to 1"),
        ("64:nan,128:1", "must ascend from above 0 to 1"),
    ],
)
def test_other_stages_are_refused_in_a_line(text, message):
    with pytest.raises(ValueError, match="--length-stages") as refused:
        LengthStages.parse(text, 128, 1000)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_stages_the_length_is_that_of_a_sample():
    stages = LengthStages.parse("", 128, 1000)
    assert {stages.at(samples) for samples in (0, 500, 1000, 2000)} == {128}
    assert (stages.tokens(1000), stages.text) == (128_000, "128")


@given(shares=st.sets(st.integers(1, 99), max_size=5), total=st.integers(1, 500), length=st.integers(2, 50))
def test_tokens_of_a_budget_are_those_of_its_samples(shares, total, length):
    ends = [*sorted(shares), 100]
    lengths = [length + 3 * index for index in range(len(ends))]
    text = ",".join(f"{size}:{end / 100}" for size, end in zip(lengths, ends, strict=True))
    stages = LengthStages.parse(text, lengths[-1], total)
    assert stages.lengths == tuple(lengths)

    # By hand: a stage's end is the first sample that is not in it.
    def stage(sample):
        return next(index for index, end in enumerate(ends) if Fraction(sample) < Fraction(end, 100) * total)

    by_hand = [lengths[stage(sample)] for sample in range(total)]
    assert [stages.at(sample) for sample in range(total)] == by_hand
    assert stages.tokens(total) == sum(by_hand)
