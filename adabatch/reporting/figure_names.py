"""What the figures of a run are called, known without importing matplotlib."""

from __future__ import annotations

__all__ = ["FIGURES", "KINDS", "figure_files"]

FIGURES = ("training", "training-steps", "moments", "moments-steps", "layers")
"""The figures of a run."""

KINDS = ("png", "pdf")
"""The formats of each."""


def figure_files() -> str:
    """A pattern of the names that :func:`adabatch.reporting.figures.save_figures` writes, temporary ones included.

    >>> import re
    >>> re.fullmatch(figure_files(), "moments-steps.tmp.pdf") is not None
    True
    """
    return rf"({'|'.join(FIGURES)})(\.tmp)?\.({'|'.join(KINDS)})"
