"""Optimizers whose step needs a parameter as a whole, on parameters that are sharded.

Muon makes a whole matrix orthogonal, in bf16, and Adafactor averages over rows, columns and whole parameters; on
shards torch's versions of them fail or round differently from rank to rank. Here each rank gathers one parameter
after the other, with its gradient and state, lets torch's optimizer step it, and keeps its own shard: the step is
the unsharded one to the bit. Each rank computes all of it, and sends and holds one whole parameter at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate
from torch.optim import Adafactor, Muon, Optimizer

__all__ = ["WholeAdafactor", "WholeMuon", "WholeSteps"]


class WholeSteps(Optimizer):
    """Comes before one of torch's optimizers among the bases of a class."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take torch's step, of sharded parameters one by one."""
        del closure  # torch.distributed.checkpoint passes None
        groups = self.param_groups
        try:
            for group in groups:
                parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
                plain = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
                self._step_plain(group, plain)
                for parameter in parameters:
                    if isinstance(parameter, DTensor):
                        self._step_sharded(group, parameter)
        finally:
            self.param_groups = groups

    def _step_plain(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        self.param_groups = [{**group, "params": parameters}]
        super().step()

    def _step_sharded(self, group: dict[str, Any], parameter: DTensor) -> None:
        whole = nn.Parameter(parameter.full_tensor())
        assert parameter.grad is not None
        whole.grad = _whole(parameter.grad)
        if kept := self.state.pop(parameter, None):
            self.state[whole] = {name: _whole(value) for name, value in kept.items()}
        self._step_plain(group, [whole])
        parameter.to_local().copy_(_sharded(whole.detach(), parameter).to_local())
        made = self.state.pop(whole)
        self.state[parameter] = {
            name: _sharded(value, parameter) if value.shape == parameter.shape else value
            for name, value in made.items()
        }


class WholeMuon(WholeSteps, Muon):
    """``torch.optim.Muon``; its momentum is sharded as the parameters are."""


class WholeAdafactor(WholeSteps, Adafactor):
    """``torch.optim.Adafactor``; every rank holds the rows' and columns' second moments of all matrices."""


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _sharded(whole: Tensor, like: DTensor) -> DTensor:
    """This rank's shard of what all ranks hold."""
    mesh = like.device_mesh
    held = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return held.redistribute(placements=like.placements)
