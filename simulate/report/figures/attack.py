"""An instance on which a bound is nearly attained, or broken: its gradient, and all paths on it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulate.report.figures.style import BLUE, INK, WIDTH, drawn_from
from simulate.table import Table

__all__ = ["plot_gradient", "plot_paths"]


def plot_gradient(table: Table, axes: Axes) -> Axes:
    """The gradient, and where on it steps begin: the larger a point, the likelier.

    Args:
        table: columns part, w, gradient, probability.
        axes: to draw on.
    """
    line, steps = table.where(part="function"), table.where(part="step")
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.plot(line["w"], line["gradient"], color=INK, linewidth=1.0)
    axes.scatter(steps["w"], steps["gradient"], s=60 * steps["probability"] ** 0.5, color=BLUE, alpha=0.4)
    axes.set(xlabel="$w$", ylabel="gradient $G(w)$")
    return axes


def plot_paths(table: Table, axes: Axes) -> Axes:
    """w_k against k on all paths: the darker a step, the likelier.

    Args:
        table: columns part, step, w, to, probability.
        axes: to draw on.
    """
    for row in table.where(part="step").rows():
        step, strength = row["step"], max(0.05, row["probability"] ** 0.5)
        axes.plot([step, step + 1], [row["w"], row["to"]], color=BLUE, alpha=strength, linewidth=1.0)
    axes.set(xlabel="step $k$", ylabel="$w_k$")
    return axes


@drawn_from(
    "attack",
    "An instance found by a search: the gradient of its function with the points where steps begin (area: root of "
    "the probability), and all paths of the optimizer under its two-point noise (darkness: likewise).",
)
def attack_figure(table: Table) -> Figure:
    """Gradient and paths side by side."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_gradient(table, left)
    plot_paths(table, right)
    return figure
