"""The paper's way to the norm test's statistics, as a reference to measure against.

Each worker keeps its own gradient g_j, takes the difference to the reduced gradient g and squares it; an
all-reduce of the parameters' size makes Var = (1/J) sum_j (g_j - g)^2 coordinate by coordinate, whose sum is taken
(Eq. 5 and Algorithm 1 of arXiv 2412.21124). Under FSDP the reduced gradient lies in shards and is
gathered for the difference.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.hooks import RemovableHandle

from adabatch.statistics.leaves import autograd_leaves

__all__ = ["PaperStatistics"]


class PaperStatistics:
    """The published variance over workers, by a difference and an all-reduce of the parameters' size.

    Args:
        model: under DistributedDataParallel or FSDP2, or a plain module (then one worker: the variance is 0, but
            the work is done).
    """

    def __init__(self, model: nn.Module) -> None:
        self._leaves = list(autograd_leaves(model))
        self._flat = torch.empty(0)
        self._own: list[Tensor] = []
        self._handles: list[RemovableHandle] = []

    def enable(self, enabled: bool = True) -> None:
        """Attach or remove the hooks that keep this worker's gradient, and its buffer."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._own, self._flat = [], [], torch.empty(0)
        if not enabled:
            return
        sizes = [leaf.tensor.numel() for leaf in self._leaves]
        self._flat = torch.zeros(sum(sizes), device=self._leaves[0].tensor.device)
        for leaf, part in zip(self._leaves, self._flat.split(sizes), strict=True):
            own = part.view(leaf.tensor.shape)
            self._own.append(own)
            self._handles.append(leaf.tensor.register_hook(partial(self.observe, own)))

    def observe(self, own: Tensor, gradient: Tensor) -> None:
        """The hook: add a micro-batch's gradient to this rank's own."""
        own.add_(gradient)

    def end_microbatch(self, samples: int) -> None:
        """Nothing: gradients of all micro-batches make one worker's gradient."""

    def finish(self) -> float:
        """||Var||_1; all ranks call it."""
        for leaf, own in zip(self._leaves, self._own, strict=True):
            own.sub_(_whole(leaf.parameter.grad))
        self._flat.square_()
        ranks = 1
        if dist.is_initialized():
            dist.all_reduce(self._flat)
            ranks = dist.get_world_size()
        total = float(self._flat.sum(dtype=torch.float64)) / ranks
        self._flat.zero_()
        return total


def _whole(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
