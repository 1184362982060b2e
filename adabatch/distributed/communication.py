"""Bytes that collectives move, counted where they are issued: DDP, FSDP2, tensor parallelism and one's own alike.

A dispatch mode sees each collective with its tensors, on any backend, torch's fake one included. Two sizes are
kept: the *payload*, the bytes of the whole tensor (what an all-reduce reduces, an all-gather makes, a
reduce-scatter reads), and what a rank *sends* under the ring algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import ScriptObject, Tensor
from torch.distributed.distributed_c10d import _resolve_process_group
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["CommunicationCounter", "Traffic", "ring_share"]

KINDS = {
    "allreduce": "all-reduce",
    "reducescatter": "reduce-scatter",
    "allgather": "all-gather",
    "alltoall": "all-to-all",
    "broadcast": "broadcast",
    "barrier": "barrier",
}
"""Parts of an operation's name (without underscores) -> the collective."""


def ring_share(kind: str, ranks: int) -> float:
    """What a rank sends under the ring algorithm, as a multiple of the payload.

    >>> ring_share("all-reduce", 4), ring_share("all-gather", 4)
    (1.5, 0.75)
    """
    shares = {"all-reduce": 2 * (ranks - 1) / ranks, "broadcast": float(ranks > 1), "barrier": 0.0}
    return shares.get(kind, (ranks - 1) / ranks)


@dataclass(frozen=True)
class Traffic:
    """All collectives of one kind.

    Attributes:
        calls: how many.
        payload: bytes of the whole tensors.
        sent: bytes that a rank sends.
    """

    calls: int = 0
    payload: int = 0
    sent: float = 0.0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.calls + other.calls, self.payload + other.payload, self.sent + other.sent)

    def __sub__(self, other: Traffic) -> Traffic:
        return self + other * -1

    def __mul__(self, times: int) -> Traffic:
        return Traffic(self.calls * times, self.payload * times, self.sent * times)


class CommunicationCounter(TorchDispatchMode):
    """Counts the collectives that this process issues while it is entered.

    Attributes:
        traffic: :class:`Traffic` by collective, such as ``all-reduce``.

    Example::

        with CommunicationCounter() as counter:
            loss.backward()
        counter.traffic["reduce-scatter"].payload
    """

    def __init__(self) -> None:
        super().__init__()
        self.traffic: dict[str, Traffic] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and count it if it is a collective."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # a sharded tensor's operation comes back here in terms of its shards
        result = func(*args, **(kwargs or {}))
        if func.namespace in ("c10d", "_c10d_functional"):
            self._count(func._opname, args, result)
        return result

    def _count(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        kind = next((kind for part, kind in KINDS.items() if part in name.replace("_", "")), None)
        if kind is None:  # waiting for a collective, or point to point
            return
        payload = 0 if kind == "barrier" else max(_bytes(value) for value in (*args, result))
        counted = Traffic(1, payload, payload * ring_share(kind, _group_size(args)))
        self.traffic[kind] = self.traffic.get(kind, Traffic()) + counted


def _bytes(value: Any) -> int:
    """Bytes of all tensors in an argument."""
    tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _group_size(args: tuple[Any, ...]) -> int:
    """The size of the process group among the arguments: a boxed one, else the last group or name of one."""
    boxed = next((value for value in args if isinstance(value, ScriptObject)), None)
    if boxed is not None:
        return dist.ProcessGroup.unbox(boxed).size()
    group = next(value for value in reversed(args) if isinstance(value, str | dist.ProcessGroup))
    return (_resolve_process_group(group) if isinstance(group, str) else group).size()  # type: ignore[arg-type]
