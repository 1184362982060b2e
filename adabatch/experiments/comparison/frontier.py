"""The constant schedules' frontier: validation loss against optimizer steps, for equal samples."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from adabatch.settings import Settings
from adabatch.settings.data import DataSettings

__all__ = ["Frontier", "read_frontiers", "shared_setting"]


@dataclass(frozen=True)
class Frontier:
    """What constant batches reach with one seed: losses at different numbers of steps, for equal samples.

    Between two constant batches the loss is interpolated by monotone cubics (PCHIP) in the logarithm of the steps.
    A straight line would lie above the frontier wherever that is convex, so that a schedule between two constant
    batches would look better than it is. Outside of the constant batches nothing is claimed.

    Attributes:
        steps: of the constant runs, ascending and different.
        losses: their validation losses, all finite.

    >>> frontier = Frontier((100, 200, 400), (2.0, 1.5, 1.25))
    >>> frontier.loss_at(200), frontier.loss_at(50)
    (1.5, None)
    >>> frontier.loss_at(283) < (1.5 + 1.25) / 2
    True
    """

    steps: tuple[float, ...]
    losses: tuple[float, ...]

    @classmethod
    def of_points(cls, points: Sequence[tuple[float, float]]) -> Frontier:
        """From (steps, loss) in any order; of equal steps the smaller loss counts, infinite ones never."""
        finite = [point for point in points if math.isfinite(point[1])]  # the others' runs diverged
        best = dict(sorted(finite, key=lambda point: (point[0], -point[1])))  # the last of equal steps remains
        return cls(tuple(best), tuple(best.values()))

    def loss_at(self, steps: float) -> float | None:
        """The loss interpolated at a number of steps; None outside of the constant runs."""
        if steps in self.steps:
            return self.losses[self.steps.index(steps)]
        if not self.steps or not self.steps[0] < steps < self.steps[-1]:
            return None
        return float(PchipInterpolator(np.log(self.steps), self.losses)(math.log(steps)))


def read_frontiers(folder: Path, settings: Settings) -> dict[int, Frontier]:
    """The frontiers of a finished comparison, by seed, for runs on the same model, data and samples.

    Args:
        folder: of the comparison.
        settings: of these runs.

    Raises:
        ValueError: if the folder has no comparison, or one of another model, data or budget.
    """
    file = folder / "comparison.json"
    if not file.is_file():
        raise ValueError(f"{folder} has no {file.name}: name the folder of a finished comparison (--frontier)")
    content = json.loads(file.read_text("utf-8"))
    wanted = shared_setting(settings)
    if differences := [
        f"{name} is {content['setting'].get(name)} there and {value} here"
        for name, value in wanted.items()
        if content["setting"].get(name) != value
    ]:
        raise ValueError(
            f"the comparison in {folder} cannot be the frontier of these runs ({'; '.join(differences)}): name "
            "another one (--frontier), or take its settings"
        )
    constants = [each["by_seed"] for each in content["schedules"].values() if each["kind"] == "constant"]
    seeds = set.intersection(*map(set, constants)) if constants else set()
    points = {seed: [(by_seed[seed]["steps"], by_seed[seed]["loss"]) for by_seed in constants] for seed in seeds}
    return {
        int(seed): Frontier.of_points([(steps, math.inf if loss is None else loss) for steps, loss in pairs])
        for seed, pairs in sorted(points.items())
    }


def shared_setting(settings: Settings) -> dict[str, Any]:
    """What runs must share so that their losses can be compared, as comparison.json has it."""
    return {
        "model": settings.model.model,
        "samples": settings.run.samples,
        "data": list(DataSettings.names(settings.data.data)),
        "tokenizer": settings.data.tokenizer,
        "sequence_length": settings.data.sequence_length,
        "validation_samples": settings.run.validation_samples,
        "precision": settings.parallel.precision,
    }
