"""Maps of bound over measured sum, over the betas and eta."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from simulate.experiments.result import Table
from simulate.report.figures.style import GREY, INK, PINK, RED, WIDTH, drawn_from
from theory.adam.theorem1 import largest_admissible_eta
from theory.adam_sharp.theorem2 import largest_admissible_eta as largest_admissible_eta_sharp
from theory.audit.published_adam import largest_published_beta1

__all__ = ["plot_ratio_map"]


def plot_ratio_map(table: Table, axes: Axes, theorem: str, plane: str, norm: LogNorm) -> Any:
    """Bound over measured sum as colours over (beta1, 1 - beta2) or (beta1, eta), with the conditions drawn.

    Args:
        table: columns plane, theorem, beta1, y (1 - beta2 or eta), fixed (the other one), ratio (NaN outside the
            theorem's condition).
        axes: to draw on.
        theorem: ``"Theorem 1"`` or ``"Theorem 2"``.
        plane: ``"betas"`` or ``"eta"``.
        norm: of the colours, shared by the maps.

    Returns:
        The axes, and the mesh that a colour bar needs.
    """
    rows = table.where(theorem=theorem, plane=plane)
    x, y = np.unique(rows["beta1"]), np.unique(rows["y"])
    ratio = np.full((len(y), len(x)), np.nan)
    ratio[np.searchsorted(y, rows["y"]), np.searchsorted(x, rows["beta1"])] = rows["ratio"]
    mesh = axes.pcolormesh(x, y, ratio, norm=norm, cmap="viridis_r", shading="nearest", rasterized=True)
    axes.patch.set(facecolor="#f4f4f4", edgecolor="#bbbbbb", hatch="////", linewidth=0)  # told from light colours
    axes.grid(False)
    curves = _conditions(plane, float(rows["fixed"][0]), x, y)
    for curve, (_, color, style) in zip(curves, CONDITIONS, strict=True):
        if curve is not None:
            axes.plot(*curve, color=color, linestyle=style, linewidth=1.4, path_effects=[OUTLINE])
    yscale, ylabel = ("log", r"$1-\beta_2$") if plane == "betas" else ("linear", r"$\eta$")
    axes.set(yscale=yscale, ylabel=ylabel, xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    return axes, mesh


OUTLINE = withStroke(linewidth=2.6, foreground="white", alpha=0.8)
"""Of lines that cross light and dark cells."""

CONDITIONS = (
    (r"Theorem 1: $\eta^2 < 1 - \beta_1/\sqrt{\beta_2}$", RED, "-"),
    (r"Theorem 2: $\Lambda\eta^2 < h$", INK, "-."),
    (r"published: $\beta_1 \leq \sqrt{\beta_2} - 8(1+\eta^2)(1-\beta_2)/\beta_2^2$", PINK, "--"),
    (r"$\beta_1 < \sqrt{\beta_2}$", GREY, ":"),
)


def _conditions(plane: str, fixed: float, beta1: Any, y: Any) -> tuple[Any, ...]:
    """The boundaries of :data:`CONDITIONS` in a plane, each as its x and y, and None where one is not drawn."""
    if plane == "betas":
        gap = np.geomspace(y[0], y[-1], 400)
        beta2 = 1 - gap
        published = largest_published_beta1(beta2, fixed)
        return ((1 - fixed**2) * np.sqrt(beta2), gap), None, (published, gap), (np.sqrt(beta2), gap)
    last = min(beta1[-1], np.sqrt(fixed) * (1 - 1e-9))
    below = last - (last - beta1[0]) * np.linspace(1, 0, 80) ** 2  # dense at the end, where both fall steeply
    eta = np.linspace(y[0], y[-1], 400)
    first, second = largest_admissible_eta(below, fixed), largest_admissible_eta_sharp(below, fixed)
    return (below, first), (below, second), (largest_published_beta1(fixed, eta), eta), None


@drawn_from(
    "ratio_map",
    "Bound over measured sum at the theorem's own step size, a cell per run; the colours end where the bar's "
    "arrow does. Hatched grey cells have no bound: the theorem's condition fails at their centre, or beta1 >= "
    "sqrt(beta2), beyond which nothing is run. Lines are where the conditions end; at eta = 0.2 Theorem 2's "
    "ends with beta1 < sqrt(beta2).",
)
def ratio_map_figure(table: Table) -> Figure:
    """Both theorems over the betas and over eta."""
    finite = table["ratio"][np.isfinite(table["ratio"])]
    norm = LogNorm(max(1.0, float(finite.min())), min(float(finite.max()), 3e3))
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    grid = figure.subplots(2, 2)
    for column, theorem in enumerate(("Theorem 1", "Theorem 2")):
        for line, plane in enumerate(("betas", "eta")):
            axes = grid[line, column]
            _, mesh = plot_ratio_map(table, axes, theorem, plane, norm)
            fixed = float(table.where(plane=plane)["fixed"][0])
            name = r"\eta" if plane == "betas" else r"\beta_2"
            axes.set(title=f"{theorem}, ${name} = {fixed:g}$", xlabel=r"$\beta_1$")
    figure.colorbar(mesh, ax=grid, label="bound / measured sum", extend="max", pad=0.02, shrink=0.9)
    handles = [
        Line2D([], [], color=color, linestyle=style, linewidth=1.4, label=label)
        for label, color, style in CONDITIONS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
