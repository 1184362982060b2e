"""Which coordinates are looked at: the same where they are sent from and where they arrive, and all columns."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.statistics.coordinate_shards import BLOCK, SMALL, Shard, _every, coprime_stride
from adabatch.statistics.leaves import Leaf


def shard_of(rows: int, row: int, ranks: int, stride: int) -> Shard:
    """Of a matrix that is divided over ranks by rows, as FSDP2 does."""
    weight = torch.empty(rows, row, device="meta")
    size = -(-rows // ranks) * row
    return Shard(Leaf("weight", weight, weight), ranks, size, torch.float32, stride)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.integers(1, 70), row=st.integers(1, 40), ranks=st.integers(1, 8), stride=st.sampled_from([1, 2, 3, 17])
)
def test_what_is_sent_is_what_arrives(rows, row, ranks, stride):
    shard = shard_of(rows, row, ranks, stride)
    flat = torch.arange(rows * row)
    sent: list[list[int]] = []
    for sample in shard.samples:
        assert sample.size <= shard.kept
        sent += sample.of(flat).flatten(1).tolist()
    for rank in range(ranks):
        own = flat[rank * shard.size :][: shard.size]  # with fewer rows than ranks, the last ones have none
        arrived = shard.sample(len(own)).of(own).flatten().tolist() if len(own) else []
        assert arrived == (sent[rank] if rank < len(sent) else [])
        if stride == 1:
            assert arrived == own.tolist()
        else:
            assert [place - rank * shard.size for place in arrived] == [
                start + offset
                for start in range(0, len(own) - BLOCK + 1, stride * BLOCK)
                for offset in range(BLOCK)
            ]


@pytest.mark.parametrize("ranks", [1, 2, 8, 64, 256, 1024])
@pytest.mark.parametrize("shape", [(1024, 512), (2048, 2048), (256, 2048), (32000, 1024), (3200, 8640)])
def test_every_rank_sees_every_column(shape, ranks):
    rows, row = shape
    size = -(-rows // ranks) * row
    stride = _every(16, size, torch.empty(shape, device="meta"))
    shard = shard_of(rows, row, ranks, stride)
    own = torch.arange(size)
    columns = shard.sample(size).of(own).flatten() % row
    assert len(set(columns.tolist())) == row
    if stride > 1:
        assert shard.kept < size / 15


def test_small_parameters_and_few_rows_are_seen_whole():
    assert _every(16, SMALL, torch.empty(SMALL // 64, 64, device="meta")) == 1
    assert _every(16, 16 * 2048, torch.empty(4096, 2048, device="meta")) == 1
    assert _every(16, 17 * 2048, torch.empty(4096, 2048, device="meta")) == 17
    assert _every(1, 4096 * 2048, torch.empty(4096, 2048, device="meta")) == 1


@given(stride=st.integers(1, 100), size=st.integers(1, 10**9))
def test_a_coprime_stride_is_the_next_one(stride, size):
    found = coprime_stride(stride, size)
    assert found >= stride
    assert torch.gcd(torch.tensor(found), torch.tensor(size)) == 1
