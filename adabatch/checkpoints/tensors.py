"""The tensors of a run by name: parameters and the optimizer's state, sharded in any way."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.optim import Optimizer

__all__ = ["Optimizers", "TensorsByName", "has_state", "named_parameters", "named_tensors", "quiet", "set_tensors"]

Optimizers = Optimizer | Iterable[Optimizer]
"""One, or several that have parameters of their own."""

TensorsByName = dict[str, dict[str, Tensor]]
"""``model`` and ``optimizer``, each by the tensors' names."""

OPTIONS = StateDictOptions(flatten_optimizer_state_dict=True)
"""The optimizer's state by parameter: how parameters are grouped depends on the meshes they lie on."""


def named_parameters(model: nn.Module) -> TensorsByName:
    """The parameters alone, sharded as they are; without copies."""
    return {"model": cast("dict[str, Tensor]", get_model_state_dict(model))}


def named_tensors(model: nn.Module, optimizer: Optimizers) -> TensorsByName:
    """Parameters and optimizer state, sharded as they are; without copies.

    The optimizer's hyperparameters are not among them: they come from the settings. State that is not there yet is
    made, by a step that the optimizer counts: :func:`has_state` tells.
    """
    parameters, state = _state(model, optimizer)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return {"model": parameters, "optimizer": tensors}


def has_state(optimizer: Optimizers) -> bool:
    """Whether the optimizer holds any state: after its first step, if it keeps one at all."""
    return any(part.state for part in ((optimizer,) if isinstance(optimizer, Optimizer) else optimizer))


def set_tensors(model: nn.Module, optimizer: Optimizers, tensors: TensorsByName) -> None:
    """Put tensors made by :func:`named_tensors` into place; the optimizer's hyperparameters stay."""
    _, state = _state(model, optimizer)
    hyperparameters = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
    set_state_dict(
        model,
        optimizer,
        model_state_dict=dict(tensors["model"]),
        optim_state_dict=hyperparameters | tensors["optimizer"],
        options=OPTIONS,
    )


def _state(model: nn.Module, optimizer: Optimizers) -> tuple[dict[str, Any], dict[str, Any]]:
    return get_state_dict(model, optimizer, options=OPTIONS)


@contextmanager
def quiet() -> Iterator[None]:
    """torch warns that it saves in a single process where that is what was asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        yield
