"""Hooks that see each gradient as it is added to ``.grad``: after every other hook, whenever that was registered.

A hook of the tensor itself (``Tensor.register_hook``) sees what the hooks registered before it have left, and
runs for ``torch.autograd.grad`` too. The node that adds the gradient to ``.grad`` runs after all of them, and only
where something is added: a hook before that node sees just what counts. The node is kept, since nothing else holds
it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakIdKeyDictionary

from adabatch.statistics.inputs import InputSizes
from adabatch.statistics.reductions import Leaf

__all__ = ["LeafHooks", "accumulating_node", "detach"]

Observer = Callable[[int, Tensor], None]

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
        observe: a method ``observe(index, gradient)``.

    Attributes:
        inputs: the sizes of the model's inputs, while attached.
    """

    def __init__(self, model: nn.Module, leaves: Sequence[Leaf], nodes: Sequence[Node], observe: Observer) -> None:
        self._model, self._leaves, self._nodes, self.inputs = model, leaves, nodes, InputSizes()
        self._observe = weakref.WeakMethod(observe)
        self._handles: list[RemovableHandle] = []

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
            self._handles.append(node.register_prehook(_hook(self._observe, index)))
            _ATTACHED[leaf.parameter] = weakref.ref(self)
        self._handles.append(self.inputs.watch(self._model))
        self._finalizer = weakref.finalize(self, _remove, self._handles)

    def remove(self) -> None:
        """See nothing any more."""
        _remove(self._handles)

    def replaced(self) -> list[str]:
        """Names of the leaves that are the model's no more, or were converted to another type, or moved."""
        held = {id(parameter) for parameter in self._model.parameters()}
        return [
            leaf.name
            for leaf, node in zip(self._leaves, self._nodes, strict=True)
            if leaf.wrapper is None
            and (id(leaf.parameter) not in held or accumulating_node(leaf.tensor) is not node)
        ]


def detach(model: nn.Module) -> None:
    """Remove the hooks of whatever gradient statistics are attached to the model, also of an object that is lost.

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


def _hook(method: weakref.WeakMethod[Observer], index: int) -> Callable[[tuple[Tensor | None, ...]], None]:
    def observe(gradients: tuple[Tensor | None, ...]) -> None:
        observer, gradient = method(), gradients[0]
        if observer is not None and gradient is not None:
            observer(index, gradient)

    return observe


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()
