"""An instance: a function of one variable, two-point noise for each step and state, and the optimizer's settings.

As JSON its numbers are written with all their digits: what is read replays exactly.

Example:
    >>> instance = Instance(bound="sgd", optimizer="sgd", smoothness=2.0, step_size=0.25, eta=0.5, width=1.0,
    ...                     first=2.0, slopes=[2.0, 2.0], below=[[0.5, 0.5]], above=[[0.5, 0.5]])
    >>> again = Instance.of_dict(json.loads(json.dumps(instance.to_dict())))
    >>> again.steps, again.to_dict() == instance.to_dict()
    (1, True)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from simulate.attack.piecewise import PiecewiseLinear
from simulate.attack.rational import rationals
from simulate.streams import Array

__all__ = ["MOST_NOISY", "MOST_STEPS", "PER_CANDIDATE", "Instance", "near_tight_instances", "read_instance"]

PER_CANDIDATE = {
    "width": 0, "first": 0, "slopes": 1, "below": 2, "above": 2, "low_factors": 2, "high_factors": 2,
    "multipliers": 1, "start": 0, "weight_decay": 0, "v0": 0, "epsilon": 0, "floor": 0,
}  # fmt: skip
"""Fields that may differ between the candidates of a population, with the number of their own axes."""

MOST_NOISY, MOST_STEPS = 12, 10_000
"""Steps with noise: n of them make 2^n paths. And steps at all."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One instance, or a population of candidates: then the arrays have a leading axis [candidates].

    The stochastic gradient of step k is G X with X = 1 - below (low) or X = 1 + above (high), of mean 1. Both
    depend on k and on whether m_{k-1} G_k is negative: shape [n, 2], of the first n steps.

    Attributes:
        bound: what it is nearly tight for, as :func:`simulate.laboratory.find` takes it.
        optimizer: likewise; coordinate-wise. It gets the settings below that it takes.
        ratio: bound / measured, as found when it was written; 0: not known.
        averaged: of which kind ("l1" or "variance") the test is that holds on average only, with the least eta for
            which it does; "": it holds at every step with ``eta``.
        dimension: d, independent coordinates that are all like this one.
        smoothness: L.
        step_size: alpha.
        beta1: decay of m.
        beta2: decay of v.
        eta: of the test.
        quiet: steps without noise and clipping, with the last s_k, that follow those of the tables.
        goal: the squared gradient norm at which counting stops; 0: never.
        width: of the cells of the gradient, see :class:`~simulate.attack.piecewise.PiecewiseLinear`.
        first: G_1.
        slopes: of the cells, shape [n].
        below: 1 - X where X is low, shape [n, 2].
        above: X - 1 where X is high, shape [n, 2].
        low_factors: by which a low gradient is clipped, shape [n, 2].
        high_factors: by which a high gradient is clipped, shape [n, 2].
        multipliers: s_k, shape [n], of which the last is kept.
        start: w_1, which weight decay pulls to 0.
        weight_decay: lambda.
        v0: v_0.
        epsilon: outside the root.
        floor: the test's, on |G|: below it the noise is that of a gradient of this size.
    """

    bound: str
    optimizer: str = "adam"
    ratio: float = 0.0
    averaged: str = ""
    dimension: int = 1
    smoothness: float = 1.0
    step_size: float = 1.0
    beta1: float = 0.0
    beta2: float = 0.0
    eta: float = 0.0
    quiet: int = 0
    goal: float = 0.0
    width: Array
    first: Array
    slopes: Array
    below: Array
    above: Array
    low_factors: Array | None = None
    high_factors: Array | None = None
    multipliers: Array | None = None
    start: Array = 0.0  # type: ignore[assignment]
    weight_decay: Array = 0.0  # type: ignore[assignment]
    v0: Array = 0.0  # type: ignore[assignment]
    epsilon: Array = 0.0  # type: ignore[assignment]
    floor: Array = 0.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name, axes in PER_CANDIDATE.items():
            if (value := getattr(self, name)) is not None:
                array = (
                    np.asarray(value) if np.asarray(value).dtype.kind == "O" else np.asarray(value, dtype=float)
                )
                rowless = axes == 2 and array.shape == (0,)  # a table without steps, as JSON has it
                object.__setattr__(self, name, array.reshape(0, 2) if rowless else array)

    @property
    def steps(self) -> int:
        """K."""
        return int(self.below.shape[-2]) + self.quiet

    @property
    def step_multipliers(self) -> Array | None:
        """s_k, shape [..., K]; None if all are 1."""
        s = self.multipliers
        return None if s is None else s[..., np.minimum(np.arange(self.steps), s.shape[-1] - 1)]

    @property
    def objective(self) -> PiecewiseLinear:
        """The function, with w_1 at 0."""
        return PiecewiseLinear(self.smoothness, self.width, self.first, self.slopes)

    @property
    def largest_deviation(self) -> Array:
        """The least eta for which every step meets the test, shape [...]."""
        largest: Array = np.sqrt((self.below * self.above).max((-2, -1), initial=0.0))
        return largest

    def candidate(self, index: int) -> Instance:
        """One of a population."""
        chosen = {
            name: value[index]
            for name, axes in PER_CANDIDATE.items()
            if (value := getattr(self, name)) is not None and value.ndim > axes
        }
        return replace(self, **chosen)

    def rational(self) -> Instance:
        """The same in fractions."""
        names = [*PER_CANDIDATE, "smoothness", "step_size", "beta1", "beta2", "eta"]
        values = {name: rationals(value) for name in names if (value := getattr(self, name)) is not None}
        exact: dict[str, Any] = {n: x if n in PER_CANDIDATE else x.item() for n, x in values.items()}
        return replace(self, **exact)

    @classmethod
    def of_dict(cls, values: Any) -> Instance:
        """What :meth:`to_dict` made.

        Raises:
            ValueError: for anything else, naming what is wrong.
        """
        if not isinstance(values, dict):
            raise ValueError("it holds no object of names and values")
        known = {item.name for item in fields(cls)}
        needed = known.intersection(("bound", "width", "first", "slopes", "below", "above"))
        for what, names in (("lacks", needed - set(values)), ("has an unknown", set(values) - known)):
            if names:
                raise ValueError(f"it {what} {', '.join(map(repr, sorted(names)))}")
        plain = {name: values[name] for name in values if name not in PER_CANDIDATE}
        for name, value in plain.items():
            if isinstance(value, bool) or isinstance(value, str) != (name in ("bound", "optimizer", "averaged")):
                raise ValueError(f"its {name} is {value!r}")
        try:
            made = cls(**values)
            numbers = [getattr(made, name) for name in values if name not in ("bound", "optimizer", "averaged")]
            finite = all(np.isfinite(number).all() for number in numbers)
        except (TypeError, ValueError) as error:
            raise ValueError(f"its numbers cannot be read: {error}") from None
        made._require_shapes()
        if not finite:
            raise ValueError("its numbers are not all finite")
        return made

    def _require_shapes(self) -> None:
        """Raise ValueError unless it is one instance, of few steps."""
        noisy = len(self.below) if self.below.ndim else 0
        total = noisy + self.quiet
        if not (noisy <= MOST_NOISY and noisy <= total and 1 <= total <= MOST_STEPS):
            allowed = f"1 to {MOST_STEPS} steps, of which {MOST_NOISY} have noise at most"
            raise ValueError(f"it must have {allowed}, but has {noisy} and {self.quiet} without")
        for name, axes in PER_CANDIDATE.items():
            value = getattr(self, name)
            wanted = ((), (noisy,), (noisy, 2))[axes] if name != "slopes" else (max(2, self.slopes.size),)
            wanted = (max(1, noisy),) if name == "multipliers" else wanted
            if value is not None and value.shape != wanted:
                raise ValueError(f"its {name} must have the shape {wanted}, not {value.shape}")

    def to_dict(self) -> dict[str, object]:
        """What differs from the defaults, as JSON has it."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()
        }
        defaults = {item.name: item.default for item in fields(self)}
        return {name: value for name, value in plain.items() if value != defaults[name]}


def read_instance(file: Path) -> Instance:
    """One instance from a file of JSON.

    Raises:
        ValueError: for a file that holds none.
    """
    try:
        return Instance.of_dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{file} is not an instance, as adabatch attack writes it: {error}") from None


def near_tight_instances() -> tuple[Instance, ...]:
    """The committed ones, found by ``benchmarks/attack.py``."""
    lines = (files("simulate.attack") / "near_tight.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Instance(**json.loads(line)) for line in lines)
