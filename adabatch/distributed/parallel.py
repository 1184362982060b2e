"""Parallelism, applied in one visible place: process group, device, wrapping, gradient synchronisation."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.cores import visible_cores
from adabatch.distributed.rendezvous import rendezvous
from adabatch.distributed.tensor_parallel import shard_llama
from adabatch.model.layers import decoder_layers
from adabatch.settings import ParallelSettings

if TYPE_CHECKING:  # it takes seconds to import
    from transformers import PreTrainedModel

__all__ = [
    "DistributedContext",
    "autocast",
    "choose_device",
    "lost_peer",
    "parallelize",
    "process_group",
    "reshard",
    "set_gradient_sync",
]

LEAST_TIMEOUT = 1800.0
"""Seconds that a collective waits at least: one rank may prepare data while the others wait."""

LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused")
"""What gloo's errors contain when another rank is gone."""

SHARDED = ("fsdp", "hsdp")
"""The kinds of parallelism that FSDP2 does."""

CPU = torch.device("cpu")

T = TypeVar("T")


@dataclass(frozen=True)
class DistributedContext:
    """This process among the others; by default it is the only one.

    Attributes:
        rank: global, from 0.
        world_size: all ranks.
        device: this rank's own.
        tensor_parallel: T, neighbouring ranks that work on the same samples.
        store: the rendezvous' store; None where the environment names no rendezvous.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU
    tensor_parallel: int = 1
    store: dist.Store | None = field(default=None, compare=False)

    @property
    def data_parallel_size(self) -> int:
        """J, the ranks or teams of tensor-parallel ranks that have samples of their own."""
        return self.world_size // self.tensor_parallel

    @property
    def data_parallel_rank(self) -> int:
        """The number of this rank's samples among the J data-parallel shares."""
        return self.rank // self.tensor_parallel

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and the terminal."""
        return self.rank == 0

    @property
    def is_local_main(self) -> bool:
        """Whether this rank prepares files for its node."""
        return int(os.environ.get("LOCAL_RANK", self.rank)) == 0

    def gather(self, value: T, group: dist.ProcessGroup | None = None) -> list[T]:
        """The picklable values of all ranks, by rank; ``group``: another one of all ranks than the default."""
        values = [value] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(values, value, group=group)
        return values

    def sum(self, *values: float) -> list[float]:
        """The values summed over ranks, in fp64."""
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.world_size > 1:
            dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]


def choose_device(settings: ParallelSettings, local_rank: int = 0) -> torch.device:
    """The device of a rank.

    Raises:
        ValueError: if a GPU is asked for and absent, or fewer GPUs than ranks are there.
    """
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise ValueError("a GPU was asked for (--device cuda), but torch finds none: take --device cpu or auto")
    if settings.device == "cpu" or not available:
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"rank {local_rank} has no GPU: {torch.cuda.device_count()} found; lower --ranks or take --device cpu"
        )
    return torch.device("cuda", local_rank)


@contextmanager
def process_group(settings: ParallelSettings) -> Iterator[DistributedContext]:
    """This process among the others, with the process group up (gloo on the CPU, NCCL on GPUs) if one is needed.

    The ranks' environment (``RANK``, ``WORLD_SIZE``, ...) is what torch's launcher sets; without it this is a
    world of one.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = choose_device(settings, local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(settings.threads or max(1, visible_cores() // local_ranks))
    if settings.parallel == "single":
        yield DistributedContext(device=device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    # The backends' own timeout does not report which rank is late: the watchdog is to be first.
    timeout = timedelta(seconds=max(LEAST_TIMEOUT, 2 * settings.timeout))
    store: dist.Store = dist.HashStore()
    rank, world_size = 0, 1
    if "RANK" in os.environ:
        store, rank, world_size = next(dist.rendezvous("env://", timeout=timeout))
        store = rendezvous(store, rank, world_size, timeout.total_seconds())
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    try:
        yield DistributedContext(rank, world_size, device, settings.tensor_parallel, store)
        # DDP's reducer also holds the group. Freed after the group is destroyed, it waits with the interpreter
        # locked for gloo's thread, which may wait for the interpreter to free the last tensor that was reduced.
        gc.collect()
        dist.barrier()  # else a rank may tear the group down while another still saves
    finally:
        dist.destroy_process_group()


def lost_peer(error: BaseException) -> bool:
    """Whether an error of a collective means that another rank is gone."""
    return any(sign in str(error) for sign in LOST_PEER)


def parallelize(model: PreTrainedModel, settings: ParallelSettings, ranks: DistributedContext) -> nn.Module:
    """Checkpoint, compile and wrap the model as the settings ask, and move it to the rank's device.

    A model on the meta device stays there, to be materialised after wrapping (``to_empty``).

    Order matters: activation checkpointing, then tensor parallelism, then compilation of each decoder layer, then
    wrapping.

    Raises:
        ValueError: if the tensor-parallel ranks cannot share the model evenly.
    """
    if not next(model.parameters()).is_meta:
        model.to(ranks.device)
    if settings.activation_checkpointing:
        # transformers 5 renames it; reentrant checkpointing would hand a shared parameter its gradient twice.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    mesh = _mesh(settings, ranks)
    if mesh is not None and settings.tensor_parallel > 1:
        shard_llama(model, mesh["tensor"], settings.sequence_parallel)
    layers = list(decoder_layers(model))
    if settings.compile:
        for layer in layers:
            layer.compile()
    if settings.parallel == "ddp":
        device_ids = [ranks.device] if ranks.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=device_ids)
    if mesh is not None:
        _shard(model, layers, settings, mesh["shard"] if settings.tensor_parallel > 1 else mesh)
    wrapped: nn.Module = model
    return wrapped


def _mesh(settings: ParallelSettings, ranks: DistributedContext) -> DeviceMesh | None:
    """The ranks by what they share: replicas, then shards, then tensor parallelism; None without FSDP2."""
    if settings.parallel not in SHARDED:
        return None
    sizes = {"shard": ranks.data_parallel_size}
    if settings.parallel == "hsdp":
        sizes = {"replicate": settings.replicas, "shard": ranks.data_parallel_size // settings.replicas}
    if settings.tensor_parallel > 1:
        sizes["tensor"] = settings.tensor_parallel
    return init_device_mesh(ranks.device.type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))


def _shard(model: nn.Module, layers: list[nn.Module], settings: ParallelSettings, mesh: DeviceMesh) -> None:
    """FSDP2: each decoder layer, then the root with what is left (embeddings stay together, so ties hold)."""
    policy = MixedPrecisionPolicy()
    if settings.precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for module in [*layers, model]:
        fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=settings.reshard_after_forward)


def autocast(settings: ParallelSettings, ranks: DistributedContext) -> torch.autocast | nullcontext[None]:
    """bf16 compute for modules that FSDP2 does not cast."""
    if settings.precision == "bf16" and settings.parallel not in SHARDED:
        return torch.autocast(ranks.device.type, dtype=torch.bfloat16)
    return nullcontext()


def reshard(model: nn.Module) -> None:
    """Free whole parameters that a forward pass without a backward pass has left behind (FSDP2)."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def set_gradient_sync(model: nn.Module, enabled: bool) -> None:
    """Whether the next backward reduces gradients over ranks; off while accumulating."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(enabled)
    elif isinstance(model, DistributedDataParallel):
        model.require_backward_grad_sync = enabled
