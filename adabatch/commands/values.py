"""How options and arguments read paths and numbers: what is refused is shown with what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from adabatch.ranges import Range
from adabatch.settings.paths import expand_user

__all__ = ["FOLDER", "PATH", "number"]


def _path(text: Any) -> Path:
    """The path, home folders found; an empty name, which would be the working directory, is refused."""
    if not str(text):
        raise typer.BadParameter("it is empty: give a path")
    try:
        return expand_user(str(text))
    except ValueError as refusal:
        raise typer.BadParameter(str(refusal)) from None


PATH: dict[str, Any] = {"parser": _path}
"""Keywords of ``typer.Argument`` for a file or folder."""

FOLDER: dict[str, Any] = {**PATH, "metavar": "<path>"}
"""Keywords of ``typer.Option`` for a file or folder."""


def number(kind: type[int] | type[float], allowed: Range | None = None) -> dict[str, Any]:
    """Keywords of ``typer.Option`` for a number.

    Args:
        kind: int or float.
        allowed: its range; None if that is checked later.
    """

    def read(text: Any) -> int | float:
        try:
            value = kind(text)
        except (ValueError, OverflowError):
            whole = "a whole number" if kind is int else "a number"
            raise typer.BadParameter(f"{text!r} is not {whole}{_in_words(allowed)}") from None
        if allowed is not None and value not in allowed:
            raise typer.BadParameter(f"it must be {allowed.text}, but is {value}")
        return value

    return {"parser": read, "metavar": f"<{kind.__name__}>"}


def _in_words(allowed: Range | None) -> str:
    return "" if allowed is None else f" {allowed.text}"
