"""Bytes that collectives move, counted where they are issued: DDP, FSDP2, tensor parallelism and one's own alike.

A dispatch mode sees each collective with its tensors, on any backend, torch's fake one included. Two sizes are
kept: the *payload*, the bytes of the whole tensor (what an all-reduce reduces, an all-gather makes, a
reduce-scatter reads), and what a rank *sends* under the ring algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch.distributed as dist
from torch import ScriptObject, Tensor
from torch.distributed.distributed_c10d import _resolve_process_group
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Collective", "CommunicationCounter", "Traffic", "by_kind", "ring_share"]

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


class Collective(NamedTuple):
    """A kind of collective, and who takes part: this many ranks, each ``stride`` after the one before.

    >>> Collective("all-gather", ranks=8, stride=4).kind
    'all-gather'
    """

    kind: str
    ranks: int
    stride: int


def by_kind(collectives: Mapping[Collective, Traffic]) -> dict[str, Traffic]:
    """The traffic of each kind of collective, over all groups of ranks.

    >>> groups = {Collective("all-reduce", 2, 1): Traffic(1, 8, 8.0), Collective("all-reduce", 4, 2): Traffic(1)}
    >>> by_kind(groups)
    {'all-reduce': Traffic(calls=2, payload=8, sent=8.0)}
    """
    kinds: dict[str, Traffic] = {}
    for collective, counted in collectives.items():
        kinds[collective.kind] = kinds.get(collective.kind, Traffic()) + counted
    return kinds


class CommunicationCounter(TorchDispatchMode):
    """Counts the collectives that this process issues while it is entered.

    Attributes:
        collectives: :class:`Traffic` by :class:`Collective`; ``traffic`` has it by kind, such as ``all-reduce``.

    Example::

        with CommunicationCounter() as counter:
            loss.backward()
        counter.traffic["reduce-scatter"].payload
    """

    def __init__(self) -> None:
        super().__init__()
        self.collectives: dict[Collective, Traffic] = {}

    @property
    def traffic(self) -> dict[str, Traffic]:
        """Of each kind of collective."""
        return by_kind(self.collectives)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and count it if it is a collective."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # a sharded tensor's operation comes back here in terms of its shards
        result = func(*args, **(kwargs or {}))
        self.count(func, args, result)
        return result

    def count(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        """Count an operation that has run, if it is a collective."""
        if func.namespace not in ("c10d", "_c10d_functional"):
            return
        name = func._opname
        kind = next((kind for part, kind in KINDS.items() if part in name.replace("_", "")), None)
        if kind is None:  # waiting for a collective, or point to point
            return
        payload = 0 if kind == "barrier" else max(_bytes(value) for value in (*args, result))
        ranks, stride = _members(args)
        collective = Collective(kind, ranks, stride)
        counted = Traffic(1, payload, payload * ring_share(kind, ranks))
        self.collectives[collective] = self.collectives.get(collective, Traffic()) + counted


def _bytes(value: Any) -> int:
    """Bytes of all tensors in an argument."""
    tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _members(args: tuple[Any, ...]) -> tuple[int, int]:
    """Number and distance of the ranks of the process group among the arguments: a boxed one, else the last group
    or name of one.
    """
    boxed = next((value for value in args if isinstance(value, ScriptObject)), None)
    if boxed is not None:
        group = dist.ProcessGroup.unbox(boxed)
    else:
        last = next(value for value in reversed(args) if isinstance(value, str | dist.ProcessGroup))
        group = _resolve_process_group(last) if isinstance(last, str) else last  # type: ignore[arg-type]
    ranks = dist.get_process_group_ranks(group)
    return len(ranks), ranks[1] - ranks[0] if len(ranks) > 1 else 1
