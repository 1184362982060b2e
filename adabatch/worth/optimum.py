"""What the optimal batch schedules of the exact dynamics saved on tasks like a run.

``optimum.json`` next to this file is written by ``adabatch optimum``::

    {"command": str, "date": str, "tasks": [{"optimizer": str, "rho": float, "s": float, "saving": float}, ...]}

``saving`` is a share of the time of the best constant batch, each with its best learning rates.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["TABLE", "OptimumNearby", "optimum_nearby"]

TABLE = Path(__file__).with_name("optimum.json")

NEAREST = 16
"""Tasks that are taken for like a run, of each optimizer."""


@dataclass(frozen=True)
class OptimumNearby:
    """Savings of the optimum on the tasks of one optimizer that are nearest to a run.

    Attributes:
        optimizer: ``sgd`` or ``adam-like``.
        tasks: how many.
        median: of their savings, shares of the time.
        ninety: the share that nine in ten of them do not exceed.
    """

    optimizer: str
    tasks: int
    median: float
    ninety: float


def optimum_nearby(rho: float, s: float, table: Path | None = None) -> list[OptimumNearby]:
    """Per optimizer, what the optimum saved on the tasks that are nearest in log rho and log s.

    Both distances are in standard deviations over the optimizer's tasks.

    Args:
        rho: mean B / B_sat of the run.
        s: mean sqrt(B) / sqrt(mean B) of the run.
        table: the file; None: the one that comes with the package.

    Returns:
        None at all if there is no table.

    Raises:
        ValueError: for a table of another form.
    """
    table = table or TABLE
    if not table.is_file():
        return []
    try:
        content = json.loads(table.read_bytes())
        rows = [
            (task["optimizer"], *(float(task[name]) for name in ("rho", "s", "saving")))
            for task in content["tasks"]
        ]
        if not all(math.isfinite(x) and (x > 0 or i == 2) for row in rows for i, x in enumerate(row[1:])):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{table} is not a table of optima: make it again with adabatch optimum, or install adabatch again"
        ) from None
    names = sorted({str(row[0]) for row in rows})
    return [_nearby(name, np.array([row[1:] for row in rows if row[0] == name]), rho, s) for name in names]


def _nearby(optimizer: str, tasks: np.ndarray, rho: float, s: float) -> OptimumNearby:
    places = np.log(tasks[:, :2])
    deviations = np.maximum(places.std(axis=0), 1e-12)
    distances = (((places - np.log([rho, s])) / deviations) ** 2).sum(axis=1)
    savings = tasks[np.argsort(distances, kind="stable")[:NEAREST], 2]
    return OptimumNearby(optimizer, len(savings), float(np.median(savings)), float(np.quantile(savings, 0.9)))
