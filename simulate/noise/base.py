"""What a noise offers: a stochastic gradient for each seed, with the exact law's deviation and the batch drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array, SeedStreams

__all__ = ["Draw", "Meets", "Noise", "Source", "Stateless"]

Meets = Literal["coordinate-wise", "l1", "norm-wise", "nothing"]
"""The strongest exact test a noise meets at every step, by construction."""


class Draw(NamedTuple):
    """One step's stochastic gradients.

    Attributes:
        gradient: g_k, shape [seeds, d].
        batch_size: b_k in samples, shape [seeds]; None where the noise has no batch.
        deviations: the exact standard deviations sd_{k,i} of g_{k,i} given the past, shape [seeds, d];
            None where nobody asked for them or they are not known.
        missed: whether the exact test that the noise aims at is violated at this step, shape [seeds]; None where
            it holds by construction.
    """

    gradient: Array
    batch_size: Array | None = None
    deviations: Array | None = None
    missed: NDArray[np.bool_] | None = None


class Source(Protocol):
    """A noise bound to one run: it may keep state, such as the batch size of each seed."""

    def draw(self, w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
        """The stochastic gradients of one step.

        Args:
            w: w_k, shape [seeds, d].
            gradient: the true gradient G_k, shape [seeds, d].
            step: k, from 1.
            state: the optimizer's, before the step; an adversary may look at it.
        """


@runtime_checkable
class Noise(Protocol):
    """A recipe for stochastic gradients; :meth:`begin` binds it to a run.

    Attributes:
        name: its name in :data:`simulate.noise.NOISES`.
        eta: of the test it meets or aims at (a float, or an array that broadcasts to [seeds, 1]).
        meets: which exact test holds at every step by construction.
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def eta(self) -> Any:
        """eta of the test."""

    @property
    def meets(self) -> Meets:
        """The test met by construction."""

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """The source of one run's stochastic gradients.

        Raises:
            ValueError: if the noise does not fit the objective (a finite-sum noise needs a finite sum).
        """


class Stateless(ABC):
    """A noise that looks at nothing but the gradient and remembers nothing: one method draws a step."""

    @abstractmethod
    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """The stochastic gradients at true gradients of shape [seeds, d]."""

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """Bind to a run."""
        return _StatelessSource(self, streams)


@dataclass
class _StatelessSource:
    noise: Stateless
    streams: SeedStreams

    def draw(self, w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
        return self.noise.sample(gradient, self.streams)
