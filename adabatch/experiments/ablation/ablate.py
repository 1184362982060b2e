"""The command ``adabatch ablate``: lay out the grid, train what is not finished, report what each setting did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adabatch.experiments.ablation.grid import ETAS, Block, Point, standard_blocks
from adabatch.experiments.ablation.report import Ablation, PointResult, write_ablation
from adabatch.experiments.request import Request
from adabatch.experiments.run import ExperimentRun
from adabatch.experiments.text import heading_of
from adabatch.settings import Settings, overlay
from adabatch.training.checks import check_settings

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
    points = _runs_by_point(request, base, blocks)
    request.train([run for runs in points.values() for run in runs])
    finished = {name: runs for name, runs in points.items() if all(run.finished() for run in runs)}
    results = {name: _result(runs) for name, runs in finished.items()}
    if not results:
        raise ValueError(f"no point of this ablation is finished in {request.output}: leave out --report-only")
    heading = heading_of(request.command, len(results), len(points), "points")
    print(write_ablation(Ablation(base, blocks, request.etas, results), request.output, heading))
    print(f"tables: {request.output / 'ablation.md'}   heat maps: {request.output / 'ablation.png'}")


def _base_and_blocks(request: AblateRequest) -> tuple[Settings, list[Block]]:
    base = overlay(request.settings(QUICK), {"schedule": "norm-test"})
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


def _runs_by_point(
    request: AblateRequest, base: Settings, blocks: Sequence[Block]
) -> dict[str, list[ExperimentRun]]:
    """The runs of every point, a list over seeds; a point in several blocks comes once."""
    every = [
        Point(base, eta, overrides)
        for block in blocks
        for overrides in block.levels.values()
        for eta in request.etas
    ]
    points = {point.name: point for point in every}
    for point in points.values():
        check_settings(point.settings(base.data.seed), base.parallel.ranks)
    return {
        name: [point.run(seed, request.output) for seed in request.seed_range()] for name, point in points.items()
    }


def _result(runs: Sequence[ExperimentRun]) -> PointResult:
    maximum = runs[0].resolved().schedule.max_batch
    return PointResult.of_runs([run.records() for run in runs], maximum)
