"""The figure of ``adabatch worth``: noise scale and batches over the run, and what each batch costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adabatch.moments.worth import best_batch, price_of_factor
from adabatch.reporting.figures import BLUE, GREEN, GREY, LABELS, ORANGE, panels, plain_numbers
from adabatch.worth.assessment import Assessment, Estimate
from adabatch.worth.evidence import Evidence

__all__ = ["plot_batches", "plot_price", "worth_figure"]


def worth_figure(found: Assessment, evidence: Evidence) -> Figure:
    """Batches and noise scale above the price of the run's own batches, over the samples."""
    figure, axes = panels(2, size=(7.5, 6.4), sharex=True, height_ratios=[3, 2])
    plot_batches(found, evidence, axes[0])
    plot_price(found, evidence, axes[1])
    axes[1].set_xlabel(LABELS["samples"])
    return figure


def plot_batches(found: Assessment, evidence: Evidence, axes: Axes) -> Axes:
    """B, b* with their intervals, the best constant batch and the run's own batches."""
    _course(axes, found.samples, found.noise_scale, ORANGE, "noise scale B (bands: 90%)")
    _course(axes, found.samples, found.best_batch, BLUE, r"best batch $b^* = \sqrt{B\,B_\mathrm{sat}}$")
    axes.plot(evidence.samples, evidence.batches, color=GREEN, drawstyle="steps-pre", label="the run's own batch")
    constant, saturation = found.constant.value, found.saturation.value
    axes.axhline(constant, color=BLUE, linestyle="--", linewidth=1.1, label=f"best constant batch, {constant:.3g}")
    axes.axhline(saturation, color=GREY, linestyle=":", label=rf"$B_\mathrm{{sat}}$, {saturation:.3g}")
    axes.set_yscale("log", base=2)
    plain_numbers(axes.yaxis)
    axes.set_ylabel("sequences")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes


def plot_price(found: Assessment, evidence: Evidence, axes: Axes) -> Axes:
    """The time of the run's own batches and of the best constant one over that of b*, in per cent above it."""
    scales = np.interp(evidence.samples, found.samples, [estimate.value for estimate in found.noise_scale])
    best = best_batch(scales, found.saturation.value)
    for batches, label, color in (
        (evidence.batches, "the run's own batch", GREEN),
        (found.constant.value, "best constant batch", BLUE),
    ):
        price = 100 * (price_of_factor(batches / best, scales, found.saturation.value) - 1)
        style = "-" if color == GREEN else "--"
        axes.plot(evidence.samples, price, style, color=color, linewidth=1.3, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("time over that of $b^*$ (+%)")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes


def _course(axes: Axes, samples: Sequence[float], course: Sequence[Estimate], color: str, label: str) -> None:
    value, low, high = np.array(course).T
    axes.fill_between(samples, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(samples, value, "o-", color=color, markersize=3, linewidth=1.4, label=label)
