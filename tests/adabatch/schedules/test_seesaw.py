"""Seesaw: batch and learning rate move together."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.schedules import MicroBatching, Seesaw
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.rounding import MultipleOf

TOTAL = 20_000


def play(schedule, rates):
    """Batch, learning rate and samples before each step."""
    history = []
    while schedule.samples < rates.total_samples:
        history.append((schedule.batch_size, schedule.learning_rate(rates), schedule.samples))
        schedule.update()
    return history


@given(minimum=st.floats(0, 0.9), warmup=st.integers(0, TOTAL // 2), factor=st.floats(1.05, 8))
def test_cuts_are_where_the_cosine_has_fallen_by_the_factor(minimum, warmup, factor):
    rates = LearningRate(1.0, minimum, warmup, TOTAL)
    cuts = rates.cuts(factor)
    for i, cut in enumerate(cuts, start=1):
        assert rates.at(cut) <= factor**-i * (1 + 1e-9)
        assert rates.at(cut - 1) >= factor**-i * (1 - 1e-9)
    following = factor ** -(len(cuts) + 1)
    assert rates.at(TOTAL - 1) >= following or following <= minimum  # none is missing


def test_the_batch_doubles_and_the_rate_falls_by_the_root_of_two():
    rates = LearningRate(1e-3, 1e-4, 1000, TOTAL)
    history = play(Seesaw(16, 1024, rates.cuts(2.0)), rates)
    changes = [(a, b) for a, b in itertools.pairwise(history) if a[0] != b[0]]
    assert [b[0] for _, b in changes] == [32, 64, 128]
    for (_, before, _), (batch, after, seen) in changes:
        assert after == pytest.approx(before / math.sqrt(2))
        assert rates.at(seen) == pytest.approx(1e-3 * 16 / batch, rel=0.03)  # where the cosine has halved
    assert len({rate for _, rate, seen in history if seen >= 1000}) == 4
    assert history[0][1] == pytest.approx(1e-3 * 16 / 1000)  # the warm-up is the cosine's own


def test_at_the_maximum_the_rate_falls_as_the_cosine():
    rates = LearningRate(1.0, 0.01, 0, TOTAL)
    history = play(Seesaw(16, 64, rates.cuts(2.0)), rates)
    levels = list(dict.fromkeys((batch, rate) for batch, rate, _ in history))
    assert [batch for batch, _ in levels] == [16, 32, 64, 64, 64, 64, 64]
    expected = [1, math.sqrt(0.5), 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert [rate for _, rate in levels] == pytest.approx(expected)


@given(
    factor=st.floats(1.05, 5),
    maximum=st.integers(12, 3000),
    rounding=st.one_of(
        st.builds(MultipleOf, st.sampled_from([1, 2, 3, 4, 6, 12])), st.just(MicroBatching(2, 3, 8))
    ),
)
def test_what_a_noisy_step_does_falls_as_the_stages_whatever_the_rounding(factor, maximum, rounding):
    """rate^2 / b is the stage's level squared over the initial batch."""
    rates = LearningRate(1.0, 0.05, 0, TOTAL)
    cuts = rates.cuts(factor)
    schedule = Seesaw(12, maximum, cuts, factor)
    schedule.round_by(rounding)
    for batch, rate, seen in play(schedule, rates):
        stage = sum(cut <= seen for cut in cuts)
        assert rate**2 / batch == pytest.approx(factor ** (-2 * stage) / 12)
        assert batch >= min(maximum, 12 * factor**stage)


@pytest.mark.parametrize("factor", [1.0, 0.5, math.inf, math.nan])
def test_factors_that_do_not_cut(factor):
    with pytest.raises(ValueError, match="factor above 1"):
        LearningRate(1.0, 0.1, 0, 10).cuts(factor)
