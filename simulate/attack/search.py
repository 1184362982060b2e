r"""An adversary: it searches the instance on which a bound is tightest, or breaks.

Problem:
    Over functions of one variable whose gradient is piecewise linear with slopes in [-L, L], two-point noises that
    depend on the step and on the sign of m G, v_0 and what else may vary: which make bound / measured
    least? Below 1 the bound is broken.

Algorithm:
    Covariance matrix adaptation (Hansen's, by the package cma) on the logarithm of bound / measured, 40 candidates
    a generation, each with exact expectations over all paths. First the known near-tight instances are measured,
    all of them, of any bound, betas and eta. Then one of three searches starts from the best point so far with
    small steps, two at random; when one has settled, the next starts. All cores search at the same time.

Guarantee:
    None: a search proves no bound, and another seed finds another instance. What it finds is exact.

Example:
    >>> from simulate.attack.space import space_of
    >>> space = space_of("sgd", eta=0.5, steps=4)
    >>> found = attack(space, seconds=60, enough=1.5)
    >>> found.ratio < 1.5, found.instance.bound
    (True, 'sgd')
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any

import cma
import numpy as np

from simulate.attack.comparison import ratios
from simulate.attack.instance import Instance, near_tight_instances
from simulate.attack.space import Space
from simulate.attack.targets import rule_of
from simulate.pools import Pool, plain_pool
from simulate.streams import Array

__all__ = ["Found", "attack"]

CANDIDATES = 40


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

    def see(self, points: list[Array], begun: float) -> Array:
        """Measure candidates: their ratios."""
        found = ratios(self.space.population(np.array(points)))
        self.evaluated += len(found)
        least = int(np.argmin(found))
        if found[least] < self.ratio:
            self.ratio, self.point = float(found[least]), np.array(points[least])
            self.history.append((time.monotonic() - begun, self.ratio))
        return found

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
    known: Sequence[Instance] | None = None,
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
        known: instances that are measured first; None for the near-tight ones.
        advance: told the seconds gone and the best ratio so far, now and then.
        pool: of workers.

    Raises:
        ValueError: if the bound applies to no candidate, or returns what is not a positive number.
    """
    best, numbers = Found(space), iter(range(10**9))
    begun = time.monotonic()
    if points := [space.point(instance) for instance in (near_tight_instances() if known is None else known)]:
        best.see(points, begun)

    def task() -> tuple[Any, ...]:
        number = next(numbers)
        mean = best.point if number % 3 == 0 and best.point.size else None
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
        strategy.tell(points, np.log(np.minimum(best.see(points, begun), 1e9)).tolist())
        going = not strategy.stop() and time.monotonic() < end and best.ratio >= enough
    return best
