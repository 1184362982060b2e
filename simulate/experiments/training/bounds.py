"""The theorems on Adam as it is trained: weight decay, schedules, clipping with a floor, violated steps."""

from __future__ import annotations

import numpy as np

from simulate.experiments.checks import Case, Check, seed_mean
from simulate.noise import NOISES, Clipped
from simulate.objectives import PseudoHuber
from simulate.optimizers import Adam, AdamW
from theory.adam.constants import normalized_step_bound
from theory.bound import Bound
from theory.training import clipping, step_schedules, violated_steps
from theory.training.weight_decay import largest_admissible_decay, weight_bound, weight_decay_bound

__all__ = ["CHECKS"]


def _weight_decay(case: Case) -> tuple[float, Bound]:
    beta1, beta2, eta = 0.0, 0.9, 0.3
    adam = case.adam(beta1, beta2, eta)
    alpha = float(adam.alpha)
    start = float(np.abs(case.objective.start()).max())
    # Half of what is allowed for weights that move away at full speed all the time.
    furthest = start + case.steps * alpha * float(normalized_step_bound(beta1, beta2))
    decay = float(largest_admissible_decay(beta1, beta2, eta)) / (2 * furthest)
    largest = float(weight_bound(beta1, beta2, decay, start, alpha, case.steps))
    trajectory = case.run(NOISES["gaussian"](eta=eta), AdamW(alpha, beta1, beta2, weight_decay=decay))
    return seed_mean(trajectory.l1_sum), weight_decay_bound(case.given, adam, decay, largest)


def _schedule(case: Case) -> tuple[float, Bound]:
    """Warm-up over 4% of the steps, cosine to 0, bias correction; counted once the warm-up is over."""
    beta1, beta2, eta = 0.9, 0.95, 0.2
    warmup = max(2, case.steps // 25)
    multipliers = step_schedules.warmup_cosine(case.steps, warmup)
    multipliers = multipliers * step_schedules.bias_correction(case.steps, beta1, beta2)
    adam = case.adam(beta1, beta2, eta)
    optimizer = Adam(adam.alpha, beta1, beta2, schedule=lambda step: float(multipliers[step - 1]))
    trajectory = case.run(NOISES["gaussian"](eta=eta), optimizer, record_at=[warmup, case.steps])
    bound = step_schedules.schedule_bound(case.given, adam, multipliers, first=warmup + 1)
    return float((trajectory.weighted_l1_sum[1] - trajectory.weighted_l1_sum[0]).mean()), bound


def _clipping(case: Case) -> tuple[float, Bound]:
    """Rademacher noise is bounded: ||g|| <= (1 + eta)||G||, and ||G|| <= sqrt(d) on the pseudo-Huber function."""
    eta, floor = 0.3, 0.5
    threshold = floor * (1 + eta) * np.sqrt(case.objective.dimension)
    adam = case.adam(0.5, 0.9, eta)
    trajectory = case.run_adam(Clipped(NOISES["rademacher"](eta=eta), threshold), adam)
    return seed_mean(trajectory.l1_sum), clipping.clipped_bound(case.given, adam, floor)


def _violated(case: Case) -> tuple[float, Bound]:
    """A capped batch: from some step on it is too small for the coordinate-wise test."""
    adam = case.adam(0.5, 0.9, eta=0.4)
    trajectory = case.run_adam(NOISES["additive"](eta=0.4, sigma=0.1, maximum_batch=256.0), adam, deviations=True)
    bound = violated_steps.violated_bound(
        case.given,
        adam,
        violated_gradient=seed_mean(trajectory.missed_l1_sum),
        excess_deviation=seed_mean(trajectory.deviation_sum),
    )
    return seed_mean(trajectory.l1_sum), bound


CHECKS = (
    Check("AdamW", "Σ ‖G‖₁ with decoupled weight decay", "adamw", "theory.training.weight_decay", _weight_decay),
    Check(
        "Schedules",
        "Σ s_k ‖G_k‖₁ with cosine and bias correction, from the end of the warm-up,",
        "adam",
        step_schedules.__name__,
        _schedule,
    ),
    Check(
        "Clipping with a floor",
        "Σ ‖G‖₁ where clipping halves gradients at most",
        "adam",
        clipping.__name__,
        _clipping,
        only_on=PseudoHuber(),
    ),
    Check(
        "Violated steps",
        "Σ ‖G‖₁ where a capped batch violates the test",
        "adam",
        violated_steps.__name__,
        _violated,
    ),
)
