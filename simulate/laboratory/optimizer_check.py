"""Whether an optimizer steps as studies need it: in the right shape, leaving w, g and the other seeds alone."""

from __future__ import annotations

import numpy as np

from simulate.objectives import Objective
from simulate.optimizers import Optimizer

__all__ = ["require_optimizer"]

STEPS = 3


def require_optimizer(name: str, optimizer: Optimizer, objective: Objective) -> None:
    """Take a few steps with random gradients.

    Args:
        name: of the optimizer, for messages.
        optimizer: to look at.
        objective: where the steps start.

    Raises:
        ValueError: naming the method, if it is not as :class:`~simulate.optimizers.Optimizer` promises.
    """
    generator = np.random.default_rng(5)
    w = objective.start() + generator.standard_normal((3, objective.dimension))
    alone = w[1:2].copy()
    state, state_alone = optimizer.start(w), optimizer.start(alone)
    for step in range(1, STEPS + 1):
        g = generator.standard_normal(w.shape)
        given = w.copy(), g.copy()
        stepped = optimizer.step(w, g, state, step)
        for what, now, before in (("w", w, given[0]), ("g", g, given[1])):
            if not np.array_equal(now, before):
                raise ValueError(f"optimizer {name!r}: step() changes {what} in place; return a new array instead")
        if np.shape(stepped) != w.shape:
            raise ValueError(
                f"optimizer {name!r}: step() must return the shape of w, {w.shape}, not {np.shape(stepped)}"
            )
        if not np.isfinite(stepped).all():
            raise ValueError(f"optimizer {name!r}: step() returns numbers that are not finite")
        alone = optimizer.step(alone, g[1:2].copy(), state_alone, step)
        if not np.allclose(stepped[1:2], alone, rtol=1e-9, atol=1e-12):
            raise ValueError(f"optimizer {name!r}: step() of a seed must not depend on the other seeds")
        w = stepped
