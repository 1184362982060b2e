"""The content of a small comparison.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from adabatch.experiments.intervals import mean_interval


def schedule(
    gaps: Sequence[float | None],
    losses: Sequence[float | None] | None = None,
    rates_replayed: Sequence[float | None] | None = None,
    steps: int = 300,
    label: str = "a schedule",
    time: Mapping[str, Any] | None = None,
    p_holm: float | None = None,
) -> dict[str, Any]:
    """One schedule, with one value for each seed; losses are by default the gaps above 1.5.

    Holm's correction changes no p value unless an adjusted one is given.
    """
    count = len(gaps)
    losses = losses or [1.5 + (gap or 0.0) for gap in gaps]
    rates_replayed = rates_replayed or [None] * count
    minus = [a - b for a, b in zip(losses, rates_replayed, strict=True) if a is not None and b is not None]
    gap, minus_rates = _interval(gaps), _interval(minus)
    for tested in (gap, minus_rates):
        if tested is not None and p_holm is not None:
            tested["p_holm"] = p_holm
    return {
        "label": label,
        "kind": "fixed",
        "moves_rate": any(each is not None for each in rates_replayed),
        "steps": steps + (count - 1) / 2,
        "mean_batch": 2048 * 16 / steps,
        "loss": _interval(losses),
        "gap": gap,
        "minus_rates_replayed": minus_rates,
        "minus_batches_replayed": None,
        "time": dict(time or {}),
        "by_seed": {
            str(seed): {
                "loss": losses[seed],
                "steps": steps + seed,
                "gap": gaps[seed],
                "rates_replayed": rates_replayed[seed],
                "batches_replayed": None,
            }
            for seed in range(count)
        },
    }


def comparison(**schedules: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison of these schedules, whose names have hyphens for underscores."""
    return {
        "level": 0.95,
        "setting": {"model": "tiny", "parameters": 29_000, "samples": 32_768, "tokens_per_parameter": 72.3},
        "noise_scale": {
            "lowest": None,
            "highest": 99.5,
            "smallest_batch": 16,
            "largest_batch": 128,
            "within": False,
        },
        "schedules": {name.replace("_", "-"): entry for name, entry in schedules.items()},
    }


def _interval(values: Sequence[float | None]) -> dict[str, Any] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    interval = mean_interval(known)
    ends = {"low": interval.low, "high": interval.high}
    return {"mean": fmean(known), **ends, "seeds": len(known), "p_holm": interval.p_value}
