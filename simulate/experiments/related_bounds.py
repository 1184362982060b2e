"""The other theorems, each where its hypotheses are met: SGD, AdaGrad, weight decay, schedules, clipping, l1 test.

The checks stand in the rooms of their theorems: each runs an optimizer under noise that its theorem allows and
compares a measured sum or average with the theorem's bound on the same constants.
"""

from __future__ import annotations

from simulate.experiments.checks import Case, Check
from simulate.experiments.l1.bounds import CHECKS as L1
from simulate.experiments.other_optimizers.bounds import CHECKS as OTHER_OPTIMIZERS
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Advance, Settings
from simulate.experiments.training.bounds import CHECKS as TRAINING
from simulate.objectives import OBJECTIVES
from simulate.outcomes import Outcome, at_most
from simulate.text import counted

__all__ = ["CHECKS", "run"]

CHECKS = (*OTHER_OPTIMIZERS, *TRAINING, *L1)


def run(settings: Settings, advance: Advance) -> Result:
    """Every check on a few objectives."""
    names = tuple(dict.fromkeys(settings.objectives)) or settings.by_level(
        ("pseudo-huber",),
        ("pseudo-huber", "rastrigin", "geman-mcclure"),
        ("pseudo-huber", "rastrigin", "geman-mcclure", "xy-chain", "quadratic"),
    )
    steps = settings.steps or settings.by_level(256, 512, 8192)
    seeds = settings.seeds or settings.by_level(8, 16, 64)
    checks = [check for check in CHECKS if not settings.optimizers or check.optimizer in settings.optimizers]
    if settings.objectives:  # a check of one objective says nothing of others
        checks = [check for check in checks if check.only_on is None or check.only_on.name in names]
    runs = [(name, check, OBJECTIVES[name]()) for check in checks if check.only_on is None for name in names]
    runs += [(check.only_on.name, check, check.only_on) for check in checks if check.only_on is not None]
    rows = []
    for name, check, objective in runs:
        case = Case(objective, steps, tuple(range(settings.seed, settings.seed + seeds)))
        measured, result = check.compare(case)
        row = {"theorem": check.name, "objective": name, "K": steps, "measured": measured}
        rows.append(row | {"bound": float(result.value), "ratio": float(result.value) / measured})
        advance(1 / len(runs))
    table = Table.of_rows(rows)
    return Result(
        name="related-bounds",
        title="The other theorems, where their hypotheses are met",
        summary=(
            f"{', '.join(names)}; K = {steps}, {counted(seeds, 'seed')}; each theorem at a step size it allows."
        ),
        outcomes=[_outcome(check, table) for check in checks],
        theorems=tuple(dict.fromkeys(check.theorem for check in checks)),
        tables={"related_bounds": table},
    )


def _outcome(check: Check, table: Table) -> Outcome:
    return Outcome(
        name=check.name,
        statement=check.statement + " is at most the theorem's bound.",
        asserted=at_most(table.where(theorem=check.name).rows(), "{objective}, K = {K}"),
        kind=check.kind,
    )
