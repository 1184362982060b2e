"""Live memory by what it is for, seen operation by operation, on real tensors or on fake ones."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adabatch.statistics.norms import local

__all__ = ["GATHERED", "UNDECIDED", "LiveMemory"]

GATHERED = "gathered weights"
"""Storages that change their size in place (what FSDP2 gathers into): measured again at each operation."""

UNDECIDED = "temporary"
"""Storages whose purpose may show later (:meth:`LiveMemory.decide`)."""


@dataclass(eq=False)
class _Use:
    """A live storage's size, and what it is for."""

    size: int
    part: str


class LiveMemory(TorchDispatchMode):
    """Follows every storage that operations make while this is entered, and what :meth:`watch` was told of.

    The peak of each phase is kept together with what each part held at that moment. Memory inside an operation is
    not seen.

    Attributes:
        part: what storages made from now on are for; :data:`GATHERED` and :data:`UNDECIDED` are special.
        phase: the name of what is being computed, whose peak is kept.
        live: bytes alive, by part.

    >>> import torch
    >>> memory = LiveMemory("kept")
    >>> with memory:
    ...     kept = torch.zeros(256)
    ...     memory.part = UNDECIDED
    ...     gradient = torch.zeros(128)
    ...     total = float(torch.zeros(512).sum())
    >>> memory.decide("gradients")
    >>> peak = memory.peaks()[""]
    >>> memory.live["kept"], peak["kept"], peak["gradients"], peak[UNDECIDED] >= 2048
    (1024, 1024, 512, True)
    """

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part
        self.live: Counter[str] = Counter()
        self._uses: dict[int, _Use] = {}
        self._gathered: dict[int, weakref.ref[UntypedStorage]] = {}
        self._undecided: dict[int, _Use] = {}
        self.phase = ""
        self._peaks: dict[str, tuple[Counter[str], list[_Use]]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at what it made."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # comes back in terms of the local tensors
        result = func(*args, **(kwargs or {}))
        if func is not torch.ops.prim.device.default:
            made = [storage for storage in _storages(tree_leaves(result)) if storage._cdata not in self._uses]
            for storage in made:
                self._follow(storage, self.part)
            if made:  # else no more is alive than at the operation before
                self.look()
        return result

    def watch(self, values: Iterable[Any], part: str) -> None:
        """Follow these tensors' storages too; they are for ``part`` from now on."""
        for storage in _storages(values):
            if storage._cdata in self._uses:
                self._move(storage._cdata, part)
            else:
                self._follow(storage, part)

    def decide(self, part: str) -> None:
        """What lives and is undecided turns out to be for ``part``, also in the peak seen so far."""
        for key in list(self._undecided):
            self._move(key, part)

    def forget_peaks(self) -> None:
        """Start looking for the peaks again."""
        self._peaks.clear()
        self.look()

    def peaks(self) -> dict[str, dict[str, int]]:
        """Bytes of each part when all together were most, by phase."""
        found = {}
        for phase, (held, undecided) in self._peaks.items():
            parts = Counter(held)
            for use in undecided:
                parts[UNDECIDED] -= use.size
                parts[use.part] += use.size
            found[phase] = dict(+parts)
        return found

    def _follow(self, storage: UntypedStorage, part: str) -> None:
        key, use = storage._cdata, _Use(storage.nbytes(), part)
        self._uses[key] = use
        self.live[part] += use.size
        if part == GATHERED:
            self._gathered[key] = weakref.ref(storage)
        if part == UNDECIDED:
            self._undecided[key] = use
        weakref.finalize(storage, self._forget, key).atexit = False

    def _forget(self, key: int) -> None:
        use = self._uses.pop(key)
        self.live[use.part] -= use.size
        self._gathered.pop(key, None)
        self._undecided.pop(key, None)

    def _move(self, key: int, part: str) -> None:
        use = self._uses[key]
        self.live[use.part] -= use.size
        self.live[part] += use.size
        use.part = part
        self._gathered.pop(key, None)
        self._undecided.pop(key, None)

    def look(self) -> None:
        """Keep what is alive now if that is the most of the phase."""
        for key, reference in self._gathered.items():
            storage, use = reference(), self._uses[key]
            if storage is not None:
                self.live[use.part] += storage.nbytes() - use.size
                use.size = storage.nbytes()
        total = self.live.total()
        if self.phase not in self._peaks or total > self._peaks[self.phase][0].total():
            self._peaks[self.phase] = (self.live.copy(), list(self._undecided.values()))


def _storages(values: Iterable[Any]) -> Iterator[UntypedStorage]:
    return (local(value).untyped_storage() for value in values if isinstance(value, Tensor))
