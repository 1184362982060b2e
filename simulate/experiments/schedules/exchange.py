"""Decay exchanged for batch growth, on exact second moments: free below the noise scale, and not beyond it."""

from __future__ import annotations

from itertools import chain
from typing import Any

from simulate.exact.dynamics import Dynamics
from simulate.exact.exchange import EXAMPLES, LOW_NOISE, example_task, run_exchange
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.outcomes import Assertion, Expectation, Outcome

__all__ = ["run"]

BATCH, SAMPLES = 32.0, 2.0**15
RATES = {"hard": 2.0**-4, "mid": 2.0**-5, "easy": 2.0**-5, LOW_NOISE: 2.0**-6}
"""Of the Adam-like step at 2^15 samples: the best powers of 2 for decay alone."""

LIMITS = (("none", None), *((scale, eta) for scale in ("trace", "weighted") for eta in (0.5, 1.0, 2.0)))


def run(settings: Settings, pieces: Pieces) -> Result:
    """Linear decay exchanged in whole, without and with a ceiling."""
    chosen = settings.by_level((LOW_NOISE,), tuple(EXAMPLES), tuple(EXAMPLES))
    rows = list(chain.from_iterable(pieces.each(chosen, _rows)))
    held = [row for row in rows if row["limit"].endswith("eta 2")]
    free = [row for row in rows if row["limit"] == "none" and row["task"] == LOW_NOISE]
    return Result(
        name="exchange",
        title="Exchange of learning-rate decay for batch growth",
        summary=(
            f"Adam-like second moments, linear decay over {SAMPLES:g} samples from a batch of {BATCH:g}, "
            "exchanged in whole: b = b0 / p^2 at a rate that keeps sqrt(b) / lr. The ceiling is b <= B / eta^2. "
            "The price is the excess loss relative to decay alone."
        ),
        outcomes=(
            Outcome(
                "Exchange below the noise scale",
                "Under the ceiling at eta = 2 the exchange costs less than 2% of the excess loss.",
                [Assertion(f"{row['task']}, {row['limit']}", row["price"], "<=", 0.02) for row in held],
            ),
            Outcome(
                "Steps of the exchange",
                "It takes at most 0.62 of the steps of decay alone.",
                [Assertion(f"{row['task']}, {row['limit']}", row["steps"], "<=", 0.62) for row in rows],
            ),
            Outcome(
                "Exchange without a ceiling",
                "With little noise the exchange costs less than 2% without a ceiling too.",
                [Assertion(f"{row['task']}, no ceiling", row["price"], "<=", 0.02) for row in free],
                expected=Expectation.CONTROL,
            ),
        ),
        theorems=("theory.schedules.adam_descent",),
        tables={"exchange": Table.of_rows(rows)},
    )


def _rows(name: str) -> list[dict[str, Any]]:
    """One task under all ceilings, next to decay alone."""
    task, rate = example_task(name, SAMPLES), RATES[name]
    decay = run_exchange(Dynamics.ADAM_LIKE, task, BATCH, rate, 0.0)
    rows = []
    for scale, eta in LIMITS:
        found = run_exchange(Dynamics.ADAM_LIKE, task, BATCH, rate, 1.0, eta, scale)
        limit = scale if eta is None else f"{scale}, eta {eta:g}"
        price, steps = found.risk / decay.risk - 1, found.steps / decay.steps
        rows.append({"task": name, "limit": limit, "price": price, "steps": steps, "held": found.held})
    return rows
