"""The command ``adabatch ablate``: plan the grid, train what is missing, say what each setting did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.experiments.ablation.grid import ETAS, Block, Point, standard_blocks
from adabatch.experiments.ablation.report import Outcome, write_ablation
from adabatch.experiments.planned import PlannedRun
from adabatch.experiments.runner import alone, carry_out
from adabatch.experiments.text import heading_of
from adabatch.settings import Settings, overlay
from adabatch.training.building import check_settings

__all__ = ["Request", "ablate"]

QUICK = {"samples": 192, "warmup_samples": 32, "validation_samples": 8, "sequence_length": 32}
"""Settings of the smallest ablation, for a first look and for tests."""


@dataclass(frozen=True)
class Request:
    """What to ablate.

    Attributes:
        base: settings of all points; eta is crossed with one other setting at a time.
        output: folder.
        etas: of the grid.
        blocks: names of what varies beside eta; all if none.
        seeds: how many, from the base's seed on.
        processes: runs at once; 0 takes the cores.
        quick: a tiny ablation.
        report_only: train nothing; report what is finished.
        command: as it was called, for the report.
    """

    base: Settings
    output: Path
    etas: Sequence[float] = ETAS
    blocks: Sequence[str] = ()
    seeds: int = 1
    processes: int = 0
    quick: bool = False
    report_only: bool = False
    command: str = "adabatch ablate"


def ablate(request: Request) -> None:
    """Train the runs that are not finished, then write tables and heat maps and print the tables.

    Raises:
        ValueError: for whatever the request gets wrong, and for a run that fails.
    """
    base, blocks = _base_and_blocks(request)
    plan = _planned(request, base, blocks)
    if not request.report_only:
        with alone(request.output):
            carry_out([run for runs in plan.values() for run in runs], request.processes)
    outcomes = {name: _outcome(runs) for name, runs in plan.items() if all(run.finished() for run in runs)}
    if not outcomes:
        raise ValueError(f"no point of this ablation is finished in {request.output}: leave out --report-only")
    heading = heading_of(request.command, len(outcomes), len(plan), "points")
    print(write_ablation(base, blocks, request.etas, outcomes, request.output, heading))
    print(f"tables: {request.output / 'ablation.md'}   heat maps: {request.output / 'ablation.png'}")


def _base_and_blocks(request: Request) -> tuple[Settings, list[Block]]:
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


def _planned(request: Request, base: Settings, blocks: Sequence[Block]) -> dict[str, list[PlannedRun]]:
    """The runs of every point, a list over seeds; a point in several blocks comes once."""
    plan: dict[str, list[PlannedRun]] = {}
    seeds = range(base.data.seed, base.data.seed + request.seeds)
    for block in blocks:
        for overrides in block.levels.values():
            for eta in request.etas:
                point = Point(base, eta, overrides)
                if point.name not in plan:
                    check_settings(point.settings(base.data.seed, request.output), base.parallel.ranks)
                    plan[point.name] = [point.planned(seed, request.output) for seed in seeds]
    return plan


def _outcome(runs: Sequence[PlannedRun]) -> Outcome:
    maximum = runs[0].resolved().schedule.max_batch
    return Outcome.of_runs([run.records() for run in runs], maximum)
