"""Where an adversary searches: the instances that there are for a bound, as points, and points of known instances.

Example:
    >>> from simulate.attack.instance import near_tight_instances
    >>> row = next(row for row in near_tight_instances() if row.bound == "sgd" and row.eta == 0.5)
    >>> space = space_of("sgd", eta=0.5, steps=6)
    >>> again = space.population(space.point(row)[None]).candidate(0)
    >>> bool(abs(again.first / row.first - 1) < 1e-6)
    True
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from simulate.attack.comparison import compare
from simulate.attack.exact_run import optimizer_of
from simulate.attack.instance import PER_CANDIDATE, Instance
from simulate.attack.targets import excluded, rule_of
from simulate.laboratory.theorems import USUAL
from simulate.optimizers import Optimizer
from simulate.streams import Array

__all__ = ["DIMENSION", "SMOOTHNESS", "STEP_SIZE", "VARIABLES", "Space", "space_of"]

CELLS = 16
SMALL, STEEPER = 0.3, 15.0
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
                small = np.exp(-np.minimum(np.abs(2 * x), 11)) / ((self.steps + self.quiet) * alpha)
                values[name] = 3 * x * alpha if name == "start" else small
            else:  # v0, epsilon, floor: 0 or positive
                x = take(1)[:, 0]
                x = np.maximum(x, SMALL) if self.positive else x
                power = 2 if name == "v0" else 1
                values[name] = np.where(x > 0, np.exp(4 * (np.minimum(x, 3) - 1) - _dip(x)) * unit**power, 0.0)
        values["below"], values["above"] = deviation * np.exp(spread), deviation * np.exp(-spread)
        return _rounded(Instance(quiet=self.quiet, **self.fixed, **values))

    def point(self, instance: Instance) -> Array:
        """Where an instance is, shape [size], in units of this space's L, alpha and eta.

        What does not vary here is left out, and noise beyond its own test unless it varies; missing steps are
        without noise.
        """
        n, unit, alpha = self.steps, instance.smoothness * instance.step_size, instance.step_size
        table, extra = slice(0, n), max(0, n - len(instance.below))

        def tables(values: Array, missing: float) -> Array:
            return np.pad(values[table], ((0, extra), (0, 0)), constant_values=missing)

        below, above = tables(instance.below, 0.0), tables(instance.above, 0.0)
        noisy = below * above > 0
        spread = np.log(np.where(noisy, below, 1) / np.where(noisy, above, 1)) / 2
        relative = np.sqrt(below * above) / (instance.eta or 1.0)
        cells = np.pad(instance.slopes, max(0, CELLS // 2 - instance.slopes.size // 2), mode="edge")
        middle = cells.size // 2 - CELLS // 2
        values: dict[str, Any] = {}
        for name in self.free:
            if name in ("multipliers", "falling"):
                s = np.ones(1) if instance.multipliers is None else instance.multipliers[: max(1, n)]
                values[name] = np.log(np.pad(s, (0, max(1, n) - len(s)), mode="edge")) / 1.5
            elif name == "factors":
                least = getattr(rule_of(self.fixed["bound"]), "floor", 0.0)
                clipped = [
                    np.ones((n, 2)) if factors is None else tables(factors, 1.0)
                    for factors in (instance.low_factors, instance.high_factors)
                ]
                values[name] = ((np.concatenate(clipped, -1) - least) / (1 - least) - 0.5).ravel()
            elif name == "violated":
                largest = relative.max(-1, initial=0.0)
                boost = np.where(largest > 1, (np.log(np.maximum(largest, 1)) + 1) / 2, 0.0)
                relative = relative / np.where(boost > 0.5, np.exp(2 * boost - 1), 1)[:, None]
                values[name] = boost
            elif name == "noise":
                largest = relative.max(initial=1.0)
                relative, values[name] = relative / largest, np.log(largest) / 3
            elif name == "start":
                values[name] = instance.start / (3 * alpha)
            elif name == "weight_decay":
                most = instance.steps * alpha * instance.weight_decay
                values[name] = -np.log(np.maximum(most, np.exp(-11))) / 2
            else:
                x = getattr(instance, name) / unit ** (2 if name == "v0" else 1)
                at = np.log(np.where(x > 0, x, 1)) / 4 + 1
                at = np.where(at < SMALL, np.maximum(SMALL + (at - SMALL) / STEEPER, 1e-3), at)
                values[name] = np.where(x > 0, at, -1.0)
        point = [
            np.log(instance.first / unit) / 2,
            np.log(2 * instance.width / alpha),
            cells[middle : middle + CELLS] / (1.5 * instance.smoothness),
            np.concatenate([spread / 2, 1 - relative], -1),
            *(values[name] for name in self.free),
        ]
        return np.concatenate([np.ravel(part) for part in point])


def _dip(x: Array) -> Array:
    """By which the exponent of v_0, epsilon and the floor falls faster just above 0: tiny ones are there too."""
    dip: Array = 4 * (STEEPER - 1) * np.maximum(SMALL - x, 0)
    return dip


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
