"""How long a step takes, from what it computes and moves and from figures of the hardware.

A model, not a measurement. Computation reaches a share of the GPU's peak that is given. Collectives take the
bytes that a rank sends in a ring over the bandwidth between its members, of which :data:`REACHED` is reached,
and a latency. Those of data parallelism are hidden behind computation as far as it lasts, those of tensor
parallelism are waited for. The optimizer and the norm test take the bytes that they read and write over the
bandwidth of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from adabatch.accelerators import Accelerator
from adabatch.distributed.communication import Collective, Traffic

__all__ = ["StepSeconds", "StepWork", "group_bandwidth", "seconds_of_traffic", "step_seconds"]

REACHED = 0.8
"""The share of a bandwidth that is reached; what NCCL's and copy benchmarks report is 0.75 to 0.9 of the data
sheets."""

LATENCY = 10e-6
"""Seconds of a collective of two ranks, doubled ranks adding as much: launch, and a hop in a tree."""


@dataclass(frozen=True)
class StepWork:
    """What one rank does in a step.

    Attributes:
        tokens: of the whole batch.
        flops: operations of the model for these tokens, forward and backward, by all ranks.
        recomputed: operations of activation checkpointing on top.
        traffic: of this rank.
        tensor_parallel: ranks that share matrices.
        moved: bytes that clipping and the optimizer read and write.
        observed: bytes of gradients that a test reads.
        repeated: operations of the optimizer that every rank does.
    """

    tokens: int
    flops: float
    recomputed: float
    traffic: Mapping[Collective, Traffic]
    tensor_parallel: int
    moved: float
    observed: float
    repeated: float = 0.0


@dataclass(frozen=True)
class StepSeconds:
    """Seconds of a step, by what they are for.

    Attributes:
        compute: forward and backward.
        communication: of data parallelism, hidden behind computation where that lasts longer.
        tensor_communication: of tensor parallelism, which is waited for.
        optimizer: clipping and the optimizer.
        test: what the norm test adds.

    >>> StepSeconds(compute=2.0, communication=3.0, tensor_communication=0.5, optimizer=0.25, test=0.25).all
    4.0
    """

    compute: float
    communication: float
    tensor_communication: float
    optimizer: float
    test: float

    @property
    def all(self) -> float:
        """The whole step's."""
        hidden = max(self.compute, self.communication)
        return hidden + self.tensor_communication + self.optimizer + self.test


def group_bandwidth(collective: Collective, gpu: Accelerator, gpus_per_node: int) -> float:
    """Bytes per second that a rank sends in a ring over these ranks, at most.

    Within a node that is the link's; over nodes the rings of a group share the adapters of its ranks in the node.

    >>> from adabatch.accelerators import accelerator_named
    >>> groups = [Collective("all-gather", 8, 1), Collective("all-gather", 64, 1), Collective("all-gather", 8, 8)]
    >>> [group_bandwidth(group, accelerator_named("h100"), gpus_per_node=8) / 1e9 for group in groups]
    [450.0, 400.0, 50.0]
    """
    if (collective.ranks - 1) * collective.stride < gpus_per_node:
        return gpu.link * 1e9
    in_a_node = max(1, gpus_per_node // collective.stride)
    return min(gpu.link, in_a_node * gpu.network) * 1e9


def seconds_of_traffic(traffic: Mapping[Collective, Traffic], gpu: Accelerator, gpus_per_node: int) -> float:
    """Seconds of these collectives, one after the other."""
    return sum(
        counted.sent / (REACHED * group_bandwidth(group, gpu, gpus_per_node))
        + counted.calls * LATENCY * math.log2(max(2, group.ranks))
        for group, counted in traffic.items()
        if group.ranks > 1
    )


def step_seconds(
    work: StepWork, gpu: Accelerator, ranks: int, gpus_per_node: int, utilisation: float
) -> StepSeconds:
    """Seconds of a step on this hardware.

    Args:
        work: of one rank.
        gpu: figures of each.
        ranks: of the run.
        gpus_per_node: that are linked directly.
        utilisation: the share of the peak that computation reaches.
    """
    tensor = Collective("", work.tensor_parallel, 1)[1:]
    shared = {
        group: traffic
        for group, traffic in work.traffic.items()
        if work.tensor_parallel > 1 and (group.ranks, group.stride) == tensor
    }
    others = {group: traffic for group, traffic in work.traffic.items() if group not in shared}
    memory = REACHED * gpu.memory_bandwidth * 1e9
    return StepSeconds(
        compute=(work.flops + work.recomputed) / (ranks * gpu.tflops * 1e12 * utilisation),
        communication=seconds_of_traffic(others, gpu, gpus_per_node),
        tensor_communication=seconds_of_traffic(shared, gpu, gpus_per_node),
        optimizer=work.moved / memory + work.repeated / (gpu.tflops * 1e12 * utilisation),
        test=work.observed / memory,
    )
