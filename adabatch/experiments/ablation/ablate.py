"""The command ``adabatch ablate``: lay out the grid, train what is not finished, report what each setting did."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from adabatch.experiments.ablation.grid import Blocks, point_name, point_settings, standard_blocks
from adabatch.experiments.ablation.report import Ablation, PointResult, write_ablation
from adabatch.experiments.comparison.frontier import read_frontiers
from adabatch.experiments.progress import Progress, Work
from adabatch.experiments.request import Request
from adabatch.experiments.run import ExperimentRun
from adabatch.reporting.metrics import Record
from adabatch.schedules.base import NeverGrowsError
from adabatch.settings import Settings, overlay
from adabatch.training.checks import check_settings

__all__ = ["ablate", "runs_by_point"]

QUICK = {"samples": 192, "warmup_samples": 32, "validation_samples": 8, "sequence_length": 32}
"""Settings of the smallest ablation, for a first look and for tests."""


def ablate(
    request: Request, etas: Sequence[float], vary: Sequence[str] = (), frontier: Path | None = None
) -> None:
    """Train the runs that are not finished, then write tables and heat maps and print the tables.

    Args:
        request: what every experiment is asked for.
        etas: of the grid; each is crossed with one other setting at a time.
        vary: names of the other settings; all if none.
        frontier: the folder of a comparison, whose constant batches the points are held against.

    Raises:
        ValueError: for a request that cannot work, and for a run that fails.
    """
    if request.seeds < 1:
        raise ValueError("an ablation needs at least 1 seed (--seeds)")
    if not etas:
        raise ValueError("an ablation needs at least one eta (--etas)")
    base = request.settings(QUICK)
    frontiers = {} if frontier is None else read_frontiers(frontier, base)
    if frontier is not None and not frontiers.keys() & set(request.seed_range()):
        raise ValueError(
            f"the comparison in {frontier} shares no seed with these runs: its seeds are "
            f"{', '.join(map(str, frontiers)) or 'none'} (--seed, --frontier)"
        )
    blocks = _chosen_blocks(base, vary)
    runs = runs_by_point(base, blocks, etas, request.seed_range(), request.output)
    every = [run for point in runs.values() for run in point]
    request.train(every, Progress(Work.of(every)))
    results = {
        name: PointResult.of_runs(_by_seed(point), point[0].resolved().schedule.max_batch, frontiers)
        for name, point in runs.items()
        if all(run.finished() for run in point)
    }
    if not results:
        raise ValueError(f"no point of this ablation is finished in {request.output}: leave out --report-only")
    heading = request.heading(len(results), len(runs), "points")
    print(write_ablation(Ablation(base, blocks, etas, results), request.output, heading))
    print(f"tables: {request.output / 'ablation.md'}   heat maps: {request.output / 'ablation.png'}")


def _by_seed(runs: Sequence[ExperimentRun]) -> dict[int, list[Record]]:
    return {run.settings().data.seed: run.records() for run in runs}


def _chosen_blocks(base: Settings, vary: Sequence[str]) -> Blocks:
    known = standard_blocks(base)
    unknown = [name for name in vary if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not varied: take one or more of {', '.join(known)} (--vary)")
    return {name: levels for name, levels in known.items() if not vary or name in vary}


def runs_by_point(
    base: Settings, blocks: Blocks, etas: Sequence[float], seeds: Sequence[int], folder: Path
) -> dict[str, list[ExperimentRun]]:
    """The runs of every point, a list over seeds; a point in several blocks comes once.

    Points whose test never grows in expectation are left out.

    Raises:
        ValueError: for settings that cannot be trained, and if no point is left.
    """
    levels = [overrides for levels in blocks.values() for overrides in levels.values()]
    every = [point_settings(base, eta, overrides) for overrides in levels for eta in etas]
    points = {point_name(settings): settings for settings in every}
    for name, settings in list(points.items()):
        try:
            check_settings(settings, base.parallel.ranks)
        except NeverGrowsError:  # the report says what an empty cell is
            if len(points) == 1:
                raise
            del points[name]

    def run(name: str, seed: int) -> ExperimentRun:
        return ExperimentRun(f"{name}-seed-{seed}", folder, partial(overlay, points[name], {"seed": seed}))

    return {name: [run(name, seed) for seed in seeds] for name in points}
