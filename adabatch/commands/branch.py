"""``adabatch branch``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from adabatch.commands.options import (
    ClusterName,
    ClusterOptions,
    Processes,
    ReportOnly,
    command_line,
    names,
    numbers,
    run_or_settings,
    with_overrides,
)
from adabatch.commands.values import FOLDER, PATH, number
from adabatch.ranges import Range
from adabatch.settings import overlay

SETTINGS = (
    *("parallel", "replicas", "tensor_parallel", "sequence_parallel", "ranks", "device", "threads"),
    *("reshard_after_forward", "activation_checkpointing", "compile", "cache", "max_micro_batch"),
)
"""Those of the run that may be given otherwise: where and how the branches are computed."""


class Scaling(StrEnum):
    """How the learning rate follows the batch of a branch."""

    sqrt = "sqrt"
    linear = "linear"
    none = "none"


@with_overrides(SETTINGS)
def branch(
    given: dict[str, Any],
    run: Annotated[Path, typer.Argument(**PATH, help="Folder of a finished run, which is only read.")],
    at: Annotated[
        str,
        typer.Option(
            help="Where to branch, separated by commas: percentages of the run's samples, or samples. A "
            "checkpoint that is missing is made again from the nearest earlier one, or from the beginning."
        ),
    ] = "10%,30%,60%,90%",
    factors: Annotated[
        str, typer.Option(help="Times the run's batch at that place, separated by commas; two or more.")
    ] = "0.5,1,2,4,8",
    samples: Annotated[
        int,
        typer.Option(
            **number(int, Range(0, 10**12)),
            help="Samples of each branch; 0: a twelfth of the run's. Factors whose batch would take fewer than "
            "eight steps are left out.",
        ),
    ] = 0,
    tolerance: Annotated[
        float,
        typer.Option(
            **number(float, Range(0, 100, above=True)),
            help="By how much the loss may exceed that of the smallest factor, in nats per token.",
        ),
    ] = 0.01,
    seeds: Annotated[
        int,
        typer.Option(
            **number(int, Range(1, 1000)),
            help="Orders of the samples after the branch: the run's own, and others. One alone shows no spread, "
            "and resolves nothing.",
        ),
    ] = 3,
    lr_scaling: Annotated[Scaling, typer.Option(help="How the learning rate follows the factor.")] = Scaling.sqrt,
    processes: Processes = 0,
    cluster: ClusterName = "",
    cluster_options: ClusterOptions = "",
    report_only: ReportOnly = False,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of the branches.")] = Path("runs/branch"),
) -> None:
    """Measure the critical batch of a run by branching, and which online statistic tracks it.

    From several places of the run, branches train the same samples with larger and smaller batches (Merrill et
    al., 2025); the critical batch is the largest one whose loss stays within a tolerance of the smallest one's. It
    is shown next to the noise scales, the norm test's batch and the goodput rule's. Stopped and started again, it
    resumes where it was. The options below may be others than the run had.
    """
    from adabatch.distributed.rank_map import RankMap
    from adabatch.experiments.branching.branch import branch as execute
    from adabatch.experiments.branching.plan import Branching
    from adabatch.experiments.request import Request

    own = run_or_settings("branch", run, None, None)
    most = RankMap.of(own.parallel, own.parallel.ranks).most  # for which all of its batches were made
    asked = Branching(names(at), numbers(factors, float, "--factors"), samples, tolerance, lr_scaling.value)
    base = overlay(own, {"time_limit": None, "ranks_at": "", "ranks": most, **given})
    execute(
        Request(base, output, seeds, processes, False, report_only, command_line(), cluster, cluster_options),
        asked,
    )
