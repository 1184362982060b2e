"""The limit of batch schedules: its closed form against a search over batches; a roofline as negative control."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adabatch.moments import worth
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.outcomes import Assertion, Expectation, Kind, Outcome

__all__ = ["run"]

Array = NDArray[np.float64]

POWERS = (1.0, 2.0, 4.0)
"""B_noise grows from 1 to 100 times as large with this power of the progress."""


def run(settings: Settings, pieces: Pieces) -> Result:
    """Search the best constant batch and the best batch at every point of the progress."""
    points = settings.by_level(13, 25, 97)
    cases = [(power, rho) for power in POWERS for rho in np.geomspace(0.01, 100, points).tolist()]
    rows = pieces.each(cases, lambda case: _row(*case))
    label = "B ~ n^{power:g}, rho {rho:.3g}"
    close = [
        Assertion(label.format(**row), row["searched"] / row["closed_form"], "~", 1.0, tolerance=2e-3)
        for row in rows
    ]
    above = [Assertion(label.format(**row), row["searched"], ">=", row["least"] * (1 - 2e-3)) for row in rows]
    same = [Assertion(label.format(**row), row["roofline"], "<=", 0.99) for row in rows]
    return Result(
        name="schedule-limit",
        title="What a batch schedule can save at most",
        summary=(
            "A step on b samples makes 1 / (1 + B/b) of a noise-free step's progress in t0 + t1 b seconds. B "
            "grows with the progress; the best constant batch and the best schedule are searched on a fine grid."
        ),
        outcomes=(
            Outcome("Limit of batch schedules", "Best schedule over best constant is the closed form.", close),
            Outcome(
                "At most (1 - s) / 2 is saved",
                "No ratio is below (1 + s) / 2.",
                above,
                kind=Kind.TIGHT,
            ),
            Outcome(
                "Limit on a roofline",
                "Where a step takes max(t0, t1 b), a schedule saves 1% of the time.",
                same,
                expected=Expectation.CONTROL,
            ),
        ),
        theorems=("theory.schedules.limit",),
        tables={"schedule_limit": Table.of_rows(rows)},
    )


def _row(power: float, rho: float) -> dict[str, float]:
    """Searched times over closed forms, at one growth of B and one mean B / B_sat."""
    scales = 1 + 99 * np.linspace(0, 1, 101) ** power
    weights = np.ones_like(scales)
    saturation = worth.mean_noise_scale(scales, weights) / rho
    batches = np.geomspace(1e-3, 1e5, 4001)[:, None]
    s = worth.evenness(scales, weights)
    return {
        "power": power,
        "rho": rho,
        "searched": _ratio(worth.time_of_progress(batches, scales, saturation, 1.0)),
        "closed_form": float(worth.schedule_over_constant(rho, s)),
        "least": float(worth.lowest_ratio(s)),
        "roofline": _ratio(worth.roofline_time(batches, scales, saturation, 1.0)),
    }


def _ratio(times: Array) -> float:
    """Best at every point over best constant, of times [batches, points]."""
    return float(times.min(axis=0).sum() / times.sum(axis=1).min())
