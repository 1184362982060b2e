"""Which rate, path and warm-up a comparison found for each schedule: a file, for other comparisons to take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, Point
from adabatch.files import write_text

__all__ = ["TUNED", "read_tuned", "write_tuned"]

TUNED = "tuned.json"
"""The file in a comparison's folder."""


def write_tuned(points: Mapping[str, Point], seeds: Sequence[int], folder: Path) -> None:
    """Write what was found for each schedule next to what the file has of others.

    Args:
        points: by schedule: half octaves above ``--lr``, the path's name, the warm-up's share.
        seeds: of the searches.
        folder: of the comparison.
    """
    file, paths = folder / TUNED, list(PATHS)
    found = _read(file)["points"] if file.is_file() else {}
    found |= {
        name: {"rate": point.rate, "path": paths[point.path], "warmup": WARMUPS[point.warmup]}
        for name, point in points.items()
    }
    write_text(file, json.dumps({"search_seeds": list(seeds), "points": found}, indent=2) + "\n")


def read_tuned(folder: Path, names: Iterable[str], seeds: Iterable[int]) -> dict[str, Point]:
    """The points of these schedules that a comparison in a folder found.

    Args:
        folder: of the other comparison, as given with ``--tuned-by``.
        names: of the schedules.
        seeds: of the results, which must not be those of the searches: the best of many tries is partly luck.

    Raises:
        ValueError: if there is no such file, it is damaged, a schedule is not in it, or a seed of the
            results is one of the searches.
    """
    file = folder / TUNED
    if not file.is_file():
        raise ValueError(
            f"{folder} has no {TUNED}: name the folder of a comparison whose searches are over (--tuned-by)"
        )
    content = _read(file)
    missing = [name for name in names if name not in content["points"]]
    if missing:
        raise ValueError(
            f"{file} has no {', '.join(missing)}: leave these out (--schedules, --constant-batches), or first run "
            "the comparison there with them"
        )
    if searched := sorted(set(seeds) & set(content["search_seeds"])):
        raise ValueError(
            f"the searches of {file} used the seeds {searched}: take another --seed, or fewer --seeds"
        )
    return {name: _point(content["points"][name]) for name in names}


def _read(file: Path) -> dict[str, Any]:
    """The content of the file.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
        for entry in content["points"].values():
            _point(entry)
        if not all(type(seed) is int for seed in content["search_seeds"]):
            raise ValueError("no seeds")
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError(
            f"{file} is damaged, or of another version: delete it, and run the command that made it again"
        ) from None
    return content


def _point(entry: Mapping[str, object]) -> Point:
    rate = entry["rate"]
    if type(rate) is not int:
        raise ValueError("no rate")
    return Point(rate, list(PATHS).index(str(entry["path"])), WARMUPS.index(float(str(entry["warmup"]))))
