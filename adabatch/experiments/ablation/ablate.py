"""The command ``adabatch ablate``: plan the grid, train what is missing, report what each setting did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adabatch.experiments.ablation.grid import ETAS, Block, Point, standard_blocks
from adabatch.experiments.ablation.report import Outcome, write_ablation
from adabatch.experiments.planned import PlannedRun
from adabatch.experiments.request import Request
from adabatch.experiments.text import heading_of
from adabatch.settings import Settings, overlay
from adabatch.training.building import check_settings

__all__ = ["AblateRequest", "ablate"]

QUICK = {"samples": 192, "warmup_samples": 32, "validation_samples": 8, "sequence_length": 32}
"""Settings of the smallest ablation, for a first look and for tests."""


@dataclass(frozen=True, kw_only=True)
class AblateRequest(Request):
    """What to ablate; the other fields are those of every :class:`~adabatch.experiments.request.Request`.

    Attributes:
        etas: of the grid; each is crossed with one other setting at a time.
        blocks: names of the other settings; all if none.
    """

    etas: Sequence[float] = ETAS
    blocks: Sequence[str] = ()
    command: str = "adabatch ablate"


def ablate(request: AblateRequest) -> None:
    """Train the runs that are not finished, then write tables and heat maps and print the tables.

    Raises:
        ValueError: for a request that cannot work, and for a run that fails.
    """
    base, blocks = _base_and_blocks(request)
    plan = _planned(request, base, blocks)
    request.train([run for runs in plan.values() for run in runs])
    outcomes = {name: _outcome(runs) for name, runs in plan.items() if all(run.finished() for run in runs)}
    if not outcomes:
        raise ValueError(f"no point of this ablation is finished in {request.output}: leave out --report-only")
    heading = heading_of(request.command, len(outcomes), len(plan), "points")
    print(write_ablation(base, blocks, request.etas, outcomes, request.output, heading))
    print(f"tables: {request.output / 'ablation.md'}   heat maps: {request.output / 'ablation.png'}")


def _base_and_blocks(request: AblateRequest) -> tuple[Settings, list[Block]]:
    base = overlay(request.base, QUICK) if request.quick else request.base
    base = overlay(base, {"schedule": "norm-test"})
    known = standard_blocks(base)
    names = [block.name for block in known]
    unknown = [name for name in request.blocks if name not in names]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not varied: take one or more of {', '.join(names)} (--vary)")
    if request.seeds < 1:
        raise ValueError("an ablation needs at least 1 seed (--seeds)")
    if not request.etas:
        raise ValueError("an ablation needs at least one eta (--etas)")
    return base, [block for block in known if not request.blocks or block.name in request.blocks]


def _planned(request: AblateRequest, base: Settings, blocks: Sequence[Block]) -> dict[str, list[PlannedRun]]:
    """The runs of every point, a list over seeds; a point in several blocks comes once."""
    plan: dict[str, list[PlannedRun]] = {}
    for block in blocks:
        for overrides in block.levels.values():
            for eta in request.etas:
                point = Point(base, eta, overrides)
                if point.name not in plan:
                    check_settings(point.settings(base.data.seed, request.output), base.parallel.ranks)
                    plan[point.name] = [point.planned(seed, request.output) for seed in request.seed_range()]
    return plan


def _outcome(runs: Sequence[PlannedRun]) -> Outcome:
    maximum = runs[0].resolved().schedule.max_batch
    return Outcome.of_runs([run.records() for run in runs], maximum)
