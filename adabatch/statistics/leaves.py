"""The autograd leaves of a wrapped model: where gradients first appear, under their names in the user's model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Leaf", "autograd_leaves", "fsdp_groups"]

ADDED = ("_orig_mod", "_checkpoint_wrapped_module")
"""What torch.compile and activation checkpointing add to a parameter's name."""


@dataclass(frozen=True)
class Leaf:
    """Where a trainable parameter's gradient first appears.

    Attributes:
        name: the parameter's in the user's model, without what wrapping adds to it.
        tensor: the autograd leaf. Under FSDP2 it is the unsharded parameter (tensor parallel or not).
        parameter: what the optimizer steps: the sharded parameter under FSDP2, else the leaf itself.
        wrapper: the FSDP2 module that shards it, if any.
    """

    name: str
    tensor: Tensor
    parameter: Tensor
    wrapper: FSDPModule | None = None

    @property
    def gradient_dtype(self) -> torch.dtype:
        """Of its gradients: the leaf's own, unless its ``grad_dtype`` names another."""
        return getattr(self.tensor, "grad_dtype", None) or self.tensor.dtype

    @property
    def reduced_at_once(self) -> bool:
        """Whether FSDP2 reduces the next gradient right after backward, rather than accumulating it whole."""
        if self.wrapper is None:
            return False
        # The switch has a public setter only. Where it cannot be read, reducing at once is right, if slower.
        return all(getattr(group, "reduce_grads", True) for group in fsdp_groups(self.wrapper))


def autograd_leaves(model: nn.Module) -> Iterator[Leaf]:
    """The autograd leaf of every trainable parameter, each tensor once.

    Under FSDP2 each wrapped module is unsharded and resharded in turn, so that no more than one module's
    parameters are whole at a time.
    """
    seen: set[int] = set()
    wrapping = _Wrapping.of(model)
    for path, module in model.named_modules():
        assert isinstance(module, nn.Module)
        if not isinstance(module, FSDPModule):
            continue
        module.reshard()
        sharded = dict(module.named_parameters())
        module.unshard()
        for name, leaf in module.named_parameters():
            # What unsharding has not changed belongs to another wrapped module.
            if leaf is not sharded[name]:
                seen |= {id(leaf), id(sharded[name])}
                if leaf.requires_grad:
                    whole = f"{path}.{name}" if path else name
                    yield Leaf(wrapping.without(whole), leaf, sharded[name], module)
        module.reshard()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in seen:
            yield Leaf(wrapping.without(name), parameter, parameter)


def fsdp_groups(wrapper: FSDPModule) -> list[object]:
    """FSDP2's own groups of parameters of a module, which hold its settings; they have no public getter."""
    state = wrapper._get_fsdp_state()
    return getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]


@dataclass(frozen=True)
class _Wrapping:
    """Which components of names were added by wrapping.

    Attributes:
        inside: the paths of the modules inside ``DistributedDataParallel`` modules.
    """

    inside: frozenset[str]

    @classmethod
    def of(cls, model: nn.Module) -> _Wrapping:
        modules = model.named_modules(remove_duplicate=False)
        replicated = (path for path, module in modules if isinstance(module, DistributedDataParallel))
        return cls(frozenset(f"{path}.module" if path else "module" for path in replicated))

    def without(self, name: str) -> str:
        """The name before wrapping."""
        parts = name.split(".")
        return ".".join(
            part
            for index, part in enumerate(parts)
            if part not in ADDED and ".".join(parts[: index + 1]) not in self.inside
        )
