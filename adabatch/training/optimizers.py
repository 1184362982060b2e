"""The optimizers by name: which parameters each takes, and a step with what moves with the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import SGD, AdamW, Optimizer

from adabatch.model.layers import decoder_layers
from adabatch.schedules.coupling import StepHyperparameters
from adabatch.settings import OptimizerSettings
from adabatch.training.whole_steps import WholeAdafactor, WholeMuon

__all__ = ["CombinedOptimizer", "build_optimizer", "muon_matrices", "optimizer_step"]

LEAST_ROOT = 1e-22
"""In place of an epsilon of 0, so that 0 / 0 is 0: roots of fp32's least positive numbers are of this size."""

Groups = list[dict[str, Any]]


class CombinedOptimizer:
    """Several optimizers as one, each of other parameters; iterating yields them.

    Args:
        parts: the optimizers.
    """

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[Optimizer]:
        return iter(self.parts)

    @property
    def param_groups(self) -> Groups:
        """Of all of them."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """Of all parameters."""
        return {parameter: state for part in self.parts for parameter, state in part.state.items()}

    def step(self) -> None:
        """A step of each."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none)


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> Optimizer | CombinedOptimizer:
    """The optimizer that the settings name.

    Args:
        model: wrapped or not.
        settings: which optimizer, with its own.
    """
    groups = _groups(model, settings)
    if settings.optimizer == "sgd":
        # Of sharded parameters, torch's loop over them takes several times as long as its list operations.
        return SGD(
            groups,
            settings.lr,
            settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
            foreach=True,
        )
    if settings.optimizer == "adafactor":
        return WholeAdafactor(
            groups,
            settings.lr,
            beta2_decay=-settings.adafactor_decay,
            eps=(None, settings.adafactor_floor),
            d=settings.adafactor_clip,
            weight_decay=settings.weight_decay,
        )
    if settings.optimizer == "adamw":
        return _adamw(groups, settings)
    hidden = {id(matrix) for matrix in muon_matrices(model)}
    muon = WholeMuon(
        _only(groups, hidden, True),
        settings.lr,
        settings.weight_decay,
        settings.muon_momentum,
        ns_steps=settings.muon_iterations,
        adjust_lr_fn="match_rms_adamw",  # so that AdamW's learning rate and weight decay do for both
    )
    return CombinedOptimizer(muon, _adamw(_only(groups, hidden, False), settings))


def _adamw(groups: Groups, settings: OptimizerSettings) -> AdamW:
    """In one fused pass over parameter, gradient and both moments: on a CPU too that takes a quarter of the time
    of the default loop and ``foreach``, of sharded parameters as of whole ones.
    """
    return AdamW(
        groups,
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon or LEAST_ROOT,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def muon_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The matrices of the decoder layers, which Muon steps; not embeddings, head, norms and biases."""
    layers = decoder_layers(getattr(model, "module", model))
    return [parameter for parameter in layers.parameters() if parameter.ndim == 2 and parameter.requires_grad]


def _groups(model: nn.Module, settings: OptimizerSettings) -> Groups:
    """The trainable parameters, those that do not decay apart.

    One group a mesh: list operations do not take tensors of several meshes (plain norms next to tensor parallel
    matrices).
    """
    still = _not_matrices(model) if settings.weight_decay_on == "matrices" else frozenset[int]()
    by_kind: dict[tuple[object, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            mesh = parameter.device_mesh if isinstance(parameter, DTensor) else None
            by_kind.setdefault((mesh, id(parameter) in still), []).append(parameter)
    return [
        {"params": parameters} | ({"weight_decay": 0.0} if rests else {})
        for (_, rests), parameters in by_kind.items()
    ]


def _not_matrices(model: nn.Module) -> frozenset[int]:
    """Norms, biases and embeddings; a head that shares its embedding's matrix is one."""
    embeddings = (module.parameters() for module in model.modules() if isinstance(module, nn.Embedding))
    vectors = (parameter for parameter in model.parameters() if parameter.ndim < 2)
    return frozenset(map(id, chain(vectors, *embeddings)))


def _only(groups: Groups, chosen: Iterable[int], wanted: bool) -> Groups:
    """The groups with those of their parameters that are, or are not, chosen."""
    kept = [
        group | {"params": [parameter for parameter in group["params"] if (id(parameter) in chosen) == wanted]}
        for group in groups
    ]
    return [group for group in kept if group["params"]]


def optimizer_step(optimizer: Optimizer | CombinedOptimizer, step: StepHyperparameters) -> None:
    """A step with these, in all parameter groups but those that do not decay; what else they have stays.

    AdamW's beta1 and epsilon are those that it was made with.
    """
    parts: Sequence[Optimizer] = optimizer.parts if isinstance(optimizer, CombinedOptimizer) else (optimizer,)
    for part in parts:
        if isinstance(part, AdamW):
            options = step.for_adamw(part.defaults["betas"][0], part.defaults["eps"])
        else:
            options = {"lr": step.learning_rate, "weight_decay": step.weight_decay}
        for group in part.param_groups:
            group.update(options if group["weight_decay"] else {**options, "weight_decay": 0.0})
    optimizer.step()
