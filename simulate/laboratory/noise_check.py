"""Whether noise is what it says: unbiased, of the deviations it reports, within the norm test of a bound.

At points of a short run of the optimizer many stochastic gradients are drawn at once, at the point's step and with
the optimizer's state there; what a noise itself remembers starts over. Six standard errors are allowed, so that
noise with light tails is refused without cause in a few of 10^9 coordinates; a bias or an excess below that is
not seen.
"""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from simulate.consistency.probe import point
from simulate.laboratory.bounds import BoundRule, stated_eta
from simulate.noise import Draw, Noise
from simulate.noise.exact_tests import sides
from simulate.objectives import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array, SeedStreams

__all__ = ["require_noise"]

DRAWS = 2048
"""Stochastic gradients at a point."""
VISITED = (1, 4, 16, 64)
"""Steps of the short run at which its point is looked at."""
ERRORS = 6.0
"""Standard errors that are allowed."""
ROUNDING = 1e-9
"""Relative, of what is compared without sampling."""


@dataclass(frozen=True)
class _Sample:
    """Many draws at one point: G and the moments, [d], and the deviations that were reported."""

    w: Array
    gradient: Array
    mean: Array
    variance: Array
    fourth: Array
    reported: Array | None


def require_noise(
    name: str, noise: Noise, objective: Objective, optimizer: Optimizer, bound: BoundRule | None
) -> str:
    """Compare what is drawn with what the noise and the bound say.

    Args:
        name: of the noise, for messages.
        noise: to look at.
        objective: whose gradients it disturbs.
        optimizer: of the short run.
        bound: whose hypotheses on noise are checked; None for unbiasedness and the reported deviations only.

    Returns:
        What was checked, in words.

    Raises:
        ValueError: for the first that does not agree, with the number found.
    """
    worst = 0.0
    samples = [
        _drawn(name, noise, objective, optimizer, *visit) for visit in _visited(name, noise, objective, optimizer)
    ]
    for sample in samples:
        if bound is None or bound.unbiased:
            _require_unbiased(name, sample)
        if sample.reported is not None:
            _require_reported(name, sample)
        if bound is not None and bound.test is not None:
            worst = max(worst, _require_test(name, noise, sample, bound))
    said = f"{len(samples)} points, {DRAWS:,} draws each"
    return said + (f"; at most {worst:.3g} of the test's eta" if worst else "")


def _visited(
    name: str, noise: Noise, objective: Objective, optimizer: Optimizer
) -> list[tuple[int, Array, OptimizerState]]:
    """Steps, points, shape [d], and states before the step, of one short run."""
    w = objective.start()[None]
    source, state = noise.begin(objective, optimizer, SeedStreams([0], VISITED[-1])), optimizer.start(w)
    found = []
    for step in range(1, VISITED[-1] + 1):
        gradient = np.ascontiguousarray(objective.gradient(w))
        if step in VISITED:
            found.append((step, w[0].copy(), deepcopy(state)))
        drawn = _require_draw(name, source(w, gradient, step, state), gradient)
        w = optimizer.step(w, np.ascontiguousarray(drawn.gradient), state, step)
        if not np.isfinite(w).all():
            raise ValueError(
                f"optimizer {optimizer.name!r}: step() led to {point(w[0])} at step {step}; "
                "take a smaller step_size"
            )
    return found


def _require_draw(name: str, drawn: Any, gradient: Array) -> Draw:
    if not isinstance(drawn, Draw):
        raise ValueError(f"noise {name!r}: a step must return a simulate.noise.Draw, not a {type(drawn).__name__}")
    if np.shape(drawn.gradient) != gradient.shape:
        given = np.shape(drawn.gradient)
        raise ValueError(f"noise {name!r}: gradients must have the shape {gradient.shape}, not {given}")
    if not np.isfinite(drawn.gradient).all():
        raise ValueError(f"noise {name!r}: a stochastic gradient is not finite")
    return drawn


def _drawn(
    name: str,
    noise: Noise,
    objective: Objective,
    optimizer: Optimizer,
    step: int,
    w: Array,
    state: OptimizerState,
) -> _Sample:
    many = np.repeat(w[None], DRAWS, axis=0)
    gradient = np.ascontiguousarray(objective.gradient(many))
    # Seeds of their own at each point, so that a draw that is unlucky at one of them is not at all.
    seeds = range(step * DRAWS, (step + 1) * DRAWS)
    source = noise.begin(objective, optimizer, SeedStreams(list(seeds), 1))
    drawn = _require_draw(name, source(many, gradient, step, _for_each_draw(state)), gradient)
    errors = drawn.gradient - gradient
    squared = errors * errors
    reported = None if drawn.deviations is None else np.broadcast_to(drawn.deviations, errors.shape)[0]
    mean, variance = errors.mean(axis=0), squared.mean(axis=0)
    return _Sample(w, gradient[0], mean, variance, (squared * squared).mean(axis=0), reported)


def _for_each_draw(state: OptimizerState) -> OptimizerState:
    """The state of one seed, repeated for all draws."""
    many = copy(state)
    for name, value in vars(state).items():
        if isinstance(value, np.ndarray) and value.shape[:1] == (1,):
            setattr(many, name, np.repeat(value, DRAWS, axis=0))
    return many


def _require_unbiased(name: str, sample: _Sample) -> None:
    deviation = np.sqrt(sample.variance)
    if sample.reported is not None:
        deviation = np.maximum(deviation, sample.reported)
    error = deviation / np.sqrt(DRAWS) + ROUNDING * np.abs(sample.gradient)
    excess = np.divide(np.abs(sample.mean), error, out=np.zeros_like(error), where=error > 0)
    i = int(excess.argmax())
    if excess[i] > ERRORS:
        raise ValueError(
            f"noise {name!r} is biased: at {point(sample.w)} the mean of {DRAWS:,} stochastic gradients differs "
            f"from the gradient {sample.gradient[i]:.4g} in coordinate {i + 1} by {sample.mean[i]:.4g}, "
            f"{excess[i]:.3g} standard errors"
        )


def _sampled_error(sample: _Sample) -> Array:
    """Standard error of the variance, [d]."""
    return np.sqrt(np.maximum(sample.fourth - sample.variance**2, 0.0) / DRAWS)


def _require_reported(name: str, sample: _Sample) -> None:
    assert sample.reported is not None
    allowed = sample.reported**2 * (1 + ROUNDING) + ERRORS * _sampled_error(sample)
    over = sample.variance - allowed
    i = int(over.argmax())
    if over[i] > ROUNDING * sample.gradient[i] ** 2:
        raise ValueError(
            f"noise {name!r} understates its deviation: at {point(sample.w)} it reports {sample.reported[i]:.4g} "
            f"in coordinate {i + 1}, and {DRAWS:,} gradients have {np.sqrt(sample.variance[i]):.4g}"
        )


def _require_test(name: str, noise: Noise, sample: _Sample, bound: BoundRule) -> float:
    """The largest share of eta that is used."""
    eta, test = stated_eta(noise), bound.test
    assert test is not None
    hypothesis = f"the {test} test (bound {bound.name!r})"
    if eta is None:
        raise HypothesisError(hypothesis, f"noise {name!r} has no attribute eta", "give it the eta of the test")
    sampled = sample.reported is None
    variance = sample.variance if sample.reported is None else sample.reported**2
    left, signal = sides(test, variance[None], sample.gradient[None])
    # A sampled variance is known to a few standard errors only.
    spread = (
        ERRORS * float(np.max(_sampled_error(sample) / np.maximum(sample.variance, 1e-300))) if sampled else 0.0
    )
    share = np.sqrt(np.divide(left, signal, out=np.where(left > 0, np.inf, 0.0), where=signal > 0)).max()
    if share > eta * np.sqrt(1 + spread) * (1 + ROUNDING):
        found = f"noise {name!r} with eta = {eta:.4g} needs eta = {share:.4g} at {point(sample.w)}"
        raise HypothesisError(hypothesis, found, "choose noise that meets it")
    return float(share / eta) if eta else 0.0
