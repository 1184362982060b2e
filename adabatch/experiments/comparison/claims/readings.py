"""What comparison.json says of a figure, such as ``exchange.gap``, or of the difference of two."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from adabatch.experiments.comparison.findings import CONTRASTS
from adabatch.experiments.intervals import Interval, mean_interval, paired_difference

__all__ = ["BY_SEED", "AbsentError", "Figure", "Reading", "read_difference", "read_figure"]

TESTED = tuple(CONTRASTS)
"""Figures whose difference from 0 is tested, all of a comparison together."""

BY_SEED = ("loss", "steps", *TESTED)
OF_SCHEDULES = (*BY_SEED, "mean_batch", "time.<hardware>")
SECTIONS = ("setting", "noise_scale")


class AbsentError(ValueError):
    """A comparison does not have the figure; another one may."""


@dataclass(frozen=True)
class Reading:
    """The value of a figure.

    Attributes:
        least: of the mean; below ``most`` only where no more than a bound is known. Not a number where a run
            diverged.
        most: of the mean.
        low: lower end of the interval; not a number where there is none.
        high: upper end.
        numbers: what a sentence may show of it: the mean and the half width; of a ratio, whose interval is not
            symmetric, the ratio and both ends.
        text: for the reader.
        adjusted: p value that the mean is 0, after Holm over the comparison; None where that was not tested.
    """

    least: float
    most: float
    low: float
    high: float
    numbers: tuple[float, ...]
    text: str
    adjusted: float | None = None


@dataclass(frozen=True)
class Figure:
    """The name of a figure in comparison.json.

    Attributes:
        owner: a schedule, or one of :data:`SECTIONS`.
        name: of :data:`OF_SCHEDULES`, or a key of the section.
    """

    owner: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Figure:
        """From text, read from the right, since names of schedules may have dots.

        Raises:
            ValueError: for text of another form.

        >>> Figure.parse("norm-test-0.7-sqrt.gap"), Figure.parse("late.time.B_sat 64").name
        (Figure(owner='norm-test-0.7-sqrt', name='gap'), 'time.B_sat 64')
        """
        names = "|".join((*BY_SEED, "mean_batch", r"time\..+"))
        match = re.fullmatch(rf"(\S+)\.({names})", text) or re.fullmatch(rf"({'|'.join(SECTIONS)})\.(\w+)", text)
        if match is None:
            raise ValueError(
                f"{text!r} is not a figure: write <schedule>.<name> with one of {', '.join(OF_SCHEDULES)}, or "
                f"{' or '.join(f'{section}.<name>' for section in SECTIONS)}"
            )
        return cls(*match.groups())

    @property
    def by_seed(self) -> bool:
        """Whether its value of each seed is known, so that differences can be paired."""
        return self.name in BY_SEED

    @property
    def tested(self) -> bool:
        """Whether its difference from 0 is tested, together with all others of the comparison."""
        return self.name in TESTED

    @property
    def ratio(self) -> bool:
        """Whether 1 stands for no difference, and not 0."""
        return self.name.startswith("time.")

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


def read_figure(content: Mapping[str, Any], figure: Figure) -> Reading:
    """The figure's value in the content of a comparison.json.

    Raises:
        AbsentError: where the comparison does not have it.
        ValueError: for an unknown name.
    """
    if figure.by_seed:
        interval = mean_interval(list(_by_seed(content, figure).values()))
        reading = _of_interval(interval, figure, signed=figure.tested)
        return _with_test(reading, _schedule(content, figure)[figure.name]) if figure.tested else reading
    if figure.owner in SECTIONS and figure.owner not in content["schedules"]:
        return _of_number(_section_value(content[figure.owner], figure))
    schedule = _schedule(content, figure)
    if not figure.ratio:
        return _of_number(schedule[figure.name])
    times, hardware = schedule["time"], figure.name.removeprefix("time.")
    if times.get(hardware) is None:
        known = [name for name, time in times.items() if time is not None]
        raise AbsentError(f"{figure} was not found: {figure.owner} has times for {_listed(known)}")
    return _of_time(times[hardware])


def read_difference(content: Mapping[str, Any], first: Figure, second: Figure) -> Reading:
    """first - second, paired by seed, both with :attr:`Figure.by_seed`.

    Raises:
        AbsentError: where the comparison does not have both for one seed.
    """
    interval = paired_difference(_by_seed(content, first), _by_seed(content, second))
    if interval is None:
        raise AbsentError(f"{first} and {second} have no seed in common")
    return _of_interval(interval, first, signed=True)


def _by_seed(content: Mapping[str, Any], figure: Figure) -> dict[int, float]:
    runs = _schedule(content, figure)["by_seed"]
    found = {int(seed): _of_run(run, figure.name) for seed, run in runs.items()}
    values = {seed: value for seed, value in found.items() if value is not None}
    if not values:
        raise AbsentError(f"{figure.owner} has no {figure.name} in this comparison, for any of its seeds")
    return values


def _of_run(run: Mapping[str, Any], name: str) -> float | None:
    """None where it was not measured; infinite where the run diverged, which must not make a claim easier."""
    if name == "steps":
        return float(run[name])
    if run["loss"] is None:
        return math.inf
    if not name.startswith("minus_"):
        value: float | None = run[name]
        return value
    control = run[name.removeprefix("minus_")]
    return None if control is None else run["loss"] - control


def _schedule(content: Mapping[str, Any], figure: Figure) -> Mapping[str, Any]:
    schedules: Mapping[str, Mapping[str, Any]] = content["schedules"]
    if figure.owner not in schedules:
        raise AbsentError(f"the schedule {figure.owner!r} is not in this comparison: it has {_listed(schedules)}")
    return schedules[figure.owner]


def _section_value(section: Mapping[str, Any] | None, figure: Figure) -> float:
    if section is None or section.get(figure.name, 0) is None:
        raise AbsentError(f"{figure} was not measured in this comparison, or not resolved")
    numbers = {name: value for name, value in section.items() if type(value) in (int, float)}
    if figure.name not in numbers:
        raise ValueError(f"{figure} is not known: {figure.owner} has {_listed(numbers)}")
    return float(numbers[figure.name])


def _of_interval(interval: Interval, figure: Figure, signed: bool) -> Reading:
    form = f"{'+' if signed else ''}.{1 if figure.name == 'steps' else 4}f"
    if not math.isfinite(interval.mean):
        nan = math.nan
        return Reading(nan, nan, nan, nan, (), f"not finite, a run diverged (n {interval.count})")
    spread = f" ± {interval.half_width:{form.lstrip('+')}}" if math.isfinite(interval.half_width) else ""
    text = f"{interval.mean:{form}}{spread} (n {interval.count})"
    mean = interval.mean
    return Reading(mean, mean, interval.low, interval.high, (mean, interval.half_width), text)


def _with_test(reading: Reading, tested: Mapping[str, Any] | None) -> Reading:
    """With the p value; none where a run diverged, of which nothing holds."""
    if tested is None or tested["p_holm"] is None or not math.isfinite(reading.least):
        return reading
    adjusted = float(tested["p_holm"])
    return replace(reading, adjusted=adjusted, text=f"{reading.text}, p {adjusted:.2g} after Holm")


def _of_number(value: float) -> Reading:
    return Reading(value, value, math.nan, math.nan, (value,), f"{value:g}")


def _of_time(time: Mapping[str, Any]) -> Reading:
    ratio, bound = time["ratio"], time["bound"] or "exact"
    low, high = (0.0 if time["low"] is None else time["low"]), (math.inf if time["high"] is None else time["high"])
    least, most = (0.0 if bound == "at most" else ratio), (math.inf if bound == "at least" else ratio)
    text = f"{'' if bound == 'exact' else f'{bound} '}{ratio:.3f} ({low:.3f} to {high:.3f})"
    return Reading(least, most, low, high, (ratio, low, high), text)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
