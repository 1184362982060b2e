"""Figures of the experiments: functions take a table and axes, and return the axes.

:data:`FIGURES` says which table each figure is drawn from; :func:`save_figures` writes that table as CSV beside
the PDF and the PNG, and :func:`draw` draws a figure from a table, for example one read back from its CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulate.experiments.result import Table
from theory.adam import largest_admissible_eta
from theory.adam_sharp import largest_admissible_eta as largest_admissible_eta_sharp
from theory.estimator_moments import saturation_level
from theory.printed_adam import largest_printed_beta1

__all__ = [
    "FIGURES",
    "FigureRecipe",
    "draw",
    "plot_batch_demand",
    "plot_clipping",
    "plot_convergence",
    "plot_divergence",
    "plot_estimator_bias",
    "plot_printed_theorem",
    "plot_ratio_map",
    "plot_ratios",
    "plot_scalar_test",
    "plot_statistic",
    "save_figures",
]

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8e5ea2", "#56b4e9"
GREY, INK, PINK = "#8d99ae", "#222222", "#f25fb0"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)

STYLE: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
"""For paper: small serif type that matches text set in Times."""

WIDTH = 7.0
"""Inches: the width of a page's text."""


# ----------------------------------------------------------------------------------------------------
# Convergence and bounds.


def plot_convergence(table: Table, axes: Axes, objective: str) -> Axes:
    """Measured average gradient norm against K, one colour a setting, with its bound and a K^-1/2 guide.

    Args:
        table: columns objective, setting, K, mean, low, high (a band over seeds), theorem_1, theorem_2 (NaN where
            the theorem does not apply); the smaller bound is drawn. Of more than three settings every second.
        axes: to draw on; both scales become logarithmic.
        objective: whose rows are drawn.
    """
    rows = table.where(objective=objective)
    for color, setting in zip(CYCLE, _shown_settings(table), strict=False):
        part = rows.where(setting=setting)
        steps = part.column("K")
        axes.fill_between(steps, part.column("low"), part.column("high"), color=color, alpha=0.25, linewidth=0)
        axes.plot(steps, part.column("mean"), color=color, marker="o", markersize=2.5)
        bound = np.fmin(part.column("theorem_1").astype(float), part.column("theorem_2").astype(float))
        axes.plot(steps, bound, color=color, linestyle="--", linewidth=1.0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _guide(axes, rows)
    axes.set_title(objective)
    return axes


def _shown_settings(table: Table) -> list[str]:
    settings: list[str] = table.values("setting")
    return settings if len(settings) <= 3 else settings[::2]


def _guide(axes: Axes, rows: Table) -> None:
    """A grey line of slope -1/2 below the measured curves."""
    steps = np.unique(rows.column("K").astype(float))
    level = 0.5 * float(np.nanmin(rows.column("mean").astype(float) * np.sqrt(rows.column("K").astype(float))))
    guide = level / np.sqrt(steps)
    axes.plot(steps, guide, color=GREY, linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
    place: dict[str, Any] = {
        "textcoords": "offset points",
        "color": GREY,
        "ha": "left",
        "va": "top",
        "fontsize": 8,
    }
    axes.annotate(r"$K^{-1/2}$", (steps[0], guide[0]), (0, -3), **place)
    axes.set_ylim(bottom=0.2 * float(guide[-1]))


def _convergence_figure(table: Table) -> Figure:
    objectives = table.values("objective")
    columns = min(3, len(objectives))
    lines = -(-len(objectives) // columns)
    figure = Figure(figsize=(WIDTH, 0.55 + 2.15 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, squeeze=False).ravel()
    for axes, objective in zip(grid, objectives, strict=False):
        plot_convergence(table, axes, objective)
    for axes in grid[len(objectives) :]:
        axes.set_visible(False)
    for axes in grid[max(0, len(objectives) - columns) : len(objectives)]:
        axes.set_xlabel("steps $K$")
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in grid[::columns]:
        axes.set_ylabel(r"$\frac{1}{K}\sum_k \|\nabla L(w_k)\|_1$")
    figure.legend(handles=_convergence_legend(table), loc="outside lower center", ncols=3)
    return figure


def _pretty(setting: str) -> str:
    """A setting's label as a paper prints it: with the Greek letter."""
    betas, _, eta = setting.partition("eta ")
    return rf"{betas}$\eta = {eta}$"


def _convergence_legend(table: Table) -> list[Line2D]:
    colors = zip(CYCLE, _shown_settings(table), strict=False)
    handles = [
        Line2D([], [], color=color, marker="o", markersize=2.5, label=_pretty(name)) for color, name in colors
    ]
    handles.append(Line2D([], [], color=INK, linestyle="--", linewidth=1.0, label="bound of the better theorem"))
    handles.append(Line2D([], [], color=GREY, linestyle=(0, (5, 2)), linewidth=0.9, label="guide of slope $-1/2$"))
    return handles


def plot_ratios(table: Table, axes: Axes, theorem: str) -> Axes:
    """Bound over measured sum of every case on the grid, against the step size in units of the theorem's own.

    Args:
        table: columns theorem, setting, step_factor, ratio.
        axes: to draw on.
        theorem: whose rows are drawn.
    """
    rows = table.where(theorem=theorem)
    settings = table.values("setting")
    spread = np.linspace(-0.15, 0.15, max(len(settings), 2))
    for color, shift, setting in zip(CYCLE, spread, settings, strict=False):
        part = rows.where(setting=setting)
        x = part.column("step_factor") * 10.0**shift if len(part) else []
        axes.plot(
            x,
            part.column("ratio") if len(part) else [],
            ".",
            color=color,
            markersize=3.5,
            alpha=0.5,
            label=_pretty(setting),
            rasterized=len(rows) > 2000,
        )
    axes.axhline(1.0, color=INK, linewidth=0.8)
    axes.annotate(
        "a bound below 1 is violated",
        (0.02, 1.0),
        (0, -3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="top",
        fontsize=7.5,
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.1)
    axes.set_title(theorem)
    axes.set_xlabel("step size / the theorem's own")
    return axes


def _ratios_figure(table: Table) -> Figure:
    theorems = table.values("theorem")
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    grid = figure.subplots(1, len(theorems), sharey=True, squeeze=False)[0]
    for axes, theorem in zip(grid, theorems, strict=True):
        plot_ratios(table, axes, theorem)
    grid[0].set_ylabel("bound / measured sum")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, markerscale=2)
    return figure


# ----------------------------------------------------------------------------------------------------
# Ratio maps.


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
    x, y = np.unique(rows.column("beta1")), np.unique(rows.column("y"))
    ratio = np.full((len(y), len(x)), np.nan)
    ratio[np.searchsorted(y, rows.column("y")), np.searchsorted(x, rows.column("beta1"))] = rows.column("ratio")
    mesh = axes.pcolormesh(x, y, ratio, norm=norm, cmap="viridis_r", shading="nearest", rasterized=True)
    axes.set_facecolor("#eeeeee")
    axes.grid(False)
    draw_conditions = _conditions_over_betas if plane == "betas" else _conditions_over_eta
    draw_conditions(axes, float(rows.column("fixed")[0]), x, y)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    return axes, mesh


CONDITIONS = (
    (r"Theorem 1: $\eta^2 < 1 - \beta_1/\sqrt{\beta_2}$", RED, "-"),
    (r"Theorem 2: $\eta^2\,(\beta_1/\sqrt{\beta_2} + \sqrt{1+\eta^2}) < 1$", INK, "-"),
    (r"printed: $\beta_1 \leq \sqrt{\beta_2} - 8(1+\eta^2)(1-\beta_2)/\beta_2^2$", PINK, "--"),
    (r"$\beta_1 < \sqrt{\beta_2}$", GREY, ":"),
)


def _conditions_over_betas(axes: Axes, eta: float, beta1: Any, gap: Any) -> None:
    """Boundaries in the plane of beta1 and 1 - beta2, at one eta."""
    fine = np.geomspace(gap[0], gap[-1], 400)
    beta2 = 1 - fine
    curves = ((1 - eta**2) * np.sqrt(beta2), None, largest_printed_beta1(beta2, eta), np.sqrt(beta2))
    for curve, (_, color, style) in zip(curves, CONDITIONS, strict=True):
        if curve is not None:
            axes.plot(curve, fine, color=color, linestyle=style, linewidth=1.4)
    axes.set_yscale("log")
    axes.set_ylabel(r"$1-\beta_2$")


def _conditions_over_eta(axes: Axes, beta2: float, beta1: Any, eta: Any) -> None:
    """Boundaries in the plane of beta1 and eta, at one beta2."""
    fine = np.linspace(beta1[0], min(beta1[-1], np.sqrt(beta2) * (1 - 1e-9)), 400)
    fine_eta = np.linspace(eta[0], eta[-1], 400)
    axes.plot(fine, largest_admissible_eta(fine, beta2), color=CONDITIONS[0][1], linewidth=1.4)
    axes.plot(fine, largest_admissible_eta_sharp(fine, beta2), color=CONDITIONS[1][1], linewidth=1.4)
    axes.plot(
        largest_printed_beta1(beta2, fine_eta), fine_eta, color=CONDITIONS[2][1], linestyle="--", linewidth=1.4
    )
    axes.set_ylabel(r"$\eta$")


def _ratio_map_figure(table: Table) -> Figure:
    finite = table.column("ratio")[np.isfinite(table.column("ratio"))]
    norm = LogNorm(max(1.0, float(finite.min())), min(float(finite.max()), 3e3))
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    grid = figure.subplots(2, 2)
    for column, theorem in enumerate(("Theorem 1", "Theorem 2")):
        for line, plane in enumerate(("betas", "eta")):
            axes = grid[line, column]
            _, mesh = plot_ratio_map(table, axes, theorem, plane, norm)
            fixed = float(table.where(plane=plane).column("fixed")[0])
            name = r"\eta" if plane == "betas" else r"\beta_2"
            axes.set_title(f"{theorem}, ${name} = {fixed:g}$")
            axes.set_xlabel(r"$\beta_1$")
    figure.colorbar(mesh, ax=grid, label="bound / measured sum", extend="max", pad=0.02, shrink=0.9)
    handles = [
        Line2D([], [], color=color, linestyle=style, linewidth=1.4, label=label)
        for label, color, style in CONDITIONS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


# ----------------------------------------------------------------------------------------------------
# Refutations and negative controls.


def plot_printed_theorem(table: Table, axes: Axes, counterexample: str) -> Axes:
    """Measured sum of gradient norms over K against the printed and the corrected bound.

    Args:
        table: columns counterexample, K, measured, printed_bound, corrected_bound.
        axes: to draw on.
        counterexample: whose rows are drawn.
    """
    rows = table.where(counterexample=counterexample)
    steps, measured, printed = (rows.column(name).astype(float) for name in ("K", "measured", "printed_bound"))
    axes.plot(steps, rows.column("corrected_bound"), color=GREEN, linestyle="--", label="corrected Theorem 1")
    axes.plot(steps, measured, color=BLUE, marker="o", markersize=3, label="measured sum")
    axes.plot(steps, printed, color=RED, linestyle="-.", label="printed bound (B.2)")
    axes.fill_between(steps, printed, measured, where=measured > printed, color=RED, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("steps $K$")
    axes.set_title(counterexample)
    return axes


def _printed_theorem_figure(table: Table) -> Figure:
    examples = table.values("counterexample")
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    grid = figure.subplots(1, len(examples), squeeze=False)[0]
    for axes, example in zip(grid, examples, strict=True):
        plot_printed_theorem(table, axes, example)
    grid[0].set_ylabel(r"$\sum_{k\leq K} |L'(w_k)|$")
    grid[0].legend()
    return figure


def plot_scalar_test(table: Table, axes: Axes) -> Axes:
    """a.w along Adam's run, for the batch that each test asks for.

    Args:
        table: columns test, batch_size, step, a_dot_w.
        axes: to draw on.
    """
    looks = ((RED, "-", 1.3), (BLUE, "-", 2.6), (ORANGE, (0, (4, 2)), 1.3))
    for (color, style, width), test in zip(looks, table.values("test"), strict=False):
        rows = table.where(test=test)
        size = rows.column("batch_size")[0]
        label = f"{test} test, $b = {size}$".replace("l1", r"$\ell_1$")
        line: dict[str, Any] = {"color": color, "linestyle": style, "linewidth": width}
        axes.plot(rows.column("step"), rows.column("a_dot_w"), label=label, **line)
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.set_xlabel("steps $k$")
    axes.set_ylabel(r"$\langle a, w_k\rangle$ (minimum at 0)")
    axes.legend()
    return axes


def _scalar_test_figure(table: Table) -> Figure:
    """The whole run, and its beginning, where the two convergent runs are seen."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    whole, beginning = figure.subplots(1, 2)
    plot_scalar_test(table, whole)
    plot_scalar_test(table, beginning)
    last = int(table.where(test="l1").column("step").max())
    beginning.set_xlim(0, last)
    scalar = table.where(test="scalar")
    early = scalar.column("a_dot_w")[scalar.column("step") <= last]
    beginning.set_ylim(-0.3, 1.1 * float(np.nanmax(early)))
    beginning.set_title(f"first {last} steps")
    whole.set_title("whole run")
    beginning.get_legend().remove()
    return figure


def plot_clipping(table: Table, axes: Axes) -> Axes:
    """a.w with and without clipping, one line a seed.

    Args:
        table: columns clipped, seed, step, a_dot_w.
        axes: to draw on.
    """
    for clipped, color, label in ((True, RED, "clipped"), (False, BLUE, "not clipped")):
        for seed in table.values("seed"):
            rows = table.where(clipped=clipped, seed=seed)
            name = label if seed == table.values("seed")[0] else None
            axes.plot(
                rows.column("step"), rows.column("a_dot_w"), color=color, alpha=0.85, linewidth=1, label=name
            )
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.set_xlabel("steps $k$")
    axes.set_ylabel(r"$\langle a, w_k\rangle$ (minimum at 0)")
    axes.legend()
    return axes


def _clipping_figure(table: Table) -> Figure:
    figure = Figure(figsize=(0.55 * WIDTH, 2.5), layout="constrained")
    plot_clipping(table, figure.subplots())
    return figure


def plot_divergence(table: Table, axes: Axes) -> Axes:
    """Objective value along RMSProp's runs, one colour an eta, with a band over seeds.

    Args:
        table: columns eta, K, mean, low, high.
        axes: to draw on.
    """
    for color, eta in zip((RED, BLUE), table.values("eta"), strict=False):
        rows = table.where(eta=eta)
        axes.fill_between(
            rows.column("K"), rows.column("low"), rows.column("high"), color=color, alpha=0.2, linewidth=0
        )
        axes.plot(rows.column("K"), rows.column("mean"), color=color, label=rf"$\eta = {eta:g}$")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("steps $K$")
    axes.set_ylabel("$L(w_{K+1}) - \\inf L$")
    axes.legend()
    return axes


def _divergence_figure(table: Table) -> Figure:
    figure = Figure(figsize=(0.55 * WIDTH, 2.5), layout="constrained")
    plot_divergence(table, figure.subplots())
    return figure


# ----------------------------------------------------------------------------------------------------
# Batch sizes and estimators.


def plot_batch_demand(table: Table, axes: Axes, problem: str) -> Axes:
    """Batch sizes that the tests ask for along one run on a finite sum.

    Args:
        table: columns problem, K, population, coordinate_wise, norm_wise, estimated (medians over seeds), and
            <name>_low, <name>_high for a band over seeds; miss_rate, of the estimated test.
        axes: to draw on.
        problem: whose rows are drawn.
    """
    rows = table.where(problem=problem)
    steps = rows.column("K")
    for name, color, label in (
        ("coordinate_wise", BLUE, "coordinate-wise, exact"),
        ("norm_wise", GREEN, "norm-wise (4), exact"),
        ("estimated", ORANGE, "coordinate-wise, estimated"),
    ):
        axes.fill_between(
            steps, rows.column(f"{name}_low"), rows.column(f"{name}_high"), color=color, alpha=0.18, linewidth=0
        )
        axes.plot(steps, rows.column(name), color=color, label=label)
    population = float(rows.column("population")[0])
    axes.axhline(population, color=INK, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"full batch, n = {population:g}", (steps[0], population), (2, 2), textcoords="offset points", fontsize=7.5
    )
    missed = 100 * float(rows.column("miss_rate")[-1])
    note = f"the estimate misses the exact\ncondition in {missed:.0f}% of the steps"
    axes.annotate(note, (0.97, 0.05), xycoords="axes fraction", ha="right", va="bottom", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_ylim(1.5, 2.2 * population)
    axes.set_xlabel("steps $k$")
    axes.set_title(problem)
    return axes


def _batch_demand_figure(table: Table) -> Figure:
    problems = table.values("problem")
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    grid = figure.subplots(1, len(problems), sharey=True, squeeze=False)[0]
    for axes, problem in zip(grid, problems, strict=True):
        plot_batch_demand(table, axes, problem)
    grid[0].set_ylabel("batch size (samples)")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def plot_estimator_bias(table: Table, axes: Axes) -> Axes:
    """E[variance estimate] / tr Sigma against b: exact lines, Monte Carlo dots.

    Args:
        table: columns workers, batch_size, printed_exact, printed_mean, unbiased_mean.
        axes: to draw on.
    """
    for color, workers in zip(CYCLE, table.values("workers"), strict=False):
        rows = table.where(workers=workers)
        axes.plot(rows.column("batch_size"), rows.column("printed_exact"), color=color, linewidth=1.1)
        axes.plot(
            rows.column("batch_size"),
            rows.column("printed_mean"),
            "o",
            color=color,
            markersize=3,
            label=f"$J = {workers}$",
        )
        axes.plot(
            rows.column("batch_size"),
            rows.column("unbiased_mean"),
            "s",
            color=color,
            markersize=3,
            markerfacecolor="none",
        )
    axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("global batch size $b$")
    axes.set_ylabel(r"estimate / $\mathrm{tr}\,\Sigma$")
    handles, labels = axes.get_legend_handles_labels()
    handles.append(Line2D([], [], color=INK, marker="s", linestyle="", markersize=3, markerfacecolor="none"))
    axes.legend(handles, [*labels, r"times $b/(J-1)$"], loc="lower left")
    axes.set_title("printed variance (Eq. 5), and corrected")
    return axes


def plot_statistic(table: Table, axes: Axes, workers: int, eta: float) -> Axes:
    """The test statistic T against b for the three estimators: its median, and the level where it saturates.

    Args:
        table: columns workers, batch_size, median_<estimator>.
        axes: to draw on.
        workers: J, whose rows are drawn.
        eta: of the test.
    """
    rows = table.where(workers=workers)
    batch = rows.column("batch_size").astype(float)
    for name, color, marker in (("paper", RED, "o"), ("unbiased", BLUE, "s"), ("debiased", GREEN, "^")):
        label = "printed" if name == "paper" else name
        axes.plot(batch, rows.column(f"median_{name}"), color=color, marker=marker, markersize=3, label=label)
    axes.plot(batch, batch, color=GREY, linewidth=0.9, linestyle=(0, (5, 2)))
    axes.annotate(
        "$T = b$",
        (batch[-1], batch[-1]),
        (0, -8),
        textcoords="offset points",
        ha="right",
        va="top",
        color=GREY,
        fontsize=8,
    )
    level = saturation_level(eta, workers)
    axes.axhline(level, color=RED, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"$(J-1)/\\eta^2 = {level:g}$",
        (batch[0], level),
        (0, 4),
        textcoords="offset points",
        ha="left",
        color=RED,
        fontsize=8,
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("global batch size $b$")
    axes.set_ylabel("test statistic $T$ (samples)")
    axes.set_ylim(top=30 * float(np.nanmax(rows.column("median_debiased"))))
    axes.legend(loc="upper left")
    axes.set_title(rf"noise dominates, $J = {workers}$, $\eta = {eta:g}$")
    return axes


def _estimator_bias_figure(table: Table) -> Figure:
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_estimator_bias(table, left)
    plot_statistic(table, right, workers=4, eta=0.2)
    return figure


# ----------------------------------------------------------------------------------------------------
# Which figure is drawn from which table, and writing them.


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
        _convergence_figure,
        "Average gradient norm against K at step size sqrt(Delta / (L d K)); band: 10% to 90% of the seeds.",
    ),
    "ratios": FigureRecipe(
        _ratios_figure,
        "Bound over measured sum, every case of the grid. Above 1 the bound holds.",
    ),
    "ratio_map": FigureRecipe(
        _ratio_map_figure,
        "Bound over measured sum at the theorem's own step size; grey where the theorem does not apply. "
        "At eta = 0.2 Theorem 2 applies to all betas.",
    ),
    "printed_theorem": FigureRecipe(
        _printed_theorem_figure,
        "The printed theorem refuted: the sum exceeds its bound (shaded), and stays below the corrected one.",
    ),
    "scalar_test": FigureRecipe(
        _scalar_test_figure,
        "Adam on one convex function, with the batch that each test asks for: it climbs under the scalar test.",
    ),
    "clipping": FigureRecipe(
        _clipping_figure,
        "Clipping without a floor on its factor: the coordinate-wise test holds, and Adam climbs.",
    ),
    "rmsprop": FigureRecipe(
        _divergence_figure,
        "RMSProp at beta2 = 1e-4 under two-point noise: eta > 1 may diverge, eta < 1 converges.",
    ),
    "batch_demand": FigureRecipe(
        _batch_demand_figure,
        "Batch demanded along a run on finite sums; median and 10% to 90% of the seeds.",
    ),
    "estimator_bias": FigureRecipe(
        _estimator_bias_figure,
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
