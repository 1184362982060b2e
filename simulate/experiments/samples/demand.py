"""What a run under a test pays: at least the square of its steps, or infinitely much; a floor bounds both."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

from simulate.experiments.samples.runs import run_until
from simulate.objectives import GemanMcClure
from simulate.optimizers import Adam
from simulate.outcomes import Assertion, Expectation, Kind, Outcome
from simulate.rates import Slope
from simulate.streams import Array
from theory.samples import growth, tails
from theory.samples.goal import largest_batch

__all__ = ["hill", "square_of_steps", "tail_of_batches"]

Rows = list[dict[str, Any]]
Found = tuple[Rows, list[Outcome]]

ETA, FLOOR, DIMENSION = 0.5, 0.5, 20


def square_of_steps(seeds: int, generator: np.random.Generator, steps: tuple[int, ...]) -> Found:
    """Adam under the l1 test for ever longer runs, without and with a floor."""
    objective, deviation = GemanMcClure(dimension=DIMENSION), np.ones(DIMENSION)
    rows: Rows = []
    for count in steps:
        optimizer = Adam(0.3 / np.sqrt(count), 0.9, 0.95)
        for curve, floor in (("l1 test", 0.0), ("with a floor", FLOOR)):
            cost = run_until(
                objective.gradient,
                optimizer,
                objective.start(),
                deviation,
                seeds=seeds,
                generator=generator,
                test="l1",
                eta=ETA,
                floor=floor,
                steps=count,
            )
            if floor:
                bound = count * float(largest_batch(float(DIMENSION) ** 2, floor**2, ETA))
            else:
                total = float(cost.gradients.mean())
                bound = float(growth.least_samples(noise=DIMENSION, eta=ETA, steps=count, gradient_sum=total))
            row = {"panel": "square", "curve": curve, "x": count, "measured": float(cost.samples.mean())}
            rows.append(row | {"bound": bound})
    far = run_until(
        lambda w: np.ones_like(w),
        Adam(1e-3, 0.9, 0.95),
        np.zeros(DIMENSION),
        deviation,
        seeds=1,
        generator=generator,
        test="l1",
        eta=ETA,
        steps=16,
    )
    least = growth.least_samples(noise=DIMENSION, eta=ETA, steps=16, gradient_sum=float(far.gradients[0]))
    paid = {name: [row for row in rows if row["curve"] == name] for name in ("l1 test", "with a floor")}
    lower = [Assertion(f"K = {row['x']}", row["measured"], ">=", row["bound"]) for row in paid["l1 test"]]
    return rows, [
        Outcome(
            "Samples grow as the square of the steps",
            "A run under the l1 test takes at least (n / eta)^2 K^3 / X^2 samples.",
            lower,
            kind=Kind.OTHER,
        ),
        Outcome(
            "Square of the steps, attained",
            "The same where the gradient keeps its norm.",
            [Assertion("K = 16", float(far.samples[0]) * (1 + 1e-12), ">=", float(least))],
            supporting=[Assertion("over the bound", float(far.samples[0]) / float(least), "~", 1.0, 1e-9)],
            kind=Kind.TIGHT,
        ),
        Outcome(
            "Samples under a floor",
            "With a floor no batch exceeds that of the floor, so K steps take at most K times it.",
            [Assertion(f"K = {row['x']}", row["measured"], "<=", row["bound"]) for row in paid["with a floor"]],
            kind=Kind.UPPER,
        ),
        Outcome(
            "The same bound without a floor",
            "Without a floor, samples stay below those of the floor too.",
            [
                Assertion(f"K = {row['x']}", row["measured"], "<=", floored["bound"])
                for row, floored in zip(paid["l1 test"], paid["with a floor"], strict=True)
            ],
            expected=Expectation.CONTROL,
        ),
    ]


def hill(batches: Array, share: float = 1e-3, level: float = 0.999) -> Slope:
    """Hill's estimate of the tail index from the largest batches, with its asymptotic interval.

    Args:
        batches: independent draws.
        share: of them that is used.
        level: of the interval.
    """
    count = max(int(share * len(batches)), 10)
    top = np.partition(batches, -count)[-count:]
    index = 1 / float(np.log(top / top.min()).sum() / (count - 1))
    half = float(norm.ppf((1 + level) / 2)) / np.sqrt(count)
    return Slope(index, index * (1 - half), index * (1 + half))


def tail_of_batches(draws: int, generator: np.random.Generator) -> Found:
    """The batch of the second step: one SGD step from G_1 = 1 in each coordinate, sigma = 1, eta = 0.8."""
    eta, indices = 0.8, {}
    rows: Rows = []
    alpha = 1 / (1 + eta**2)
    mean, deviation = 1 - alpha, alpha * eta
    for test, dimension in (("coordinate-wise", 1), ("coordinate-wise", 8), ("scalar", 3), ("l1", 4)):
        gradient = mean + deviation * generator.standard_normal((draws, dimension))
        if test == "coordinate-wise":
            batches = tails.small_gradient(1.0, 1.0, eta) ** 2 / np.square(gradient).min(axis=1)
        elif test == "scalar":
            batches = dimension / (eta**2 * np.square(gradient).sum(axis=1))
        else:
            batches = (dimension / (eta * np.abs(gradient).sum(axis=1))) ** 2
        name = f"{test}, d = {dimension}"
        at_once = tails.coordinates_at_once(dimension) if test == "coordinate-wise" else dimension
        indices[name] = hill(batches), float(tails.tail_index(at_once))
        for size in np.geomspace(4, 4e4, 9):
            share = float((batches > size).mean())
            bound = tails.tail_probability(size, mean=mean, deviation=deviation, noise=1.0, eta=eta)[1]
            row = {"panel": "tail", "curve": name, "x": float(size), "measured": share or np.nan}
            rows.append(row | {"bound": min(1.0, dimension * bound) if test == "coordinate-wise" else np.nan})
    sizes = np.geomspace(4, 1e8, 8)
    exact = [_exact_tail(size, mean, deviation, eta) for size in sizes]
    limits = [tails.tail_probability(s, mean=mean, deviation=deviation, noise=1.0, eta=eta) for s in sizes]
    outcomes = [
        Outcome(
            "Tail of the coordinate-wise test",
            "P(b > B) of the second batch lies between the bounds (exact probabilities).",
            [
                *(Assertion(f"B = {s:.3g}", p, "<=", high) for s, p, (_, high) in _zip(sizes, exact, limits)),
                *(Assertion(f"B = {s:.3g}, below", p, ">=", low) for s, p, (low, _) in _zip(sizes, exact, limits)),
            ],
            kind=Kind.TIGHT,
        )
    ]
    for name, (found, index) in indices.items():
        within = [
            Assertion(f"{name}, low end", found.low, "<=", index),
            Assertion(f"{name}, high end", index, "<=", found.high),
        ]
        # Norms have their index only far out in the tail: they are shown, the coordinate-wise one is asserted.
        if name.startswith("coordinate"):
            text = "The batch's tail index is 1/2, so that its expectation is infinite."
            outcomes.append(Outcome(f"Tail index, {name}", text, within, slope=found))
        else:
            text = "The batch has a finite expectation: its tail index is above 1."
            finite = [Assertion(f"{name}, low end", 1.0, "<", found.low)]
            outcomes.append(Outcome(f"Tail index, {name}", text, finite, slope=found))
    return rows, outcomes


def _exact_tail(size: float, mean: float, deviation: float, eta: float) -> float:
    """P(|G| < t) by the normal distribution function."""
    t = float(tails.small_gradient(size, 1.0, eta))
    return float(norm.cdf((t - mean) / deviation) - norm.cdf((-t - mean) / deviation))


def _zip(sizes: Array, exact: list[float], limits: list[tuple[float, float]]) -> Any:
    return zip(sizes, exact, limits, strict=True)
