"""What of a run a checkpoint holds, and how a run resumes from one."""

from __future__ import annotations

import math
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adabatch.checkpoints.compatibility import RECORDS, check_compatible, damaged, saved_progress
from adabatch.checkpoints.errors import AgreedError
from adabatch.checkpoints.folders import CHECKPOINTS, LOSS, lowest_loss, quarantine, rank_file, read_json
from adabatch.checkpoints.loading import load_checkpoint
from adabatch.files import keep_copy
from adabatch.reporting.metrics import METRICS
from adabatch.reporting.resumption import describe_records, problem_with_records
from adabatch.settings import ScheduleSettings, from_saved, to_saved
from adabatch.training.run import Run

__all__ = ["checkpoints_folder", "resume_run", "save_run"]

PACKAGES = ("adabatch", "torch", "numpy", "transformers", "tokenizers")
"""Whose versions a checkpoint records."""


def checkpoints_folder(output: str) -> Path:
    """Where a run's checkpoints lie."""
    return Path(output) / CHECKPOINTS


def save_run(run: Run, loss: float | None = None) -> None:
    """Save a checkpoint at a step boundary; all ranks call it.

    Args:
        run: as it is after the step.
        loss: the validation loss after this step, if it was validated.
    """
    metrics = Path(run.settings.run.output) / METRICS
    run.saver.save(
        run.schedule.steps,
        run.model,
        run.optimizer,
        _progress(run, metrics) | {LOSS: loss if loss is not None and math.isfinite(loss) else None},
        {"sampler": _sampler_state(run)},
        sync_first=metrics,
    )


def resume_run(run: Run, path: Path) -> None:
    """Bring a freshly opened run to where a checkpoint was saved, on any number of ranks.

    Raises:
        ValueError: if the settings are of another run, or the checkpoint does not fit.
    """
    check_compatible(path, run.settings, run.corpus.describe())
    progress = saved_progress(path)
    _check_records(run, path, progress)
    stepped = progress["step"] > progress.get("skipped", 0)
    load_checkpoint(path, run.model, run.optimizer, run.ranks, stepped)
    try:
        run.schedule.load_state_dict(progress["schedule"])
        run.coupling.load_state_dict(progress.get("coupling") or _earlier_coupling(run, progress))
        run.guard.load_state_dict(progress)
        run.memory.load_state_dict(progress)
        _restore_sampler(run, path, progress)
    except (KeyError, TypeError, AttributeError) as error:
        _refuse_other_rule(path, progress, run.settings.schedule)
        raise damaged(path, f"{error!r}") from None
    if progress["world_size"] != run.ranks.world_size:
        run.schedule.forget_seconds()
    _round_batch(run)
    _quarantine_later(run, progress["step"])
    run.resumed_from = path


def _quarantine_later(run: Run, step: int) -> None:
    """Take checkpoints of later steps out of the way, now that nothing can be refused any more."""
    folder = checkpoints_folder(run.settings.run.output)
    if run.ranks.is_main:
        quarantine(folder, step)
    if run.settings.run.keep_best:
        run.lowest = run.ranks.gather(lowest_loss(folder) if run.ranks.is_main else math.inf)[0]


def _refuse_other_rule(path: Path, progress: dict[str, Any], settings: ScheduleSettings) -> None:
    """Say so if the checkpoint holds the state of another batch rule, which was allowed (``--allow``)."""
    saved = from_saved(progress["settings"], f"the checkpoint {path}").schedule
    then, now = _rule(saved), _rule(settings)
    if then != now:
        raise AgreedError(
            f"the checkpoint {path} holds the state of {then}, from which {now} cannot continue: use the original "
            "batch rule, or start again with --resume never --overwrite"
        )


def _rule(settings: ScheduleSettings) -> str:
    floor = "" if settings.batch_floor == "none" else f" --batch-floor {settings.batch_floor}"
    limit = " with a noise limit" if settings.noise_limit else ""
    return f"--schedule {settings.schedule}{floor}{limit}"


def _earlier_coupling(run: Run, progress: dict[str, Any]) -> dict[str, Any]:
    """Of a checkpoint from before anything moved with the batch but the learning rate."""
    tokens = progress["samples"] * run.settings.data.sequence_length
    return {"updates": progress["step"] - progress["skipped"], "log_product": None, "tokens": tokens}


def _check_records(run: Run, path: Path, progress: dict[str, Any]) -> None:
    """Refuse to resume with records that are not those of the checkpoint; the main rank reads them for all.

    Raises:
        AgreedError: what was found, and what to do.
    """
    folder, problem = checkpoints_folder(run.settings.run.output), None
    metrics = folder.with_name(METRICS)
    if run.ranks.is_main:
        elsewhere = path.resolve().parent != folder.resolve()
        problem = problem_with_records(metrics, progress["step"], progress.get("metrics", {}), elsewhere)
    problem = run.ranks.gather(problem)[0]
    if problem is not None and RECORDS in run.settings.run.allow:
        if run.ranks.is_main and metrics.is_file():
            warnings.warn(f"{metrics} {problem}; it is kept as {keep_copy(metrics).name}", stacklevel=2)
    elif problem is not None:
        raise AgreedError(
            f"{metrics} {problem}, unlike the checkpoint {path}: bring the file back from a copy, take another "
            f"--output, or resume with what it holds (--allow {RECORDS})"
        )


def _round_batch(run: Run) -> None:
    """The next batch as these ranks can make it."""
    saved = run.schedule.batch_size
    run.schedule.round_by(run.micro_batching)
    if run.schedule.batch_size != saved and run.ranks.is_main:
        plan = run.micro_batching.plan(saved)
        warnings.warn(
            f"the batch of {saved} is rounded to {plan.batch_size}: {plan.world_size} ranks x {plan.accumulation} "
            f"micro-batches of {plan.micro_batch}",
            stacklevel=2,
        )


def _progress(run: Run, metrics: Path) -> dict[str, Any]:
    """What the main rank knows, as JSON; floats survive exactly."""
    groups = run.optimizer.param_groups
    return {
        "step": run.schedule.steps,
        "samples": run.samples,
        "schedule": run.schedule.state_dict(),
        "coupling": run.coupling.state_dict(),
        **run.guard.state_dict(),
        **run.memory.state_dict(),
        "learning_rate": float(groups[0]["lr"]),
        "optimizer": [{name: value for name, value in group.items() if name != "params"} for group in groups],
        "metrics": describe_records(metrics) if run.ranks.is_main else {},
        "settings": to_saved(run.settings),
        "corpus": run.corpus.describe(),
        "world_size": run.ranks.world_size,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _sampler_state(run: Run) -> dict[str, Any]:
    """The position in the data, and what this rank knows of its place in a stream."""
    return {"samples": run.samples, "source": run.corpus.train.state_dict()}


def _restore_sampler(run: Run, path: Path, progress: dict[str, Any]) -> None:
    """Continue a stream from what all ranks saved, however many they were; prepared data need no state."""
    if run.corpus.train.length is not None:
        return
    files = [rank_file(path, rank) for rank in range(progress["world_size"])]
    states = [read_json(file).get("sampler", {}).get("source") for file in files if file.exists()]
    run.corpus.train.load_state_dict([state for state in states if state], run.samples)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
