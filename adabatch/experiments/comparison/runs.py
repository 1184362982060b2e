"""Variants x learning rates x seeds as runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median_high
from typing import NamedTuple

from adabatch.experiments.comparison.ramp import matching_ramp
from adabatch.experiments.comparison.variants import ADAPTIVE, Variant
from adabatch.experiments.run import ExperimentRun
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

    A comparison that is stopped early then has the rate that is most likely the best.

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
    middle = median_high(learning_rates)
    for rate in sorted(learning_rates, key=lambda rate: (rate != middle, rate)):
        for variant in variants:
            keys = [Key(variant.name, rate, seed) for seed in seeds]
            runs |= {key: _run(key, variant, base, seeds, runs, folder) for key in keys}
    return runs


def _run(
    key: Key, variant: Variant, base: Settings, seeds: Sequence[int], runs: Runs, folder: Path
) -> ExperimentRun:
    needs = None
    if variant.derived:
        # A replay follows the seed before, of the first one the second: the same for any number of seeds.
        seed = seeds[abs(seeds.index(key.seed) - 1)] if variant.derived == "replay" else key.seed
        needs = runs[Key(ADAPTIVE, key.learning_rate, seed)]

    def settings() -> Settings:
        final = key.learning_rate * base.optimizer.min_lr / base.optimizer.lr
        own = {"seed": key.seed, "lr": key.learning_rate, "min_lr": final}
        chosen = overlay(base, own | dict(variant.overrides))
        if needs is None:
            return chosen
        if variant.derived == "replay":
            return overlay(chosen, {"replay_run": str(needs.folder)})
        return overlay(chosen, {"ramp_samples": matching_ramp(chosen, needs.records()[-1]["step"])})

    name = f"{key.variant}/lr-{key.learning_rate:g}/seed-{key.seed}"
    return ExperimentRun(name, folder, settings, needs)
