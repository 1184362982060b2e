"""The command ``adabatch branch``: branch from checkpoints of a run, report its local critical batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adabatch.checkpoints.folders import remove_checkpoints
from adabatch.data.preparation import TOKENIZER_FILE
from adabatch.experiments.branching.plan import Branching, BranchPlan, find_points, plan_branches
from adabatch.experiments.branching.report import write_report
from adabatch.experiments.branching.results import largest_deviation, point_results
from adabatch.experiments.progress import Progress, Work
from adabatch.experiments.request import Request
from adabatch.experiments.runner import log
from adabatch.files import write_whole
from adabatch.reporting.metrics import read_metrics
from adabatch.settings import overlay
from adabatch.training.checkpointing import checkpoints_folder

__all__ = ["branch"]

UNWANTED: dict[str, Any] = {
    "tensorboard": False,
    "wandb": False,
    "profile": 0,
    "overwrite": False,
    "time_limit": None,
    "stop_at": 0,
    "keep_best": False,
    "validate_at_start": False,
}
"""What a run may have been asked for and its branches are not."""


def branch(request: Request, asked: Branching) -> None:
    """Train the branches that are not finished, then write tables, figure and report.json, and print the tables.

    Args:
        request: what every experiment is asked for; its base is the settings of the run, with the run's folder.
        asked: of the branches.

    Raises:
        ValueError: for what cannot work, before anything is trained, and for a branch that fails.
    """
    base = request.settings({})
    folder = Path(base.run.output)
    if folder.resolve() == request.output.resolve():
        raise ValueError(f"--output {request.output} is the run's own folder, which is only read: name another")
    records = read_metrics(folder)
    points = find_points(base, records, asked)
    plan = plan_branches(overlay(base, UNWANTED), points, asked, request.seed_range(), request.output)
    if not request.report_only:
        _announce(plan, asked)
        _copy_tokenizer(folder, plan)
    request.train(plan.runs, Progress(Work.of(plan.runs)))
    if not request.report_only:
        for run in (each.run for each in plan.branches):
            remove_checkpoints(checkpoints_folder(str(run.folder)))  # nothing begins there
    results = point_results(plan, asked.tolerance)
    if not results:
        raise ValueError(f"no place of this experiment is finished in {request.output}: leave out --report-only")
    heading = request.heading(len(results), len(points), "places")
    print(write_report(results, plan, base, request.output, heading, largest_deviation(plan, records)))
    print(f"tables: {request.output / 'branch.md'}   figure: {request.output / 'branch.png'}")


def _announce(plan: BranchPlan, asked: Branching) -> None:
    """What is made again, and what is left out."""
    for run in plan.made_again:
        begin = f"from {run.begins_at} samples" if run.begins_at else "from the beginning"
        end = run.settings().run.end
        log(f"no checkpoint at {end} samples: the run's steps {begin} are taken again, elsewhere")
    for point in plan.points:
        taken = {branch.factor for branch in plan.branches if branch.point is point}
        if left := sorted(set(asked.factors) - taken):
            log(
                f"at {point.at} the batch is {point.batch}: factors {', '.join(f'{each:g}' for each in left)} are "
                f"left out, as {plan.samples} samples are too few for their batches (--samples)"
            )


def _copy_tokenizer(folder: Path, plan: BranchPlan) -> None:
    """Give the first run the tokenizer of the run that is branched; a trained one could come out otherwise."""
    source, target = folder / TOKENIZER_FILE, plan.runs[0].folder / TOKENIZER_FILE
    if source.is_file() and not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, source.read_bytes())
