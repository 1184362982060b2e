"""Instances on which each bound is nearly attained: a search over functions, two-point noises and starts.

    python benchmarks/near_tight.py [--seconds 60] [--only "Theorem 1"] [--write]

Covariance matrix adaptation (Hansen's CMA-ES, written out below) on the exact trees of simulate.attack makes
bound / measured small. With ``--write`` what is nearer to 1 than the row of ``simulate/attack/near_tight.jsonl``
replaces it: the rows of ``verify-bounds --experiment near-tight``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simulate.attack.instance import PER_CANDIDATE, Instance, near_tight_instances
from simulate.attack.targets import TARGETS, compare
from simulate.streams import Array

CELLS = 16
FILE = Path(__file__).parent.parent / "simulate" / "attack" / "near_tight.jsonl"


@dataclass(frozen=True)
class Search:
    """What is searched: a bound, the settings that are fixed, and what else is free."""

    bound: str
    steps: int
    fixed: dict[str, Any]
    free: tuple[str, ...] = ()
    clip: float = 1.0
    positive: bool = False
    """Whether v_0, epsilon and floor, where they are free, are not 0, so that the bound's terms of them show."""

    @property
    def label(self) -> str:
        """Of a row."""
        beta1, beta2, eta = (self.fixed.get(name, 0.0) for name in ("beta1", "beta2", "eta"))
        return f"{self.bound} at ({beta1:g}, {beta2:g}), eta {eta:g}"

    @property
    def size(self) -> int:
        """How many numbers are searched."""
        table = 2 * self.steps
        lengths = {"multipliers": self.steps, "falling": self.steps, "factors": 2 * table, "violated": self.steps}
        return 2 + CELLS + 2 * table + sum(lengths.get(name, 1) for name in self.free)

    def population(self, z: Array) -> Instance:
        """The instances of a population of points, shape [candidates, size]."""
        at, rest = 2 + CELLS, 4 * self.steps
        smoothness, alpha, eta = (self.fixed.get(n, 1.0) for n in ("smoothness", "step_size", "eta"))
        count, unit = len(z), smoothness * alpha
        asymmetry, shrink = np.split(z[:, at : at + rest].reshape(count, self.steps, 4), 2, axis=-1)
        spread = np.clip(2 * asymmetry, -12, 12)
        deviation = eta * np.clip(1 - np.maximum(shrink, 0), 0, 1)
        values: dict[str, Any] = {
            "width": np.exp(np.clip(z[:, 1], -5, 5)) / 2 * alpha,
            "first": np.exp(np.clip(2 * z[:, 0], -5, 8)) * unit,
            "slopes": np.clip(1.5 * z[:, 2:at], -1, 1) * smoothness,
        }
        position = at + rest

        def take(length: int) -> Array:
            nonlocal position
            position += length
            return z[:, position - length : position]

        for name in self.free:
            if name in ("multipliers", "falling"):
                s = np.exp(1.5 * take(self.steps))
                s = np.minimum.accumulate(s, axis=-1) if name == "falling" else s
                values["multipliers"] = s / s.max(-1, keepdims=True)
            elif name == "factors":
                low, high = np.split(take(rest).reshape(count, self.steps, 4), 2, axis=-1)
                for key, factor in (("low_factors", low), ("high_factors", high)):
                    values[key] = self.clip + (1 - self.clip) * np.clip(0.5 + factor, 0, 1)
            elif name == "violated":
                boost, second = take(self.steps), np.arange(self.steps) == 1  # the second step is, at least
                boost, deviation = np.maximum(boost, second), np.where(second[:, None], eta, deviation)
                deviation = deviation * np.where(boost > 0.5, np.exp(2 * boost - 1), 1)[..., None]
            elif name == "noise":
                deviation = deviation * np.exp(3 * take(1))[..., None]
            elif name in ("start", "weight_decay"):
                x = take(1)[:, 0]
                values[name] = (
                    3 * x * alpha if name == "start" else np.exp(-np.minimum(np.abs(2 * x), 10)) / 10 / alpha
                )
            else:  # v0, epsilon, floor: 0 or positive
                x = take(1)[:, 0]
                power = 2 if name == "v0" else 1
                x = np.maximum(x, 0.3) if self.positive else x
                needed = self.bound in ("AdaGrad", "log growth") and name == "v0"
                values[name] = np.where((x > 0) | needed, np.exp(4 * (np.clip(x, -3, 3) - 1)) * unit**power, 0.0)
        values["below"], values["above"] = deviation * np.exp(spread), deviation * np.exp(-spread)
        return rounded(Instance(bound=self.bound, **self.fixed, **values))


def rounded(instance: Instance) -> Instance:
    """Every number to seven digits, of the noise downwards, so that no test is violated."""

    def down(values: Array) -> Array:
        size = 10.0 ** (6 - np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values)))))
        return np.trunc(values * size) / size

    digits: dict[str, Any] = {n: down(v) for n in PER_CANDIDATE if (v := getattr(instance, n)) is not None}
    return replace(instance, **digits)


def ratios(instance: Instance) -> Array:
    """bound / measured of each candidate; infinite where a hypothesis fails or nothing was measured."""
    with np.errstate(all="ignore"):
        measured, bound, _tree = compare(instance)
        return np.where((measured > 0) & np.isfinite(bound), bound / measured, np.inf)


def minimise(
    function: Callable[[Array], Array], size: int, seconds: float, generator: np.random.Generator
) -> tuple[float, Array]:
    """CMA-ES with restarts, on log(function): the least value found and where."""
    best, where, end, restart = np.inf, np.zeros(size), time.process_time() + seconds, 0
    while time.process_time() < end:
        near = restart % 3 == 2
        mean = where if near else generator.normal(size=size) * 0.7
        for value, point in _evolve(function, mean, 0.15 if near else 0.6, generator, end):
            if value < best:
                best, where = value, point
        restart += 1
    return best, where


def _evolve(
    function: Callable[[Array], Array], mean: Array, sigma: float, generator: np.random.Generator, end: float
) -> Any:
    """One run (Hansen, arXiv 1604.00772): the best of each generation."""
    size, offspring = len(mean), 40
    parents = offspring // 2
    weights = np.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    weights /= weights.sum()
    effective = 1 / (weights**2).sum()
    c_sigma = (effective + 2) / (size + effective + 5)
    damping = 1 + 2 * max(0, np.sqrt((effective - 1) / (size + 1)) - 1) + c_sigma
    c_path = (4 + effective / size) / (size + 4 + 2 * effective / size)
    c_one = 2 / ((size + 1.3) ** 2 + effective)
    c_mu = min(1 - c_one, 2 * (effective - 2 + 1 / effective) / ((size + 2) ** 2 + effective))
    length = np.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size**2))
    path, path_sigma, covariance, values = np.zeros(size), np.zeros(size), np.eye(size), []
    scales, basis = np.ones(size), np.eye(size)
    for iteration in range(1500):
        steps = generator.normal(size=(offspring, size)) * scales @ basis.T
        points = mean + sigma * steps
        found = function(points)
        order = np.argsort(found, kind="stable")
        yield float(found[order[0]]), points[order[0]]
        chosen = steps[order[:parents]]
        move = weights @ chosen
        mean = mean + sigma * move
        path_sigma = (1 - c_sigma) * path_sigma + np.sqrt(c_sigma * (2 - c_sigma) * effective) * (
            basis @ ((basis.T @ move) / scales)
        )
        norm = np.linalg.norm(path_sigma)
        steady = norm / np.sqrt(1 - (1 - c_sigma) ** (2 * (iteration + 1))) < (1.4 + 2 / (size + 1)) * length
        path = (1 - c_path) * path + steady * np.sqrt(c_path * (2 - c_path) * effective) * move
        covariance = (1 - c_one - c_mu) * covariance + c_one * np.outer(path, path)
        covariance += c_mu * (chosen.T * weights) @ chosen
        sigma *= np.exp(c_sigma / damping * (norm / length - 1))
        if iteration % 10 == 9:
            eigenvalues, basis = np.linalg.eigh((covariance + covariance.T) / 2)
            scales = np.sqrt(np.maximum(eigenvalues, 1e-20))
        values.append(float(found[order[0]]))
        stuck = iteration > 80 and np.ptp(np.log(np.minimum(values[-40:], 1e9))) < 1e-7
        if time.process_time() > end or sigma * scales.max() < 1e-9 or stuck:
            return


def settings(beta1: float, beta2: float, eta: float, **more: Any) -> dict[str, Any]:
    """The fixed ones, at an L, alpha and d other than 1, so that no power of them can go unnoticed."""
    return {
        "beta1": beta1,
        "beta2": beta2,
        "eta": eta,
        "smoothness": 2.0,
        "step_size": 0.125,
        "dimension": 3,
    } | more


SEARCHES = (
    Search("Theorem 1", 7, settings(0.0, 1e-6, 0.3), ("v0",)),
    Search("Theorem 1", 7, settings(0.2, 0.3, 0.3), ("v0",), positive=True),
    Search("Theorem 1, preconditioned", 7, settings(0.0, 1e-6, 0.3), ("v0", "epsilon")),
    Search("Theorem 1, preconditioned", 7, settings(0.2, 0.3, 0.3), ("v0", "epsilon"), positive=True),
    Search("Theorem 1, epsilon", 7, settings(0.0, 1e-4, 0.5), ("v0", "epsilon"), positive=True),
    Search("Theorem 1, epsilon", 7, settings(0.2, 0.3, 0.3), ("v0", "epsilon"), positive=True),
    Search("Theorem 1, multipliers", 6, settings(0.0, 1e-4, 0.3), ("v0", "epsilon", "multipliers")),
    Search("Theorem 1, multipliers", 6, settings(0.2, 0.3, 0.3), ("v0", "epsilon", "multipliers"), positive=True),
    Search("Theorem 1, bias correction", 7, settings(0.0, 1e-3, 0.3), ("v0", "epsilon")),
    Search("Theorem 1, bias correction", 7, settings(0.2, 0.3, 0.3), ("v0", "epsilon"), positive=True),
    Search(
        "Theorem 1, bias correction of any length", 7, settings(0.2, 0.3, 0.3), ("v0", "epsilon"), positive=True
    ),
    Search("Theorem 2", 6, settings(0.0, 1e-6, 0.3), ("v0",)),
    Search("Theorem 2", 6, settings(0.0, 1e-3, 0.5), ("v0", "epsilon")),
    Search("Theorem 2", 6, settings(0.2, 0.3, 0.3), ("v0", "epsilon"), positive=True),
    Search("log growth", 6, settings(0.0, 0.5, 0.5), ("v0", "epsilon")),
    Search("log growth", 6, settings(0.5, 0.9, 0.5), ("v0", "epsilon"), positive=True),
    Search("Theorem 3, l1", 6, settings(0.0, 0.95, 0.2), ("v0", "noise")),
    Search("Theorem 3, l1", 6, settings(0.9, 0.95, 0.2), ("v0", "noise"), positive=True),
    Search("Theorem 3, coordinate-wise", 6, settings(0.0, 0.9, 0.8), ("v0", "noise")),
    Search("Theorem 3, coordinate-wise", 6, settings(0.9, 0.95, 0.8), ("v0", "noise"), positive=True),
    Search("Theorem 3, falling steps", 6, settings(0.0, 0.9, 0.8), ("v0", "noise", "falling")),
    Search("Theorem 3, of norms", 6, settings(0.0, 0.95, 0.5), ("v0",), positive=True),
    Search("Theorem 3, epsilon and floor", 6, settings(0.0, 0.9, 0.3), ("v0", "epsilon", "floor"), positive=True),
    Search("AdamW", 6, settings(0.0, 1e-2, 0.3), ("v0", "start", "weight_decay")),
    Search("AdamW", 6, settings(0.2, 0.3, 0.2), ("v0", "start", "weight_decay"), positive=True),
    Search("AdamW, weights", 6, settings(0.2, 0.3, 0.3, dimension=1), ("v0", "weight_decay")),
    Search("Schedules", 6, settings(0.0, 1e-2, 0.5), ("v0", "epsilon", "multipliers")),
    Search("Schedules", 6, settings(0.2, 0.3, 0.3, first_step=3), ("v0", "epsilon", "multipliers"), positive=True),
    Search("Clipping with a floor", 7, settings(0.0, 1e-4, 0.3), ("v0", "factors"), 0.8),
    Search("Clipping with a floor", 7, settings(0.2, 0.3, 0.3), ("v0", "factors"), 0.6, positive=True),
    Search("Violated steps", 6, settings(0.0, 1e-2, 0.3), ("v0", "violated")),
    Search("Violated steps", 6, settings(0.2, 0.3, 0.3), ("v0", "violated"), positive=True),
    Search("l1 norm test", 7, settings(0.0, 1e-4, 0.3), ("v0",)),
    Search("l1 norm test", 7, settings(0.0, 0.5, 0.1), ("v0",)),
    Search("Scalar test", 7, settings(0.0, 1e-4, 0.3, dimension=1), ("v0",)),
    Search("AdaGrad", 7, {"eta": 0.0, "smoothness": 2.0, "step_size": 0.125, "dimension": 3}, ("v0",)),
    Search("AdaGrad", 7, {"eta": 0.5, "smoothness": 2.0, "step_size": 0.125, "dimension": 3}, ("v0",)),
    Search("SGD", 6, {"eta": 0.5, "smoothness": 2.0, "step_size": 0.4, "dimension": 3}),
    Search("SGD", 6, {"eta": 0.3, "smoothness": 2.0, "step_size": 0.25}, ("floor",)),
    Search("SGD", 6, {"eta": 1.5, "smoothness": 2.0, "step_size": 0.25}, ("floor",), positive=True),
)


def known() -> list[Instance]:
    """SGD on L w^2 / 2 from just above the goal, X in {0, 1 + eta^2}: it stays, or is at the minimiser."""
    goal = Instance(
        bound="SGD, steps to a goal",
        eta=0.5,
        smoothness=2.0,
        step_size=0.4,
        goal=1.0,
        width=np.array(1.0),
        first=np.array(1.000001),
        slopes=np.array([2.0, 2.0]),
        below=np.array([[1.0, 1.0]] * 7),
        above=np.array([[0.249999, 0.249999]] * 7),
    )
    return [goal, replace(goal, bound="SGD, samples to a goal")]


def main() -> None:
    """Search, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of CPU time for each search")
    parser.add_argument("--only", default="", help="searches whose label contains this")
    parser.add_argument("--missing", action="store_true", help="only what has no row yet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="keep what is better than the committed rows")
    given = parser.parse_args()
    kept: dict[str, Instance] = {}
    if FILE.exists():
        kept = {label(instance): instance for instance in near_tight_instances()}
    kept |= {label(instance): replace(instance, ratio=float(ratios(instance))) for instance in known()}
    for search in SEARCHES:
        if given.only not in search.label or (given.missing and search.label in kept):
            continue
        generator = np.random.default_rng(given.seed)

        def ratio(points: Array, search: Search = search) -> Array:
            return ratios(search.population(points))

        value, point = minimise(ratio, search.size, given.seconds, generator)
        found = replace(search.population(point[None]).candidate(0), ratio=value)
        name = label(found)
        before = float(ratios(kept[name])) if name in kept else np.inf
        print(f"{value:10.6f}  (kept: {before:10.6f})  {name}", flush=True)
        if given.write and value < before:
            kept[name] = found
            order = list(TARGETS)
            lines = sorted(kept.values(), key=lambda i: (order.index(i.bound), i.beta2, i.beta1))
            FILE.write_text("".join(json.dumps(i.to_dict()) + "\n" for i in lines), encoding="utf-8")


def label(instance: Instance) -> str:
    """The bound and the settings of a row."""
    return f"{instance.bound} at ({instance.beta1:g}, {instance.beta2:g}), eta {instance.eta:g}"


if __name__ == "__main__":
    main()
