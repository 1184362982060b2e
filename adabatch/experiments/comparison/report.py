"""The comparison as files: comparison.md, comparison.json, CSVs and figures; and on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adabatch.experiments.comparison.figures import save_comparison_figures
from adabatch.experiments.comparison.frontier import Bound
from adabatch.experiments.comparison.results import Comparison, Selection
from adabatch.experiments.comparison.tables import (
    gap_table,
    loss_table,
    noise_table,
    speed_table,
    wall_clock_table,
)
from adabatch.experiments.comparison.variants import ADAPTIVE, Variant
from adabatch.experiments.intervals import LEVEL, Interval
from adabatch.experiments.text import TextTable
from adabatch.files import write_text
from adabatch.reporting.metrics import finite_or_null

__all__ = ["comparison_tables", "write_report"]


def write_report(comparison: Comparison, folder: Path, heading: str) -> str:
    """Write all tables and figures of the finished runs into ``folder``; the tables as Markdown text.

    Everything but ``speed.csv`` is the same whenever the same runs were executed. ``heading`` begins the text.
    """
    tables = comparison_tables(comparison)
    text = f"{heading}\n\n" + "\n".join(table.markdown() for table in tables.values())
    speed = speed_table(comparison)
    write_text(folder / "comparison.md", text)
    write_text(folder / "comparison.json", json.dumps(_as_json(comparison), indent=1, allow_nan=False) + "\n")
    for name, table in (tables | {"speed": speed}).items():
        write_text(folder / f"{name}.csv", table.csv())
    write_text(folder / "runs.csv", _runs_table(comparison).csv())
    save_comparison_figures(comparison, folder / "figures")
    return text + "\n" + speed.markdown()


def comparison_tables(comparison: Comparison) -> dict[str, TextTable]:
    """The reproducible tables by file name: each variant at its best learning rate, and at every rate."""
    tables: dict[str, TextTable] = {}
    for number, (name, selection) in enumerate(comparison.selections().items()):
        rate = name.removeprefix("lr-")
        where = "each schedule at its own best learning rate" if name == "best" else f"at lr {rate}"
        tables[f"losses-{name}"] = loss_table(selection, f"Losses, {where}")
        tables[f"gaps-{name}"] = gap_table(selection, f"Paired differences, {where}")
        if any(variant.kind == "adaptive" for variant in selection.variants):
            tables[f"noise-{name}"] = noise_table(selection, f"What eta means, {where}")
        for target in selection.constants[:0:-1] if number == 0 else []:
            size = target.overrides["initial_batch"]
            title = f"Simulated time to the loss of constant {size}, {where}"
            tables[f"time-to-{size}-{name}"] = wall_clock_table(selection, target, title)
    return tables


def _runs_table(comparison: Comparison) -> TextTable:
    """Every run, in full precision."""
    columns = ("variant", "lr", "seed", "steps", "mean_batch", "largest_batch", "best_val_loss", "final_val_loss")
    rows = [
        (key.variant, *map(repr, (key.learning_rate, key.seed, *run.numbers().values())))
        for key, run in sorted(comparison.runs.items())
    ]
    return TextTable("Runs", "", columns, rows)


def _as_json(comparison: Comparison) -> dict[str, Any]:
    selections = {f"{rate:g}": comparison.at(rate) for rate in comparison.learning_rates}
    selections["best"] = comparison.at_best()
    return {
        "level": LEVEL,
        "runs": [key._asdict() | finite_or_null(run.numbers()) for key, run in sorted(comparison.runs.items())],
        "by_learning_rate": {
            name: [_variant_json(variant, selection) for variant in selection.variants]
            for name, selection in selections.items()
        },
    }


def _variant_json(variant: Variant, selection: Selection) -> dict[str, Any]:
    name, constants = variant.name, selection.constants
    return {
        "variant": name,
        "label": variant.label,
        "learning_rate": selection.rates[name],
        "gap_at_equal_steps": _interval(selection.gap(name)),
        "steps_saved_at_equal_loss": _saved(selection.steps_saved(name)),
        "differences_at_equal_samples": {
            constant.name: _interval(selection.loss_difference(name, constant.name)) for constant in constants
        },
        f"gap_minus_{ADAPTIVE}": _interval(selection.gap_difference(name, ADAPTIVE)),
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return finite_or_null({"mean": interval.mean, "low": interval.low, "high": interval.high}) | {
        "seeds": interval.count
    }


def _saved(saved: tuple[Interval, Bound] | None) -> dict[str, Any] | None:
    return None if saved is None else (_interval(saved[0]) or {}) | {"bound": saved[1]}
