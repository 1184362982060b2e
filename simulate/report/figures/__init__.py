"""Figures of the experiments: functions take a table and axes, and return the axes.

:data:`FIGURES` names the table each figure is drawn from; :func:`save_figures` writes that table as CSV next to
the PDF and the PNG, and :func:`draw` draws a figure from a table, for example one read back from its CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report.figures.batches import (
    batch_demand_figure,
    estimator_bias_figure,
    plot_batch_demand,
    plot_estimator_bias,
    plot_statistic,
)
from simulate.report.figures.convergence import convergence_figure, plot_convergence, plot_ratios, ratios_figure
from simulate.report.figures.ratio_map import plot_ratio_map, ratio_map_figure
from simulate.report.figures.refutations import (
    clipping_figure,
    divergence_figure,
    plot_clipping,
    plot_divergence,
    plot_published_theorem,
    plot_scalar_test,
    published_theorem_figure,
    scalar_test_figure,
)
from simulate.report.figures.style import STYLE

__all__ = [
    "FIGURES",
    "FigureRecipe",
    "draw",
    "plot_batch_demand",
    "plot_clipping",
    "plot_convergence",
    "plot_divergence",
    "plot_estimator_bias",
    "plot_published_theorem",
    "plot_ratio_map",
    "plot_ratios",
    "plot_scalar_test",
    "plot_statistic",
    "save_figures",
]


@dataclass(frozen=True)
class FigureRecipe:
    """How a figure is made.

    Attributes:
        draw: from its table.
        caption: what it shows, in a sentence or two.
    """

    draw: Callable[[Table], Figure]
    caption: str


FIGURES: dict[str, FigureRecipe] = {
    "convergence": FigureRecipe(
        convergence_figure,
        "Average gradient norm against K at step size sqrt(Delta / (L d K)); band: 10% to 90% of the seeds.",
    ),
    "ratios": FigureRecipe(
        ratios_figure,
        "Bound over measured sum, every case of the grid. Above 1 the bound holds.",
    ),
    "ratio_map": FigureRecipe(
        ratio_map_figure,
        "Bound over measured sum at the theorem's own step size; grey where the theorem does not apply. "
        "At eta = 0.2 Theorem 2 applies to all betas.",
    ),
    "published_theorem": FigureRecipe(
        published_theorem_figure,
        "The published theorem refuted: the sum exceeds its bound (shaded), and stays below the corrected one.",
    ),
    "scalar_test": FigureRecipe(
        scalar_test_figure,
        "Adam on one convex function, with the batch that each test asks for: it climbs under the scalar test.",
    ),
    "clipping": FigureRecipe(
        clipping_figure,
        "Clipping without a floor on its factor: the coordinate-wise test holds, and Adam climbs.",
    ),
    "rmsprop": FigureRecipe(
        divergence_figure,
        "RMSProp at beta2 = 1e-4 under two-point noise: eta > 1 may diverge, eta < 1 converges.",
    ),
    "batch_demand": FigureRecipe(
        batch_demand_figure,
        "Batch demanded along a run on finite sums; median and 10% to 90% of the seeds.",
    ),
    "estimator_bias": FigureRecipe(
        estimator_bias_figure,
        "Left: the variance between workers against the per-sample variance. Right: medians of the statistics "
        "made from it.",
    ),
}
"""Figures by the name of their table."""


def draw(name: str, table: Table) -> Figure:
    """One figure from its table, in the style of :data:`STYLE`.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in FIGURES:
        raise ValueError(f"unknown figure {name!r}; known are: {', '.join(FIGURES)}")
    with mpl.rc_context(STYLE):
        return FIGURES[name].draw(table)


def save_figures(tables: Mapping[str, Table], folder: Path) -> dict[str, Path]:
    """Write every table as CSV, and the figure drawn from it (if there is one) as PDF and PNG.

    The files depend on the tables only: no dates are stored.

    Returns:
        The PNG of each figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, table in tables.items():
        table.write_csv(folder / f"{name}.csv")
        if name not in FIGURES:
            continue
        with mpl.rc_context(STYLE):
            figure = FIGURES[name].draw(table)
            written[name] = folder / f"{name}.png"
            figure.savefig(written[name], dpi=200, metadata={"Software": None})
            figure.set_layout_engine("none")  # it has been laid out: the PDF takes it as it is
            figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    return written
