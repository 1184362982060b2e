"""The theorems on SGD and AdaGrad, each where its hypotheses are met."""

from __future__ import annotations

import numpy as np

from simulate.experiments.checks import Case, Check, seed_mean
from simulate.noise import NOISES
from simulate.objectives import Quadratic
from simulate.optimizers import SGD, AdaGrad
from simulate.outcomes import Kind
from theory.bound import Bound
from theory.other_optimizers import adagrad, sgd

__all__ = ["CHECKS"]


def _sgd(case: Case) -> tuple[float, Bound]:
    eta = 0.5
    alpha = float(sgd.best_step_size(smoothness=case.objective.smoothness, eta=eta))
    trajectory = case.run(NOISES["isotropic"](eta=eta), SGD(alpha))
    bound = sgd.average_squared_norm_bound(case.given, step_size=alpha, eta=eta)
    return float(trajectory.average_squared.mean()), bound


def _sgd_sharp(case: Case) -> tuple[float, Bound]:
    """Without noise all descent that is possible is made: the ratio tends to 1, and rounding must not decide."""
    alpha = 0.5 / case.objective.smoothness
    trajectory = case.run(NOISES["none"](), SGD(alpha))
    bound = sgd.average_squared_norm_bound(case.given, step_size=alpha, eta=0.0)
    return float(trajectory.average_squared.mean()) * (1 - 1e-12), bound


def _adagrad(case: Case) -> tuple[float, Bound]:
    eta, alpha, v0 = 0.5, 0.1, 1e-2
    optimizer = AdaGrad(alpha, initial_second_moment=v0)
    trajectory = case.run(NOISES["gaussian"](eta=eta), optimizer, preconditioned=True)
    end = trajectory.final_state.second_moment
    growth = float(np.mean(adagrad.accumulator_log_growth(np.full_like(end, v0), end)))
    bound = adagrad.preconditioned_sum_bound(case.given, step_size=alpha, eta=eta, log_growth=growth)
    return seed_mean(trajectory.preconditioned_sum), bound


CHECKS = (
    Check("SGD", "(1/K) Σ ‖G‖² under the norm test (4)", "sgd", sgd.__name__, _sgd),
    Check(
        "SGD, sharp case",
        "(1/K) Σ ‖G‖² without noise",
        "sgd",
        sgd.__name__,
        _sgd_sharp,
        Kind.TIGHT,
        Quadratic(condition=1.0),
    ),
    Check(
        "AdaGrad", "The preconditioned sum under the coordinate-wise test", "adagrad", adagrad.__name__, _adagrad
    ),
)
