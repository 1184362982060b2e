"""The order of the samples: independent of ranks, micro-batches and batch sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.data import samples
from adabatch.data.order import epoch_order, group_positions, samples_at
from adabatch.data.samples import PreparedSamples
from adabatch.schedules import MicroBatchPlan

small = st.integers(1, 6)


def groups_of_step(start: int, world_size: int, accumulation: int, micro_batch: int) -> list[range]:
    plan = MicroBatchPlan(world_size, accumulation, micro_batch)
    return [group for rank in range(world_size) for group in group_positions(start, rank, plan)]


@settings(deadline=None)
@given(start=st.integers(0, 10**12), world_size=small, accumulation=small, micro_batch=small)
def test_groups_are_a_disjoint_cover_of_the_batch(start, world_size, accumulation, micro_batch):
    groups = groups_of_step(start, world_size, accumulation, micro_batch)
    taken = [position for group in groups for position in group]
    assert sorted(taken) == list(range(start, start + world_size * accumulation * micro_batch))
    assert {len(group) for group in groups} == {micro_batch}


@pytest.mark.parametrize("groups", [1, 4, 6, 12])
def test_groups_do_not_depend_on_how_ranks_and_accumulation_share_them(groups):
    splits = [(j, groups // j) for j in range(1, groups + 1) if groups % j == 0]
    sets = [{tuple(group) for group in groups_of_step(40, j, m, 3)} for j, m in splits]
    assert len(splits) > 1 or groups == 1
    assert all(each == sets[0] for each in sets)


@given(start=st.integers(0, 1000), world_size=small, accumulation=small, micro_batch=small)
@settings(deadline=None)
def test_a_rank_keeps_its_residue_for_all_micro_batches(start, world_size, accumulation, micro_batch):
    groups = groups_of_step(start, world_size, accumulation, micro_batch)
    for rank in range(world_size):
        mine = groups[rank * accumulation : (rank + 1) * accumulation]
        taken = sorted(position for group in mine for position in group)
        stop = start + world_size * accumulation * micro_batch
        assert taken == list(range(start + rank, stop, world_size))


@settings(deadline=None)
@given(length=st.integers(1, 40), seed=st.integers(0, 2**70), epoch=st.integers(0, 10**6))
def test_every_epoch_is_a_permutation(length, seed, epoch):
    indices = samples_at(range(epoch * length, (epoch + 1) * length), length, seed)
    assert sorted(indices.tolist()) == list(range(length))


@settings(deadline=None)
@given(length=st.integers(1, 20), seed=st.integers(0, 100), batches=st.lists(st.integers(1, 15), max_size=8))
def test_the_samples_do_not_depend_on_the_batch_sizes(length, seed, batches):
    total = sum(batches)
    taken, start = [], 0
    for size in batches:
        taken += samples_at(range(start, start + size), length, seed).tolist()
        start += size
    assert taken == samples_at(range(total), length, seed).tolist()
    # Any position by itself, in any order, as when resuming.
    assert taken == [int(samples_at([p], length, seed)[0]) for p in reversed(range(total))][::-1]


def test_the_order_is_that_of_sorted_random_numbers():
    """A twin in plain Python over the full-range integers of a NumPy generator."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([7, 3])))
    keys = [int(key) for key in generator.integers(0, 2**64, size=50, dtype=np.uint64)]
    expected = sorted(range(50), key=lambda index: keys[index])
    assert samples_at(range(3 * 50, 4 * 50), length=50, seed=7).tolist() == expected


def test_epochs_and_seeds_differ():
    epochs = [range(50 * e, 50 * (e + 1)) for e in range(4)]
    permutations = [samples_at(epoch, 50, seed=0).tolist() for epoch in epochs]
    permutations.append(samples_at(epochs[0], 50, seed=1).tolist())
    assert all(a != b for i, a in enumerate(permutations) for b in permutations[:i])


def test_no_positions_give_no_samples():
    assert samples_at(range(0), length=4, seed=0).shape == (0,)


def test_each_source_makes_an_order_once_and_keeps_two(monkeypatch):
    """Sources of a mixture take turns: none of them forgets its order for another's."""
    made = []

    def noting(*order):
        made.append(order)
        return epoch_order(*order)

    monkeypatch.setattr(samples, "epoch_order", noting)
    sources = [PreparedSamples(np.arange(length, dtype=np.uint16), 1, seed=0) for length in (4, 5, 6)]
    for position in range(14):
        for source in sources:
            source.take([position])
    assert sorted(made) == [(length, 0, epoch) for length in (4, 5, 6) for epoch in range(-(-14 // length))]
    assert [source._order.cache_info().currsize for source in sources] == [2, 2, 2]
