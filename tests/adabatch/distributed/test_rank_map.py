"""Which ranks a batch gets, and which maps are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.distributed.rank_map import RankMap
from adabatch.settings import ParallelSettings

MAP = RankMap.of(ParallelSettings(ranks=1, ranks_at="64:2,256:4"), 1)


@given(batch=st.integers(1, 2000), present=st.sampled_from([1, 2, 4]))
def test_ranks_come_at_once_and_go_when_half_the_batch_is_gone(batch, present):
    wanted = 4 if batch >= 256 else 2 if batch >= 64 else 1
    kept = 4 if batch >= 128 else 2 if batch >= 32 else 1
    ranks = MAP.at(batch, present)
    assert ranks == max(wanted, min(kept, present))
    assert MAP.at(batch, ranks) == ranks, "the same batch would ask for others again"


def test_ranks_that_the_map_does_not_have_are_exchanged():
    assert MAP.at(300, present=3) == 4
    assert MAP.at(8, present=8) == 1


def test_without_a_map_all_batches_have_the_ranks_that_there_are():
    ranks = RankMap.of(ParallelSettings(ranks=3), world_size=5)
    assert (ranks.at(1), ranks.at(10**9, 5), ranks.most) == (5, 5, 5)


@pytest.mark.parametrize(
    "text", ["64", "64:", ":2", "64:2,", "64-2", "-1:2", "64:2;256:4", "1e3:2", "64: 2", "٣:2"]
)
def test_what_is_not_a_map_is_refused(text):
    with pytest.raises(ValueError, match=r"--ranks-at takes batches, .*such as 64:2,256:4, not "):
        RankMap.of(ParallelSettings(ranks_at=text), 1)


@pytest.mark.parametrize(
    ("first", "text", "found"),
    [
        (1, "64:2,32:4", "32:4 follows 64:2"),
        (1, "64:2,64:4", "64:4 follows 64:2"),
        (1, "64:4,256:2", "256:2 follows 64:4"),
        (2, "64:2", "64:2 follows --ranks 2"),
        (4, "64:2", "64:2 follows --ranks 4"),
        (1, "0:2", "0:2 follows --ranks 1"),
    ],
)
def test_what_does_not_ascend_is_refused(first, text, found):
    with pytest.raises(ValueError, match=f"must ascend in batches and in ranks, .* in {text} {found}$"):
        RankMap.of(ParallelSettings(ranks=first, ranks_at=text), 1)


@pytest.mark.parametrize(("first", "text", "odd"), [(1, "8:3,16:4", 3), (2, "8:3", 2)])
def test_numbers_that_do_not_divide_the_largest_are_refused(first, text, odd):
    with pytest.raises(ValueError, match=f"but {odd} does not divide .: take divisors"):
        RankMap.of(ParallelSettings(ranks=first, ranks_at=text), 1)
