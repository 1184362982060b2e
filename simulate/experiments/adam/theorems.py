"""Both theorems on Adam evaluated on rows of settings: NaN where a theorem does not apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulate.experiments.rows import AdamSetting, Problem, Row
from theory.adam import theorem1, variants
from theory.adam_sharp.parameters import best_bound, best_step_size, largest_extra_steps
from theory.adam_sharp.theorem2 import log_growth_bound
from theory.problem import AdamParameters

__all__ = ["Variant", "own_step_sizes", "theorem_1_bounds", "theorem_2_bounds"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """Adam as in (6), or as it is run."""

    name: str
    epsilon: float = 0.0
    bias_correction: bool = False


def own_step_sizes(
    theorem: int, problem: Problem, settings: Sequence[AdamSetting], steps: int
) -> NDArray[np.float64]:
    """The step sizes that make a theorem's bound least, one a setting."""
    if not settings:
        return np.empty(0)
    beta1, beta2, eta = (np.array([getattr(s, name) for s in settings]) for name in ("beta1", "beta2", "eta"))
    best = theorem1.best_step_size if theorem == 1 else best_step_size
    alphas = best(problem.over(steps), AdamParameters(beta1=beta1, beta2=beta2, eta=eta))
    return np.broadcast_to(alphas, len(settings))


def theorem_1_bounds(problem: Problem, rows: Sequence[Row], steps: Sequence[int], variant: Variant) -> Array:
    """Theorem 1's bound on sum_k E||G_k||_1, shape [rows, steps]."""
    bounds = np.full((len(rows), len(steps)), np.nan)
    for setting in dict.fromkeys(row.setting for row in rows):
        multipliers = None
        if variant.bias_correction:
            multipliers = variants.bias_correction(setting.beta1, setting.beta2)
            if setting.eta >= multipliers.largest_admissible_eta:
                continue
        elif not setting.theorem_1_applies:
            continue
        chosen = [i for i, row in enumerate(rows) if row.setting == setting]
        adam = AdamParameters(
            **vars(setting),
            step_size=np.array([[rows[i].step_size] for i in chosen]),
            sum_sqrt_v0=np.array([[problem.dimension * np.sqrt(rows[i].v0)] for i in chosen]),
            epsilon=variant.epsilon,
        )
        over = problem.over(np.array(steps, dtype=float))
        bounds[chosen] = variants.gradient_norm_sum_bound(over, adam, multipliers).value
    return bounds


def theorem_2_bounds(problem: Problem, rows: Sequence[Row], steps: Sequence[int], variant: Variant) -> Array:
    """Theorem 2's bound, at its best free parameters, shape [rows, steps]; NaN under bias correction."""
    bounds = np.full((len(rows), len(steps)), np.nan)
    if variant.bias_correction:
        return bounds
    covered = [i for i, row in enumerate(rows) if row.setting.theorem_2_applies]
    for logarithmic in (False, True):
        chosen = [i for i in covered if (rows[i].v0 + variant.epsilon > 0) == logarithmic]
        if chosen:
            bounds[chosen] = _theorem_2(problem, [rows[i] for i in chosen], steps, variant.epsilon, logarithmic)
    return bounds


def _theorem_2(
    problem: Problem, rows: Sequence[Row], steps: Sequence[int], epsilon: float, logarithmic: bool
) -> Array:
    """``logarithmic``: whether v_0 + epsilon^2 > 0, so that the growth of v is bounded too."""
    v0 = np.array([[row.v0] for row in rows])
    settings = {
        name: np.array([[getattr(row.setting, name)] for row in rows]) for name in ("beta1", "beta2", "eta")
    }
    over = problem.over(np.array([steps], dtype=float))
    adam = AdamParameters(
        **settings,
        step_size=np.array([[row.step_size] for row in rows]),
        sum_sqrt_v0=problem.dimension * np.sqrt(v0),
        epsilon=epsilon,
    )
    if logarithmic:
        extra = np.array([[largest_extra_steps(row.setting.beta1)] for row in rows])
        sum_log = problem.dimension * np.log(v0 + epsilon**2)
        growth = log_growth_bound(over, adam, problem.dimension * v0, sum_log, extra)
        adam = replace(adam, log_growth=growth)
    return np.broadcast_to(best_bound(over, adam).value, (len(rows), len(steps)))
