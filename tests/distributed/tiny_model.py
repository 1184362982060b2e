"""A small model whose gradients are exact in fp64, and the explicit reference for its moments.

It has no cast to fp32 anywhere (unlike a Llama's RMSNorm); its dimensions do not divide evenly, and its embedding
is tied to its output or not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adabatch.parallel import set_gradient_sync
from adabatch.statistics import GradientStatistics
from theory.gradient_moments import GradientMoments

VOCABULARY, WIDTH, LENGTH = 11, 7, 6


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 14), nn.Linear(14, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(self.norm(x)).cumsum(1)))


class TinyModel(nn.Module):
    """An embedding, two causal blocks and an output layer, fp64 throughout."""

    def __init__(self, tied: bool, recompute: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.output.weight = self.embedding.weight
        self.recompute = recompute
        self.double()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        logits = self.output(x)[:, :-1]
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def groups_of(n: int, m: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(17)
    return list(torch.randint(VOCABULARY, (n * m, LENGTH), generator=generator).split(m))


def reference(model: TinyModel, groups: list[Tensor], divisor: int = 1) -> GradientMoments:
    """The moments from each group's own whole gradient, in fp64; of loss / divisor, times the divisor."""
    gradients = []
    for tokens in groups:
        loss = model(tokens) / divisor
        parts = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
        gradients.append(divisor * torch.cat([part.double().reshape(-1) for part in parts]))
    stacked = torch.stack(gradients)
    return GradientMoments(
        len(groups), len(groups[0]), float(stacked.square().sum()), float(stacked.mean(0).square().sum())
    )


def accumulate(
    model: nn.Module, statistics: GradientStatistics, groups: list[Tensor], rank: int, world_size: int, sync: bool
) -> None:
    """A step's micro-batches on this data-parallel rank, reducing after each or after the last one."""
    micro_batches = len(groups) // world_size
    for index in range(micro_batches):
        set_gradient_sync(model, sync or index == micro_batches - 1)
        tokens = groups[index * world_size + rank]
        (model(tokens) / micro_batches).backward()
        statistics.end_microbatch(len(tokens))


def relative_errors(moments: GradientMoments, expected: GradientMoments) -> tuple[float, float, float]:
    """Of both sums and of the trace."""
    return (
        abs(moments.sum_of_squares / expected.sum_of_squares - 1),
        abs(moments.squared_norm / expected.squared_norm - 1),
        abs(moments.covariance_trace / expected.covariance_trace - 1),
    )
