"""What a noise offers: a stochastic gradient for each seed, with the exact law's deviation and the batch drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array, SeedStreams

__all__ = ["Draw", "Noise", "Source", "Stateless"]


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


Source = Callable[[Array, Array, int, OptimizerState], Draw]
"""A noise bound to one run, which may keep state, such as the batch size of each seed.

It draws the stochastic gradients of a step from w_k and the true gradient G_k, each of shape [seeds, d], k >= 1,
and the optimizer's state before the step; an adversary may look at it.
"""


@runtime_checkable
class Noise(Protocol):
    """A recipe for stochastic gradients; :meth:`begin` binds it to a run."""

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
        return lambda w, gradient, step, state: self.sample(gradient, streams)
