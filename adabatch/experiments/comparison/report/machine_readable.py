"""What comparison.json holds: the numbers of the tables, for programs and for the check of claims."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from adabatch.experiments.comparison.findings import CONTRASTS, Contrast, Findings
from adabatch.experiments.comparison.frontier import shared_setting
from adabatch.experiments.comparison.hardware import RelativeTime
from adabatch.experiments.comparison.noise import NoiseRange
from adabatch.experiments.comparison.report.tuned import Tuned
from adabatch.experiments.comparison.results import Comparison
from adabatch.experiments.comparison.schedules import Schedule
from adabatch.experiments.intervals import LEVEL, Interval, mean_interval, seeds_needed
from adabatch.reporting.metrics import finite_or_null
from adabatch.training.model_size import planned_parameters

__all__ = ["Setting", "as_json"]


@dataclass(frozen=True)
class Setting:
    """Under which circumstances schedules are compared.

    Attributes:
        model: its name.
        parameters: of it.
        data: names of what it is trained on.
        tokenizer: of the data.
        sequence_length: tokens of a sample of full length.
        samples: of each run.
        tokens_per_parameter: of each run whose sequences all have full length.
        validation_samples: of each validation loss.
        precision: in which the model is computed.
        seeds: of the results, at most.
        first_seed: of the results.
        search_points: of each schedule's search, at most; 0 where all points were found by another comparison.
        search_runs: of each schedule's search, at most; likewise.
    """

    model: str
    parameters: int
    data: list[str]
    tokenizer: str
    sequence_length: int
    samples: int
    tokens_per_parameter: float
    validation_samples: int
    precision: str
    seeds: int
    first_seed: int
    search_points: int
    search_runs: int

    @classmethod
    def of(cls, comparison: Comparison) -> Setting:
        """Of a comparison."""
        base, parameters = comparison.base, planned_parameters(comparison.base)
        tokens = base.run.samples * base.data.sequence_length
        searched = [search.effort for search in comparison.searches.values() if search.losses]
        seeds = max(len(by_seed) for by_seed in comparison.results.values())
        return cls(
            **shared_setting(base),
            parameters=parameters,
            tokens_per_parameter=tokens / parameters,
            seeds=seeds,
            first_seed=base.data.seed,
            search_points=max((effort.points + effort.closing for effort in searched), default=0),
            search_runs=max((effort.runs for effort in searched), default=0),
        )


def as_json(findings: Findings, setting: Setting) -> dict[str, Any]:
    """Everything that the tables say, without NaN and infinities."""
    return {
        "level": LEVEL,
        "setting": asdict(setting),
        "noise_scale": noise_json(findings.noise),
        "schedules": {schedule.name: _schedule(schedule, findings) for schedule in findings.comparison.schedules},
    }


def _schedule(schedule: Schedule, findings: Findings) -> dict[str, Any]:
    comparison, name = findings.comparison, schedule.name
    runs, search = list(comparison.results[name].values()), comparison.searches[name]
    tuned = Tuned.of(comparison, schedule)
    contrasts = findings.contrasts.get(name, dict.fromkeys(CONTRASTS))
    return {
        "label": schedule.label,
        "kind": schedule.kind,
        "moves_rate": schedule.needs_control(comparison.base),
        "rate": tuned.rate,
        "path": tuned.path,
        "warmup": tuned.warmup,
        "edges": list(tuned.edges),
        "tries": len(search.losses),
        "steps": fmean(run.steps for run in runs),
        "mean_batch": fmean(run.mean_batch for run in runs),
        "largest_batch": max(run.largest_batch for run in runs),
        "loss": interval_json(mean_interval([run.final_loss for run in runs])),
        **{what: contrast_json(contrast) for what, contrast in contrasts.items()},
        "time": {hardware: time_json(time) for hardware, time in findings.times[name].items()},
        "by_seed": _by_seed(schedule, comparison),
    }


def _by_seed(schedule: Schedule, comparison: Comparison) -> dict[str, Any]:
    name = schedule.name
    gaps = comparison.gaps(name) if schedule.kind != "constant" else {}
    rates, batches = (
        {seed: run.final_loss for seed, run in control.get(name, {}).items()}
        for control in (comparison.rates_replayed, comparison.batches_replayed)
    )
    return {
        str(seed): finite_or_null(
            {
                "loss": run.final_loss,
                "steps": run.steps,
                "gap": gaps.get(seed),
                "rates_replayed": rates.get(seed),
                "batches_replayed": batches.get(seed),
            }
        )
        for seed, run in sorted(comparison.results[name].items())
    }


def interval_json(interval: Interval, p: float | None = None, adjusted: float | None = None) -> dict[str, Any]:
    """An interval; p values where a difference is tested."""
    return finite_or_null(
        {
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "seeds": interval.count,
            "p": p,
            "p_holm": adjusted,
            "seeds_needed": seeds_needed(interval),
        }
    )


def contrast_json(contrast: Contrast | None) -> dict[str, Any] | None:
    """A tested difference."""
    if contrast is None:
        return None
    return interval_json(contrast.interval, contrast.interval.p_value, contrast.adjusted)


def time_json(time: RelativeTime | None) -> dict[str, Any] | None:
    """A ratio of times; ends that are not known are null."""
    return None if time is None else finite_or_null(asdict(time))


def noise_json(noise: NoiseRange | None) -> dict[str, Any] | None:
    """The noise scale along the runs, and whether it lies within the constant batches."""
    if noise is None:
        return None
    scales = {"lowest": noise.lowest, "highest": noise.highest}
    batches = {"smallest_batch": noise.smallest_batch, "largest_batch": noise.largest_batch}
    return finite_or_null(scales) | batches | {"within": noise.within}
