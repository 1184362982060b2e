"""Learning-rate paths: levels, their integrals, and the mean rate of a step."""

import itertools
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.paths import PATHS, Stairs

OPTIONS = SimpleNamespace(decay_fraction=0.2, lr_cycles=3)


def path_of(name, warmup, total):
    return PATHS[name].from_settings(OPTIONS, warmup, total)


@given(name=st.sampled_from(sorted(PATHS)), progress=st.floats(0, 1))
def test_integrals_are_those_of_the_levels(name, progress):
    path = path_of(name, 100, 1000)
    breaks = sorted({min(progress, x) for x in (7 / 9, *(k / 5 for k in range(6)))})
    parts = [quad(path.level, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise([0.0, *breaks, progress])]
    assert path.integral(progress) == pytest.approx(math.fsum(parts), abs=1e-9)
    assert 0 <= path.level(progress) <= 1


@given(levels=st.lists(st.floats(0, 1), min_size=1, max_size=6), progress=st.floats(0, 1))
def test_stairs(levels, progress):
    ends = [(i + 1) / 7 for i in range(len(levels) - 1)]
    stairs = Stairs(ends, levels)
    cells = 7 * 300
    points = [(i + 0.5) / cells for i in range(round(progress * cells))]
    assert stairs.integral(len(points) / cells) == pytest.approx(sum(map(stairs.level, points)) / cells, abs=1e-9)
    assert stairs.falls == (levels != sorted(levels) and levels == sorted(levels, reverse=True))


@pytest.mark.parametrize("name", sorted(PATHS))
@pytest.mark.parametrize("warmup", [1, 37, 100])
def test_the_mean_rate_is_that_of_the_samples(name, warmup):
    """Against a sum over fine parts of a sample, also across the end of the warm-up and of the budget."""
    rates = LearningRate(2.0, 0.25, warmup, 200, path=path_of(name, warmup, 200))
    for start, stop in ((0, 1), (0, 50), (30, 120), (90, 110), (150, 200), (190, 230), (200, 210)):
        fine = [rates.at(start + (i + 0.5) / 64) for i in range(64 * (stop - start))]
        assert rates.mean(start, stop) == pytest.approx(math.fsum(fine) / len(fine), rel=2e-4)


@given(
    name=st.sampled_from(sorted(PATHS)),
    cuts=st.lists(st.integers(0, 1100), min_size=3, max_size=12).map(sorted),
)
def test_means_of_parts_make_the_mean_of_the_whole(name, cuts):
    rates = LearningRate(1.0, 0.1, 128, 1024, path=path_of(name, 128, 1024))
    parts = sum(rates.mean(a, b) * (b - a) for a, b in itertools.pairwise(cuts))
    assert parts == pytest.approx(rates.mean(cuts[0], cuts[-1]) * (cuts[-1] - cuts[0]), abs=1e-8)
    assert 0 <= rates.mean(cuts[0], cuts[-1]) <= 1


def test_ends_and_middles_by_hand():
    def rate(name, samples):
        return LearningRate(1.0, 0.1, 100, 1000, path=path_of(name, 100, 1000)).at(samples)

    assert [rate(name, 100) for name in sorted(PATHS)] == pytest.approx([1.0] * len(PATHS))
    assert rate("linear", 1000) == rate("cosine", 1000) == rate("wsd", 1000) == pytest.approx(0.1)
    assert rate("linear", 550) == rate("cosine", 550) == pytest.approx(0.55)
    assert rate("wsd", 800) == pytest.approx(1.0)  # the last 200 of 1000 samples fall
    assert rate("wsd", 900) == pytest.approx(0.55)
    assert rate("inverse-sqrt", 400) == pytest.approx(0.1 + 0.9 / 2)
    assert rate("constant", 1000) == 1.0
    assert [rate("cyclic", 100 + 180 * i) for i in range(6)] == pytest.approx([1, 0.1, 1, 0.1, 1, 0.1])


def test_few_samples_of_very_many_keep_their_digits():
    rates = LearningRate(1.0, 0.0, 0, 10**12, path=path_of("linear", 0, 10**12))
    assert rates.mean(10**11, 10**11 + 64) == pytest.approx(0.9, rel=1e-6)


def test_an_inverse_square_root_needs_its_time_scale():
    with pytest.raises(ValueError, match="--warmup-samples above 0"):
        path_of("inverse-sqrt", 0, 100)
