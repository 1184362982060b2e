"""What ``adabatch verify-bounds`` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

__all__ = ["Level", "Settings"]

T = TypeVar("T")


class Level(StrEnum):
    """How much is run."""

    QUICK = "quick"
    DEFAULT = "default"
    FULL = "full"

    @classmethod
    def of_flags(cls, quick: bool, full: bool) -> Level:
        """From --quick and --full.

        Raises:
            ValueError: for both at once.

        >>> str(Level.of_flags(quick=False, full=False))
        'default'
        """
        if quick and full:
            raise ValueError("--quick and --full exclude each other: give one of them, or none")
        return cls.QUICK if quick else cls.FULL if full else cls.DEFAULT


@dataclass(frozen=True)
class Settings:
    """One call of ``verify-bounds``. None and () stand for the level's own choice."""

    level: Level = Level.DEFAULT
    """quick: about 20 seconds on one core (20 measured); default: under a minute (42 measured); full: longer runs,
    more seeds, the whole grid, 12 minutes of one core."""

    objectives: tuple[str, ...] = ()
    """Objectives of the grid."""

    optimizers: tuple[str, ...] = ()
    """Optimizers of the grid."""

    beta1: float | None = None
    """Decay of Adam's first moment, in place of the grid's values."""

    beta2: float | None = None
    """Decay of Adam's second moment, in place of the grid's values."""

    eta: float | None = None
    """Relative error of the coordinate-wise norm test, in place of the grid's values."""

    steps: int | None = None
    """Largest number of steps K on the grid."""

    seeds: int | None = None
    """Number of seeds a configuration is run with."""

    experiments: tuple[str, ...] = ()
    """Which experiments to run."""

    seed: int = 0
    """Base of all random numbers; two bases have no run in common."""

    output: Path = Path("runs/verify-bounds")
    """Folder for report.json, report.html, figures and their data."""

    noises: tuple[str, ...] = ()
    """Noise of studies."""

    bounds: tuple[str, ...] = ()
    """Bounds of studies."""

    overwrite: bool = False
    """Whether an output folder that exists may be replaced."""

    against: Path | None = None
    """Folder of an earlier report, to compare with."""

    def run_seeds(self, count: int) -> range:
        """The seeds of this many runs; none of them is another base's, up to a million runs.

        >>> Settings(seed=1).run_seeds(2)
        range(1048576, 1048578)
        """
        first = self.seed << 20
        return range(first, first + count)

    def by_level(self, quick: T, default: T, full: T) -> T:
        """The value for this level.

        >>> Settings(level=Level.QUICK).by_level(1, 2, 3)
        1
        """
        return {Level.QUICK: quick, Level.DEFAULT: default, Level.FULL: full}[self.level]
