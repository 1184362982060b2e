"""What is drawn of an instance: points of its gradient, and the steps of all its paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from simulate.attack.exact_run import ExactRun
from simulate.attack.tree import noisy_steps
from simulate.table import Table

__all__ = ["drawn"]

UNLIKELY = 1e-9


def drawn(run: ExactRun) -> Table:
    """Rows of the part "function" (w, gradient) and of the part "step" (step, w, to, gradient, probability)."""
    return Table.of_rows([*_function(run), *_steps(run)])


def _function(run: ExactRun) -> Iterator[dict[str, Any]]:
    instance, weights = run.instance, run.tree.weights
    margin = 0.1 * np.ptp(weights) or float(instance.width)
    points = np.linspace(weights.min() - margin, weights.max() + margin, 401)
    gradients = instance.objective.gradient(points - instance.start)
    for w, gradient in zip(points.tolist(), gradients.tolist(), strict=True):
        yield {"part": "function", "step": 0, "w": w, "to": w, "gradient": gradient, "probability": 1.0}


def _steps(run: ExactRun) -> Iterator[dict[str, Any]]:
    """Paths that have been the same so far make one step."""
    tree, splits = run.tree, noisy_steps(run.instance)
    for k in range(run.instance.steps):
        alike = 2 ** int(splits[k + 1 :].sum())
        likely = tree.probabilities.reshape(-1, alike).sum(-1)
        for first, probability in zip(range(0, 2 ** int(splits.sum()), alike), likely.tolist(), strict=True):
            if probability > UNLIKELY:
                values = {"w": tree.weights[k, first], "to": tree.weights[k + 1, first]}
                values |= {"gradient": tree.gradients[k, first], "probability": probability}
                yield {"part": "step", "step": k + 1} | {name: float(value) for name, value in values.items()}
