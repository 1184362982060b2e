"""The search for a schedule's learning rate, path and warm-up: coarse to fine, the same effort for every schedule.

1. Coarse: the start's rate, half and twice of it, each with a short and a long warm-up.
2. Paths: the best of these on every other path.
3. Fine: the neighbours of the best, one step in rate, path or warm-up, until none of them is better or the points
   are used up; then a few more where nothing lies beyond the best rate or warm-up.
4. Final: the best points on further seeds; the lowest mean is taken.

The next points follow from the losses so far, so that a search resumes by asking for its runs again. Its seeds are
not those of the results: else the best of many tries would be best by luck.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, Axes, Point, distinct

__all__ = ["FEWEST_POINTS", "Effort", "Search", "Try"]

COARSE_RATES = (0, -2, 2)
COARSE_WARMUPS = (WARMUPS.index(0.05), WARMUPS.index(0.2))

FEWEST_POINTS = len(COARSE_RATES) * len(COARSE_WARMUPS)
"""The coarse ones; fewer would leave out rates above the start's, which come last."""


class Try(NamedTuple):
    """One run of a search.

    Attributes:
        point: of the lattice.
        seed: its number among the search's seeds, from 0.
    """

    point: Point
    seed: int


@dataclass(frozen=True)
class Effort:
    """How much is tried for each schedule.

    Attributes:
        points: at most, on the first seed.
        finalists: points that are tried on further seeds.
        seeds: of the finalists, the first one among them.
        closing: points after those, at most, where nothing lies beyond the best in a direction.
    """

    points: int = 16
    finalists: int = 2
    seeds: int = 3
    closing: int = 4

    @property
    def runs(self) -> int:
        """At most, for each schedule."""
        return self.points + self.closing + self.finalists * (self.seeds - 1)


@dataclass(frozen=True)
class Search:
    """The search of one schedule, as far as it is.

    Attributes:
        axes: in which directions it goes.
        effort: how much is tried.
        losses: final validation losses of the tries so far; infinite for a run that diverged.

    >>> search = Search(Axes(), Effort(), {})
    >>> len(search.wanted()), search.wanted()[0]
    (6, Try(point=Point(rate=0, path=1, warmup=3), seed=0))
    """

    axes: Axes
    effort: Effort
    losses: Mapping[Try, float]

    def wanted(self) -> list[Try]:
        """The tries that come next; none once the search is over.

        A stage follows from the finished stages before it alone, so that the tries are the same wherever the
        search was interrupted.
        """
        tried: dict[Point, float] = {}
        while stage := self._next_points(tried):
            if open_tries := self._open(Try(point, 0) for point in stage):
                return open_tries
            tried |= {point: self.losses[Try(point, 0)] for point in stage}
        finalists = _ranked(tried)[: self.effort.finalists]
        return self._open(Try(point, seed) for point in finalists for seed in range(1, self.effort.seeds))

    @property
    def over(self) -> bool:
        """Whether nothing is left to try."""
        return not self.wanted()

    def ranking(self) -> list[Point]:
        """The points tried, best first on the first seed."""
        first = {one.point: loss for one, loss in self.losses.items() if one.seed == 0}
        return _ranked(first)

    def mean_loss(self, point: Point) -> float:
        """Over the seeds on which a point was tried."""
        return fmean(loss for one, loss in self.losses.items() if one.point == point)

    def best(self) -> Point:
        """The finalist of the lowest mean loss."""
        return min(self.ranking()[: self.effort.finalists], key=lambda point: (self.mean_loss(point), point))

    def edges(self) -> list[str]:
        """The directions in which the best point lies at the edge of what was tried: no point lies beyond it.

        None where nothing was tried, as for a point that was found elsewhere.
        """
        if not self.losses:
            return []
        return self._edges(self.best(), self.ranking())

    def _open(self, tries: Iterable[Try]) -> list[Try]:
        return [one for one in tries if one not in self.losses]

    def _coarse(self) -> list[Point]:
        start = Point()
        rates = COARSE_RATES if self.axes.rate else (start.rate,)
        warmups = COARSE_WARMUPS if self.axes.warmup else (start.warmup,)
        return [start._replace(rate=rate, warmup=warmup) for rate in rates for warmup in warmups]

    def _next_points(self, tried: Mapping[Point, float]) -> list[Point]:
        """What the points tried so far lead to: the other paths of the best, then its neighbours."""
        if not tried:
            return self._coarse()[: self.effort.points]
        best = _ranked(tried)[0]
        if self.axes.path and len({point.path for point in tried}) == 1:
            candidates = [best._replace(path=path) for path in range(len(PATHS))]
        else:
            candidates = [self._next(best, axis, way) for axis in ("rate", "warmup", "path") for way in (-1, 1)]
        return self._new(candidates, tried, self.effort.points) or self._beyond(tried)

    def _beyond(self, tried: Mapping[Point, float]) -> list[Point]:
        """Neighbours of the finalists in directions in which no point beyond them was tried."""
        candidates = [
            self._next(best, axis, way)
            for best in _ranked(tried)[: self.effort.finalists]
            for axis in self._edges(best, tried)
            for way in (-1, 1)
        ]
        return self._new(candidates, tried, self.effort.points + self.effort.closing)

    def _new(self, candidates: Iterable[Point], tried: Mapping[Point, float], most: int) -> list[Point]:
        """Those in the lattice that are other runs than those tried, as many as make ``most`` tries of all."""
        known = {distinct(point) for point in tried}
        others: dict[Point, Point] = {}
        for point in filter(self.axes.holds, candidates):
            if distinct(point) not in known:
                others.setdefault(distinct(point), point)  # neighbours of two finalists can be one run
        return list(others.values())[: max(0, most - len(tried))]

    def _edges(self, best: Point, tried: Iterable[Point]) -> list[str]:
        """The tuned directions in which no point lies beyond this one, on one side or the other.

        No warm-up does not count as one: nothing can lie below it.
        """
        found = []
        for axis in ("rate", "warmup"):
            value, values = getattr(best, axis), {getattr(point, axis) for point in tried}
            inside = (min(values) < value or (axis == "warmup" and value == 0)) and value < max(values)
            if getattr(self.axes, axis) and not inside:
                found.append(axis)
        return found

    def _next(self, best: Point, axis: str, way: int) -> Point:
        """The nearest point in a direction that is another run; it may lie beyond the lattice."""
        point = best
        while self.axes.holds(point) and distinct(point) == distinct(best):
            point = point._replace(**{axis: getattr(point, axis) + way})
        return point


def _ranked(losses: Mapping[Point, float]) -> list[Point]:
    """The points by loss, best first; equal ones in the order of the lattice."""
    return sorted(losses, key=lambda point: (losses[point], point))
