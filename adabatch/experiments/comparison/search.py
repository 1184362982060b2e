"""The search for a schedule's learning rate, path and warm-up: coarse to fine, the same effort for every schedule.

1. Coarse: the start's rate, half and twice of it, each with a short and a long warm-up.
2. Paths: the best of these on every other path.
3. Fine: the neighbours of the best, one step in rate, path or warm-up, until none of them is better or the tries are
   used up.
4. Final: the best points on further seeds; the lowest mean is taken.

The next points follow from the losses so far, so that a search resumes by asking for its runs again. Its seeds are
not those of the results: else the best of many tries would be best by luck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from adabatch.experiments.comparison.points import PATHS, WARMUPS, Axes, Point

__all__ = ["Effort", "Search", "Try"]

COARSE_RATES = (0, -2, 2)
COARSE_WARMUPS = (WARMUPS.index(0.05), WARMUPS.index(0.2))


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
    """

    points: int = 16
    finalists: int = 2
    seeds: int = 3

    @property
    def runs(self) -> int:
        """At most, for each schedule."""
        return self.points + self.finalists * (self.seeds - 1)


@dataclass(frozen=True)
class Search:
    """The search of one schedule, as far as it is.

    Attributes:
        axes: in which directions it goes.
        effort: how much is tried.
        losses: final validation losses of the tries so far; infinite for a run that diverged.

    >>> search = Search(Axes(), Effort(), {})
    >>> len(search.wanted()), search.wanted()[0]
    (6, Try(point=Point(rate=0, path=1, warmup=2), seed=0))
    """

    axes: Axes
    effort: Effort
    losses: Mapping[Try, float]

    def wanted(self) -> list[Try]:
        """The tries that come next; none once the search is over.

        Those of a stage come together, finished or not, so that the runs under way are the same however it was
        interrupted.
        """
        stage = self._coarse()
        for _ in range(self.effort.points):
            open_points = [point for point in stage if Try(point, 0) not in self.losses]
            if open_points:
                return [Try(point, 0) for point in open_points]
            stage = self._next_points()
            if not stage:
                break
        finals = [Try(point, seed) for point in self.ranking() for seed in range(1, self.effort.seeds)]
        finals = finals[: self.effort.finalists * (self.effort.seeds - 1)]
        return [one for one in finals if one not in self.losses]

    @property
    def over(self) -> bool:
        """Whether nothing is left to try."""
        return not self.wanted()

    def ranking(self) -> list[Point]:
        """The points tried, best first on the first seed."""
        first = {one.point: loss for one, loss in self.losses.items() if one.seed == 0}
        return sorted(first, key=lambda point: (first[point], point))

    def mean_loss(self, point: Point) -> float:
        """Over the seeds on which a point was tried."""
        return fmean(loss for one, loss in self.losses.items() if one.point == point)

    def best(self) -> Point:
        """The finalist of the lowest mean loss."""
        return min(self.ranking()[: self.effort.finalists], key=lambda point: (self.mean_loss(point), point))

    def edges(self) -> list[str]:
        """The directions in which the best point lies at the edge of what was tried: no point lies beyond it."""
        best, tried = self.best(), self.ranking()
        found = []
        for axis in Point._fields:
            values = {getattr(point, axis) for point in tried}
            inside = min(values) < getattr(best, axis) < max(values)
            if axis != "path" and getattr(self.axes, axis) and not inside:
                found.append(axis)
        return found

    def _coarse(self) -> list[Point]:
        start = Point()
        grid = {
            start._replace(rate=rate if self.axes.rate else 0, warmup=warmup if self.axes.warmup else start.warmup): 0
            for rate in COARSE_RATES
            for warmup in COARSE_WARMUPS
        }
        return list(grid)[: self.effort.points]

    def _next_points(self) -> list[Point]:
        """What the points tried so far lead to: the other paths, then the neighbours of the best."""
        tried = self.ranking()
        others = [tried[0]._replace(path=path) for path in range(len(PATHS))]
        seen_paths = {point.path for point in tried}
        if self.axes.path and len(seen_paths) == 1:
            candidates = others
        else:
            steps = [(axis, way) for axis in ("rate", "warmup", "path") for way in (-1, 1)]
            candidates = [tried[0]._replace(**{axis: getattr(tried[0], axis) + way}) for axis, way in steps]
        new = [point for point in candidates if self.axes.holds(point) and point not in tried]
        return new[: self.effort.points - len(tried)]
