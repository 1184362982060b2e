"""What wraps a model, in any order, and whether the statistics can be right under it.

``torch.compile``, ``DistributedDataParallel``, FSDP2 and modules of the user's own may hold one another; what
reduces a parameter's gradient is looked for among all modules, not only at the root. Wrappers under which a hook
does not see a group's own gradient, or under which nobody knows over which ranks it is reduced, are refused here,
each by its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DataParallel as ThreadedDataParallel
from torch.nn.parallel import DistributedDataParallel

from adabatch.statistics.leaves import Leaf

__all__ = [
    "averaged_by_hand",
    "ddp_modules",
    "logging_data",
    "one_group",
    "reduced_by",
    "require_averaged",
    "require_plain",
    "require_supported",
]


def ddp_modules(model: nn.Module) -> list[DistributedDataParallel]:
    """The ``DistributedDataParallel`` modules, wherever they are."""
    return [module for module in model.modules() if isinstance(module, DistributedDataParallel)]


def logging_data(module: DistributedDataParallel) -> dict[str, Any]:
    """What the module's reducer tells about itself; nothing if a plan stands in for it."""
    return module._get_ddp_logging_data() if hasattr(module, "logger") else {}


def require_supported(model: nn.Module) -> None:
    """Raise if a module of the model is a wrapper under which the statistics would be wrong.

    Raises:
        ValueError: for the first version of FSDP, ``nn.DataParallel``, a DeepSpeed engine, and
            ``DistributedDataParallel`` with a mixed-precision configuration of its own, or around parameters that
            were unfrozen later.

    >>> require_supported(nn.Linear(2, 2))
    """
    for module in model.modules():
        if isinstance(module, FullyShardedDataParallel):
            raise ValueError(
                "the model is wrapped by the first version of FSDP (FullyShardedDataParallel), whose flat "
                "parameters the statistics do not support: ask for version 2 (fsdp_version=2 in accelerate and in "
                "the Trainer's fsdp_config, fully_shard in PyTorch)"
            )
        if isinstance(module, ThreadedDataParallel):
            raise ValueError(
                "the model is wrapped by nn.DataParallel, which adds the gradients of several devices before a "
                "hook sees them: use DistributedDataParallel, with one process per device"
            )
        if any(kind.__name__ == "DeepSpeedEngine" for kind in type(module).__mro__):
            raise ValueError(
                "the model is wrapped by a DeepSpeed engine, which reduces and partitions gradients out of the "
                "hooks' sight: use DistributedDataParallel or fully_shard"
            )
        if isinstance(module, DistributedDataParallel) and getattr(module, "mixed_precision", None):
            raise ValueError(
                "DistributedDataParallel has a mixed_precision configuration, which replaces parameters during a "
                "step: use torch.autocast, or fully_shard with a MixedPrecisionPolicy"
            )
        if isinstance(module, DistributedDataParallel) and (later := _unfrozen_later(module)):
            raise ValueError(
                f"{later} parameters were unfrozen after DistributedDataParallel wrapped the model, which "
                "averages those only that required gradients at that time: unfreeze parameters before wrapping"
            )


def _unfrozen_later(module: DistributedDataParallel) -> int:
    """How many more parameters require gradients than the module reduces; 0 if it cannot be read."""
    reduced = reduced_by(module)
    trainable = sum(parameter.requires_grad and id(parameter) in reduced for parameter in module.parameters())
    at_first = logging_data(module).get("num_parameter_tensors", trainable)
    return max(0, trainable - int(at_first))


def reduced_by(module: DistributedDataParallel) -> set[int]:
    """The ids of the parameters whose gradients the module reduces."""
    named = module.module.named_parameters()
    ignored = getattr(module, "parameters_to_ignore", ())
    return {id(parameter) for name, parameter in named if name not in ignored}


def one_group(modules: list[DistributedDataParallel], given: dist.ProcessGroup | None) -> dist.ProcessGroup:
    """The ranks over which all these modules average.

    Raises:
        ValueError: if they differ among the modules, or from the group that was given.
    """
    groups = [module.process_group for module in modules] + ([given] if given is not None else [])
    ranks = {tuple(dist.get_process_group_ranks(group)): group for group in groups}
    if len(ranks) > 1:
        one, other = (list(group) for group in list(ranks)[:2])
        raise ValueError(
            f"the model's DistributedDataParallel modules, or one of them and process_group=, are of different "
            f"groups, of the ranks {one} and {other}: the statistics need one data-parallel group"
        )
    return next(iter(ranks.values()))


def averaged_by_hand(leaves: list[Leaf], averaged: Collection[str]) -> set[str]:
    """The names of the leaves that the loop declares to average over ranks itself.

    Args:
        leaves: of the model.
        averaged: names of parameters, or of modules for all trainable parameters in them, as in the model before
            wrapping.

    Raises:
        ValueError: if a name covers no trainable parameter.

    >>> import torch
    >>> leaves = [Leaf(name, torch.zeros(1), torch.zeros(1)) for name in ("head.weight", "head.bias", "bias")]
    >>> sorted(averaged_by_hand(leaves, ["head"]))
    ['head.bias', 'head.weight']
    """
    if isinstance(averaged, str):
        raise ValueError(f"averaged={averaged!r} is one string: give a list of names, averaged=[{averaged!r}]")
    found: set[str] = set()
    for name in averaged:
        covered = {leaf.name for leaf in leaves if leaf.name == name or leaf.name.startswith(f"{name}.")}
        if not covered:
            raise ValueError(
                f"averaged= names {name!r}, but no trainable parameter has that name or is in a module of that "
                f"name: use the names before wrapping, such as {leaves[0].name!r}"
            )
        found |= covered
    return found


def require_averaged(leaves: list[Leaf], reduced: Collection[int], by_hand: Collection[str], ranks: int) -> None:
    """Raise unless every gradient is averaged over ranks, by the wrapping or by hand, and none by both.

    Args:
        leaves: of the model.
        reduced: the ids of the parameters whose gradients the wrapping reduces.
        by_hand: the names of those that the loop reduces.
        ranks: data-parallel ones.

    Raises:
        ValueError: naming a parameter.
    """
    twice = [leaf.name for leaf in leaves if id(leaf.parameter) in reduced and leaf.name in by_hand]
    if twice:
        raise ValueError(
            f"averaged= covers {twice[0]}, whose gradient the wrapping averages already: leave it out of averaged="
        )
    outside = [
        leaf.name for leaf in leaves if not (ranks == 1 or id(leaf.parameter) in reduced or leaf.name in by_hand)
    ]
    if outside:
        raise ValueError(
            f"nothing averages the gradient of {outside[0]} ({len(outside)} of {len(leaves)} trainable "
            f"parameters) over the {ranks} data-parallel ranks: wrap the root module too, and ignore no trainable "
            f"parameter, or average it yourself and declare averaged=[{outside[0]!r}]"
        )


def require_plain(tensors: Iterable[tuple[str, Tensor]], reason: str) -> None:
    """Raise if one of the named parameters is a ``DTensor``.

    Raises:
        ValueError: naming it, and the reason why it should not be.
    """
    for name, tensor in tensors:
        if isinstance(tensor, DTensor):
            raise ValueError(f"{name} is a DTensor, laid out as {tensor.placements}, {reason}")
