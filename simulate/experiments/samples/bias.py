"""Adam's bias under skewed noise: it stays at a constant batch, and goes where the batch grows with the test.

On w^2 / 2 with g = w + e, e the mean of b centred exponentials, v remembers what the large e were: steps along the
rare large values are shorter, so that Adam rests where E[g / sqrt(v)] = 0 and not at 0. To the first order in
c = 1 - beta2 and without momentum that is w = c E e^3 / (2 E e^2) = c / b (of exponentials). No theorem is stated:
the expansion is not uniform in the noise. The rates are those of arXiv 2511.06675: the bias is 0 under symmetric
noise, of order 1 in 1/b and in 1 - beta2, and does not depend on the step size; the spread around it has order 1/2
in the step size. In one dimension the scalar, the l1 and the coordinate-wise test are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulate.optimizers import Adam
from simulate.outcomes import Assertion, Expectation, Outcome
from simulate.rates import Slope, log_log_slope
from simulate.streams import Array

__all__ = ["bias_of_adam", "stationary_moments"]

STEP = 0.02
"""alpha sqrt(b): in units of the noise every batch then takes the same steps."""

BETA2 = 0.9

RUNS = 64
"""Whose mean is one value: a single run's hardly differs from 0."""


def stationary_moments(
    batches: Array,
    generator: np.random.Generator,
    steps: int,
    beta2: float = BETA2,
    step: float = STEP,
    symmetric: bool = False,
) -> Array:
    """The means of w and w^2 over the second half of each run, [2, runs].

    Args:
        batches: of each run; constant.
        generator: of the noise.
        steps: of the runs.
        beta2: of Adam, whose beta1 is 0.
        step: alpha sqrt(b).
        symmetric: Gaussian noise of the same variance in place of the exponentials'.
    """
    w = np.zeros((len(batches), 1))
    optimizer = Adam(step / np.sqrt(batches)[:, None], 0.0, beta2, initial_second_moment=1 / batches[:, None])
    state, total = optimizer.start(w), np.zeros((2, len(batches)))
    for k in range(1, steps + 1):
        skewed = (generator.standard_gamma(batches) - batches) / batches
        noise = generator.standard_normal(len(batches)) / np.sqrt(batches) if symmetric else skewed
        w = optimizer.step(w, w + noise[:, None], state, k)
        if k > steps // 2:
            total += w[:, 0], w[:, 0] ** 2
    return total / (steps - steps // 2)


def _under_the_test(seeds: int, generator: np.random.Generator, steps: int, eta: float = 0.5) -> Array:
    """|w| after a run whose batches are the smallest that the exact test allows, [seeds]."""
    w = np.ones((seeds, 1))
    optimizer = Adam(STEP / 20, 0.0, BETA2)
    state = optimizer.start(w)
    for k in range(1, steps + 1):
        batches = np.clip(np.ceil(1 / (eta * w[:, 0]) ** 2), 1, 1e15)
        noise = (generator.standard_gamma(batches) - batches) / batches
        w = optimizer.step(w, w + noise[:, None], state, k)
    return np.abs(w[:, 0])


def bias_of_adam(
    seeds: int, generator: np.random.Generator, steps: int
) -> tuple[list[dict[str, Any]], list[Outcome]]:
    """Slopes in the batch, in 1 - beta2 and in the step size; and the end of a run under the test."""
    sizes, decays, rates = np.array([1.0, 2.0, 4.0]), np.array([0.05, 0.1, 0.2]), STEP * np.array([0.25, 0.5, 1.0])
    count = RUNS * seeds

    def moments(size: float = 1.0, decay: float = 1 - BETA2, rate: float = STEP, symmetric: bool = False) -> Array:
        found = stationary_moments(np.full(count, size), generator, steps, 1 - decay, rate, symmetric)
        return np.asarray(found.reshape(2, seeds, RUNS).mean(axis=2))

    by_size = np.array([moments(size=size)[0] for size in sizes])
    by_decay = np.array([moments(decay=decay)[0] for decay in decays])
    by_rate, squares = np.swapaxes([moments(rate=rate) for rate in rates], 0, 1)
    slopes = (
        log_log_slope(sizes, by_size),
        log_log_slope(decays, by_decay),
        log_log_slope(rates, by_rate),
        log_log_slope(rates, np.sqrt(squares - by_rate.mean(axis=1, keepdims=True) ** 2)),
    )
    biased = float(by_size[0].mean())
    end = _under_the_test(seeds, generator, 2000)
    statement = "Adam with a constant batch rests at the minimiser under skewed noise."
    return [], [
        Outcome(
            "Adam's bias at a constant batch",
            statement,
            [_at_rest(by_size[0])],
            expected=Expectation.REFUTED,
        ),
        Outcome(
            "Adam's bias under symmetric noise",
            "Under symmetric noise of the same variance it does.",
            [_at_rest(moments(symmetric=True)[0])],
        ),
        *(_slope(name, slope, low, high) for (name, low, high), slope in zip(_EXPECTED, slopes, strict=True)),
        Outcome(
            "Adam's bias under the norm test",
            "With the test's growing batches the run ends within a tenth of that bias of the minimiser.",
            [Assertion("median of |w| after 2000 steps", float(np.median(end)), "<=", biased / 10)],
        ),
    ]


_EXPECTED = (
    ("bias, slope in the batch", -1.15, -0.85),
    ("bias, slope in 1 - beta2", 0.85, 1.15),
    ("bias, slope in the step size", -0.12, 0.12),
    ("spread, slope in the step size", 0.4, 0.6),
)
"""The slope's interval must meet these: -1, 1 to the first order, 0, and 1/2."""


def _at_rest(means: Array) -> Assertion:
    """Their mean is 0, but for 4 standard errors."""
    error = means.std(ddof=1) / np.sqrt(len(means))
    return Assertion("mean of w against 4 standard errors", abs(float(means.mean())), "<=", float(4 * error))


def _slope(name: str, slope: Slope, low: float, high: float) -> Outcome:
    return Outcome(
        f"Adam's {name}",
        f"The interval of the log-log slope meets [{low:g}, {high:g}].",
        [Assertion("low end", slope.low, "<=", high), Assertion("high end", low, "<=", slope.high)],
        slope=slope,
    )
