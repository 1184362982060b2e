"""The other theorems, each where its hypotheses are met: SGD, AdaGrad, weight decay, schedules, clipping, l1 test.

Each is a study of built-in parts: its noise, its optimizer at a step size that its theorem allows, and its bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.laboratory import theorems
from simulate.laboratory.bounds import BoundRule
from simulate.laboratory.study import Study
from simulate.noise import NOISES, Clipped, Noise
from simulate.objectives import OBJECTIVES, Objective, PseudoHuber, Quadratic
from simulate.optimizers import SGD, AdaGrad, Adam, AdamW, Optimizer
from simulate.outcomes import Kind, Outcome, at_most
from simulate.text import counted
from theory.adam import theorem1
from theory.adam.constants import normalized_step_bound
from theory.l1 import theorem as l1_theorem
from theory.other_optimizers import sgd
from theory.problem import AdamParameters
from theory.training import step_schedules
from theory.training.weight_decay import largest_admissible_decay

__all__ = ["BUILT_IN", "run"]

Parts = tuple[Noise, Optimizer, BoundRule]


@dataclass(frozen=True)
class BuiltIn:
    """One theorem's study.

    Attributes:
        name: for the report.
        statement: what is guaranteed, in words.
        optimizer: whose theorem it is, as in ``--optimizer``.
        parts: noise, optimizer and bound on an objective, for K steps.
        kind: of the bound.
        only_on: the one objective it is about; None for any.
    """

    name: str
    statement: str
    optimizer: str
    parts: Callable[[Objective, int], Parts]
    kind: Kind = Kind.UPPER
    only_on: Objective | None = None


def _step_size(objective: Objective, steps: int, beta1: float, beta2: float, eta: float) -> float:
    """Theorem 1's own."""
    adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta)
    return float(theorem1.best_step_size(objective.problem(steps), adam))


def _adam(objective: Objective, steps: int, beta1: float, beta2: float, eta: float) -> Adam:
    return Adam(_step_size(objective, steps, beta1, beta2, eta), beta1, beta2)


def _sgd(objective: Objective, steps: int) -> Parts:
    eta = 0.5
    alpha = float(sgd.best_step_size(smoothness=objective.smoothness, eta=eta))
    return NOISES["isotropic"](eta=eta), SGD(alpha), theorems.StochasticGradientDescent()


def _sgd_sharp(objective: Objective, steps: int) -> Parts:
    """Without noise all descent that is possible is made: the ratio tends to 1."""
    return NOISES["none"](), SGD(0.5 / objective.smoothness), theorems.StochasticGradientDescent()


def _adagrad(objective: Objective, steps: int) -> Parts:
    return NOISES["gaussian"](eta=0.5), AdaGrad(0.1, initial_second_moment=1e-2), theorems.AdaGradSum()


def _weight_decay(objective: Objective, steps: int) -> Parts:
    beta1, beta2, eta = 0.0, 0.9, 0.3
    alpha = _step_size(objective, steps, beta1, beta2, eta)
    # Half of what is allowed for weights that move away at full speed all the time.
    furthest = float(np.abs(objective.start()).max()) + steps * alpha * float(normalized_step_bound(beta1, beta2))
    decay = float(largest_admissible_decay(beta1, beta2, eta)) / (2 * furthest)
    return NOISES["gaussian"](eta=eta), AdamW(alpha, beta1, beta2, weight_decay=decay), theorems.WeightDecay()


def _schedule(objective: Objective, steps: int) -> Parts:
    """Warm-up over 4% of the steps, cosine to 0, bias correction; counted once the warm-up is over."""
    beta1, beta2, eta = 0.9, 0.95, 0.2
    warmup = max(2, steps // 25)
    multipliers = step_schedules.warmup_cosine(steps, warmup)
    multipliers = multipliers * step_schedules.bias_correction(steps, beta1, beta2)
    adam = replace(_adam(objective, steps, beta1, beta2, eta), schedule=lambda step: float(multipliers[step - 1]))
    return NOISES["gaussian"](eta=eta), adam, theorems.Schedule(warmup)


def _clipping(objective: Objective, steps: int) -> Parts:
    """Rademacher noise is bounded: ||g|| <= (1 + eta)||G||, and ||G|| <= sqrt(d) on the pseudo-Huber function."""
    eta, floor = 0.3, 0.5
    threshold = floor * (1 + eta) * float(np.sqrt(objective.dimension))
    noise = Clipped(NOISES["rademacher"](eta=eta), threshold)
    return noise, _adam(objective, steps, 0.5, 0.9, eta), theorems.Clipping(floor)


def _violated(objective: Objective, steps: int) -> Parts:
    """A capped batch: from some step on it is too small for the coordinate-wise test."""
    noise = NOISES["additive"](eta=0.4, sigma=0.1, maximum_batch=256.0)
    return noise, _adam(objective, steps, 0.5, 0.9, 0.4), theorems.ViolatedSteps()


def _l1_test(objective: Objective, steps: int) -> Parts:
    eta = 0.9 * float(l1_theorem.largest_admissible_eta(0.0, 0.5))
    noise = NOISES["additive"](eta=eta, sigma=0.1, test="l1")
    return noise, _adam(objective, steps, 0.0, 0.5, eta), theorems.L1Test()


def _scalar_test(objective: Objective, steps: int) -> Parts:
    eta = 0.9 * float(l1_theorem.largest_admissible_eta(0.0, 0.5, dimension=float(objective.dimension)))
    return NOISES["isotropic"](eta=eta), _adam(objective, steps, 0.0, 0.5, eta), theorems.ScalarTest()


def _certified_l1(objective: Objective, steps: int) -> Parts:
    noise = NOISES["additive"](eta=0.2, sigma=0.1, test="l1")
    return noise, _adam(objective, steps, 0.9, 0.95, 0.2), theorems.CertifiedL1()


def _certified_variance(objective: Objective, steps: int) -> Parts:
    """At Theorem 1's step size for an eta that it covers."""
    return NOISES["gaussian"](eta=0.8), _adam(objective, steps, 0.9, 0.95, 0.2), theorems.CertifiedVariance()


BUILT_IN = (
    BuiltIn("SGD", "(1/K) Σ ‖G‖² under the norm test (4)", "sgd", _sgd),
    BuiltIn(
        "SGD, sharp case",
        "(1/K) Σ ‖G‖² without noise",
        "sgd",
        _sgd_sharp,
        Kind.TIGHT,
        Quadratic(condition=1.0),
    ),
    BuiltIn("AdaGrad", "The preconditioned sum under the coordinate-wise test", "adagrad", _adagrad),
    BuiltIn("AdamW", "Σ ‖G‖₁ with decoupled weight decay", "adamw", _weight_decay),
    BuiltIn(
        "Schedules",
        "Σ s_k ‖G_k‖₁ with cosine and bias correction, from the end of the warm-up,",
        "adam",
        _schedule,
    ),
    BuiltIn(
        "Clipping with a floor",
        "Σ ‖G‖₁ where clipping halves gradients at most",
        "adam",
        _clipping,
        only_on=PseudoHuber(),
    ),
    BuiltIn("Violated steps", "Σ ‖G‖₁ where a capped batch violates the test", "adam", _violated),
    BuiltIn("l1 norm test", "Σ ‖G‖₁ where the l1 test holds at the eta of its theorem", "rmsprop", _l1_test),
    BuiltIn("Scalar test, small eta", "Σ ‖G‖₂ at an eta of the order of 1/sqrt(d)", "rmsprop", _scalar_test),
    BuiltIn("Theorem 3, l1", "Given a certificate, Σ ‖G‖₁ under the l1 test at eta .2", "adam", _certified_l1),
    BuiltIn(
        "Theorem 3, coordinate-wise",
        "Given a certificate, Σ ‖G‖₁ under the coordinate-wise test at eta .8",
        "adam",
        _certified_variance,
    ),
)


def run(settings: Settings, pieces: Pieces) -> Result:
    """Every theorem on a few objectives."""
    names = tuple(dict.fromkeys(settings.objectives)) or settings.by_level(
        ("pseudo-huber",),
        ("pseudo-huber", "rastrigin", "geman-mcclure"),
        ("pseudo-huber", "rastrigin", "geman-mcclure", "xy-chain", "quadratic"),
    )
    steps = settings.steps or settings.by_level(256, 512, 8192)
    seeds = settings.seeds or settings.by_level(8, 16, 64)
    chosen = [one for one in BUILT_IN if not settings.optimizers or one.optimizer in settings.optimizers]
    if settings.objectives:  # a check of one objective says nothing of others
        chosen = [one for one in chosen if one.only_on is None or one.only_on.name in names]
    runs = [(name, one, OBJECTIVES[name]()) for one in chosen if one.only_on is None for name in names]
    runs += [(one.only_on.name, one, one.only_on) for one in chosen if one.only_on is not None]
    chosen_seeds = tuple(settings.run_seeds(seeds))
    found = pieces.each(runs, lambda each: _row(*each, steps, chosen_seeds))
    table = Table.of_rows(row for row, _ in found)
    return Result(
        name="related-bounds",
        title="The other theorems, where their hypotheses are met",
        summary=(
            f"{', '.join(names)}; K = {steps}, {counted(seeds, 'seed')}; each theorem at a step size it allows."
        ),
        outcomes=[_outcome(one, table) for one in chosen],
        theorems=tuple(dict.fromkeys(theorem for _, theorem in found)),
        tables={"related_bounds": table},
    )


def _row(
    name: str, one: BuiltIn, objective: Objective, steps: int, seeds: tuple[int, ...]
) -> tuple[dict[str, object], str]:
    """What is measured and guaranteed, and the theorem."""
    noise, optimizer, bound = one.parts(objective, steps)
    study = Study(objective, noise, optimizer, bound, steps, seeds)
    (row,) = study.run((steps,), checked=False).table.rows()
    shown = {"theorem": one.name, "objective": name, "K": steps, "measured": row["measured"]}
    return shown | {"bound": row["value"], "ratio": row["ratio"]}, bound.theorem


def _outcome(one: BuiltIn, table: Table) -> Outcome:
    return Outcome(
        name=one.name,
        statement=one.statement + " is at most the theorem's bound.",
        asserted=at_most(table.where(theorem=one.name).rows(), "{objective}, K = {K}"),
        kind=one.kind,
    )
