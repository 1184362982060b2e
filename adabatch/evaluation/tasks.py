"""Scores of an exported model in the tasks of lm-eval, EleutherAI's evaluation harness."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adabatch.refusals import did_you_mean

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

__all__ = ["open_tasks", "task_scores"]

LEFT_OUT = ("alias", "name", "sample_len", "sample_count")
"""What lm-eval puts among a task's metrics and is none."""


def open_tasks(tasks: Sequence[str], definitions: Path | None = None) -> TaskManager:
    """Where lm-eval finds these tasks.

    Args:
        tasks: their names in lm-eval or in ``definitions``.
        definitions: folder of task definitions (YAML) of your own.

    Raises:
        ValueError: lm-eval is not installed, or knows no such task.
    """
    if find_spec("lm_eval") is None:
        raise ValueError("--tasks needs the package lm_eval: pip install 'adabatch[eval]'")
    from lm_eval.tasks import TaskManager

    if definitions is not None and not definitions.is_dir():
        raise ValueError(f"there is no folder {definitions}: name one with definitions of tasks (--task-folder)")
    if definitions is not None:  # lm-eval's own are thousands
        manager = TaskManager(include_path=str(definitions), include_defaults=False)
        if set(tasks) <= set(manager.all_tasks):
            return manager
    manager = TaskManager(include_path=None if definitions is None else str(definitions))
    for task in tasks:
        if task not in manager.all_tasks:
            raise ValueError(
                f"lm-eval has no task {task!r}: name one that it lists (lm-eval ls tasks), or the folder of its "
                f"definition with --task-folder{did_you_mean(task, manager.all_tasks)}"
            )
    return manager


def task_scores(
    model: Path, tasks: Sequence[str], manager: TaskManager, device: str = "cpu", batch: int = 8
) -> dict[str, dict[str, Any]]:
    """The metrics of each task, by name, as lm-eval reports them: ``acc`` and ``acc_stderr``, for example.

    Args:
        model: folder of a model that ``transformers`` reads.
        tasks: their names.
        manager: of :func:`open_tasks`.
        device: of torch.
        batch: requests at once.

    Raises:
        ValueError: lm-eval cannot work on a task, for one because its data cannot be had.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    try:
        evaluated = HFLM(pretrained=str(model), backend="causal", device=device, batch_size=batch)
        found = simple_evaluate(model=evaluated, tasks=list(tasks), task_manager=manager)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"lm-eval cannot work on {', '.join(tasks)} ({reason}): take other --tasks") from error
    return {name: _metrics(scores) for name, scores in found["results"].items()}


def _metrics(scores: dict[str, Any]) -> dict[str, Any]:
    """Names such as ``acc,none`` without their filter where that is none; a standard error may be the text N/A."""
    return {name.removesuffix(",none"): value for name, value in scores.items() if name not in LEFT_OUT}
