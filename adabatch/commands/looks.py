"""How figures are written: size, kinds of files and a style, as options read them."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import typer

__all__ = ["SIZE", "figure_format", "style_of"]

FORMATS = ("png", "pdf", "svg")


def _size(text: Any) -> tuple[float, float | None]:
    """Width and height in inches; without a height, None for it."""
    match = re.fullmatch(r"(\d+\.?\d*)(?:x(\d+\.?\d*))?", str(text))
    width, height = (float(part) if part else None for part in match.groups()) if match else (None, None)
    if width is None or not all(1 <= length <= 40 for length in (width, height or width)):
        raise typer.BadParameter(f"{text!r} is not a size: give a width in inches, or also a height: 3.4x2.6")
    return width, height


def figure_format(text: Any) -> str:
    """One of the kinds of files."""
    if text not in FORMATS:
        raise typer.BadParameter(f"unknown format {text!r}; known: {', '.join(FORMATS)}")
    return str(text)


SIZE: dict[str, Any] = {"parser": _size, "metavar": "<width[xheight]>"}
"""Keywords of ``typer.Option`` for the size of a figure."""


class _Complaints(logging.Handler):
    """What matplotlib logs of a style file, in place of printing it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().strip().splitlines()[:1]))


def style_of(file: Path | None) -> dict[str, Any]:
    """The settings of a style sheet of matplotlib; none without a file.

    Raises:
        ValueError: for a file that is not there, or has a line that is not a setting of matplotlib.
    """
    if file is None:
        return {}
    if not file.is_file():
        raise ValueError(f"no file {file}: name a style sheet of matplotlib (--style)")
    from matplotlib import rc_params_from_file

    complaints, log = _Complaints(), logging.getLogger("matplotlib")
    log.addHandler(complaints)
    propagated, log.propagate = log.propagate, False
    try:
        style = dict(rc_params_from_file(file, use_default_template=False))
    except UnicodeDecodeError:
        complaints.lines.append("it is not text")
    finally:
        log.removeHandler(complaints)
        log.propagate = propagated
    if complaints.lines:
        raise ValueError(f"{file} is not a style sheet of matplotlib (--style): {complaints.lines[0]}")
    return style
