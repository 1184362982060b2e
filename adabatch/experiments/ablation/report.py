"""The ablation as ablation.md, ablation.csv and heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from adabatch.experiments.ablation.behaviour import AT_ONCE, FEW_INCREASES, Behaviour, behaviour, reached_at
from adabatch.experiments.ablation.grid import Blocks, Levels, point_name, point_settings
from adabatch.experiments.comparison.frontier import Frontier
from adabatch.experiments.intervals import Interval, mean_interval
from adabatch.experiments.text import MISSING, TextTable, difference_text
from adabatch.files import write_text
from adabatch.reporting.console import summary
from adabatch.reporting.figures import plain_numbers, write_figures
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings

__all__ = ["Ablation", "PointResult", "heat_maps", "write_ablation"]

DEFINITION = (
    f"jumps: at the largest batch within the first {AT_ONCE:.0%} of the samples, or by at most {FEW_INCREASES} "
    "increases; never grows: still the first batch at the end; adapts: anything between. "
    "Empty: not finished, or left out since it never grows in expectation."
)


@dataclass(frozen=True)
class PointResult:
    """What one point did, means over seeds.

    Attributes:
        behaviours: of each seed.
        steps: optimizer steps.
        mean_batch: samples per step.
        sizes: different batch sizes.
        reached: share of the samples before the largest batch; NaN if a seed never reached it.
        loss: final validation loss; NaN without validation, infinite if a run diverged.
        gap: of the loss, to constant batches at as many steps; None without these, or outside of their steps.
    """

    behaviours: tuple[Behaviour, ...]
    steps: float
    mean_batch: float
    sizes: float
    reached: float
    loss: float
    gap: Interval | None = None

    @classmethod
    def of_runs(
        cls, runs: Mapping[int, Sequence[Record]], maximum: int, frontiers: Mapping[int, Frontier] | None = None
    ) -> PointResult:
        """From the records of each seed.

        Args:
            runs: records by seed.
            maximum: the largest batch allowed.
            frontiers: of constant batches, by seed.
        """
        values = {seed: summary(records) for seed, records in runs.items()}
        reached = [reached_at(records, maximum) for records in runs.values()]
        losses = {seed: value["final validation loss"] for seed, value in values.items()}
        gaps = [
            losses[seed] - reference
            for seed, frontier in (frontiers or {}).items()
            if losses.get(seed) is not None and (reference := frontier.loss_at(values[seed]["steps"])) is not None
        ]
        return cls(
            behaviours=tuple(behaviour(records, maximum) for records in runs.values()),
            steps=fmean([value["steps"] for value in values.values()]),
            mean_batch=fmean([value["mean batch"] for value in values.values()]),
            sizes=fmean([len({record["batch_size"] for record in records}) for records in runs.values()]),
            reached=fmean([math.nan if share is None else share for share in reached]),
            loss=fmean([math.nan if loss is None else loss for loss in losses.values()]),
            gap=mean_interval(gaps) if gaps else None,
        )

    @property
    def word(self) -> str:
        """The behaviour, or all that occurred."""
        return " / ".join(sorted(set(self.behaviours)))


@dataclass(frozen=True)
class Ablation:
    """The finished points.

    Attributes:
        base: settings that all points share.
        blocks: what eta was crossed with.
        etas: of the grid.
        results: by the point's name.
    """

    base: Settings
    blocks: Blocks
    etas: Sequence[float]
    results: Mapping[str, PointResult]

    def table(self, levels: Levels) -> list[list[PointResult | None]]:
        """Levels x etas; None where a point is not finished."""
        return [
            [self.results.get(point_name(point_settings(self.base, eta, overrides))) for eta in self.etas]
            for overrides in levels.values()
        ]


def write_ablation(ablation: Ablation, folder: Path, heading: str) -> str:
    """Write tables and heat maps of the finished points into ``folder``; the tables as Markdown text.

    ``heading`` begins the text.
    """
    tables = [_block_table(ablation, name, levels) for name, levels in ablation.blocks.items()]
    if any(result.gap for result in ablation.results.values()):
        tables += [_gap_table(ablation, name, levels) for name, levels in ablation.blocks.items()]
    text = f"{heading}\n\n{DEFINITION}\n\n" + "\n".join(table.markdown() for table in tables)
    write_text(folder / "ablation.md", text)
    write_text(folder / "ablation.csv", _points_table(ablation.results).csv())
    write_figures({"ablation": heat_maps(ablation)}, folder)
    return text


def heat_maps(ablation: Ablation) -> Figure:
    """A panel per block: mean batch as colour, behaviour as letter (J, N, A), over eta and the block's levels."""
    heights = [len(levels) for levels in ablation.blocks.values()]
    figure = Figure(figsize=(8, 1.6 + 0.62 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    largest = max(result.mean_batch for result in ablation.results.values())
    scale = LogNorm(ablation.base.schedule.initial_batch, largest + 1)
    for axes, (name, levels) in zip(panels, ablation.blocks.items(), strict=True):
        _heat_map(axes, ablation, levels, scale)
        axes.set_ylabel(name)
    panels[-1].set_xlabel("eta")
    bar = figure.colorbar(panels[0].images[0], ax=list(panels), shrink=0.6, label="mean batch (sequences)")
    plain_numbers(bar.ax.yaxis)
    bar.ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))  # all nine between two tens would overlap
    bar.ax.yaxis.set_minor_formatter(lambda value, _: f"{value:g}")
    figure.suptitle("J jumps   N never grows   A adapts; below: final validation loss", fontsize=10)
    return figure


def _heat_map(axes: Axes, ablation: Ablation, levels: Levels, scale: LogNorm) -> None:
    table = ablation.table(levels)
    means = np.array([[np.nan if result is None else result.mean_batch for result in row] for row in table])
    axes.imshow(means, norm=scale, aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(ablation.etas)), [f"{eta:g}" for eta in ablation.etas])
    axes.set_yticks(range(len(levels)), list(levels))
    for (row, column), mean in np.ndenumerate(means):
        result = table[row][column]
        if result is not None:
            letters = "/".join(sorted({word[0].upper() for word in result.behaviours}))
            color = "black" if scale(mean) > 0.6 else "white"
            text = f"{letters}\n{result.loss:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7)


def _block_table(ablation: Ablation, name: str, levels: Levels) -> TextTable:
    rows = [
        (level, *("" if result is None else f"{result.word}, {result.mean_batch:.0f}" for result in row))
        for level, row in zip(levels, ablation.table(levels), strict=True)
    ]
    columns = (name, *(f"eta {eta:g}" for eta in ablation.etas))
    return TextTable(f"eta and {name}", "What the batch did, and its mean.", columns, rows)


def _gap_table(ablation: Ablation, name: str, levels: Levels) -> TextTable:
    rows = [
        (level, *(difference_text(point.gap if point else None, 3) for point in row))
        for level, row in zip(levels, ablation.table(levels), strict=True)
    ]
    note = (
        "Final validation loss, at the learning rate of this ablation, minus that of tuned constant batches at as "
        f"many steps, paired by seed, with its 95% t interval; {MISSING}: fewer or more steps than any of these."
    )
    columns = (name, *(f"eta {eta:g}" for eta in ablation.etas))
    return TextTable(f"eta and {name}: gap to constant batches", note, columns, rows)


def _points_table(results: Mapping[str, PointResult]) -> TextTable:
    columns: tuple[str, ...] = ("point", "behaviour", "steps", "mean_batch", "sizes", "largest_reached_at")
    columns += ("final_val_loss", "gap", "gap_half_width")
    rows = [
        (
            *(name, o.word, f"{o.steps:g}", repr(o.mean_batch), f"{o.sizes:g}", repr(o.reached), repr(o.loss)),
            *(("", "") if o.gap is None else (repr(o.gap.mean), repr(o.gap.half_width))),
        )
        for name, o in results.items()
    ]
    return TextTable("Points", "", columns, rows)
