"""Both theorems on Adam, next to runs: rows at a theorem's own step size, measured sums, and bounds on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from simulate.experiments.rows import AS_PUBLISHED, THEOREMS, AdamSetting, Row, Variant, mean_over_seeds, run_rows
from simulate.objectives import Objective
from simulate.streams import Array
from theory.adam import theorem1, variants
from theory.adam_sharp.parameters import best_bound, best_step_size, largest_extra_steps
from theory.adam_sharp.theorem2 import log_growth_bound
from theory.problem import AdamParameters

__all__ = ["BOUNDS", "measured_sums", "own_rows", "theorem_1_bounds", "theorem_2_bounds"]


def own_rows(
    theorem: str, objective: Objective, settings: Iterable[AdamSetting], steps: int, v0: float = 0.0
) -> list[Row]:
    """The settings that a theorem covers, each at the step size that makes its bound least."""
    covered = [setting for setting in settings if setting.covered_by(theorem)]
    if not covered:
        return []
    betas_and_eta = {name: np.array([getattr(s, name) for s in covered]) for name in ("beta1", "beta2", "eta")}
    best = theorem1.best_step_size if theorem == "Theorem 1" else best_step_size
    alphas = np.broadcast_to(best(objective.problem(steps), AdamParameters(**betas_and_eta)), len(covered))
    return [Row(setting, float(alpha), v0) for setting, alpha in zip(covered, alphas, strict=True)]


def measured_sums(objective: Objective, rows: Sequence[Row], seeds: Sequence[int], steps: int) -> Array:
    """Mean over seeds of sum_k ||G_k||_1 after ``steps`` steps under Gaussian noise, shape [rows]."""
    trajectory = run_rows(objective, "gaussian", rows, seeds, steps, [steps])
    return mean_over_seeds(trajectory.l1_sum, len(seeds))[:, 0]


def theorem_1_bounds(
    objective: Objective, rows: Sequence[Row], steps: Sequence[int], variant: Variant = AS_PUBLISHED
) -> Array:
    """Theorem 1's bound on sum_k E||G_k||_1, shape [rows, steps]; under bias correction at its own K.

    NaN where it does not apply without bias correction either, though a short run's multipliers may allow more.
    """
    bounds = np.full((len(rows), len(steps)), np.nan)
    for setting in dict.fromkeys(row.setting for row in rows):
        chosen = [i for i, row in enumerate(rows) if row.setting == setting]
        adam = AdamParameters(
            **vars(setting),
            step_size=np.array([rows[i].step_size for i in chosen]),
            sum_sqrt_v0=np.array([objective.dimension * np.sqrt(rows[i].v0) for i in chosen]),
            epsilon=variant.epsilon,
        )
        for j, count in enumerate(steps):
            multipliers, covered = None, setting.covered_by("Theorem 1")
            if variant.bias_correction:
                multipliers = variants.bias_correction(setting.beta1, setting.beta2, count)
                covered &= bool(setting.eta < multipliers.largest_admissible_eta)
            if covered:
                found = variants.gradient_norm_sum_bound(objective.problem(count), adam, multipliers)
                bounds[chosen, j] = found.value
    return bounds


def theorem_2_bounds(
    objective: Objective, rows: Sequence[Row], steps: Sequence[int], variant: Variant = AS_PUBLISHED
) -> Array:
    """Theorem 2's bound, at its best free parameters, shape [rows, steps]; NaN under bias correction."""
    bounds = np.full((len(rows), len(steps)), np.nan)
    if variant.bias_correction:
        return bounds
    covered = [i for i, row in enumerate(rows) if row.setting.covered_by("Theorem 2")]
    for logarithmic in (False, True):
        chosen = [i for i in covered if (rows[i].v0 + variant.epsilon > 0) == logarithmic]
        if chosen:
            bounds[chosen] = _theorem_2(objective, [rows[i] for i in chosen], steps, variant.epsilon, logarithmic)
    return bounds


def _theorem_2(
    objective: Objective, rows: Sequence[Row], steps: Sequence[int], epsilon: float, logarithmic: bool
) -> Array:
    """``logarithmic``: whether v_0 + epsilon^2 > 0, so that the growth of v is bounded too."""
    v0 = np.array([[row.v0] for row in rows])
    settings = {
        name: np.array([[getattr(row.setting, name)] for row in rows]) for name in ("beta1", "beta2", "eta")
    }
    problem = objective.problem(np.array([steps], dtype=float))
    adam = AdamParameters(
        **settings,
        step_size=np.array([[row.step_size] for row in rows]),
        sum_sqrt_v0=objective.dimension * np.sqrt(v0),
        epsilon=epsilon,
    )
    if logarithmic:
        extra = np.array([[largest_extra_steps(row.setting.beta1)] for row in rows])
        sum_log = objective.dimension * np.log(v0 + epsilon**2)
        growth = log_growth_bound(problem, adam, objective.dimension * v0, sum_log, extra)
        adam = replace(adam, log_growth=growth)
    return np.broadcast_to(best_bound(problem, adam).value, (len(rows), len(steps)))


BOUNDS = dict(zip(THEOREMS, (theorem_1_bounds, theorem_2_bounds), strict=True))
"""The bounds by the theorem's name."""
