"""The moments of groups whose gradients were taken one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adabatch.moments.gradient_moments import GradientMoments


def moments_by_hand(gradients: Sequence[Tensor], sizes: Sequence[int]) -> tuple[Tensor, GradientMoments]:
    """g = sum_j (t_j / N) g_j and its moments, from each group's own mean gradient g_j over t_j units."""
    rows = torch.stack([gradient.flatten().double() for gradient in gradients])
    count, total = len(rows), sum(sizes)
    weights = torch.tensor(sizes, dtype=torch.float64) / total
    mean = weights @ rows
    squares = count * weights @ rows.square().sum(1)
    return mean, GradientMoments(count, total / count, float(squares), float(mean.square().sum()))


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """One vector of all of them."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
