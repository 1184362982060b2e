"""How large the inputs of each micro-batch are, as the model's forward pass sees them.

Micro-batches of other sizes than the rest have other numbers of tokens in their losses, as a rule; where a loop
does not say so, that can be seen here, for the price of a look at some shapes.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["InputSizes"]


class InputSizes:
    """Counts the elements of the tensors that the model was called with last, while gradients are recorded.

    Attributes:
        elements: of the last call; 0 where none was seen since :meth:`take`, as inside ``torch.compile``.

    >>> model, sizes = nn.Linear(2, 1), InputSizes()
    >>> handle = sizes.watch(model)
    >>> _ = model(torch.zeros(3, 2))
    >>> sizes.take(), sizes.take()
    (6, 0)
    """

    def __init__(self) -> None:
        self.elements = 0

    def watch(self, model: nn.Module) -> RemovableHandle:
        """Count from now on, until the handle is removed or this object is gone."""
        return model.register_forward_pre_hook(_InputHook(self), with_kwargs=True)

    def take(self) -> int:
        """The count, which begins again."""
        elements, self.elements = self.elements, 0
        return elements


class _InputHook:
    """The module's hook; a copy of the model, or a saved one, has one that does nothing."""

    def __init__(self, sizes: InputSizes | None = None) -> None:
        self._sizes = None if sizes is None else weakref.ref(sizes)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._sizes is None or torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return
        sizes = self._sizes()
        if sizes is not None:
            sizes.elements = _elements(args) + _elements(kwargs.values())

    def __reduce__(self) -> tuple[type[_InputHook], tuple[()]]:
        return _InputHook, ()


def _elements(values: Iterable[Any]) -> int:
    """Of all tensors in these values, nested or not."""
    total = 0
    for value in values:
        if isinstance(value, Tensor):
            total += value.numel()
        elif isinstance(value, Mapping):
            total += _elements(value.values())
        elif isinstance(value, (list, tuple)):
            total += _elements(value)
    return total
