"""Hooks that see each gradient as it is added to ``.grad``: after every other hook, whenever that was registered.

A hook of the tensor itself (``Tensor.register_hook``) sees what the hooks registered before it have left, and
runs for ``torch.autograd.grad`` too. The node that adds the gradient to ``.grad`` runs after all of them, and only
where something is added: a hook before that node sees just what counts. The node is kept, since nothing else holds
it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakIdKeyDictionary

from adabatch.statistics.inputs import InputSizes
from adabatch.statistics.leaves import Leaf

__all__ = ["Inventory", "LeafHooks", "accumulating_node", "detach"]


class Observer(Protocol):
    """What is told of each gradient."""

    def observe(self, index: int, gradient: Tensor) -> None:
        """Take in the gradient of the leaf with this number."""


_ATTACHED: Any = WeakIdKeyDictionary()
"""The hooks that are attached, by the parameter that the optimizer steps."""


def accumulating_node(tensor: Tensor) -> Node:
    """The node that adds a leaf's gradient to its ``.grad``; under FSDP2 the leaf must be unsharded meanwhile."""
    with torch.inference_mode(False), torch.enable_grad():
        node: Node = get_gradient_edge(tensor).node
        return node


class LeafHooks:
    """The hooks of one statistics object; they end with it, since they hold it weakly.

    Args:
        model: whose inputs are counted.
        leaves: of the model.
        nodes: :func:`accumulating_node` of each.
        observer: whose method ``observe(index, gradient)`` is called; it is held weakly.

    Attributes:
        inputs: the sizes of the model's inputs, while attached.
    """

    def __init__(
        self, model: nn.Module, leaves: Sequence[Leaf], nodes: Sequence[Node], observer: Observer
    ) -> None:
        self._model, self._leaves, self._nodes, self.inputs = model, leaves, nodes, InputSizes()
        self._observer = weakref.ref(observer)
        self._handles: list[RemovableHandle] = []
        weakref.finalize(self, _remove, self._handles)

    @property
    def attached(self) -> bool:
        """Whether gradients are seen."""
        return bool(self._handles)

    def attach(self) -> None:
        """See gradients from now on.

        Raises:
            ValueError: if other statistics see them.
        """
        if any(_hooks_of(leaf.parameter) for leaf in self._leaves):
            raise ValueError(
                "other gradient statistics are attached to this model already: keep one object for all steps, or "
                "call enable(False) on the other one first (adabatch.statistics.detach(model) if you lost it)"
            )
        for index, (leaf, node) in enumerate(zip(self._leaves, self._nodes, strict=True)):
            self._handles.append(node.register_prehook(_hook(self._observer, index)))
            _ATTACHED[leaf.parameter] = weakref.ref(self)
        self._handles.append(self.inputs.watch(self._model))

    def remove(self) -> None:
        """See nothing any more."""
        _remove(self._handles)

    def replaced(self, indices: Sequence[int]) -> list[str]:
        """Names of these leaves that are the model's no more, or were converted to another type, or moved."""
        held = {id(parameter) for parameter in self._model.parameters()}
        plain = [(self._leaves[index], self._nodes[index]) for index in indices]
        return [
            leaf.name
            for leaf, node in plain
            if leaf.wrapper is None
            and (id(leaf.parameter) not in held or accumulating_node(leaf.tensor) is not node)
        ]


def detach(model: nn.Module) -> None:
    """Remove the hooks of the gradient statistics that are attached to the model, also of an object that is lost.

    >>> from adabatch.statistics import GradientStatistics
    >>> model = nn.Linear(2, 1)
    >>> statistics = GradientStatistics(model)
    >>> detach(model)
    >>> statistics.enabled
    False
    """
    for parameter in model.parameters():
        hooks = _hooks_of(parameter)
        if hooks is not None:
            hooks.remove()


def _hooks_of(parameter: Tensor) -> LeafHooks | None:
    """The hooks that are attached to this parameter."""
    reference = _ATTACHED.get(parameter)
    hooks = reference() if reference is not None else None
    return hooks if hooks is not None and hooks.attached else None


def _hook(reference: weakref.ref[Observer], index: int) -> Callable[[tuple[Tensor | None, ...]], None]:
    def observe(gradients: tuple[Tensor | None, ...]) -> None:
        observer, gradient = reference(), gradients[0]
        if observer is not None and gradient is not None:
            observer.observe(index, gradient)

    return observe


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()


class Inventory:
    """Which trainable parameters a model has; noticing a change takes a look at each of its modules.

    >>> model = nn.Sequential(nn.Linear(2, 1))
    >>> inventory = Inventory(model)
    >>> inventory.changed()
    False
    >>> model[0].bias.requires_grad_(False)
    Parameter containing:
    ...
    >>> inventory.changed()
    True
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(model.modules())
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
        self._size = self._count()

    def changed(self) -> bool:
        """Whether parameters or modules were added or removed, frozen or unfrozen."""
        return (
            self._count() != self._size
            or not all(parameter.requires_grad for parameter in self._trainable)
            or any(parameter.requires_grad for parameter in self._frozen)
        )

    def _count(self) -> int:
        return sum(len(module._parameters) + len(module._modules) for module in self._modules)
