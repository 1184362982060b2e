"""The nuclear-norm noise scale of some matrices, from the groups' own gradients: what Muon's norm sees of noise.

For each matrix a rank keeps S, the sum over its micro-batches of g_j g_j^T (of the shorter side, in fp64), which
ranks add up where it is read; :mod:`adabatch.moments.noise_scale` does the rest. It takes a product of matrices
per micro-batch, and in the end the eigenvalues of two matrices of that size: for a step now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.hooks import RemovableHandle

from adabatch.moments.noise_scale import noise_covariance, nuclear_noise_scale
from adabatch.statistics.coordinate_shards import coprime_stride
from adabatch.statistics.hooks import accumulating_node
from adabatch.statistics.leaves import autograd_leaves

__all__ = ["MatrixNoise"]


class MatrixNoise:
    """Looks at some matrices of a model while it is enabled; next to other gradient statistics, or alone.

    Args:
        model: after wrapping: a plain module, DDP or FSDP2, without tensor parallelism.
        matrices: to choose from, as the optimizer has them.
        most: this many are chosen, spread over all of them and over the kinds that repeat from layer to layer.

    >>> import torch
    >>> model = nn.Linear(2, 1, bias=False)
    >>> noise = MatrixNoise(model, [model.weight], most=1)
    >>> noise.enable()
    >>> for micro_batch in torch.tensor([[[1.0, -2.0]], [[3.0, -2.0]]]):
    ...     (model(micro_batch).sum() / 2).backward()
    >>> round(noise.read(groups=2, group_size=1, micro_batches=2), 9)      # tr C = 2, ||g||^2 = 8
    0.25
    """

    def __init__(self, model: nn.Module, matrices: Collection[nn.Parameter], most: int) -> None:
        count, stride = len(matrices), coprime_stride(max(1, len(matrices) // max(1, most)), len(matrices))
        places = {number * stride % count for number in range(min(most, count))}
        wanted = {id(matrix) for place, matrix in enumerate(matrices) if place in places}
        leaves = autograd_leaves(model) if wanted else ()
        self._leaves = [
            (leaf.parameter, accumulating_node(leaf.tensor)) for leaf in leaves if id(leaf.parameter) in wanted
        ]
        self._products: list[Tensor | None] = []
        self._handles: list[RemovableHandle] = []

    @property
    def enabled(self) -> bool:
        """Whether gradients are looked at."""
        return bool(self._handles)

    def enable(self, enabled: bool = True) -> None:
        """Attach the hooks, or remove them and forget."""
        for handle in self._handles:
            handle.remove()
        self._products = [None for _ in self._leaves]
        nodes = [node for _, node in self._leaves] if enabled else []
        self._handles = [node.register_prehook(self._hook(number)) for number, node in enumerate(nodes)]

    def _hook(self, number: int) -> Callable[[tuple[Tensor | None, ...]], None]:
        def observe(gradients: tuple[Tensor | None, ...]) -> None:
            if (gradient := gradients[0]) is not None:
                short = _short(gradient.detach())
                before = self._products[number]
                product = short @ short.T
                self._products[number] = product if before is None else before.add_(product)

        return observe

    def read(self, groups: int, group_size: int, micro_batches: int) -> float:
        """B_* of these matrices together, in samples, and look no longer; all ranks call it, before clipping.

        Args:
            groups: n >= 2, of all ranks.
            group_size: m, samples in a group.
            micro_batches: M, by which each loss was divided.
        """
        means, covariances = [], []
        for (parameter, _), product in zip(self._leaves, self._products, strict=True):
            gradient = parameter.grad
            assert product is not None
            assert gradient is not None
            if dist.is_initialized() and dist.get_world_size() > 1:
                dist.all_reduce(product)
            mean = _short(gradient.full_tensor() if isinstance(gradient, DTensor) else gradient)
            means.append(mean)
            covariances.append(noise_covariance(groups, group_size, product * micro_batches**2, mean))
        self.enable(False)
        return float(nuclear_noise_scale(means, covariances))


def _short(matrix: Tensor) -> Tensor:
    """In fp64, with no more rows than columns."""
    rows, columns = matrix.shape
    return (matrix if rows <= columns else matrix.T).double()
