"""The other theorems, each where its hypotheses are met: SGD, AdaGrad, weight decay, schedules, clipping, l1 test.

Every check runs an optimizer under noise that the theorem allows and compares a measured sum or average with the
theorem's bound on the same constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.experiments.result import Result, Table
from simulate.experiments.rows import Problem
from simulate.experiments.settings import Advance, Settings
from simulate.noise import NOISES, Draw, Meets, Noise, Source
from simulate.objectives import OBJECTIVES, Objective, PseudoHuber, Quadratic
from simulate.optimizers import SGD, AdaGrad, Adam, AdamW, Optimizer, OptimizerState, RMSProp
from simulate.streams import SeedStreams
from simulate.trajectory import Trajectory
from simulate.trajectory import run as run_trajectory
from simulate.verdicts import Comparison, Expectation, Kind, Verdict
from theory.adam import theorem1
from theory.adam.constants import normalized_step_bound
from theory.bound import Bound
from theory.l1 import theorem, theorem3
from theory.other_optimizers import adagrad, sgd
from theory.problem import AdamParameters
from theory.problem import Problem as BoundProblem
from theory.training import clipping, step_schedules, violated_steps
from theory.training.weight_decay import largest_admissible_decay, weight_bound, weight_decay_bound

__all__ = ["CHECKS", "Case", "Check", "Clipped", "run"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """What a check is run on."""

    problem: Problem
    steps: int
    seeds: tuple[int, ...]

    def run(self, noise: Noise, optimizer: Optimizer, **options: Any) -> Trajectory:
        """All seeds, recorded at the last step unless told otherwise; ``options`` as of a trajectory's run."""
        options.setdefault("record_at", [self.steps])
        return run_trajectory(self.problem.objective, noise, optimizer, self.steps, self.seeds, **options)

    @property
    def given(self) -> BoundProblem:
        """L, d, Delta and K, as the theorems take them."""
        return self.problem.over(self.steps)

    def adam(self, beta1: float, beta2: float, eta: float) -> AdamParameters:
        """Adam at Theorem 1's own step size."""
        adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta)
        return replace(adam, step_size=float(theorem1.best_step_size(self.given, adam)))


class Clipped:
    """A noise whose gradients are clipped at a norm.

    Attributes:
        noise: before clipping.
        threshold: C.
    """

    def __init__(self, noise: Noise, threshold: float) -> None:
        self.noise, self.threshold = noise, threshold

    @property
    def name(self) -> str:
        """The name of the noise, clipped."""
        return f"{self.noise.name}, clipped"

    @property
    def eta(self) -> float:
        """Before clipping."""
        return float(self.noise.eta)

    @property
    def meets(self) -> Meets:
        """Nothing: clipping makes the gradient biased."""
        return "nothing"

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """The noise's source, clipped."""
        return _ClippedSource(self.threshold, self.noise.begin(objective, optimizer, streams))


class _ClippedSource:
    def __init__(self, threshold: float, source: Source) -> None:
        self._threshold, self._source = threshold, source

    def draw(self, w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
        drawn = self._source.draw(w, gradient, step, state).gradient
        norm = np.sqrt((drawn * drawn).sum(axis=-1, keepdims=True))
        safe = np.where(norm > 0, norm, 1.0)
        return Draw(drawn * clipping.clip_factor(safe, self._threshold))


# ----------------------------------------------------------------------------------------------------
# The checks: (measured, bound).


def _sgd(case: Case) -> tuple[float, Bound]:
    eta = 0.5
    alpha = float(sgd.best_step_size(smoothness=case.problem.smoothness, eta=eta))
    trajectory = case.run(NOISES["isotropic"](eta=eta), SGD(alpha))
    bound = sgd.average_squared_norm_bound(case.given, step_size=alpha, eta=eta)
    return float(trajectory.average_squared.mean()), bound


def _sgd_sharp(case: Case) -> tuple[float, Bound]:
    """Without noise all descent that is possible is made: the ratio tends to 1, and rounding must not decide."""
    alpha = 0.5 / case.problem.smoothness
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
    return _mean(trajectory.preconditioned_sum), bound


def _weight_decay(case: Case) -> tuple[float, Bound]:
    beta1, beta2, eta = 0.0, 0.9, 0.3
    adam = case.adam(beta1, beta2, eta)
    alpha = float(adam.alpha)
    start = float(np.abs(case.problem.objective.start()).max())
    # Half of what is allowed for weights that move away at full speed all the time.
    furthest = start + case.steps * alpha * float(normalized_step_bound(beta1, beta2))
    decay = float(largest_admissible_decay(beta1, beta2, eta)) / (2 * furthest)
    largest = float(weight_bound(beta1, beta2, decay, start, alpha, case.steps))
    trajectory = case.run(NOISES["gaussian"](eta=eta), AdamW(alpha, beta1, beta2, weight_decay=decay))
    return _mean(trajectory.l1_sum), weight_decay_bound(case.given, adam, decay, largest)


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
    beta1, beta2, eta, floor = 0.5, 0.9, 0.3, 0.5
    threshold = floor * (1 + eta) * np.sqrt(case.problem.dimension)
    adam = case.adam(beta1, beta2, eta)
    noise = Clipped(NOISES["rademacher"](eta=eta), threshold)
    trajectory = case.run(noise, Adam(adam.alpha, beta1, beta2))
    return _mean(trajectory.l1_sum), clipping.clipped_bound(case.given, adam, floor)


def _l1_test(case: Case) -> tuple[float, Bound]:
    beta1, beta2 = 0.0, 0.5
    eta = 0.9 * theorem.largest_admissible_eta(beta1, beta2)
    adam = case.adam(beta1, beta2, eta)
    noise = NOISES["additive"](eta=eta, sigma=0.1, test="l1")
    trajectory = case.run(noise, RMSProp(adam.alpha, beta2))
    return _mean(trajectory.l1_sum), theorem.l1_test_bound(case.given, adam)


def _scalar_test(case: Case) -> tuple[float, Bound]:
    beta1, beta2 = 0.0, 0.5
    eta = 0.9 * theorem.largest_admissible_eta(beta1, beta2, dimension=float(case.problem.dimension))
    adam = case.adam(beta1, beta2, eta)
    trajectory = case.run(NOISES["isotropic"](eta=eta), RMSProp(adam.alpha, beta2))
    return _mean(trajectory.l2_sum), theorem.scalar_test_bound(case.given, adam)


def _certificate(case: Case) -> tuple[float, Bound]:
    beta1, beta2, eta = 0.9, 0.95, 0.2
    certificate = theorem3.find_certificate(beta1, beta2, eta)
    adam = case.adam(beta1, beta2, eta)
    noise = NOISES["additive"](eta=eta, sigma=0.1, test="l1")
    trajectory = case.run(noise, Adam(adam.alpha, beta1, beta2))
    bound = theorem3.certified_bound(certificate, case.given, adam, trajectory.first_gradient[0], v0=0.0)
    return _mean(trajectory.l1_sum), bound


def _violated(case: Case) -> tuple[float, Bound]:
    """A capped batch: from some step on it is too small for the coordinate-wise test."""
    beta1, beta2, eta = 0.5, 0.9, 0.4
    adam = case.adam(beta1, beta2, eta)
    noise = NOISES["additive"](eta=eta, sigma=0.1, maximum_batch=256.0)
    trajectory = case.run(noise, Adam(adam.alpha, beta1, beta2), deviations=True)
    bound = violated_steps.violated_bound(
        case.given,
        adam,
        violated_gradient=_mean(trajectory.missed_l1_sum),
        excess_deviation=_mean(trajectory.deviation_sum),
    )
    return _mean(trajectory.l1_sum), bound


def _mean(values: Array | None) -> float:
    """Mean over seeds of the last record."""
    if values is None:
        raise ValueError("the run did not record what is compared")
    return float(values[-1].mean())


@dataclass(frozen=True)
class Check:
    """One theorem.

    Attributes:
        name: for the report.
        statement: what is guaranteed, in words.
        optimizer: whose theorem it is, as in ``--optimizer``.
        compare: measured value and bound.
        kind: of the bound.
        only_on: the one objective it is about; None for any.
    """

    name: str
    statement: str
    optimizer: str
    compare: Callable[[Case], tuple[float, Bound]]
    kind: Kind = Kind.UPPER
    only_on: Objective | None = None


SHARP, HUBER = Quadratic(condition=1.0), PseudoHuber()

CHECKS = (
    Check("SGD", "(1/K) Σ ‖G‖² under the norm test (4)", "sgd", _sgd),
    Check("SGD, sharp case", "(1/K) Σ ‖G‖² without noise", "sgd", _sgd_sharp, Kind.TIGHT, SHARP),
    Check("AdaGrad", "The preconditioned sum under the coordinate-wise test", "adagrad", _adagrad),
    Check("AdamW", "Σ ‖G‖₁ with decoupled weight decay", "adamw", _weight_decay),
    Check("Schedules", "Σ s_k ‖G_k‖₁ after warm-up, with cosine and bias correction", "adam", _schedule),
    Check("Clipping with a floor", "Σ ‖G‖₁, gradients halved at most", "adam", _clipping, only_on=HUBER),
    Check("l1 norm test", "Σ ‖G‖₁ where the l1 test holds at the eta of its theorem", "rmsprop", _l1_test),
    Check("Scalar test, small eta", "Σ ‖G‖₂, eta of the order of 1/sqrt(d)", "rmsprop", _scalar_test),
    Check("Theorem 3", "Σ ‖G‖₁ under the l1 test at eta .2, given its certificate", "adam", _certificate),
    Check("Violated steps", "Σ ‖G‖₁ where a capped batch violates the test", "adam", _violated),
)


def run(settings: Settings, advance: Advance) -> Result:
    """Every check on a few objectives."""
    names = settings.objectives or settings.by_level(
        ("pseudo-huber",),
        ("pseudo-huber", "rastrigin", "geman-mcclure"),
        ("pseudo-huber", "rastrigin", "geman-mcclure", "xy-chain", "quadratic"),
    )
    steps = settings.steps or settings.by_level(256, 512, 8192)
    seeds = settings.seeds or settings.by_level(8, 16, 64)
    checks = [check for check in CHECKS if not settings.optimizers or check.optimizer in settings.optimizers]
    pairs = [(check, OBJECTIVES[name]()) for check in checks if check.only_on is None for name in names]
    pairs += [(check, check.only_on) for check in checks if check.only_on is not None]
    rows = []
    for check, objective in pairs:
        case = Case(Problem.of(objective), steps, tuple(range(settings.seed, settings.seed + seeds)))
        measured, bound = check.compare(case)
        rows.append(_row(check, objective.name, steps, measured, float(bound.value)))
        advance(1 / len(pairs))
    table = Table.of_rows(rows)
    return Result(
        name="related-bounds",
        title="The other theorems, where their hypotheses are met",
        summary=f"{', '.join(names)}; K = {steps}, {seeds} seeds; each theorem at a step size it allows.",
        verdicts=[_verdict(check, table) for check in checks],
        tables={"related_bounds": table},
    )


def _row(check: Check, objective: str, steps: int, measured: float, bound: float) -> dict[str, Any]:
    return {
        "theorem": check.name,
        "objective": objective,
        "K": steps,
        "measured": measured,
        "bound": bound,
        "ratio": bound / measured,
    }


def _verdict(check: Check, table: Table) -> Verdict:
    return Verdict(
        name=check.name,
        statement=check.statement + " is at most the theorem's bound.",
        expected=Expectation.HOLDS,
        asserted=[
            Comparison(f"{row['objective']}, K = {row['K']}", row["measured"], "<=", row["bound"])
            for row in table.where(theorem=check.name).rows()
        ],
        kind=check.kind,
    )
