"""Which rate, path and warm-up a comparison found for each schedule: a file, for other comparisons to take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, Point
from adabatch.files import write_text

__all__ = ["TUNED", "read_tuned", "write_tuned"]

TUNED = "tuned.json"
"""The file in a comparison's folder."""


def write_tuned(points: Mapping[str, Point], seeds: Sequence[int], first_batch: int, folder: Path) -> None:
    """Write what was found for each schedule next to what the file has of others.

    Args:
        points: by schedule: half octaves above ``--lr``, the path's name, the warm-up's share.
        seeds: of the searches.
        first_batch: ``--initial-batch``, of which the numbers in names are multiples.
        folder: of the comparison.
    """
    file, paths = folder / TUNED, list(PATHS)
    found = _read(file)["points"] if file.is_file() else {}
    found |= {
        name: {"rate": point.rate, "path": paths[point.path], "warmup": WARMUPS[point.warmup]}
        for name, point in points.items()
    }
    content = {"search_seeds": list(seeds), "first_batch": first_batch, "points": found}
    write_text(file, json.dumps(content, indent=2) + "\n")


def read_tuned(folder: Path, names: Iterable[str], seeds: Iterable[int], first_batch: int) -> dict[str, Point]:
    """The points of these schedules that a comparison in a folder found.

    Where that comparison began at another batch, a schedule takes the point of the one that is the same multiple
    of it: constant-32 after 16 that of constant-16 after 8.

    Args:
        folder: of the other comparison, as given with ``--tuned-by``.
        names: of the schedules.
        seeds: of the results, which must not be those of the searches: the best of many tries is partly luck.
        first_batch: of this comparison.

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
    there = {name: _rescaled(name, content["first_batch"], first_batch) for name in names}
    missing = [name for name in there.values() if name not in content["points"]]
    if missing:
        raise ValueError(
            f"{file} has no {', '.join(missing)}: leave these out (--schedules, --constant-batches), or first run "
            "the comparison there with them"
        )
    if searched := sorted(set(seeds) & set(content["search_seeds"])):
        raise ValueError(
            f"the searches of {file} used the seeds {searched}: take another --seed, or fewer --seeds"
        )
    return {name: _point(content["points"][other]) for name, other in there.items()}


def _rescaled(name: str, there: int, here: int) -> str:
    """The name of the same schedule after another first batch; as it is where that leaves no whole number.

    >>> [_rescaled(name, 8, 16) for name in ("constant-32", "goodput-64-sqrt", "norm-test-1", "constant-5")]
    ['constant-16', 'goodput-32-sqrt', 'norm-test-1', 'constant-5']
    """
    if found := re.fullmatch(r"(constant|goodput)-(\d+)(.*)", name):
        size, rest = divmod(int(found[2]) * there, here)
        return name if rest else f"{found[1]}-{size}{found[3]}"
    return name


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
        if type(content["first_batch"]) is not int or content["first_batch"] < 1:
            raise ValueError("no first batch")
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
