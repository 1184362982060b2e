"""Heat maps of the gradient's moments by part of the model, against samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from adabatch.model.parts import KINDS, ModelPart
from adabatch.reporting.metrics import Record

__all__ = ["has_parts", "parts_figure", "plot_parts"]

VALUES = {
    "trace": r"$\mathrm{tr}\,\Sigma$ (per sample)",
    "noise scale": r"$\mathrm{tr}\,\Sigma / \Vert g\Vert^2$ (samples)",
}


def has_parts(records: Sequence[Record]) -> bool:
    """Whether any record holds the moments of the model's parts."""
    return any(record.get("parts") for record in records)


def plot_parts(records: Sequence[Record], axes: Axes, value: str = "trace") -> Axes:
    """A heat map, one row per part, its layers from top to bottom within each kind; colours are logarithmic.

    Args:
        records: one at least with ``parts`` (name: [trace, squared norm]); those are drawn, each until the next.
        axes: to draw on.
        value: ``trace``, or ``noise scale``, the trace over the squared norm of the batch gradient.
    """
    measured = [record for record in records if record.get("parts")]
    names = sorted({name for record in measured for name in record["parts"]}, key=_place)
    cells = [[record["parts"].get(name, (0.0, 0.0)) for record in measured] for name in names]
    trace, squared_norm = np.moveaxis(np.array(cells), 2, 0)
    values = np.ma.masked_less_equal(trace if value == "trace" else np.ma.divide(trace, squared_norm), 0)
    begin = measured[0]["samples"] - measured[0]["batch_size"]
    edges = [begin, *(record["samples"] for record in measured)]
    rows = np.arange(len(names) + 1) - 0.5
    lowest, highest = (values.min(), values.max()) if values.count() else (1.0, 1.0)
    colours = LogNorm(lowest, max(highest, lowest * 1.01))
    mesh = axes.pcolormesh(edges, rows, values, norm=colours, cmap="viridis", rasterized=True)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.invert_yaxis()
    assert axes.figure is not None
    axes.figure.colorbar(mesh, ax=axes, label=VALUES[value])
    return axes


def parts_figure(records: Sequence[Record]) -> Figure:
    """Trace and noise scale of every part, above each other."""
    count = max(len(record.get("parts") or ()) for record in records)
    figure = Figure(figsize=(7, 2 * max(2.2, 0.13 * count + 0.6)), layout="constrained")
    for axes, value in zip(figure.subplots(2, 1, sharex=True), VALUES, strict=True):
        plot_parts(records, axes, value)
    figure.axes[1].set_xlabel("samples (sequences)")
    return figure


def _place(name: str) -> tuple[int, str, int]:
    """Kinds in their usual order, others after them, layers by number."""
    part = ModelPart.parse(name)
    kinds = ["embedding", *(kind for kind in KINDS if kind not in ("embedding", "head")), "head"]
    order = kinds.index(part.kind) if part.kind in kinds else len(kinds)
    return order, part.kind, -1 if part.layer is None else part.layer
