"""Exchange and Seesaw: batch and learning rate move together."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.schedules import Exchange, MicroBatching, Seesaw
from adabatch.schedules.base import NeverGrowsError
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.paths import Constant, Cosine, Cyclic, InverseSquareRoot, Linear, WarmupStableDecay
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


def mean_of_stairs(cuts, factor, seen, batch):
    """The stairs' level, sample by sample."""
    return sum(factor ** -sum(cut <= sample for cut in cuts) for sample in range(seen, seen + batch)) / batch


def test_seesaw_doubles_the_batch_and_its_rate_falls_by_the_root_of_two():
    rates = LearningRate(1e-3, 1e-4, 1000, TOTAL)
    history = play(Seesaw(16, 1024, rates), rates)
    cuts = rates.cuts(2.0)
    assert list(dict.fromkeys(batch for batch, _, _ in history)) == [16, 32, 64, 128]
    for batch, rate, seen in history:
        if seen >= 1000 and not any(seen < cut < seen + batch for cut in cuts):  # a step within one stage
            assert rate == pytest.approx(1e-3 / math.sqrt(batch / 16))
            assert batch == 16 * 2 ** sum(cut <= seen for cut in cuts)
    assert history[0][1] == pytest.approx(1e-3 * 8 / 1000)  # half-way through the first step's samples


def test_at_the_maximum_seesaws_rate_falls_as_the_cosine():
    rates = LearningRate(1.0, 0.01, 0, TOTAL)
    history = play(Seesaw(16, 64, rates), rates)
    cuts = rates.cuts(2.0)
    levels = {
        sum(cut <= seen for cut in cuts): (batch, rate)
        for batch, rate, seen in history
        if not any(seen < cut < seen + batch for cut in cuts)
    }
    assert [levels[stage][0] for stage in range(7)] == [16, 32, 64, 64, 64, 64, 64]
    expected = [1, math.sqrt(0.5), 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert [levels[stage][1] for stage in range(7)] == pytest.approx(expected)


ROUNDINGS = st.one_of(st.builds(MultipleOf, st.sampled_from([1, 2, 3, 4, 6, 12])), st.just(MicroBatching(2, 3, 8)))


@settings(max_examples=30)
@given(factor=st.floats(1.05, 5), maximum=st.integers(12, 3000), rounding=ROUNDINGS)
def test_what_a_noisy_step_does_falls_as_the_stairs_whatever_the_rounding(factor, maximum, rounding):
    """rate^2 / b is the stairs' mean level squared over the initial batch."""
    rates = LearningRate(1.0, 0.05, 0, TOTAL // 10)
    cuts = rates.cuts(factor)
    schedule = Seesaw(12, maximum, rates, factor)
    schedule.round_by(rounding)
    for batch, rate, seen in play(schedule, rates):
        assert rate / math.sqrt(batch / 12) == pytest.approx(mean_of_stairs(cuts, factor, seen, batch))
        assert batch >= min(maximum, 12 * factor ** sum(cut <= seen for cut in cuts)) * (1 - 1e-9)


@given(
    share=st.floats(0.05, 1),
    path=st.sampled_from([Linear(), Cosine(), WarmupStableDecay(0.3), InverseSquareRoot(9.0)]),
    scaling=st.sampled_from(["sqrt", "linear"]),
    minimum=st.floats(0, 0.5),
    rounding=ROUNDINGS,
)
def test_an_exchange_leaves_the_path_as_it_is(share, path, scaling, minimum, rounding):
    """The integral of lr / b^(exponent) over the samples is the path's for every share and rounding."""
    rates = LearningRate(1.0, minimum, 600, 6000, path=path)
    schedule = Exchange(12, 480, rates, share, scaling)
    schedule.round_by(rounding)
    exponent = {"sqrt": 0.5, "linear": 1.0}[scaling]
    total, last = 0.0, 0
    for batch, rate, seen in play(schedule, rates):
        total += rate * batch / (batch / 12) ** exponent
        assert total == pytest.approx(rates.mean(0, seen + batch) * (seen + batch), rel=1e-9)
        level = rates.at(max(seen, 600))
        assert batch >= min(480, 12 * level ** (-share / exponent)) * (1 - 1e-9)
        assert last <= batch <= rounding.round_up(480)
        last = batch


@pytest.mark.parametrize(
    ("path", "minimum", "warmup"),
    [(Constant(), 0.0, 0), (Cyclic(3), 0.0, 0), (Linear(), 1.0, 0), (Linear(), 0.0, 100)],
)
def test_a_path_that_never_falls_has_nothing_to_exchange(path, minimum, warmup):
    rates = LearningRate(1.0, minimum, warmup, 100, path=path)
    with pytest.raises(NeverGrowsError, match="--lr-path linear"):
        Exchange(4, 64, rates)
    with pytest.raises(NeverGrowsError, match="never falls by the factor 2"):
        Seesaw(4, 64, rates)


@pytest.mark.parametrize(("share", "scaling"), [(0.0, "sqrt"), (1.5, "sqrt"), (1.0, "none")])
def test_exchanges_that_are_none(share, scaling):
    with pytest.raises(ValueError, match=r"share|scaling"):
        Exchange(4, 64, LearningRate(1.0, 0.0, 0, 100), share, scaling)


@pytest.mark.parametrize("factor", [1.0, 0.5, math.inf, math.nan])
def test_factors_that_do_not_cut(factor):
    with pytest.raises(ValueError, match="factor above 1"):
        LearningRate(1.0, 0.1, 0, 10).cuts(factor)
