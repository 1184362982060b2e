"""Learning-rate paths: how the rate falls from its peak after the warm-up, by name.

A path is a level p(x) in [0, 1] of the progress x in [0, 1] from the end of the warm-up to the end of the budget,
together with its integral, since the rate of a step is the path's mean over the step's samples
(:meth:`adabatch.schedules.learning_rate.LearningRate.mean`). A new path is a class here with its name.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from operator import mul
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from adabatch.ranges import Range

__all__ = [
    "PATHS",
    "Constant",
    "Cosine",
    "Cyclic",
    "InverseSquareRoot",
    "LearningRatePath",
    "Linear",
    "PathOptions",
    "Stairs",
    "WarmupStableDecay",
]


@dataclass(frozen=True)
class PathOptions:
    """Options of the paths; each is read by the path of its name."""

    decay_fraction: Annotated[float, Range(0, 1, above=True)] = 0.2
    """wsd: the share of the budget over which the rate falls, at its end."""
    lr_cycles: Annotated[int, Range(1, 1_000_000)] = 4
    """cyclic: rises and falls over the budget; the warm-up is the first rise."""


class LearningRatePath(Protocol):
    """A level by the progress after the warm-up."""

    @property
    def falls(self) -> bool:
        """Whether the level never rises, and ends below where it began."""

    def level(self, progress: float) -> float:
        """p(x), from 0 (the minimum) to 1 (the peak); x beyond 1 is the end."""

    def integral(self, progress: float) -> float:
        """The integral of p from 0 to x, x at most 1."""


class _Buildable(LearningRatePath, Protocol):
    @classmethod
    def from_settings(cls, settings: Any, warmup_samples: int, total_samples: int) -> LearningRatePath:
        """The path of a run with these options, this warm-up and this budget."""


PATHS: dict[str, type[_Buildable]] = {}
"""The paths by the name that ``--lr-path`` takes."""

T = TypeVar("T", bound="type[_Buildable]")


def _register(name: str) -> Callable[[T], T]:
    def decorate(path: T) -> T:
        PATHS[name] = path
        return path

    return decorate


class _Plain:
    """A path without options, which falls."""

    falls: ClassVar[bool] = True

    @classmethod
    def from_settings(cls, settings: Any, warmup_samples: int, total_samples: int) -> Any:
        """The one path of its kind."""
        del settings, warmup_samples, total_samples
        return cls()


@_register("cosine")
@dataclass(frozen=True)
class Cosine(_Plain):
    """Half a cosine from the peak to the minimum.

    >>> Cosine().level(0.5), Cosine().integral(1.0)
    (0.5, 0.5)
    """

    def level(self, progress: float) -> float:
        """(1 + cos pi x) / 2."""
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def integral(self, progress: float) -> float:
        """x / 2 + sin(pi x) / (2 pi)."""
        return 0.5 * (progress + math.sin(math.pi * progress) / math.pi)


@_register("linear")
@dataclass(frozen=True)
class Linear(_Plain):
    """A straight line from the peak to the minimum.

    >>> Linear().level(0.25), Linear().integral(1.0)
    (0.75, 0.5)
    """

    def level(self, progress: float) -> float:
        """1 - x."""
        return 1 - min(progress, 1.0)

    def integral(self, progress: float) -> float:
        """x - x^2 / 2."""
        return progress * (1 - progress / 2)


@_register("wsd")
@dataclass(frozen=True)
class WarmupStableDecay:
    """The peak, then a straight line to the minimum over the last part of the budget.

    Attributes:
        fraction: f, the share of the time after the warm-up that the fall takes.

    >>> WarmupStableDecay(0.2).level(0.9), round(WarmupStableDecay(0.2).integral(1.0), 12)
    (0.4999999999999999, 0.9)
    """

    fraction: float
    falls: ClassVar[bool] = True

    @classmethod
    def from_settings(cls, settings: Any, warmup_samples: int, total_samples: int) -> WarmupStableDecay:
        """The fraction of the settings is of the whole budget."""
        falling = max(1, total_samples - warmup_samples)
        return cls(min(1.0, settings.decay_fraction * total_samples / falling))

    def level(self, progress: float) -> float:
        """min(1, (1 - x) / f)."""
        return min(1.0, (1 - min(progress, 1.0)) / self.fraction)

    def integral(self, progress: float) -> float:
        """x, less (x - (1 - f))^2 / (2 f) in the fall."""
        return progress - max(0.0, progress - (1 - self.fraction)) ** 2 / (2 * self.fraction)


@_register("constant")
@dataclass(frozen=True)
class Constant(_Plain):
    """The peak throughout.

    >>> Constant().level(1.0), Constant().falls
    (1.0, False)
    """

    falls: ClassVar[bool] = False

    def level(self, progress: float) -> float:
        """1."""
        del progress
        return 1.0

    def integral(self, progress: float) -> float:
        """x."""
        return progress


@_register("inverse-sqrt")
@dataclass(frozen=True)
class InverseSquareRoot:
    """The peak times the square root of warm-up over samples seen.

    Attributes:
        ratio: samples after the warm-up over samples of the warm-up.

    >>> InverseSquareRoot(3.0).level(1.0), round(InverseSquareRoot(3.0).integral(1.0), 12)
    (0.5, 0.666666666667)
    """

    ratio: float
    falls: ClassVar[bool] = True

    @classmethod
    def from_settings(cls, settings: Any, warmup_samples: int, total_samples: int) -> InverseSquareRoot:
        """The warm-up is its time scale.

        Raises:
            ValueError: without a warm-up.
        """
        del settings
        if warmup_samples < 1:
            raise ValueError(
                "--lr-path inverse-sqrt falls with the square root of warm-up over samples seen: give "
                "--warmup-samples above 0, or take another path"
            )
        return cls((total_samples - warmup_samples) / warmup_samples)

    def level(self, progress: float) -> float:
        """1 / sqrt(1 + ratio x)."""
        return 1 / math.sqrt(1 + self.ratio * min(progress, 1.0))

    def integral(self, progress: float) -> float:
        """2 x / (1 + sqrt(1 + ratio x)), which is (2 / ratio) (sqrt(1 + ratio x) - 1)."""
        return 2 * progress / (1 + math.sqrt(1 + self.ratio * progress))


@_register("cyclic")
@dataclass(frozen=True)
class Cyclic:
    """Triangles between peak and minimum (Smith, arXiv 1506.01186), from the peak on, ending at the minimum.

    Attributes:
        cycles: n; the warm-up is the first rise, so that 2 n - 1 straight lines follow.

    >>> [Cyclic(2).level(x / 6) for x in range(7)] == [1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0]
    True
    """

    cycles: int
    falls: ClassVar[bool] = False

    @classmethod
    def from_settings(cls, settings: Any, warmup_samples: int, total_samples: int) -> Cyclic:
        """With the number of cycles of the settings."""
        del warmup_samples, total_samples
        return cls(settings.lr_cycles)

    def level(self, progress: float) -> float:
        """The triangle."""
        return abs((min(progress, 1.0) * (2 * self.cycles - 1)) % 2 - 1)

    def integral(self, progress: float) -> float:
        """Half of x, plus what the line begun is away from that."""
        lines = progress * (2 * self.cycles - 1)
        pairs, within = divmod(lines, 2)
        part = within - within**2 / 2 if within <= 1 else 0.5 + (within - 1) ** 2 / 2
        return (pairs + part) / (2 * self.cycles - 1)


@dataclass(frozen=True)
class Stairs:
    """Constant between given points: of another path (Seesaw), or of another run's learning rates.

    Attributes:
        ends: progress at which a stair ends, ascending; the last stair has no end.
        levels: one more than ends.

    >>> stairs = Stairs((0.5,), (1.0, 0.25))
    >>> stairs.level(0.5), stairs.integral(1.0)
    (0.25, 0.625)
    """

    ends: Sequence[float]
    levels: Sequence[float]

    @property
    def falls(self) -> bool:
        """Whether no stair leads up, and one leads down."""
        pairs = list(zip(self.levels, self.levels[1:], strict=False))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    def level(self, progress: float) -> float:
        """The stair's."""
        return self.levels[bisect_right(self.ends, progress)]

    @cached_property
    def _areas(self) -> Sequence[float]:
        """The integral up to where each stair begins; another run has a stair for each of its steps."""
        widths = (end - begin for begin, end in pairwise((0.0, *self.ends)))
        return list(accumulate(map(mul, widths, self.levels), initial=0.0))

    def integral(self, progress: float) -> float:
        """The sum of the stairs' areas."""
        stair = bisect_right(self.ends, progress)
        begin = self.ends[stair - 1] if stair else 0.0
        return self._areas[stair] + (progress - begin) * self.levels[stair]


def path_summaries() -> Mapping[str, str]:
    """The paths' names, each with the first sentence of its docstring.

    >>> path_summaries()["linear"]
    'A straight line from the peak to the minimum'
    """
    return {name: (path.__doc__ or "").split("\n\n")[0].removesuffix(".") for name, path in PATHS.items()}
