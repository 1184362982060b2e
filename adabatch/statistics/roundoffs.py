"""The unit roundoff of the arithmetic in which gradients are reduced over ranks, and accumulated.

Both are read from the wrapping. Where there is no public way to read it, it is read from torch's own attributes,
and where these are not there, or what they hold is not known here, the answer is infinite: no bound is known.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook, bf16_compress_hook
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from adabatch.statistics.leaves import Leaf, fsdp_groups
from adabatch.statistics.wrappers import ddp_modules, logging_data, reduced_by

__all__ = ["accumulation_roundoff", "reduction_roundoff", "unit_roundoff"]

KNOWN = (torch.float64, torch.float32, torch.bfloat16)
"""Types in which gradients' relative rounding error is bounded: in smaller ones they underflow."""


def unit_roundoff(dtype: torch.dtype) -> float:
    """u: the largest relative error of a rounding to this type; infinite where gradients underflow.

    >>> unit_roundoff(torch.bfloat16), unit_roundoff(torch.float16)
    (0.00390625, inf)
    """
    return torch.finfo(dtype).eps / 2 if dtype in KNOWN else math.inf


def reduction_roundoff(model: nn.Module, leaf: Leaf) -> float:
    """u of the arithmetic in which a leaf's gradient is reduced over ranks.

    From FSDP2's mixed-precision policy, or the communication hook of ``DistributedDataParallel``, or the
    parameter's type.

    Args:
        model: after wrapping.
        leaf: one of its :func:`~adabatch.statistics.leaves.autograd_leaves`.

    Returns:
        u, or infinity where it is not known: fp16 (gradients underflow), a custom reduction or communication hook.

    >>> model = nn.Linear(2, 2)
    >>> reduction_roundoff(model, Leaf("weight", model.weight, model.weight)) == 2.0**-24
    True
    """
    own = unit_roundoff(leaf.parameter.dtype)
    if leaf.wrapper is not None:
        return max(own, _fsdp_reduction(leaf.wrapper, leaf.tensor.dtype))
    hooks = (_ddp_hook(module, own) for module in ddp_modules(model) if id(leaf.parameter) in reduced_by(module))
    return max(own, *hooks, 0.0)


def accumulation_roundoff(leaf: Leaf) -> float:
    """u of the arithmetic in which micro-batches accumulate on the leaf, as it is switched at this moment.

    Args:
        leaf: one of a model's :func:`~adabatch.statistics.leaves.autograd_leaves`.

    Returns:
        u, or infinity where it is not known.

    >>> model = nn.Linear(2, 2, dtype=torch.bfloat16)
    >>> accumulation_roundoff(Leaf("weight", model.weight, model.weight))
    0.00390625
    """
    if leaf.wrapper is None:
        return unit_roundoff(leaf.gradient_dtype)
    groups = fsdp_groups(leaf.wrapper)
    if leaf.reduced_at_once and all(getattr(group, "all_reduce_grads", False) for group in groups):
        return unit_roundoff(leaf.parameter.dtype)
    # Whole gradients, or those that are still to be reduced over replicas, wait in the type of the reduction.
    return _fsdp_reduction(leaf.wrapper, leaf.tensor.dtype)


def _fsdp_reduction(wrapper: FSDPModule, gradient: torch.dtype) -> float:
    """u of the reduce-scatter (and all-reduce); gradients keep their own type if the policy names no other."""
    policies = [getattr(group, "mp_policy", None) for group in fsdp_groups(wrapper)]
    if None in policies or any(map(_is_custom, fsdp_groups(wrapper))):
        return math.inf
    return max(unit_roundoff(getattr(policy, "reduce_dtype", None) or gradient) for policy in policies)


def _is_custom(group: object) -> bool:
    """Whether the user replaced the reduction of FSDP2's group of parameters."""
    scatter = getattr(group, "_reduce_scatter_comm", None)
    return getattr(group, "_all_reduce_hook", None) is not None or not (
        scatter is None or type(scatter).__module__.startswith("torch.")
    )


def _ddp_hook(module: DistributedDataParallel, own: float) -> float:
    """u of the module's communication hook."""
    hooks = [hook for hook, _ in getattr(module, "_comm_hooks", [])]
    # Hooks in C++ are in the logging data only, by name.
    name = str(logging_data(module).get("comm_hook", ""))
    if not hooks:
        return own if name in ("", "BuiltinCommHookType.ALLREDUCE") else math.inf
    if all(hook in (allreduce_hook, bf16_compress_hook) for hook in hooks):
        return unit_roundoff(torch.bfloat16) if bf16_compress_hook in hooks else own
    return math.inf
