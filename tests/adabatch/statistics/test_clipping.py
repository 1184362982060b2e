"""Clipping from a known norm: of any kind of gradient, and never from a norm that is none."""

import math

import pytest
import torch
from torch import nn

from adabatch.statistics.clipping import clip_gradients


class Kinds(nn.Module):
    """Parameters whose gradients are dense, sparse, complex, of another type, empty and absent."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Parameter(torch.zeros(2, 3))
        self.dense.grad = torch.ones(3, 2).t()
        self.sparse = nn.Parameter(torch.zeros(5, 2))
        self.sparse.grad = torch.sparse_coo_tensor(
            torch.tensor([[1, 1, 4]]), torch.ones(3, 2), (5, 2), check_invariants=True
        )
        self.pairs = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
        self.pairs.grad = torch.tensor([3 + 4j, 1j])
        self.narrow = nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
        self.narrow.grad = torch.full((4,), 2.0, dtype=torch.bfloat16)
        self.wide = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.wide.grad = torch.tensor(5.0, dtype=torch.float64)
        self.empty = nn.Parameter(torch.zeros(0, 2))
        self.empty.grad = torch.zeros(0, 2)
        self.idle = nn.Parameter(torch.zeros(2))

    def gradients(self):
        return [p.grad.to_dense() for p in self.parameters() if p.grad is not None]


def test_all_kinds_of_gradients_are_scaled_alike():
    model = Kinds()
    before = [gradient.clone() for gradient in model.gradients()]
    # 6 ones; two rows of which one is given twice: 4 * 2 + 2 * 1; 25 + 1; 4 * 4; 25.
    norm = math.sqrt(6 + 10 + 26 + 16 + 25)
    factor = clip_gradients(model, norm, 0.5 * norm)
    assert factor == pytest.approx(0.5, rel=1e-6)
    for old, new in zip(before, model.gradients(), strict=True):
        torch.testing.assert_close(new, old * factor)
    total = sum(float(gradient.abs().double().square().sum()) for gradient in model.gradients())
    assert math.sqrt(total) == pytest.approx(0.5 * norm, rel=1e-2)  # a part is in bf16


@pytest.mark.parametrize("norm", [math.nan, math.inf, -1.0])
def test_a_norm_that_is_none_is_refused_and_changes_nothing(norm):
    model = Kinds()
    with pytest.raises(ValueError, match=f"cannot be clipped from a norm of {norm}: skip the step"):
        clip_gradients(model, norm, 1.0)
    assert clip_gradients(model, norm, 0.0) == 1.0  # nothing is clipped
    assert float(model.wide.grad) == 5.0


@pytest.mark.parametrize("maximum", [math.nan, -1.0])
def test_a_maximum_that_is_none_is_refused(maximum):
    with pytest.raises(ValueError, match=f"to a norm of at least 0 .*, but {maximum} was given"):
        clip_gradients(Kinds(), 1.0, maximum)


def test_within_the_maximum_or_without_one_nothing_changes():
    model = Kinds()
    for norm, maximum in ((2.0, 0.0), (2.0, math.inf), (2.0, 3.0), (0.0, 1.0)):
        assert clip_gradients(model, norm, maximum) == 1.0
    assert float(model.wide.grad) == 5.0
