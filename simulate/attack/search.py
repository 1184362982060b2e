r"""An adversary: it searches the instance on which a bound is tightest, or breaks.

Problem:
    Over functions of one variable whose gradient is piecewise linear with slopes in [-L, L], two-point noises that
    depend on the step and on the sign of m G, v_0 and what else may vary: which make bound / measured
    least? Below 1 the bound is broken.

Algorithm:
    Covariance matrix adaptation (Hansen's, by the package cma) on the logarithm of bound / measured, 40 candidates
    a generation, each with exact expectations over all paths. When a search has settled, the next starts: two
    of three at random, the third from the best point so far with small steps. All cores search at the same time.

Guarantee:
    None: a search proves no bound, and another seed finds another instance. What it finds is exact.

Example:
    >>> space = space_of("sgd", eta=0.5, steps=4)
    >>> found = attack(space, seconds=60, enough=1.5)
    >>> found.ratio < 1.5, found.instance.bound
    (True, 'sgd')
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any

import cma
import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from simulate.attack.comparison import compare, ratios
from simulate.attack.exact_run import optimizer_of
from simulate.attack.instance import PER_CANDIDATE, Instance
from simulate.attack.targets import excluded, rule_of
from simulate.laboratory.theorems import USUAL
from simulate.optimizers import Optimizer
from simulate.pools import Pool, plain_pool
from simulate.streams import Array

__all__ = ["VARIABLES", "Found", "Space", "attack", "space_of"]

CELLS = 16
CANDIDATES = 40
SMOOTHNESS, STEP_SIZE, DIMENSION = 2.0, 0.125, 3
"""Other than 1, so that no power of L, alpha or d can go unnoticed."""

VARIABLES = (
    "v0", "epsilon", "multipliers", "falling", "factors", "violated", "noise", "floor", "start", "weight_decay",
)  # fmt: skip
"""What may be searched next to the function and the noise: see :attr:`Space.free`."""

USUALLY_VARIED = {
    "schedule": ("v0", "epsilon", "multipliers"),
    "clipping": ("v0", "factors"),
    "violated-steps": ("v0", "violated"),
    "weight-decay": ("v0", "start", "weight_decay"),
}
"""By bound; of the others v_0 and, where they allow it, epsilon."""


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        steps: with noise; all 2^steps paths are summed.
        fixed: the fields of :class:`Instance` that are the same for all candidates.
        free: of :data:`VARIABLES`, what varies next to the function and the noise: v_0, epsilon, s_k
            (``multipliers`` or, never rising, ``falling``), clip factors, steps that violate the test, the size of
            the noise as a whole (for a test on average), the test's floor, w_1, lambda.
        positive: whether v_0, epsilon and the floor, where they are free, are not 0.
        quiet: steps without noise that follow, so that K = steps + quiet.
    """

    steps: int
    fixed: dict[str, Any]
    free: tuple[str, ...] = ("v0",)
    positive: bool = False
    quiet: int = 0

    @property
    def label(self) -> str:
        """In words."""
        fixed = self.fixed
        betas = f"betas ({fixed['beta1']:g}, {fixed['beta2']:g}), " if "beta1" in fixed else ""
        return f"{fixed['bound']} at {betas}eta {fixed['eta']:g}"

    @property
    def label_with_free(self) -> str:
        """With what varies."""
        return ", ".join((self.label, *(f"any {name}" for name in self.free)))

    @property
    def size(self) -> int:
        """How many numbers are searched."""
        table, scheduled = 2 * self.steps, max(1, self.steps)
        lengths = {"multipliers": scheduled, "falling": scheduled, "factors": 2 * table, "violated": self.steps}
        return 2 + CELLS + 2 * table + sum(lengths.get(name, 1) for name in self.free)

    def population(self, z: Array) -> Instance:
        """The instances of a population of points, shape [candidates, size]."""
        at, rest = 2 + CELLS, 4 * self.steps
        smoothness, alpha, eta = (self.fixed[name] for name in ("smoothness", "step_size", "eta"))
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
                s = np.exp(1.5 * take(max(1, self.steps)))
                s = np.minimum.accumulate(s, axis=-1) if name == "falling" else s
                values["multipliers"] = s / s.max(-1, keepdims=True)
            elif name == "factors":
                least = getattr(rule_of(self.fixed["bound"]), "floor", 0.0)
                low, high = np.split(take(rest).reshape(count, self.steps, 4), 2, axis=-1)
                for key, factor in (("low_factors", low), ("high_factors", high)):
                    values[key] = least + (1 - least) * np.clip(0.5 + factor, 0, 1)
            elif name == "violated":
                boost, second = take(self.steps), np.arange(self.steps) == 1  # the second step is, at least
                boost, deviation = np.maximum(boost, second), np.where(second[:, None], eta, deviation)
                deviation = deviation * np.where(boost > 0.5, np.exp(2 * boost - 1), 1)[..., None]
            elif name == "noise":
                deviation = deviation * np.exp(3 * take(1))[..., None]
            elif name in ("start", "weight_decay"):
                x = take(1)[:, 0]
                small = np.exp(-np.minimum(np.abs(2 * x), 10)) / (2 * (self.steps + self.quiet) * alpha)
                values[name] = 3 * x * alpha if name == "start" else small
            else:  # v0, epsilon, floor: 0 or positive
                x = take(1)[:, 0]
                x = np.maximum(x, 0.3) if self.positive else x
                power = 2 if name == "v0" else 1
                values[name] = np.where(x > 0, np.exp(4 * (np.clip(x, -3, 3) - 1)) * unit**power, 0.0)
        values["below"], values["above"] = deviation * np.exp(spread), deviation * np.exp(-spread)
        return _rounded(Instance(quiet=self.quiet, **self.fixed, **values))


def _rounded(instance: Instance) -> Instance:
    """Every number to seven digits, of the noise downwards, so that no test is violated."""

    def down(values: Array) -> Array:
        size = 10.0 ** (6 - np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values)))))
        return np.trunc(values * size) / size

    digits: dict[str, Any] = {n: down(v) for n in PER_CANDIDATE if (v := getattr(instance, n)) is not None}
    return replace(instance, **digits)


def space_of(
    bound: str,
    *,
    optimizer: str | None = None,
    betas: tuple[float, float] = (0.9, 0.95),
    eta: float = 0.2,
    steps: int = 7,
    quiet: int = 0,
    free: Iterable[str] | None = None,
) -> Space:
    """Where to search for a bound.

    Args:
        bound: as :func:`simulate.laboratory.find` takes it.
        optimizer: likewise; None for the one that the bound is on, Adam if it is your own.
        betas: of Adam.
        eta: of the test that the noise meets at every step.
        steps: with noise.
        quiet: without, after them.
        free: None for what the bound allows.

    Raises:
        ValueError: for unknown parts, and where the bound applies to no instance, with its hypothesis.
    """
    rule = rule_of(bound)
    usual = next((name for name, usual in USUAL.items() if usual == rule.name), "adam")
    chosen = usual if optimizer is None else optimizer
    fixed: dict[str, Any] = {
        "bound": bound,
        "optimizer": chosen,
        "smoothness": SMOOTHNESS,
        "step_size": 1 / (SMOOTHNESS * (1 + eta**2)) if chosen.split(",")[0] == "sgd" else STEP_SIZE,
        "dimension": 1 if rule.measured == "l2_sum" else DIMENSION,
        "eta": eta,
    }
    fixed |= {} if chosen.split(",")[0] in ("sgd", "adagrad") else {"beta1": betas[0], "beta2": betas[1]}
    made = optimizer_of(_middle(Space(steps, fixed, ())))
    _require_coordinate_wise(chosen, made)
    remembers = made.denominators(np.ones((1, 1)), made.start(np.ones((1, 1)))) is not None
    usual_free = USUALLY_VARIED.get(rule.name, ("v0", "epsilon") if remembers else ())
    space = Space(steps, fixed, usual_free if free is None else tuple(free), quiet=quiet)
    for name in space.free:
        if name not in VARIABLES:
            raise ValueError(f"unknown {name!r} to vary; known: {', '.join(VARIABLES)}")
        if name in excluded(bound):
            raise ValueError(f"bound {bound!r} does not cover {name!r}: leave it out of what varies")
    if free is None and _refusal(replace(space, positive=True)):  # epsilon must be 0
        space = replace(space, free=tuple(name for name in space.free if name != "epsilon"))
    refused = _refusal(space)
    if refused and not _refusal(replace(space, positive=True)):
        return replace(space, positive=True)
    if refused:
        raise ValueError(f"bound {bound!r} applies to no instance of {chosen} at eta {eta:g}: {refused}")
    return space


def _middle(space: Space) -> Instance:
    return space.population(np.zeros((1, space.size))).candidate(0)


def _require_coordinate_wise(name: str, optimizer: Optimizer) -> None:
    """Raise ValueError unless it does with each coordinate what it would do with it alone."""
    w, g = np.array([[0.3, -1.0, 2.0, 0.1]]), np.array([[1.0, -3.0, 0.2, 5.0]])
    parts = [optimizer.step(w[:, [i]], g[:, [i]], optimizer.start(w[:, [i]]), 1) for i in range(w.shape[1])]
    if not np.allclose(optimizer.step(w, g, optimizer.start(w), 1), np.concatenate(parts, axis=1)):
        raise ValueError(f"optimizer {name!r} mixes coordinates, and instances have one: choose another")


def _refusal(space: Space) -> str:
    """Why the bound does not apply to the point in the middle; "" if it does."""
    try:
        compare(_middle(space))
    except HypothesisError as error:
        return str(error)
    return ""


@dataclass
class Found:
    """The best so far.

    Attributes:
        ratio: bound / measured; infinite if the bound applied to no candidate.
        point: where.
        space: of which.
        evaluated: how many candidates.
        history: seconds and ratio whenever it fell.
    """

    space: Space
    ratio: float = np.inf
    point: Array = field(default_factory=lambda: np.zeros(0))
    evaluated: int = 0
    history: list[tuple[float, float]] = field(default_factory=list)

    @property
    def instance(self) -> Instance:
        """With its ratio."""
        return replace(self.space.population(self.point[None]).candidate(0), ratio=self.ratio)

    def after(self, ratio: float) -> float:
        """Seconds until a ratio below this was found; infinite if none was."""
        return min((second for second, found in self.history if found < ratio), default=np.inf)

    def add(self, other: Found) -> None:
        """Of another search."""
        self.evaluated += other.evaluated
        self.history = sorted([*self.history, *other.history])
        if other.ratio < self.ratio:
            self.ratio, self.point = other.ratio, other.point


def attack(
    space: Space,
    seconds: float,
    *,
    processes: int = 1,
    seed: int = 0,
    enough: float = 0.0,
    advance: Callable[[float, float], None] = lambda seconds, ratio: None,
    pool: Pool = plain_pool,
) -> Found:
    """Search for some time.

    Args:
        space: what.
        seconds: of the clock.
        processes: that search at the same time.
        seed: of the starts and of the search.
        enough: the search ends once bound / measured is below it.
        advance: told the seconds gone and the best ratio so far, now and then.
        pool: of workers.

    Raises:
        ValueError: if the bound applies to no candidate, or returns what is not a positive number.
    """
    best, numbers = Found(space), iter(range(10**9))
    begun = time.monotonic()

    def task() -> tuple[Any, ...]:
        number = next(numbers)
        mean = best.point if number % 3 == 2 and best.point.size else None
        return space, mean, (seed, number), begun, begun + seconds, enough

    def going() -> bool:
        advance(min(time.monotonic() - begun, seconds), best.ratio)
        return time.monotonic() < begun + seconds and best.ratio >= enough

    if processes == 1:
        while going():
            best.add(_evolve(*task()))
    else:
        with pool(processes) as workers:
            wait([workers.submit(rule_of, space.fixed["bound"]) for _ in range(processes)])  # all have started
            begun = time.monotonic()
            pending: set[Future[Found]] = {workers.submit(_evolve, *task()) for _ in range(processes)}
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    best.add(future.result())
                if going():
                    pending |= {workers.submit(_evolve, *task()) for _ in done}
    if not best.point.size:
        raise ValueError(
            f"no admissible instance was found for {space.label} among {best.evaluated}: on none the bound "
            "applies and something is measured; try other betas, another eta, or --vary"
        )
    return best


def _evolve(
    space: Space, mean: Array | None, seed: tuple[int, int], begun: float, end: float, enough: float
) -> Found:
    """One search until it has settled."""
    generator, best = np.random.default_rng(seed), Found(space)
    start = generator.normal(size=space.size) * 0.7 if mean is None else mean
    options = {
        "popsize": CANDIDATES,
        "maxiter": 1500,
        "tolfun": 1e-7,
        "verbose": -9,
        "seed": np.nan,  # numpy's common generator is left alone
        "randn": lambda *shape: generator.standard_normal(shape),
    }
    strategy = cma.CMAEvolutionStrategy(start, 0.6 if mean is None else 0.15, options)
    going = True
    while going:
        points = strategy.ask()
        found = ratios(space.population(np.array(points)))
        strategy.tell(points, np.log(np.minimum(found, 1e9)).tolist())
        best.evaluated += len(found)
        least = int(np.argmin(found))
        if found[least] < best.ratio:
            best.ratio, best.point = float(found[least]), np.array(points[least])
            best.history.append((time.monotonic() - begun, best.ratio))
        going = not strategy.stop() and time.monotonic() < end and best.ratio >= enough
    return best
