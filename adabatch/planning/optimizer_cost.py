"""What an optimizer holds, moves and computes in a step, by the number of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from adabatch.model.language_model import new_model, with_layers
from adabatch.settings import OptimizerSettings
from adabatch.training.optimizers import muon_matrices

__all__ = ["OptimizerCost", "orthogonalising_flops"]


@dataclass(frozen=True)
class OptimizerCost:
    """Bytes per parameter, fp32, of what an optimizer holds and moves.

    Attributes:
        state: its state; without the rows and columns of Adafactor, which are few.
        moved: read and written in a step, operation by operation as torch does it, with the norm's read of the
            gradient and clipping's read and write.
        whole: whether every rank steps all parameters, rather than its shard.

    >>> OptimizerCost.of("adamw"), OptimizerCost.of("sgd", momentum=0.0)
    (OptimizerCost(state=8, moved=40, whole=False), OptimizerCost(state=0, moved=36, whole=False))
    """

    state: int
    moved: int
    whole: bool = False

    @classmethod
    def of(cls, name: str, momentum: float = 0.9) -> OptimizerCost:
        """Of an optimizer by its name; of muon, on the matrices that are its own."""
        if name == "sgd":
            return cls(4, 56) if momentum else cls(0, 36)
        return {"adamw": cls(8, 40), "adafactor": cls(0, 88, whole=True), "muon": cls(4, 66, whole=True)}[name]

    @classmethod
    def by_share(cls, settings: OptimizerSettings, in_layers: float) -> list[tuple[float, OptimizerCost]]:
        """Shares of the parameters and what they cost; ``in_layers`` is the share of those in the layers."""
        own = cls.of(settings.optimizer, settings.momentum)
        return [(in_layers, own), (1 - in_layers, cls.of("adamw") if settings.optimizer == "muon" else own)]


def orthogonalising_flops(config: PreTrainedConfig, settings: OptimizerSettings) -> float:
    """Operations of Muon's iterations in a step: each rank does them all. 0 of another optimizer."""
    if settings.optimizer != "muon":
        return 0.0
    with torch.device("meta"):
        matrices = muon_matrices(new_model(with_layers(config, 1)))
    of_a_layer = sum(_iteration(matrix.shape) for matrix in matrices)
    return float(config.num_hidden_layers * settings.muon_iterations * of_a_layer)


def _iteration(shape: Sequence[int]) -> int:
    """X X^T, its square, and the product with X: 4 m^2 n + 2 m^3 for m x n, m <= n."""
    m, n = sorted(shape)
    return 4 * m**2 * n + 2 * m**3
