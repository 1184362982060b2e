"""Step times of a finished run's model and layout on a GPU that is named, as ``adabatch worth`` takes them."""

from __future__ import annotations

from pathlib import Path

from adabatch.planning.plan import make_plan
from adabatch.schedules.step_times import StepTime
from adabatch.settings import CONFIG, load_settings, overlay

__all__ = ["step_time_on"]


def step_time_on(run: Path, gpu: str) -> StepTime:
    """t0 and t1 of a run's steps on another GPU, from a plan: the line through its first and its largest batch.

    Args:
        run: its folder, whose ``config.toml`` says model and layout.
        gpu: as ``--gpu`` takes it.

    Raises:
        ValueError: for a GPU that is not known, or a run without settings.
    """
    folder = run if run.is_dir() else run.parent
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"{run} has no {CONFIG}, which says what a step computes: give --step-time T0,T1 in place of --gpu"
        )
    plan = make_plan(overlay(load_settings(file=folder / CONFIG), {"gpu": gpu, "resume": "never"}))
    first, largest = plan.course.first, plan.course.largest
    if largest == first:
        largest = plan.micro_batching.plan(8 * first.batch_size)
    seconds = [plan.seconds(batch).all for batch in (first, largest)]
    per_sample = (seconds[1] - seconds[0]) / (largest.batch_size - first.batch_size)
    return StepTime(max(0.0, seconds[0] - per_sample * first.batch_size), per_sample)
