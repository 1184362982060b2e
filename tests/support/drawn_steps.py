"""Steps that hypothesis draws: any wrapping, sizes that do not divide evenly, any dtype and scale."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.nn.parallel import DistributedDataParallel

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.statistics import GradientStatistics
from tests.support.tiny_model import (
    Dimensions,
    TinyModel,
    accumulate,
    group_gradients,
    groups_of,
    sharded,
    tensor_parallel,
)

MODES = ("fsdp", "ddp", "fsdp without reshard", "hybrid", "tensor", "tensor, sequence parallel")
"""Hybrid sharding needs four ranks, tensor parallelism an even number: elsewhere they are FSDP2."""

DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Example:
    mode: str
    dtype: str
    tied: bool
    sync: bool
    micro_batches: int
    samples: int
    dimensions: Dimensions
    scale: float
    seed: int

    def tensor_parallel(self, ranks: int) -> bool:
        return self.mode.startswith("tensor") and ranks % 2 == 0

    def data_parallel(self, ranks: int) -> int:
        """J with this many ranks."""
        return ranks // 2 if self.tensor_parallel(ranks) else ranks

    def groups(self, ranks: int) -> list[Tensor]:
        count = self.data_parallel(ranks) * self.micro_batches
        return groups_of(count, self.samples, self.dimensions.vocabulary, self.seed)

    def model(self) -> TinyModel:
        sizes = self.dimensions
        if self.mode.startswith("tensor"):  # torch's row-wise layers take equal parts of what lies between layers
            sizes = replace(sizes, hidden=2 * sizes.hidden)
        return TinyModel(self.tied, dimensions=sizes, scale=self.scale)

    def same_gradients(self, groups: list[Tensor]) -> Tensor:
        """Each group's gradient in the example's arithmetic, unsharded, [groups, coordinates]."""
        return group_gradients(self.model().to(DTYPES[self.dtype]), groups, self.micro_batches)

    def comparable(self, ranks: int) -> Example:
        """In fp64 where tensor parallelism, adding in another order, would give groups other gradients."""
        return replace(self, dtype="fp64") if self.tensor_parallel(ranks) else self


def examples(dtypes: tuple[str, ...] = tuple(DTYPES), accumulating: bool = False) -> st.SearchStrategy[Example]:
    return st.builds(
        Example,
        mode=st.sampled_from(MODES),
        dtype=st.sampled_from(dtypes),
        tied=st.booleans(),
        sync=st.booleans(),
        micro_batches=st.integers(2 if accumulating else 1, 4),
        samples=st.integers(1, 4),
        dimensions=st.builds(
            Dimensions, st.integers(2, 13), st.integers(2, 11), st.integers(1, 13), st.integers(1, 2)
        ),
        scale=st.integers(-12, 12).map(lambda power: 10.0**power),
        seed=st.integers(0, 2**16),
    )


def cases(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )


on_even_ranks = pytest.mark.parametrize("pool", [2, 4], indirect=True, ids="{} ranks".format)
"""Where every mode is; 1 and 3 ranks have FSDP2 and DDP alone, which the references are drawn for."""


@functools.cache
def mesh_of(*shape: int) -> DeviceMesh:
    """Made once a rank: it makes process groups."""
    return init_device_mesh("cpu", shape, mesh_dim_names=("outer", "inner")[-len(shape) :])


def wrapped(model: TinyModel, example: Example, ranks: int) -> nn.Module:
    if example.mode in ("ddp", "single"):
        model.to(DTYPES[example.dtype])
        return DistributedDataParallel(model) if example.mode == "ddp" else model
    model.to(torch.float64 if example.dtype == "fp64" else torch.float32)
    mesh = mesh_of(ranks)
    if example.tensor_parallel(ranks):
        both = mesh_of(ranks // 2, 2)
        model, mesh = tensor_parallel(model, both["inner"], "sequence" in example.mode), both["outer"]
    elif example.mode == "hybrid" and ranks == 4:
        mesh = mesh_of(2, 2)
    policy = MixedPrecisionPolicy()
    if example.dtype == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    return sharded(model, mesh, example.mode != "fsdp without reshard", mp_policy=policy)


def measured(
    rank: int,
    world_size: int,
    example: Example,
    steps: list[tuple[float, list[Tensor]]],
    statistics_class: type[GradientStatistics] = GradientStatistics,
    conservative: bool = False,
) -> list[GradientMoments]:
    """The moments of steps with these scales of the loss and groups, on one wrapped model."""
    model = example.model()
    whole = wrapped(model, example, world_size)
    options = {"conservative": conservative} if statistics_class is not GradientStatistics else {}
    statistics = statistics_class(whole, **options)
    ranks = example.data_parallel(world_size)
    moments = []
    for scale, groups in steps:
        model.scale = scale
        whole.zero_grad()
        accumulate(whole, statistics, groups, rank * ranks // world_size, ranks, example.sync)
        moments.append(statistics.finish())
    return moments
