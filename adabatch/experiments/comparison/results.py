"""The results of the finished runs: losses, steps and mean batches by variant, learning rate and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from adabatch.experiments.comparison.frontier import Bound, Frontier
from adabatch.experiments.comparison.runs import Key
from adabatch.experiments.comparison.variants import Variant
from adabatch.experiments.intervals import Interval, mean_interval, paired_difference
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings

__all__ = ["Comparison", "RunResult", "Selection"]


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        steps: optimizer steps.
        mean_batch: samples per step.
        largest_batch: in samples.
        best_loss: smallest validation loss, in nats per token.
        final_loss: the last one; infinite where it was not a number.
        records: of every step.
        settings: of the run.
    """

    steps: int
    mean_batch: float
    largest_batch: int
    best_loss: float
    final_loss: float
    records: Sequence[Record]
    settings: Settings

    @classmethod
    def of_run(cls, records: Sequence[Record], settings: Settings) -> RunResult:
        """From a run's metrics.

        Raises:
            ValueError: if no validation loss was measured.
        """
        measured = (record["val_loss"] for record in records if "val_loss" in record)
        losses = [math.inf if loss is None else float(loss) for loss in measured]
        if not losses:
            raise ValueError("a comparison needs validation losses: set --validation-interval above 0")
        return cls(
            steps=records[-1]["step"],
            mean_batch=records[-1]["samples"] / records[-1]["step"],
            largest_batch=max(record["batch_size"] for record in records),
            best_loss=min(losses),
            final_loss=losses[-1],
            records=records,
            settings=settings,
        )

    def numbers(self) -> dict[str, float]:
        """Steps, batches and losses by name."""
        names = ("steps", "mean_batch", "largest_batch", "best_loss", "final_loss")
        return {name: getattr(self, name) for name in names}


BySeed = dict[int, RunResult]


@dataclass(frozen=True)
class Comparison:
    """All finished runs.

    Attributes:
        variants: in order.
        runs: by variant, learning rate and seed.
    """

    variants: Sequence[Variant]
    runs: Mapping[Key, RunResult]

    @cached_property
    def learning_rates(self) -> list[float]:
        """Ascending."""
        return sorted({key.learning_rate for key in self.runs})

    def by_seed(self, variant: str, rate: float) -> BySeed:
        """The runs of a variant at a learning rate."""
        return {key.seed: run for key, run in sorted(self.runs.items()) if key[:2] == (variant, rate)}

    def at(self, learning_rate: float) -> Selection:
        """All variants at one learning rate."""
        return self._selection(dict.fromkeys((variant.name for variant in self.variants), learning_rate))

    def at_best(self) -> Selection:
        """Each variant at its own best learning rate: that of the smallest mean final loss.

        Rates at which a seed is missing are left out, unless one is missing at every rate.
        """
        return self._selection({variant.name: self._best_rate(variant.name) for variant in self.variants})

    def selections(self) -> dict[str, Selection]:
        """By the name in files: every learning rate and, of several, each variant's best before them."""
        best = {"best": self.at_best()} if len(self.learning_rates) > 1 else {}
        return best | {f"lr-{rate:g}": self.at(rate) for rate in self.learning_rates}

    def _best_rate(self, variant: str) -> float:
        def order(rate: float) -> tuple[int, float]:
            losses = [run.final_loss for run in self.by_seed(variant, rate).values()]
            return -len(losses), fmean(losses or [math.inf])

        return min(self.learning_rates, key=order)

    def _selection(self, rates: Mapping[str, float]) -> Selection:
        chosen = {name: self.by_seed(name, rate) for name, rate in rates.items()}
        present = [variant for variant in self.variants if chosen[variant.name]]
        return Selection(present, rates, chosen)


@dataclass(frozen=True)
class Selection:
    """Every variant at one learning rate, its own or the same for all.

    Attributes:
        variants: those with a finished run, in order.
        rates: learning rate by variant.
        runs: by variant and seed.
    """

    variants: Sequence[Variant]
    rates: Mapping[str, float]
    runs: Mapping[str, BySeed]

    @cached_property
    def constants(self) -> list[Variant]:
        """The constant schedules, smallest batch first."""
        constants = [variant for variant in self.variants if variant.kind == "constant"]
        return sorted(constants, key=lambda variant: variant.overrides["initial_batch"])

    @cached_property
    def frontiers(self) -> dict[int, Frontier]:
        """The constant schedules' frontier of each seed that all of them have."""
        runs = [self.runs[variant.name] for variant in self.constants]
        seeds = set.intersection(*(set(by_seed) for by_seed in runs)) if runs else set()
        return {
            seed: Frontier.of_points([(run[seed].steps, run[seed].final_loss) for run in runs])
            for seed in sorted(seeds)
        }

    def losses(self, variant: str) -> dict[int, float]:
        """Final validation loss by seed."""
        return {seed: run.final_loss for seed, run in self.runs.get(variant, {}).items()}

    def gaps(self, variant: str) -> dict[int, float]:
        """Loss above the frontier at the run's own number of steps, by seed; without those outside of it."""
        return {
            seed: run.final_loss - reference
            for seed, run in self.runs.get(variant, {}).items()
            if seed in self.frontiers and (reference := self.frontiers[seed].loss_at(run.steps)) is not None
        }

    def gap(self, variant: str) -> Interval | None:
        """The mean of :meth:`gaps` with its interval."""
        gaps = list(self.gaps(variant).values())
        return mean_interval(gaps) if gaps else None

    def gap_difference(self, variant: str, other: str) -> Interval | None:
        """How much further above the frontier one variant lies than another, paired."""
        return paired_difference(self.gaps(variant), self.gaps(other))

    def loss_difference(self, variant: str, other: str) -> Interval | None:
        """Final loss above another variant's, paired: the comparison at equal samples."""
        return paired_difference(self.losses(variant), self.losses(other))

    def steps_saved(self, variant: str) -> tuple[Interval, Bound] | None:
        """1 - steps / steps of the constant frontier for the same loss: mean over seeds, or a bound on it.

        A seed whose loss lies below (above) all of the frontier's saves at least (at most) what its last (first)
        constant run gives; None without a frontier, or if seeds lie beyond both ends.
        """
        needed = {
            seed: self.frontiers[seed].steps_for(run.final_loss)
            for seed, run in self.runs[variant].items()
            if seed in self.frontiers
        }
        bounds = {bound for _, bound in needed.values()} - {"exact"}
        if not needed or len(bounds) > 1:
            return None
        saved = [1 - self.runs[variant][seed].steps / steps for seed, (steps, _) in needed.items()]
        return mean_interval(saved), next(iter(bounds), "exact")
