"""Squared norms: exact enough to be subtracted from one another."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.statistics.norms import CHUNK, SMALL, squared_norm, squared_norms


@settings(deadline=None, max_examples=60)
@given(
    size=st.one_of(st.integers(0, 300), st.sampled_from([CHUNK, SMALL, SMALL + 1, SMALL + CHUNK, 3 * SMALL + 17])),
    scale=st.floats(1e-12, 1e12),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    seed=st.integers(0, 10**6),
)
def test_against_a_plain_fp64_sum(size, scale, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    tensor = (scale * torch.randn(size, generator=generator, dtype=torch.float64)).to(dtype)
    expected = float(tensor.double().square().sum())
    # Within a chunk fp32 adds 4096 squares: 2e-7, and 1e-5 for bf16, whose CPU kernel adds them one by one. A bf16
    # gradient has itself been rounded to 2^-9.
    tolerance = {torch.float64: 1e-13, torch.float32: 2e-7, torch.bfloat16: 1e-5}[dtype] if size > SMALL else 1e-13
    assert float(squared_norm(tensor)) == pytest.approx(expected, rel=tolerance)


def test_large_fp32_tensors_keep_the_digits_that_a_plain_norm_loses():
    tensor = torch.randn(5_000_000, generator=torch.Generator().manual_seed(0))
    expected = float(tensor.double().square().sum())
    ours = abs(float(squared_norm(tensor)) / expected - 1)
    assert ours < 1e-7


def test_any_layout():
    tensor = torch.randn(40, 70, generator=torch.Generator().manual_seed(0))
    expected = float(tensor.double().square().sum())
    for view in (tensor, tensor.t(), tensor.t().contiguous().t(), tensor.view(1, 2800)):
        assert float(squared_norm(view)) == pytest.approx(expected, rel=1e-12)
    assert float(squared_norm(torch.ones(1).expand(50))) == pytest.approx(50, rel=1e-12)


def test_several_tensors():
    assert squared_norms([torch.ones(3), torch.full((2, 2), 2.0)]).tolist() == pytest.approx(
        [3.0, 16.0], rel=1e-15
    )
