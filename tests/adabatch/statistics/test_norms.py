"""Squared norms: exact enough to be subtracted from one another, and few launches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from adabatch.statistics.norms import CHUNK, SMALL, SquaredNorms

CPU = torch.device("cpu")
SIZES = st.one_of(
    st.integers(0, 300),
    st.sampled_from([CHUNK, SMALL, SMALL + 1, SMALL + CHUNK, 3 * SMALL + 17, 17 * 3000, 2 * 32_771]),
)


def squared_norms(tensors):
    norms = SquaredNorms([tensor.numel() for tensor in tensors], [tensor.dtype for tensor in tensors], CPU)
    for index, tensor in enumerate(tensors):
        norms.put(index, tensor)
    return norms.sums().tolist()


@settings(deadline=None, max_examples=60)
@given(
    kinds=st.lists(
        st.tuples(SIZES, st.sampled_from([torch.float64, torch.float32, torch.bfloat16])), min_size=1, max_size=5
    ),
    scale=st.floats(1e-12, 1e12),
    seed=st.integers(0, 10**6),
)
def test_against_a_plain_fp64_sum(kinds, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = [
        (scale * torch.randn(size, generator=generator, dtype=torch.float64)).to(dtype) for size, dtype in kinds
    ]
    for tensor, ours in zip(tensors, squared_norms(tensors), strict=True):
        # Within a chunk fp32 adds up to 4096 squares: 2e-7, and 1e-5 for bf16, whose CPU kernel adds them one by
        # one. A bf16 gradient has itself been rounded to 2^-9.
        large = {torch.float64: 1e-13, torch.float32: 2e-7, torch.bfloat16: 1e-5}[tensor.dtype]
        tolerance = large if tensor.numel() > SMALL else 1e-13
        assert ours == pytest.approx(float(tensor.double().square().sum()), rel=tolerance)


def test_large_fp32_tensors_keep_the_digits_that_a_plain_norm_loses():
    tensor = torch.randn(5_000_000, generator=torch.Generator().manual_seed(0))
    expected = float(tensor.double().square().sum())
    (ours,) = squared_norms([tensor])
    assert abs(ours / expected - 1) < 1e-7


def test_the_promised_rounding_is_reached_by_no_size_and_type():
    """Equal numbers are the worst: all roundings go one way."""
    for size, dtype in ((SMALL, torch.float32), (10 * CHUNK, torch.float32), (10 * CHUNK, torch.bfloat16)):
        tensor = torch.full((size,), 1.1, dtype=dtype)
        norms = SquaredNorms([size], [dtype], CPU)
        norms.put(0, tensor)
        error = abs(float(norms.sums()) / float(tensor.double().square().sum()) - 1)
        assert error <= norms.rounding
        assert norms.rounding == (1e-12 if size == SMALL else 1e-5)


def test_any_layout():
    tensor = torch.randn(40, 70, generator=torch.Generator().manual_seed(0))
    expected = float(tensor.double().square().sum())
    for view in (tensor, tensor.t(), tensor.t().contiguous().t(), tensor.view(1, 2800)):
        assert squared_norms([view]) == pytest.approx([expected], rel=1e-12)
    assert squared_norms([torch.ones(1).expand(50)]) == pytest.approx([50], rel=1e-12)


def test_what_was_put_before_is_replaced_and_cleared():
    norms = SquaredNorms([2, SMALL + 5], [torch.float32] * 2, CPU)
    for value in (3.0, 2.0):
        norms.put(0, torch.full((2,), value))
        norms.put(1, torch.full((SMALL + 5,), value))
        assert norms.sums().tolist() == pytest.approx([2 * value**2, (SMALL + 5) * value**2])
    norms.clear()
    norms.put(0, torch.ones(2))
    assert norms.sums().tolist() == pytest.approx([2.0, 0.0])


class Launches(TorchDispatchMode):
    """Operations that are not views."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if (not func.is_view and "out" in str(func._overloadname)) or not func.is_view:
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", [7, 512, 512 * 1408, 2048 * 5632 + 1])
@pytest.mark.parametrize(("device", "most"), [("meta", 1), ("cpu", 6)])
def test_a_tensor_costs_one_launch_where_launches_count(size, device, most):
    """Meta tensors take the way that a GPU's take."""
    tensor = torch.ones(size, device=device)
    norms = SquaredNorms([size, 3], [torch.float32] * 2, torch.device(device))
    with Launches() as launches:
        norms.put(0, tensor)
    assert 1 <= len(launches.names) <= most
    assert launches.names[-1] == "aten.linalg_vector_norm.out"
    with Launches() as launches:
        norms.sums()
    assert len(launches.names) <= 2  # of a micro-batch, however many tensors
