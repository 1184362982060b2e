"""Every bound on the instance that comes nearest to attaining it: exact expectations, no sampling.

A constant that is wrong by more than bound / measured - 1 shows here, where a grid of ordinary objectives, whose
ratios are 3 to 500, is blind. ``benchmarks/attack.py`` searches the instances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulate.attack.comparison import compare, hypotheses
from simulate.attack.exact_run import ExactRun
from simulate.attack.instance import Instance, near_tight_instances
from simulate.attack.targets import rule_of
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.outcomes import Assertion, Expectation, Kind, Outcome

__all__ = ["ROUNDING", "run"]

ROUNDING = 1e-12
"""Of exact trees in floating point: where a bound is attained, rounding must not decide."""


def run(settings: Settings, pieces: Pieces) -> Result:
    """All of them, at every level."""
    instances = near_tight_instances()
    rows, supporting = zip(*pieces.each(instances, _row), strict=True)
    table = Table.of_rows(rows)
    rules = {rule.name: rule for rule in (rule_of(instance.bound) for instance in instances)}
    outcomes = [_outcome(name, rule.statement, table, supporting) for name, rule in rules.items()]
    least = min(outcomes, key=lambda outcome: outcome.ratio)
    control = [replace(assertion, right=assertion.right / 1.01) for assertion in least.asserted]
    outcomes.append(
        replace(
            least,
            name="The tightest bound, 1% smaller",
            statement=f"The bound that comes nearest ({least.name}), 1% smaller, is a bound too.",
            asserted=control,
            expected=Expectation.CONTROL,
        )
    )
    return Result(
        name="near-tight",
        title="Instances on which bounds are nearly attained",
        summary=(
            "Exact expectations over all paths of two-point noises, on functions of one variable with a piecewise "
            f"linear gradient. Smallest bound / measured: {_smallest(table)}."
        ),
        outcomes=outcomes,
        theorems=tuple(dict.fromkeys(rule.theorem for rule in rules.values() if rule.theorem)),
        tables={"near_tight": table},
    )


def _row(instance: Instance) -> tuple[dict[str, object], list[Assertion]]:
    """What is measured and guaranteed, and the hypotheses."""
    measured, bound, run = compare(instance)
    ratio = bound / measured
    stated = Assertion("bound / measured, as stated", ratio, "~", instance.ratio, 1e-6 * instance.ratio)
    row = {"theorem": rule_of(instance.bound).name, "setting": _setting(run), "K": instance.steps}
    return row | {"measured": measured, "bound": bound, "ratio": ratio}, [stated, *hypotheses(run)]


def _setting(run: ExactRun) -> str:
    """Betas, eta and what else the optimizer does."""
    instance = run.instance
    more = [instance.optimizer.partition(",")[2]] if "," in instance.optimizer else []
    more += [name for name in ("epsilon", "multipliers") if np.any(getattr(instance, name))]
    return ", ".join((f"({instance.beta1:g}, {instance.beta2:g}), η = {instance.eta:g}", *more))


def _outcome(name: str, statement: str, table: Table, supporting: Sequence[list[Assertion]]) -> Outcome:
    rows = table.where(theorem=name).rows()
    met = [
        a for found, theorem in zip(supporting, table["theorem"], strict=True) if theorem == name for a in found
    ]
    return Outcome(
        name=f"{name}, nearly attained",
        statement=statement,
        asserted=[
            Assertion(f"{row['setting']}, K = {row['K']}", row["measured"] * (1 - ROUNDING), "<=", row["bound"])
            for row in rows
        ],
        supporting=met,
        kind=Kind.UPPER,
    )


def _smallest(table: Table) -> str:
    names: list[str] = table.values("theorem")
    return ", ".join(f"{table.where(theorem=name)['ratio'].min():.4g} ({name})" for name in names)
