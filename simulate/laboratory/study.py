r"""One study: an objective, noise, an optimizer and a bound go in, and a verdict comes out.

Problem:
    Does a bound hold on runs of an optimizer, built in or your own, and how sharp is it? At which rate does a
    method fall that no theorem is about?

Algorithm:
    1. The parts are checked: the objective's gradient, L and infimum against its values
       (:mod:`simulate.consistency`), at the points of the run too; the optimizer's steps; the noise's mean, its
       deviations and the norm test that the bound wants. What does not agree is refused, with the number found.
    2. All seeds are run; the bound is evaluated at every recorded K and compared with the mean over seeds.

Guarantee:
    "holds": no mean is above the bound. "violated": the lower end of its interval is above it at some K; the
    intervals are t intervals that hold for all K together in 99% of studies, if means are nearly normal. Between
    the two: "unresolved", and more seeds would tell. One seed under noise has no interval, and violates nothing.

Example:
    >>> result = study("quadratic,dimension=2", "gaussian,eta=0.5", "sgd", steps=64, seeds=4)
    >>> result.verdict, result.bound, result.ratio > 1
    (<StudyVerdict.HOLDS: 'holds'>, 'sgd', True)
    >>> study("quadratic,dimension=2", "gaussian,eta=0.5", "lion", steps=64, seeds=4).verdict
    <StudyVerdict.NO_BOUND: 'no bound'>
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from simulate.consistency import require_consistent, require_consistent_at
from simulate.laboratory.bounds import BoundRule, Run, stated_eta
from simulate.laboratory.noise_check import require_noise
from simulate.laboratory.optimizer_check import require_optimizer
from simulate.laboratory.parts import find
from simulate.laboratory.result import StudyResult, StudyVerdict
from simulate.laboratory.theorems import BOUNDS, usual_bound
from simulate.noise import Noise
from simulate.objectives import Objective
from simulate.optimizers import Optimizer
from simulate.rates import log_log_slope, mean_reach
from simulate.table import Table
from simulate.trajectory import Trajectory, powers_of_two
from simulate.trajectory import run as run_trajectory
from theory.guarantee import adam_guarantee, recommended_step_size
from theory.problem import AdamParameters, Problem

__all__ = ["Study", "study"]

LEVEL = 0.99
"""Of the intervals of the measured means, for all K together (Bonferroni)."""
FIRST_OF_SLOPE = 16
"""Steps from which on a slope is fitted."""
ROUNDING = 1e-9
"""Relative, of a mean that meets its bound with equality."""
USUAL_ETA = 0.2
"""For noise that is asked for by name and needs an eta."""
USUAL_BETAS = (0.9, 0.95)
"""Of the guarantee that methods without a theorem are put next to."""


@dataclass(frozen=True)
class Study:
    """What is run, all parts made.

    Attributes:
        objective: of the run.
        noise: of the stochastic gradients.
        optimizer: with its step size.
        bound: None if there is none.
        steps: K.
        seeds: of the random numbers.
        names: of the parts, as they were asked for: objective, noise, optimizer, bound.
        optional: whether the run is only measured where the bound does not apply.
    """

    objective: Objective
    noise: Noise
    optimizer: Optimizer
    bound: BoundRule | None
    steps: int = 1024
    seeds: tuple[int, ...] = tuple(range(16))
    names: dict[str, str] = field(default_factory=dict)
    optional: bool = False

    def name(self, kind: str) -> str:
        """Of a part, as it was asked for, else its own."""
        part = getattr(self, kind)
        return self.names.get(kind) or str(getattr(part, "name", type(part).__name__.lower()))

    @property
    def bound_name(self) -> str:
        """Of the bound, or that there is none."""
        return "no bound" if self.bound is None else self.name("bound")

    def check(self) -> tuple[str, ...]:
        """Look at every part.

        Returns:
            What was checked, in words.

        Raises:
            ValueError: for what is not as it says, naming the part.
        """
        require_consistent(self.name("objective"), lambda: self.objective)
        require_optimizer(self.name("optimizer"), self.optimizer, self.objective)
        noise = require_noise(self.name("noise"), self.noise, self.objective, self.optimizer, self.bound)
        return ("objective: gradient, L and infimum against values", "optimizer: steps", f"noise: {noise}")

    def run(self, records: tuple[int, ...] | None = None, checked: bool = True) -> StudyResult:
        """Check, run and compare.

        Args:
            records: the K at which it compares; powers of two and ``steps`` by default.
            checked: whether parts are checked; not needed for built-in ones, which tests check.

        Raises:
            ValueError: if a part is not as it says, or the run breaks down.
            HypothesisError: if the bound does not apply, unless it is optional.
        """
        try:
            return self._run(records, checked)
        except HypothesisError as error:
            if not self.optional:
                raise
            found = replace(self, bound=None)._run(records, checked)
            return replace(found, statement=f"The theorem on {self.optimizer.name} {error}. Σ ‖G‖₁ is measured.")

    def _run(self, records: tuple[int, ...] | None, checked: bool) -> StudyResult:
        said = self.check() if checked else ()
        trajectory = self.trajectory(records)
        if checked:
            require_consistent_at(self.name("objective"), self.objective, trajectory.final_w)
        table = self._table(trajectory, records)
        return StudyResult(
            objective=self.name("objective"),
            noise=self.name("noise"),
            optimizer=self.name("optimizer"),
            bound=self.bound_name,
            statement="" if self.bound is None else self.bound.statement,
            seeds=len(self.seeds),
            table=table,
            verdict=_verdict(table),
            slope=self._slope(trajectory),
            checked=said,
        )

    def trajectory(self, records: tuple[int, ...] | None = None) -> Trajectory:
        """Run all seeds.

        Raises:
            ValueError: if the run breaks down.
        """
        more = () if self.bound is None else self.bound.records(self.steps)
        with np.errstate(all="ignore"):
            trajectory = run_trajectory(
                self.objective,
                self.noise,
                self.optimizer,
                self.steps,
                self.seeds,
                sorted({*self._compared(records), *more}),
                preconditioned=self.bound is not None and self.bound.preconditioned,
                deviations=self.bound is not None and self.bound.deviations,
            )
        if not np.isfinite(trajectory.l1_sum).all():
            broken = trajectory.steps[int(np.argmin(np.isfinite(trajectory.l1_sum).all(axis=1)))]
            raise ValueError(
                f"optimizer {self.name('optimizer')!r}: by step {broken} gradients are no longer finite; "
                "a smaller step_size may help"
            )
        return trajectory

    def _compared(self, records: tuple[int, ...] | None) -> set[int]:
        """The K at which it compares; only the last if the bound reads the state at the end of the run."""
        if self.bound is not None and self.bound.preconditioned:
            return {self.steps}
        return set(records or powers_of_two(self.steps))

    def _table(self, trajectory: Trajectory, records: tuple[int, ...] | None) -> Table:
        compared = self._compared(records)
        level = 1 - (1 - LEVEL) / len(compared)
        indices = [i for i, k in enumerate(trajectory.steps) if k in compared]
        runs = [Run(self.objective, self.noise, self.optimizer, trajectory, i) for i in indices]
        return Table.of_rows(self._row(run, level) for run in runs)

    def _row(self, run: Run, level: float) -> dict[str, Any]:
        """Measured, with an interval of this level, and bound at one K."""
        if self.bound is None:
            values, bound = run.trajectory.l1_sum[run.record], _guaranteed_for_adam(run)
        else:
            values, bound = self.bound.measure(run), self.bound.at(run)
        mean, reach = float(values.mean()), 0.0 if stated_eta(self.noise) == 0 else mean_reach(values, level)
        return {
            "objective": self.name("objective"),
            "noise": self.name("noise"),
            "optimizer": self.name("optimizer"),
            "bound": self.bound_name,
            "K": run.steps,
            "measured": mean,
            "low": mean - reach,
            "high": mean + reach,
            "value": bound,
            "ratio": bound / mean if mean > 0 else np.inf,
        }

    def _slope(self, trajectory: Trajectory) -> Any:
        """Of the average of what is bounded, or of ||G_k||_1, against K; None for fewer than three records."""
        chosen = [i for i, k in enumerate(trajectory.steps) if k >= FIRST_OF_SLOPE]
        if self.bound is not None and self.bound.preconditioned:
            return None
        rule = self.bound
        averages = []
        for i in chosen:
            run = Run(self.objective, self.noise, self.optimizer, trajectory, i)
            values = trajectory.l1_sum[i] if rule is None else rule.measure(run)
            averages.append(values / run.steps if rule is None or rule.sums else values)
        usable = [i for i, values in enumerate(averages) if (values > 0).all() and np.isfinite(values).all()]
        if len(usable) < 3:
            return None
        return log_log_slope(
            [trajectory.steps[chosen[i]] for i in usable], np.array([averages[i] for i in usable])
        )


def _guaranteed_for_adam(run: Run) -> float:
    """What is guaranteed for Adam at its best step size under the same noise; NaN where nothing is."""
    eta = stated_eta(run.noise)
    return float("nan") if eta is None else _guarantee(run.problem, eta)


@cache
def _guarantee(problem: Problem, eta: float) -> float:
    adam = AdamParameters(beta1=USUAL_BETAS[0], beta2=USUAL_BETAS[1], eta=eta)
    try:
        best = replace(adam, step_size=recommended_step_size(problem, adam))
        return float(adam_guarantee(problem, best).value)
    except HypothesisError:
        return float("nan")


def study(
    problem: Objective | str,
    noise: Noise | str = "gaussian",
    optimizer: Optimizer | Callable[..., Optimizer] | str = "adam",
    bound: BoundRule | str | None = None,
    *,
    steps: int = 1024,
    seeds: int = 16,
    seed: int = 0,
) -> StudyResult:
    """Check the parts, run them, and compare with the bound.

    Args:
        problem: an objective, or the text that names one (:mod:`simulate.laboratory.parts`).
        noise: likewise; an eta that is asked for and not given is 0.2.
        optimizer: likewise; without a step size it gets its natural one.
        bound: likewise; None for the theorem on this optimizer, if there is one; "none" for none.
        steps: K, at least 16.
        seeds: how many.
        seed: the first.

    Returns:
        The verdict, with a table of measured means and bounds by K.

    Raises:
        ValueError: if a part does not exist or is not as it says.
        HypothesisError: if the bound does not apply.
    """
    return prepared(problem, noise, optimizer, bound, steps=steps, seeds=seeds, seed=seed).run()


def prepared(
    problem: Objective | str,
    noise: Noise | str,
    optimizer: Optimizer | Callable[..., Optimizer] | str,
    bound: BoundRule | str | None,
    *,
    steps: int,
    seeds: int,
    seed: int = 0,
) -> Study:
    """The study of these parts, before it is checked and run; see :func:`study`."""
    if steps < FIRST_OF_SLOPE:
        raise ValueError(f"steps must be at least {FIRST_OF_SLOPE}, not {steps}")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, not {seeds}")
    names = {
        kind: part
        for kind, part in (("objective", problem), ("noise", noise), ("optimizer", optimizer), ("bound", bound))
        if isinstance(part, str)
    }
    objective = _made_objective(problem)
    made_optimizer = _made_optimizer(optimizer, objective, steps)
    made_noise = _made_noise(noise)
    return Study(
        objective,
        made_noise,
        made_optimizer,
        _made_bound(bound, made_optimizer),
        steps,
        tuple(range(seed, seed + seeds)),
        names,
        optional=bound is None,
    )


def _made_objective(given: Objective | str) -> Objective:
    made: Objective = find("objective", given).make() if isinstance(given, str) else given
    return made


def _made_noise(given: Noise | str) -> Noise:
    if not isinstance(given, str):
        return given
    part = find("noise", given)
    made: Noise = part.make(**({"eta": USUAL_ETA} if part.takes("eta") else {}))
    return made


def _made_optimizer(
    given: Optimizer | Callable[..., Optimizer] | str, objective: Objective, steps: int
) -> Optimizer:
    if isinstance(given, Optimizer):
        return given
    part = find("optimizer", given) if isinstance(given, str) else None
    kind: Any = part.factory if part is not None else given
    natural = getattr(kind, "natural_step_size", Optimizer.natural_step_size)
    step_size = natural(objective.problem(steps))
    if part is None:
        made: Optimizer = kind(step_size)
        return made
    more = {"step_size": step_size} if part.takes("step_size") else {}
    if part.text.split(",")[0] == "adagrad" and part.takes("initial_second_moment"):
        more["initial_second_moment"] = 1e-2  # its theorem wants v_0 > 0
    named: Optimizer = part.make(**more)
    return named


def _made_bound(given: BoundRule | str | None, optimizer: Optimizer) -> BoundRule | None:
    if isinstance(given, BoundRule):
        return given
    usual = usual_bound(optimizer.name) if type(optimizer).__module__.startswith("simulate.") else None
    name = usual if given is None else given
    if name is None or name == "none":
        return None
    made: BoundRule = BOUNDS[name]() if name == usual else find("bound", name).make()
    return made


def _verdict(table: Table) -> StudyVerdict:
    if table.values("bound") == ["no bound"]:
        return StudyVerdict.NO_BOUND
    allowed = table["value"] * (1 + ROUNDING)
    if (table["low"] > allowed).any():
        return StudyVerdict.VIOLATED
    return StudyVerdict.HOLDS if (table["measured"] <= allowed).all() else StudyVerdict.UNRESOLVED
