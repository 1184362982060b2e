"""Squared norms: exact enough to be subtracted from one another, and few launches."""

import math
import os
import subprocess
import sys

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
        # Within a chunk fp32 adds up to 512 squares of random numbers.
        large = 1e-13 if tensor.dtype == torch.float64 else 2e-7
        tolerance = large if tensor.numel() > SMALL else 1e-13
        assert ours == pytest.approx(float(tensor.double().square().sum()), rel=tolerance)


def test_large_fp32_tensors_keep_the_digits_that_a_plain_norm_loses():
    tensor = torch.randn(5_000_000, generator=torch.Generator().manual_seed(0))
    expected = float(tensor.double().square().sum())
    (ours,) = squared_norms([tensor])
    assert abs(ours / expected - 1) < 1e-7


CAPABILITIES = """
import torch
from adabatch.statistics.norms import CHUNK, SMALL, SquaredNorms

def exact(tensor):
    return float(tensor.double().square().sum())  # squares of fp32 are exact in fp64, and 1e-13 is nothing here

def worst_of(dtype):
    worst = 0.0
    for lanes in (1, 2, 4, 8, 16, 32, 64, 128):
        # An accumulator that begins with 1 loses what is half its last place or less, and rounds up what is more.
        for small in (2.0**-12, 2.0**-12 * (1 + 2.0**-7), 2.0**-12 * 1.4, 2.0**-11.6, 1.1):
            for first in (1.0, 1.9, small):
                tensor = torch.full((CHUNK,), small)
                tensor[:lanes] = first
                tensor = tensor.to(dtype).repeat(SMALL // CHUNK + 1)
                for values in (tensor, tensor[:-1], tensor[1:]):
                    norms = SquaredNorms([len(values)], [dtype], torch.device("cpu"))
                    norms.put(0, values)
                    error = abs(float(norms.sums()) / exact(values) - 1)
                    assert error <= norms.rounding, (dtype, lanes, small, first, error, norms.rounding)
                    worst = max(worst, error / norms.rounding)
    return worst

print(*[worst_of(dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)])
"""


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_no_sum_of_one_sided_roundings_exceeds_the_bound(capability):
    """The kernel's accumulators each begin with a large number, any number of them, in three dtypes."""
    done = subprocess.run(
        [sys.executable, "-c", CAPABILITIES],
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    worst = [float(each) for each in done.stdout.split()]
    assert len(worst) == 3
    assert min(worst) > 1 / 8  # 16 accumulators of 32 numbers come to 31 of the bound's 134 roundings


def test_the_bound_is_that_of_four_accumulators():
    (k, u), v = (CHUNK / 4 + 6, 2.0**-24), 2.0**-53
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.complex64):
        rounding = SquaredNorms([10 * SMALL], [dtype], CPU).rounding
        assert k * u / (1 - k * u) < rounding < k * u * (1 + 1e-3)
    small = SquaredNorms([SMALL], [torch.float32], CPU).rounding
    assert small == pytest.approx((SMALL + 3) * v, rel=1e-9)
    # A CPU's fp64 needs no more than one rounding a term.
    assert SquaredNorms([10 * SMALL], [torch.float64], CPU).rounding < (CHUNK + 10 * SMALL / CHUNK + 10) * v
    assert SquaredNorms([], [], CPU).rounding == 0


def test_where_no_bound_is_known_it_is_infinite():
    assert SquaredNorms([5], [torch.float32], torch.device("meta")).rounding == math.inf


@pytest.mark.parametrize("size", [5, SMALL, SMALL + 1, 70 * CHUNK + 3, 3 * SMALL])
@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-38, 1e-30, 1e-25, 1e-18, 1e-14, 1e-12, 1e18, 1e19, 1e30, 3e38])
def test_gradients_of_any_size_that_fp32_can_hold(size, scale):
    tensor = torch.rand(size, generator=torch.Generator().manual_seed(size)).add(0.05).mul(0.9 * scale)
    expected = math.fsum(tensor.double().square().tolist())
    norms = SquaredNorms([size], [torch.float32], CPU)
    norms.put(0, tensor)
    assert expected > 0
    assert abs(float(norms.sums()) / expected - 1) <= norms.rounding
    assert norms.rounding_of(expected) == norms.rounding


def test_a_plain_norm_would_lose_tiny_and_huge_gradients():
    for scale in (1e-25, 1e25):
        assert float(torch.linalg.vector_norm(torch.full((SMALL + 1,), scale))) in (0.0, math.inf)


def test_one_tiny_number_among_zeros_and_nothing_but_zeros():
    tensor = torch.zeros(2 * SMALL)
    assert squared_norms([tensor]) == [0.0]
    assert squared_norms([-tensor]) == [0.0]
    tensor[SMALL + 3] = -1e-30
    assert squared_norms([tensor]) == pytest.approx([1e-60], rel=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_what_is_not_finite_stays_so(value, dtype):
    for size in (7, SMALL + 7):
        tensor = torch.ones(size, dtype=dtype)
        tensor[4] = value
        (found,) = squared_norms([tensor])
        assert not math.isfinite(found)


@pytest.mark.parametrize("size", [3, SMALL + 3])
def test_fp64_gradients_beyond_its_range_are_refused_or_counted_as_lost(size):
    with pytest.raises(ValueError, match=r"numbers up to 1e\+200, whose squares cannot be added in fp64"):
        squared_norms([torch.full((size,), 1e200, dtype=torch.float64)])
    assert squared_norms([torch.full((size,), 1e110, dtype=torch.float64)]) == pytest.approx([size * 1e220])
    norms = SquaredNorms([size], [torch.float64], CPU)
    norms.put(0, torch.full((size,), 1e-200, dtype=torch.float64))
    assert norms.rounding_of(float(norms.sums())) == math.inf
    assert norms.rounding_of(1e-200) == pytest.approx(norms.rounding)


def test_complex_numbers_count_as_their_two_parts():
    for dtype in (torch.complex64, torch.complex128):
        for size in (6, SMALL + 5):
            tensor = torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(0))
            pairs = torch.view_as_real(tensor).double()
            for values in (tensor, tensor.conj(), tensor[1:], (-tensor.imag) + 0j):
                parts = torch.view_as_real(values.resolve_conj()).double() if values is not tensor else pairs
                assert squared_norms([values]) == pytest.approx([float(parts.square().sum())], rel=5e-6)


def test_a_sparse_gradient_counts_as_the_dense_one():
    places = torch.tensor([[1, 4, 1, 0]])
    for shape in ((4,), (4, 3), (4, SMALL)):
        values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        sparse = torch.sparse_coo_tensor(places, values, (6, *shape[1:]), check_invariants=True)  # row 1 twice
        dense = sparse.to_dense().double()
        norms = SquaredNorms([dense.numel()], [torch.float32], CPU)
        norms.put(0, sparse)
        assert float(norms.sums()) == pytest.approx(float(dense.square().sum()), rel=norms.rounding)
    empty = torch.sparse_coo_tensor(
        torch.zeros(1, 0, dtype=torch.long), torch.zeros(0, 3), (6, 3), check_invariants=True
    )
    assert squared_norms([empty]) == [0.0]
    with pytest.raises(ValueError, match=r"layout torch.sparse_csr, but norms are taken of dense"):
        squared_norms([torch.eye(3).to_sparse_csr()])


def test_a_type_that_changes_later_has_its_own_bound():
    norms = SquaredNorms([2 * SMALL], [torch.float64], CPU)
    before = norms.rounding
    norms.put(0, torch.ones(2 * SMALL))
    assert norms.rounding == SquaredNorms([2 * SMALL], [torch.float32], CPU).rounding > 1e3 * before


def test_any_layout():
    tensor = torch.randn(40, 70, generator=torch.Generator().manual_seed(0))
    expected = float(tensor.double().square().sum())
    for view in (tensor, tensor.t(), tensor.t().contiguous().t(), tensor.view(1, 2800)):
        assert squared_norms([view]) == pytest.approx([expected], rel=1e-12)
    assert squared_norms([torch.ones(1).expand(50)]) == pytest.approx([50], rel=1e-12)
    assert squared_norms([torch.ones(1).expand(3 * SMALL)]) == pytest.approx([3 * SMALL], rel=1e-6)
    assert squared_norms([torch.ones(2 * SMALL, 3)[:, 1]]) == pytest.approx([2 * SMALL], rel=1e-6)
    assert squared_norms([torch.zeros(0, 3), torch.tensor(-2.0)]) == [0.0, 4.0]


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
    assert "aten.linalg_vector_norm.out" in launches.names
    assert ("aten._local_scalar_dense.default" in launches.names) <= (device == "cpu")  # nothing waits for a GPU
    with Launches() as launches:
        norms.sums()
    assert len(launches.names) <= 2  # of a micro-batch, however many tensors
