"""A negative control: eta > 1 may fail for RMSProp, eta < 1 cannot.

beta2 = 1e-4, so that a step is nearly the sign of the stochastic gradient, and two-point noise X = -delta with
probability 1 - p, else what makes E X = 1. With p < 1/2 most steps go uphill: eta^2 = Var X is then above 1, which
the theorems exclude. The same law at p > 1/2 has eta < 1 and converges.
"""

from __future__ import annotations

import numpy as np

from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.noise import NOISES
from simulate.objectives import PseudoHuber
from simulate.optimizers import RMSProp
from simulate.outcomes import Assertion, Expectation, Outcome
from simulate.text import counted
from simulate.trajectory import Trajectory
from simulate.trajectory import run as run_trajectory
from theory.adam.normalized_step import mean_normalized_step, rare_variance, two_point_law
from theory.adam.theorem1 import largest_admissible_eta

__all__ = ["run"]

BETA2, DELTA, STEP_SIZE, START = 1e-4, 0.1, 0.01, 0.175
CLIMBS, CONVERGES = 0.35, 0.6
"""p with eta = 1.499 and .898."""


def run(settings: Settings, pieces: Pieces) -> Result:
    """Both probabilities from the same start."""
    steps, seeds = settings.by_level(2048, 4096, 32_768), settings.seeds or settings.by_level(16, 64, 512)
    objective = PseudoHuber(dimension=1, initial=START)
    rows, ends, chosen = [], {}, settings.run_seeds(seeds)

    def trajectory_at(probability: float) -> Trajectory:
        noise = NOISES["two-point"](delta=DELTA, probability=probability)
        return run_trajectory(objective, noise, RMSProp(STEP_SIZE, BETA2), steps, chosen)

    probabilities = (CLIMBS, CONVERGES)
    for probability, trajectory in zip(probabilities, pieces.each(probabilities, trajectory_at), strict=True):
        eta = float(np.sqrt(rare_variance(DELTA, probability)))
        ends[probability] = float(trajectory.value[-1].mean())
        for steps_taken, values in zip(trajectory.steps, trajectory.value, strict=True):
            low, high = np.quantile(values, [0.1, 0.9])
            mean = float(values.mean())
            rows.append({"eta": round(eta, 1), "K": steps_taken, "mean": mean, "low": low, "high": high})
    start = float(objective.value(objective.start()[None])[0])
    return Result(
        name="rmsprop",
        title="RMSProp beyond eta = 1",
        summary=(
            f"sqrt(1 + w^2) - 1 from w = {START:g}, beta2 = {BETA2:g}, alpha = {STEP_SIZE:g}, K = {steps}, "
            f"{counted(seeds, 'seed')}: X = -{DELTA:g} with probability {1 - CLIMBS:g} (eta 1.5) or "
            f"{1 - CONVERGES:g} (eta 0.9)."
        ),
        outcomes=(_control(start, ends[CLIMBS], steps), _converges(start, ends[CONVERGES], steps)),
        theorems=("theory.adam.theorem1", "theory.adam.normalized_step"),
        tables={"rmsprop": Table.of_rows(rows)},
    )


def _control(start: float, end: float, steps: int) -> Outcome:
    eta = float(np.sqrt(rare_variance(DELTA, CLIMBS)))
    drift = mean_normalized_step(two_point_law(DELTA, CLIMBS), 0.0, BETA2)
    return Outcome(
        name="RMSProp, eta 1.5",
        statement="RMSProp descends also where the coordinate-wise test holds with eta > 1 only.",
        expected=Expectation.CONTROL,
        asserted=(Assertion(f"mean value after {steps} steps", end, "<=", start),),
        supporting=(
            Assertion("eta against the largest admissible", eta, ">", float(largest_admissible_eta(0.0, BETA2))),
            Assertion("exact mean step of a gradient that keeps its sign", drift, "<", 0.0),
        ),
    )


def _converges(start: float, end: float, steps: int) -> Outcome:
    return Outcome(
        name="RMSProp, eta 0.9",
        statement="With eta = 0.9 < 1 the same law of noise lets RMSProp descend.",
        asserted=(Assertion(f"mean value after {steps} steps", end, "<=", start),),
    )
