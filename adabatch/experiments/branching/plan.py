"""From a finished run to what is trained: points to branch at, checkpoints to make again, branches.

All that can be refused is refused here, from the run's records and the settings in its checkpoints.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from adabatch.checkpoints.compatibility import differences, saved_progress
from adabatch.checkpoints.folders import complete_checkpoints, problem_with
from adabatch.experiments.branching.continuation import Continuation
from adabatch.experiments.run import digest
from adabatch.reporting.metrics import METRICS, Record
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.rounding import samples_of_share
from adabatch.settings import Settings, from_saved, overlay
from adabatch.training.building import build_coupling, build_schedule
from adabatch.training.checkpointing import checkpoints_folder
from adabatch.training.checks import check_settings

__all__ = ["Branch", "BranchPlan", "Branching", "Point", "find_points", "plan_branches"]

LEAST_STEPS = 8
"""Of a branch: a factor whose batch is too large for that many is left out."""

DEFAULT_SHARE = 12
"""A branch takes one in this many of the run's samples, where nothing else is asked for."""


@dataclass(frozen=True)
class Branching:
    """What is asked of the branches.

    Attributes:
        at: where they begin, such as ``10%`` of the run's samples or ``4096`` samples.
        factors: k, times the batch.
        samples: of each branch; 0: a twelfth of the run's.
        tolerance: on the loss, in nats.
        lr_scaling: ``sqrt``, ``linear`` or ``none``.

    Raises:
        ValueError: for fewer than two different factors, or one that is not above 0.
    """

    at: Sequence[str]
    factors: Sequence[float]
    samples: int
    tolerance: float
    lr_scaling: str

    def __post_init__(self) -> None:
        if not all(0 < factor < math.inf for factor in self.factors) or len(set(self.factors)) < 2:
            given = ",".join(f"{factor:g}" for factor in self.factors) or "none"
            raise ValueError(
                f"--factors takes two or more different numbers above 0, such as 0.5,1,2,4,8, but is {given}"
            )
        if not self.at:
            raise ValueError("--at takes one or more places, such as 10%,30%,60%,90%, but is empty")

    def of(self, run: Settings) -> int:
        """Samples of each branch of a run."""
        return self.samples or max(1, run.run.samples // DEFAULT_SHARE)


@dataclass(frozen=True)
class Point:
    """A step boundary of the run at which branches begin.

    Attributes:
        at: as asked for.
        samples: seen there.
        batch: that the run takes next.
        groups: ranks x micro-batches of that step.
        rate: its learning rate over that of the path in samples, which is a scaling with the batch.
    """

    at: str
    samples: int
    batch: int
    groups: int
    rate: float


@dataclass(frozen=True)
class Branch:
    """One branch: a factor and a seed at a point."""

    point: Point
    factor: float
    run: Continuation

    @property
    def batch(self) -> int:
        """Samples per step."""
        return self.run.settings().schedule.initial_batch


@dataclass(frozen=True)
class BranchPlan:
    """What is trained.

    Attributes:
        points: in order.
        made_again: runs that make the missing checkpoints.
        branches: of all points.
        samples: of each branch.
    """

    points: Sequence[Point]
    made_again: Sequence[Continuation]
    branches: Sequence[Branch]
    samples: int

    @property
    def runs(self) -> list[Continuation]:
        """All, in the order in which they are started."""
        return [*self.made_again, *(branch.run for branch in self.branches)]


def find_points(base: Settings, records: Sequence[Record], asked: Branching) -> list[Point]:
    """The step boundaries to branch at: the first at or after each place asked for.

    Args:
        base: settings of the run.
        records: of its steps.
        asked: see there.

    Raises:
        ValueError: for a run that is not finished, or whose learning rates do not follow a path in samples; for
            a place outside of the run or too near to its end.
    """
    end = base.run.end
    if not records or records[-1]["samples"] < end:
        seen = records[-1]["samples"] if records else 0
        raise ValueError(
            f"the run has seen {seen} of its {end} samples: finish it first (adabatch train --config "
            f"{base.run.output}/config.toml --resume auto)"
        )
    schedule = build_schedule(base)
    if base.optimizer.lr_replay or schedule.learning_rate_scaling:
        by = "--lr-replay" if base.optimizer.lr_replay else f"--schedule {base.schedule.schedule}"
        raise ValueError(
            f"the run's learning rates come from {by} and follow no path in samples that a branch could share: "
            "branch a run with another rule"
        )
    rates, length = build_coupling(base, schedule.batch_size).learning_rate, asked.of(base)
    found: dict[int, Point] = {}
    for at in asked.at:
        target = _samples_at(at, end)
        boundary = next(number for number, record in enumerate(records) if record["samples"] >= target)
        start = int(records[boundary]["samples"])
        if start + length > base.run.samples or boundary + 1 == len(records):
            raise ValueError(
                f"--at {at} cannot be branched at: from {start} samples on, the learning rate's path leaves "
                f"{base.run.samples - start}, but a branch takes {length}: name an earlier place, or lower "
                "--samples"
            )
        found.setdefault(start, _point(at, start, records[boundary + 1], rates, base))
    return [found[samples] for samples in sorted(found)]


def _point(at: str, start: int, following: Record, rates: LearningRate, base: Settings) -> Point:
    """The place before a step, from the step's record."""
    try:
        batch, rate = int(following["batch_size"]), float(following["lr"])
        groups = max(1, batch // int(following["micro_batch"]))
    except (LookupError, TypeError, ValueError, ZeroDivisionError):
        raise ValueError(
            f"the records in {base.run.output} lack the batch, the micro-batch or the learning rate of the step "
            f"after {start} samples: bring {METRICS} back from a copy"
        ) from None
    path = rates.mean(start, start + batch)
    over_path = rate / path if path else 1.0
    return Point(at, start, batch, groups, 1.0 if math.isclose(over_path, 1.0, rel_tol=1e-9) else over_path)


def _samples_at(at: str, end: int) -> int:
    """The samples that a place means, such as ``30%``."""
    try:
        samples = samples_of_share(float(at.removesuffix("%")) / 100, end) if at.endswith("%") else int(at)
    except (ValueError, OverflowError):
        raise ValueError(f"--at takes percentages such as 30%, or samples such as 4096, not {at!r}") from None
    if not 0 < samples < end:
        raise ValueError(f"--at {at} is not inside the run, which has {end} samples: give more than 0 and fewer")
    return samples


def plan_branches(
    base: Settings, points: Sequence[Point], asked: Branching, seeds: Sequence[int], to: Path
) -> BranchPlan:
    """What is trained, with the settings of each run.

    Args:
        base: settings of the run; ranks and the like may be others than it had.
        points: to branch at.
        asked: see there.
        seeds: of the branches, which order the samples after the point.
        to: folder of the experiment.

    Raises:
        ValueError: for ranks that cannot be, a factor that makes no batch on them, fewer than two factors whose
            batches are small enough, a run without a checkpoint, or one whose checkpoint has other settings.
    """
    reference = check_settings(base, base.parallel.ranks, resumed=True).schedule.batch_size
    length = asked.of(base)
    factors = {point: _factors(point, base, asked, length) for point in points}
    known = _checkpoints(base)
    name = f"from-{digest(base)[:6]}"
    again: list[Continuation] = []
    branches = []
    for point in points:
        source: partial[Path] = partial(known.__getitem__, point.samples)
        needs: tuple[Continuation, ...] = ()
        if point.samples not in known:
            again.append(_made_again(base, point, known, again, to, f"{name}-to-{point.samples}"))
            needs, source = (again[-1],), partial(_of_the_end, again[-1])
        for seed in seeds:
            for factor, sizes in factors[point].items():
                changed = _rules(base, point, sizes, asked.lr_scaling, reference) | {"seed": seed}
                run = Continuation(
                    f"{name}-at-{point.samples}-batch-{sizes['initial_batch']}-seed-{seed}",
                    to,
                    partial(_same, overlay(base, changed | OBSERVED | {"stop_at": point.samples + length})),
                    needs,
                    source=source,
                    begins_at=point.samples,
                    changed=(*changed, "l1_denominator"),
                )
                branches.append(Branch(point, factor, run))
    return BranchPlan(points, again, branches, length)


OBSERVED: dict[str, Any] = {
    "monitor_interval": 1,
    "monitor_coordinates": True,
    "monitor_layers": True,
    "monitor_matrices": 0,
    "l1_denominator": "conservative",
    "validation_interval": 0,
    "checkpoint_interval": 0,
}
"""What a branch records, and what it leaves out."""


def _factors(point: Point, base: Settings, asked: Branching, length: int) -> dict[float, dict[str, int]]:
    """The batch and the micro-batch of each factor, ascending; batches too large for a branch are left out."""
    ranks = base.parallel.ranks // base.parallel.tensor_parallel
    sizes = {factor: _sizes(factor, point, ranks, base) for factor in sorted(set(asked.factors))}
    fitting = {factor: size for factor, size in sizes.items() if LEAST_STEPS * size["initial_batch"] <= length}
    if len(fitting) < 2:
        least = LEAST_STEPS * sorted(size["initial_batch"] for size in sizes.values())[1]
        raise ValueError(
            f"--samples {length} leaves fewer than two factors at {point.at}, where the run's batch is "
            f"{point.batch}: a branch takes {LEAST_STEPS} steps or more; give --samples {least} or more, lower "
            "--factors, or an earlier --at"
        )
    return fitting


def _sizes(factor: float, point: Point, ranks: int, base: Settings) -> dict[str, int]:
    """k times the batch, in about as many micro-batches as the run had, and in two groups at least."""
    exact = factor * point.batch
    batch = round(exact) if exact < 2**53 else 0
    if not math.isclose(exact, batch, rel_tol=1e-9) or batch % ranks or batch < 2:
        unit = f"{ranks} ranks make multiples of {ranks}" if ranks > 1 else "a batch is a whole number"
        raise ValueError(
            f"factor {factor:g} makes no batch at {point.at}: {factor:g} x {point.batch} is {exact:g}, and {unit} "
            "of 2 samples or more: give other --factors or --ranks"
        )
    share = batch // ranks
    largest = min(base.schedule.max_micro_batch, share)
    possible = [m for m in range(1, largest + 1) if share % m == 0 and batch // m >= 2]
    micro_batch = min(possible, key=lambda m: abs(math.log(batch / m / point.groups)))
    return {"initial_batch": batch, "max_batch": batch, "micro_batch": micro_batch}


def _rules(base: Settings, point: Point, sizes: Mapping[str, int], scaling: str, reference: int) -> dict[str, Any]:
    """The constant batch of a branch, and its learning rates: the run's path, scaled; weight decay stays.

    Args:
        base: settings of the run.
        point: where the branch begins.
        sizes: of its batch.
        scaling: of the learning rate with the batch, from that of the run at the point.
        reference: the run's first batch.
    """
    optimizer = base.optimizer
    rate = point.rate * BatchScaling(scaling, point.batch).factor(sizes["initial_batch"])
    return {
        **sizes,
        "schedule": "constant",
        "batch_floor": "none",
        "noise_limit": 0.0,
        "noise_limit_scale": "trace",
        "lr": optimizer.lr * rate,
        "min_lr": optimizer.min_lr * rate,
        "lr_scaling": "none",
        "lr_reference_batch": optimizer.lr_reference_batch or reference,
    }


def _checkpoints(base: Settings) -> dict[int, Path]:
    """The intact checkpoints of a run, by the samples seen.

    Raises:
        ValueError: without one, or where one has other settings than the run.
    """
    folder, found = checkpoints_folder(base.run.output), {}
    for path in complete_checkpoints(folder):
        if (problem := problem_with(path)) is not None:
            warnings.warn(f"skipped the checkpoint {path}: {problem}", stacklevel=2)
            continue
        progress = saved_progress(path)
        if other := differences(from_saved(progress["settings"], f"the checkpoint {path}"), base):
            text = ", ".join(f"{name} was {then} and is {now}" for name, then, now in other)
            raise ValueError(
                f"the checkpoint {path} has other settings than {base.run.output}/config.toml ({text}): remove "
                "it, or bring back the settings that it was trained with"
            )
        found[int(progress["samples"])] = path
    if not found:
        raise ValueError(
            f"the run in {base.run.output} has no intact checkpoint, which would show its settings: train it "
            "again (--overwrite), with --checkpoint-interval and --keep 0 so that branches begin at its own"
        )
    return found


def _made_again(
    base: Settings, point: Point, known: Mapping[int, Path], again: Sequence[Continuation], to: Path, name: str
) -> Continuation:
    """A run that makes a missing checkpoint, from the nearest earlier one: the run's or one that is made again."""
    settings = overlay(base, {"stop_at": point.samples, "validation_interval": 0, "checkpoint_interval": 0})
    nearest = max((samples for samples in known if samples < point.samples), default=0)
    source = partial(known.__getitem__, nearest) if nearest else None
    needs: tuple[Continuation, ...] = ()
    if again and (made := again[-1].settings().run.end) > nearest:
        nearest, source, needs = made, partial(_of_the_end, again[-1]), (again[-1],)
    return Continuation(name, to, partial(_same, settings), needs, source=source, begins_at=nearest, kept=True)


def _of_the_end(run: Continuation) -> Path:
    path = run.checkpoint()
    assert path is not None  # it is needed, and so finished
    return path


def _same(settings: Settings) -> Settings:
    return settings
