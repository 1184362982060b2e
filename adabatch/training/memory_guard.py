"""What is known of the device's memory: which micro-batches have fitted, and what an out-of-memory error is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["MemoryGuard", "is_out_of_memory", "reserve"]


@dataclass
class MemoryGuard:
    """Which micro-batches have fitted.

    Attributes:
        worked: the largest micro-batch used so far, at this length; 0 before the first step.
        limit: no larger one fits; None while none has failed.
        length: tokens of the longest sequence used so far; 0: unknown.
        transient: bytes that the last step needed beyond what it began with, where the device counts them.
    """

    worked: int = 0
    limit: int | None = None
    length: int = 0
    transient: int = 0
    _before: int = 0

    def begin_step(self, device: torch.device) -> None:
        """From here on the step's memory counts."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)

    def end_step(self, device: torch.device) -> None:
        """Until here: what follows, such as a validation, takes memory that says nothing of the next step's."""
        if device.type == "cuda":
            self.transient = torch.cuda.max_memory_allocated(device) - self._before

    def lengthen(self, length: int) -> None:
        """The next step's sequences have this length: of longer ones, fewer are known to fit.

        >>> guard = MemoryGuard(worked=8, length=64)
        >>> guard.lengthen(128)
        >>> guard.worked
        4
        """
        self.worked = self.fitting(length)
        self.length = max(self.length, length)

    def fitting(self, length: int) -> int:
        """The largest micro-batch of sequences of this length that is known to fit; 0 before the first step."""
        if self.worked and 0 < self.length < length:
            return max(1, self.worked * self.length // length)
        return self.worked

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know to split its batches alike."""
        return {
            "micro_batch_worked": self.worked,
            "micro_batch_limit": self.limit,
            "micro_batch_length": self.length,
            "micro_batch_transient": self.transient,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state; runs saved before there was one begin without."""
        self.worked, self.limit = state.get("micro_batch_worked", 0), state.get("micro_batch_limit")
        self.length, self.transient = state.get("micro_batch_length", 0), state.get("micro_batch_transient", 0)


def reserve(size: int, device: torch.device) -> None:
    """Allocate that many bytes and free them.

    Raises:
        RuntimeError: torch's out-of-memory error.
    """
    torch.empty(size, dtype=torch.uint8, device=device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised this: a GPU's, or the CPU's, whose error has no type of its own.

    >>> is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    True
    """
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
