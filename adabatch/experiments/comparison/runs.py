"""Variants x learning rates x seeds as runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adabatch.experiments.comparison.ramp import matching_ramp
from adabatch.experiments.comparison.variants import ADAPTIVE, Variant
from adabatch.experiments.run import ExperimentRun
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings, overlay

__all__ = ["Key", "Runs", "comparison_runs"]


class Key(NamedTuple):
    """Which run of the comparison."""

    variant: str
    learning_rate: float
    seed: int


Runs = dict[Key, ExperimentRun]


def comparison_runs(
    variants: Sequence[Variant],
    base: Settings,
    seeds: Sequence[int],
    learning_rates: Sequence[float],
    folder: Path,
) -> Runs:
    """The runs in the order in which they are wanted: the middle learning rate first, then variant by variant.

    Args:
        variants: each after the one that it is derived from.
        base: settings of all runs.
        seeds: of initial weights and order of samples; equal seeds pair the variants.
        learning_rates: peaks; the final rate stays the same fraction of the peak.
        folder: of the comparison.

    Raises:
        ValueError: for no seed, a seed or learning rate given twice, or a learning rate that is not positive.
    """
    if not seeds:
        raise ValueError("a comparison needs at least 1 seed (--seeds)")
    if not learning_rates or len(set(learning_rates)) < len(learning_rates) or min(learning_rates) <= 0:
        raise ValueError(
            f"the learning rates must be positive and different, but are "
            f"{', '.join(f'{rate:g}' for rate in learning_rates) or 'none'} (--learning-rates)"
        )
    runs: Runs = {}
    for rate in _middle_first(learning_rates):
        for variant in variants:
            keys = [Key(variant.name, rate, seed) for seed in seeds]
            runs |= {key: _run(key, variant, base, seeds, runs, folder) for key in keys}
    return runs


def _run(
    key: Key, variant: Variant, base: Settings, seeds: Sequence[int], runs: Runs, folder: Path
) -> ExperimentRun:
    needs = None
    if variant.derived is not None:
        seed = key.seed if variant.derived == "steps" else _other_seed(key.seed, seeds)
        needs = runs[Key(ADAPTIVE, key.learning_rate, seed)]

    def settings(records: Sequence[Record]) -> Settings:
        final = key.learning_rate * base.optimizer.min_lr / base.optimizer.lr
        own = {"seed": key.seed, "lr": key.learning_rate, "min_lr": final}
        chosen = overlay(base, own | dict(variant.overrides))
        if variant.derived == "steps":
            return overlay(chosen, {"ramp_samples": matching_ramp(chosen, records[-1]["step"])})
        return chosen if needs is None else overlay(chosen, {"replay_run": str(needs.folder)})

    name = f"{key.variant}/lr-{key.learning_rate:g}/seed-{key.seed}"
    return ExperimentRun(name, folder, settings, needs)


def _other_seed(seed: int, seeds: Sequence[int]) -> int:
    """The seed before, for the first one the second: the same for any number of seeds.

    >>> [_other_seed(seed, [4, 5, 6]) for seed in (4, 5, 6)]
    [5, 4, 5]
    """
    return seeds[abs(seeds.index(seed) - 1)]


def _middle_first(rates: Sequence[float]) -> list[float]:
    """The middle one first, so that a comparison that is stopped early has what is most likely the best."""
    ascending = sorted(rates)
    middle = ascending[len(ascending) // 2]
    return [middle, *(rate for rate in ascending if rate != middle)]
