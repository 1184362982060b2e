"""Where a model's decoder layers are."""

from __future__ import annotations

from torch import nn

__all__ = ["decoder_layers"]


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The repeated layers of a model of ``transformers``: each is sharded and compiled by itself.

    Raises:
        ValueError: where there is no list of as many layers as the configuration says, of the class that the
            model names as its layers'.
    """
    count = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    classes = sorted(getattr(model, "_no_split_modules", None) or ())
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            names = {base.__name__ for base in type(module[0]).__mro__}  # FSDP2 gives it a class of its own
            if names.intersection(classes):
                return module
    raise ValueError(
        f"{type(model).__name__} has no list of {count} decoder layers of a class that it names as its layers' "
        f"({', '.join(classes) or 'none'}): take another model (--model)"
    )
