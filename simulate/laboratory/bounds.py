"""What a bound is told of a run, and what it says: a number that the mean of a measured sum must not exceed.

A bound of your own is a subclass of :class:`BoundRule`; its docstring's first line is its statement.

Example:
    >>> class Wishful(BoundRule):
    ...     '''sum_k ||G_k||_1 is at most Delta / alpha.'''
    ...     name = "wishful"
    ...     def value(self, run):
    ...         return run.problem.initial_gap / run.optimizer.step_size
    >>> Wishful().statement, Wishful().measured
    ('sum_k ||G_k||_1 is at most Delta / alpha.', 'l1_sum')
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adabatch.moments.hypotheses import describe, require
from simulate.noise import Noise
from simulate.noise.exact_tests import Test
from simulate.objectives import Objective
from simulate.optimizers import Adam, Optimizer, RMSProp
from simulate.streams import Array
from simulate.trajectory import Trajectory
from theory.bound import Bound
from theory.problem import AdamParameters, Problem

__all__ = ["BoundRule", "Run", "stated_eta"]

AVERAGES = ("average_l1", "average_squared", "average_batch")
"""Of what a trajectory records, what is divided by K already."""


@dataclass(frozen=True)
class Run:
    """A run up to one of its recorded numbers of steps.

    Attributes:
        objective: its L, infimum and start are in ``problem``.
        noise: of the stochastic gradients.
        optimizer: with its settings.
        trajectory: all that was recorded.
        record: which of ``trajectory.steps`` is meant.
    """

    objective: Objective
    noise: Noise
    optimizer: Optimizer
    trajectory: Trajectory
    record: int

    @property
    def steps(self) -> int:
        """K."""
        return self.trajectory.steps[self.record]

    @property
    def problem(self) -> Problem:
        """L, d, Delta, K and ||G_1||_1."""
        return self.objective.problem(self.steps)

    @property
    def eta(self) -> float:
        """Of the norm test that the noise says it meets.

        Raises:
            HypothesisError: if it says nothing.
        """
        eta = stated_eta(self.noise)
        require(eta is not None, "noise with an attribute eta", "none", "give it the eta of the test it meets")
        return float(eta or 0.0)

    def mean(self, recorded: str) -> float:
        """The mean over seeds of what a trajectory recorded, such as "l1_sum", after K steps."""
        return self.expected(getattr(self.trajectory, recorded)[self.record])

    def expected(self, values: Array) -> float:
        """The mean over seeds of one number for each."""
        return float(values.mean())

    @property
    def excess_deviation(self) -> float:
        """What sum_k sum_i E(sd_{k,i} - eta |G_{k,i}|)^+ is at most: here the sum of all deviations."""
        return self.mean("deviation_sum")

    @property
    def v0(self) -> Array:
        """v_0, shape [d]."""
        start = np.asarray(self.optimizer.initial_second_moment, dtype=float)
        return np.broadcast_to(start, (self.objective.dimension,))

    @property
    def multipliers(self) -> Array | None:
        """h_1, ..., h_K of the optimizer's schedule; None without one."""
        schedule = self.optimizer.schedule
        return None if schedule is None else np.array([schedule(step) for step in range(1, self.steps + 1)])

    @property
    def adam(self) -> AdamParameters:
        """Adam's settings and eta, as the theorems on plain Adam take them.

        Raises:
            HypothesisError: if the optimizer is not Adam or RMSProp, has a schedule, or corrects its bias.
        """
        return self.adam_like(self.plain_adam)

    @property
    def plain_adam(self) -> Adam:
        """The optimizer, with or without bias correction.

        Raises:
            HypothesisError: if it is not Adam or RMSProp, or has a schedule.
        """
        optimizer = self.scheduled_adam
        require(optimizer.schedule is None, "no schedule", "one", "take it away, or choose theorem-1")
        return optimizer

    @property
    def scheduled_adam(self) -> Adam:
        """The optimizer, with or without bias correction and a schedule.

        Raises:
            HypothesisError: if it is not Adam or RMSProp.
        """
        optimizer = self.optimizer
        plain = type(optimizer) in (Adam, RMSProp)
        require(plain, "Adam or RMSProp", optimizer.name, "choose adam, or a bound on yours")
        assert isinstance(optimizer, Adam)
        return optimizer

    def adam_like(self, optimizer: Adam, corrected: bool = False) -> AdamParameters:
        """The settings and eta of an optimizer that may do more than Adam, for a theorem on it.

        Args:
            optimizer: the run's.
            corrected: whether the theorem allows bias correction.

        Raises:
            HypothesisError: for bias correction that it does not allow.
        """
        require(
            corrected or not optimizer.bias_correction,
            "no bias correction",
            "bias_correction = True",
            "take it away, or choose theorem-1",
        )
        return AdamParameters(
            beta1=float(optimizer.beta1),
            beta2=float(optimizer.beta2),
            eta=self.eta,
            step_size=float(optimizer.step_size),
            sum_sqrt_v0=float(np.sqrt(self.v0).sum()),
            epsilon=float(optimizer.epsilon),
        )


class BoundRule(ABC):
    """An upper bound on the expectation of something that runs record.

    Attributes:
        name: as it is asked for, and called in tables.
        measured: what is bounded, an attribute of :class:`~simulate.trajectory.Trajectory`.
        test: the norm test that its hypotheses want, with the noise's eta; None for none.
        unbiased: whether its hypotheses want E g_k = G_k.
        preconditioned: whether runs must record the preconditioned sum.
        deviations: whether runs must record the sum of deviations.
        tight: whether its ratio to what is measured comes near 1 somewhere.
        theorem: the module of :mod:`theory` that states it; empty for one of your own.
    """

    name: ClassVar[str]
    measured: ClassVar[str] = "l1_sum"
    test: ClassVar[Test | None] = None
    unbiased: ClassVar[bool] = True
    preconditioned: ClassVar[bool] = False
    deviations: ClassVar[bool] = False
    tight: ClassVar[bool] = False
    theorem: ClassVar[str] = ""

    @property
    def statement(self) -> str:
        """What it says, in a sentence."""
        return (type(self).__doc__ or "").strip().split("\n")[0]

    @abstractmethod
    def value(self, run: Run) -> float | Bound:
        """The bound after ``run.steps`` steps.

        Raises:
            HypothesisError: where it does not apply, with what would have to change.
        """

    def measure(self, run: Run) -> Array:
        """What is bounded after ``run.steps`` steps, by seed."""
        result: Array = np.asarray(getattr(run.trajectory, self.measured)[run.record])
        return result

    def records(self, steps: int) -> tuple[int, ...]:
        """Numbers of steps that a run must record for it, apart from the study's own."""
        return ()

    @property
    def sums(self) -> bool:
        """Whether what is bounded grows with K."""
        return self.measured not in AVERAGES

    def at(self, run: Run) -> float:
        """The bound as a number.

        Raises:
            HypothesisError: where it does not apply.
            ValueError: if what it returns is not a positive number.
        """
        returned = self.value(run)
        value = returned.value if isinstance(returned, Bound) else returned
        if np.shape(value) != () or not float(value) > 0:
            given = describe("it", value) if np.shape(value) == () else f"an array of the shape {np.shape(value)}"
            raise ValueError(
                f"bound {self.name!r}: value(run) must return a positive number, but at K = {run.steps} {given}"
            )
        return float(value)


def stated_eta(noise: Noise) -> float | None:
    """The eta that a noise says it has, 0 for none at all; None if it says nothing.

    >>> from simulate.noise import NOISES
    >>> stated_eta(NOISES["gaussian"](eta=0.5)), stated_eta(NOISES["none"]())
    (0.5, 0.0)
    """
    from simulate.noise.clipped import Clipped
    from simulate.noise.laws import Exact

    if isinstance(noise, Clipped):
        return stated_eta(noise.noise)
    if isinstance(noise, Exact):
        return 0.0
    eta = getattr(noise, "eta", None)
    return None if eta is None else float(eta)
