"""Colours, type and width of the figures."""

from __future__ import annotations

from typing import Any

__all__ = ["BLUE", "CYCLE", "GREEN", "GREY", "INK", "ORANGE", "PINK", "PURPLE", "RED", "SKY", "STYLE", "WIDTH"]

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
