"""The nuclear-norm noise scale of a model's matrices, against each group's own gradient and singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from adabatch.statistics import GradientStatistics
from adabatch.statistics.matrix_noise import MatrixNoise
from tests.support.tiny_model import TinyModel, groups_of


def by_hand(gradients: list[np.ndarray], size: int) -> tuple[float, float]:
    """tr (E X X^T)^(1/2) and ||g||_* from each group's gradient, [groups, rows, columns], along the rows."""
    groups = np.array(gradients)
    mean = groups.mean(0)
    covariance = sum(size * (g - mean) @ (g - mean).T for g in groups) / (len(groups) - 1)
    left, values, _ = np.linalg.svd(covariance)
    assert np.allclose(left * values @ left.T, covariance)
    return np.sqrt(values).sum(), np.linalg.svd(mean, compute_uv=False).sum()


@pytest.mark.parametrize(("most", "count"), [(1, 1), (3, 3), (9, 4)])
def test_of_some_matrices_next_to_other_statistics(most, count):
    model, groups = TinyModel(tied=False), groups_of(6, 4)
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    noise, statistics = MatrixNoise(model, matrices, most), GradientStatistics(model)
    noise.enable()
    for tokens in groups:
        (model(tokens) / len(groups)).backward()
        statistics.end_microbatch(len(tokens))
    chosen = [matrix for matrix, _ in noise._leaves]
    assert len(chosen) == count
    assert len({id(matrix) for matrix in chosen}) == count
    deviations = norms = 0.0
    for matrix in chosen:
        own = [torch.autograd.grad(model(tokens), matrix)[0].numpy() for tokens in groups]
        short = [g if g.shape[0] <= g.shape[1] else g.T for g in own]
        deviation, norm = by_hand(short, 4)
        deviations, norms = deviations + deviation, norms + norm
    scale = noise.read(groups=6, group_size=4, micro_batches=6)
    assert scale == pytest.approx((deviations / norms) ** 2, rel=1e-8)
    assert statistics.finish().groups == 6
    assert not noise.enabled


def test_without_matrices_nothing_is_looked_at():
    noise = MatrixNoise(nn.Linear(2, 2), [], 4)
    noise.enable()
    assert not noise.enabled


def test_a_step_given_up_is_forgotten():
    model = nn.Linear(3, 2, bias=False)
    noise = MatrixNoise(model, [model.weight], 1)
    scales = []
    for given_up in (False, True):
        noise.enable()
        model.zero_grad()
        if given_up:
            model(torch.full((1, 3), 9.0)).sum().backward()
            model.zero_grad()
            noise.enable()
        for rows in (torch.eye(3)[:1], torch.eye(3)[1:2]):
            (model(rows).square().sum() / 2).backward()
        scales.append(noise.read(2, 1, 2))
    assert scales[0] == scales[1]
