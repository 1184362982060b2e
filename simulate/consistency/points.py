"""Points of the kind that runs visit, from near the start to where the largest step sizes lead."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulate.consistency.probe import Probe
from simulate.noise import NOISES, Draw, Source
from simulate.objectives import Objective
from simulate.optimizers import Adam, Optimizer, OptimizerState
from simulate.streams import Array, SeedStreams
from simulate.trajectory import powers_of_two, run

__all__ = ["visited_points"]

STEPS = 256
FACTORS, BETA1 = (1.0, 1.0, 0.01, 0.01, 100.0, 100.0), (0.0, 0.9) * 3
"""Of the six runs: step sizes in units of sqrt(Delta / (L d K)), from and to those of the grid, and beta1."""

AROUND = 16
"""Random points around 0, and as many around the start."""


@dataclass
class _Visits:
    """Gaussian noise that notes the points it is asked at.

    Attributes:
        steps: when.
        points: the points noted, one array [seeds, d] per step.
    """

    steps: tuple[int, ...]
    points: list[Array] = field(default_factory=list)

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """The noise's source, observed."""
        source = NOISES["gaussian"](eta=0.5).begin(objective, optimizer, streams)

        def draw(w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
            if step in self.steps:
                self.points.append(w.copy())
            return source(w, gradient, step, state)

        return draw


def visited_points(probe: Probe) -> tuple[Array, float]:
    """Points that runs of Adam visit, and random ones around 0 and the start.

    Returns:
        The points, shape [points, d], and how far a run at the step size of the rates moves, or 1 where it rests.
    """
    objective, start = probe.objective, probe.start
    visits = _Visits(powers_of_two(STEPS))
    rates = Adam.natural_step_size(objective.problem(STEPS)) * np.array(FACTORS)[:, None]
    run(objective, visits, Adam(rates, np.array(BETA1)[:, None], 0.95), STEPS, len(FACTORS))
    visited = np.array(visits.points)  # [records, runs, d]
    scale = float(np.abs(visited[:, :2] - start).max()) or 1.0
    distances = scale * np.geomspace(1e-3, 10.0, AROUND)[:, None]
    around = distances * np.random.default_rng(0).standard_normal((AROUND, objective.dimension))
    return np.concatenate([np.unique(visited.reshape(-1, len(start)), axis=0), around, start + around]), scale
