"""Which rate, path and warm-up a comparison found for each schedule: a file, for other comparisons to take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, Point
from adabatch.files import write_text

__all__ = ["TUNED", "read_tuned", "write_tuned"]

TUNED = "tuned.json"
"""The file in a comparison's folder."""


def write_tuned(points: Mapping[str, Point], folder: Path) -> None:
    """Write the points by schedule: half octaves above ``--lr``, the path's name, the warm-up's share."""
    paths = list(PATHS)
    found = {
        name: {"rate": point.rate, "path": paths[point.path], "warmup": WARMUPS[point.warmup]}
        for name, point in points.items()
    }
    write_text(folder / TUNED, json.dumps(found, indent=2) + "\n")


def read_tuned(folder: Path, names: Iterable[str]) -> dict[str, Point]:
    """The points of these schedules that a comparison in a folder found.

    Args:
        folder: of the other comparison, as given with ``--tuned-by``.
        names: of the schedules.

    Raises:
        ValueError: if there is no such file, it is damaged, or a schedule is not in it.
    """
    file = folder / TUNED
    if not file.is_file():
        raise ValueError(
            f"{folder} has no {TUNED}: name the folder of a comparison whose searches are over (--tuned-by)"
        )
    try:
        found = {name: _point(entry) for name, entry in json.loads(file.read_text("utf-8")).items()}
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError(
            f"{file} is damaged, or of another version: the command that made it writes it again (--report-only)"
        ) from None
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{file} has no {', '.join(missing)}: leave these out (--schedules, --constant-batches), or first run "
            "the comparison there with them"
        )
    return {name: found[name] for name in names}


def _point(entry: Mapping[str, object]) -> Point:
    rate = entry["rate"]
    if type(rate) is not int:
        raise ValueError("no rate")
    return Point(rate, list(PATHS).index(str(entry["path"])), WARMUPS.index(float(str(entry["warmup"]))))
