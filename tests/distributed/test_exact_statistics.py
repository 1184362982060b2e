"""GradientStatistics on ranks against an explicit fp64 reference of every group's own gradient.

The model has no cast to fp32 anywhere (unlike a Llama's RMSNorm), so that the comparison is exact to 1e-10; its
dimensions do not divide evenly, and its embedding is tied to its output or not.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from spawning import run_ranks
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from adabatch.parallel import set_gradient_sync
from adabatch.statistics import GradientStatistics
from theory.gradient_moments import GradientMoments

pytestmark = pytest.mark.distributed

VOCABULARY, WIDTH, LENGTH = 11, 7, 5


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 13), nn.Linear(13, WIDTH, bias=False)

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
        logits = self.output(x[:, :-1])
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def groups_of(n: int, m: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(17)
    return list(torch.randint(VOCABULARY, (n * m, LENGTH), generator=generator).split(m))


def reference(model: TinyModel, groups: list[Tensor]) -> GradientMoments:
    gradients = []
    for tokens in groups:
        parts = torch.autograd.grad(model(tokens), [p for p in model.parameters() if p.requires_grad])
        gradients.append(torch.cat([part.reshape(-1) for part in parts]))
    stacked = torch.stack(gradients)
    return GradientMoments(
        len(groups), len(groups[0]), float(stacked.square().sum()), float(stacked.mean(0).square().sum())
    )


def wrapped(model: TinyModel, mode: str, world_size: int) -> nn.Module:
    if mode == "ddp":
        return DistributedDataParallel(model)
    mesh = init_device_mesh("cpu", (world_size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=mode == "fsdp")
    fully_shard(model, mesh=mesh, reshard_after_forward=mode == "fsdp")
    return model


def errors(rank: int, world_size: int) -> dict[str, tuple[float, float]]:
    """Relative errors of both sums, for every mode at this world size."""
    results = {}
    for mode, tied, sync, variant in itertools.product(
        ("ddp", "fsdp", "fsdp without reshard"), (False, True), (False, True), ("plain", "frozen", "recompute")
    ):
        m, micro_batches = 3, 3
        groups = groups_of(world_size * micro_batches, m)
        model = TinyModel(tied, recompute=variant == "recompute")
        if variant == "frozen":
            model.blocks[0].requires_grad_(False)
        expected = reference(model, groups)
        model = wrapped(model, mode, world_size)
        statistics = GradientStatistics(model)
        for step in range(2):
            model.zero_grad()
            statistics.enable(step == 1)  # off and on again, also under sharding
            for index in range(micro_batches):
                set_gradient_sync(model, sync or index == micro_batches - 1)
                (model(groups[index * world_size + rank]) / micro_batches).backward()
                statistics.end_microbatch(m)
        plain = statistics.gradient_squared_norm()
        moments = statistics.finish()
        assert moments.groups == world_size * micro_batches
        assert plain == moments.squared_norm
        results[f"{mode}, tied {tied}, sync {sync}, {variant}"] = (
            abs(moments.sum_of_squares / expected.sum_of_squares - 1),
            abs(moments.squared_norm / expected.squared_norm - 1),
            abs(moments.covariance_trace / expected.covariance_trace - 1),
        )
    return results


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_moments_equal_the_explicit_reference(world_size):
    for result in run_ranks(errors, world_size):
        for mode, error in result.items():
            assert max(error) < 1e-10, (mode, error)


def guards(rank: int, world_size: int) -> dict[str, str]:
    """The messages of what is refused."""
    messages = {}
    try:
        GradientStatistics(TinyModel(False))
    except ValueError as error:
        messages["before wrapping"] = str(error)
    model = TinyModel(False)
    statistics = GradientStatistics(model, process_group=torch.distributed.group.WORLD)
    groups = groups_of(2 * world_size, 2)
    for index in range(2):
        (model(groups[index * world_size + rank]) / 2).backward()
        statistics.end_microbatch(2)
    for parameter in model.parameters():  # a loop that averages by hand
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= world_size
    expected = reference(TinyModel(False), groups)
    messages["averaged by hand"] = str(abs(statistics.finish().covariance_trace / expected.covariance_trace - 1))
    return messages


def test_statistics_attached_before_wrapping_are_refused_unless_gradients_are_averaged_by_hand():
    for messages in run_ranks(guards, 2):
        assert "attach the statistics after DistributedDataParallel or fully_shard" in messages["before wrapping"]
        assert float(messages["averaged by hand"]) < 1e-10
