"""Ranks that do something that may fail, and all learn whether it did."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

__all__ = ["AgreedError", "CheckpointError", "together"]

T = TypeVar("T")


class AgreedError(ValueError):
    """A user's error that every rank finds at the same place; the main rank says it for all."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; the message says why and what to do."""


def together(action: Callable[[], T], group: dist.ProcessGroup | None, world_size: int) -> list[T]:
    """Call the action on every rank and return all results by rank.

    Args:
        action: the result must be picklable.
        group: the ranks; None for the default group.
        world_size: with 1 nothing is communicated.

    Raises:
        CheckpointError: on every rank, if the action failed with an OSError or RuntimeError on any.

    >>> together(lambda: 3, None, world_size=1)
    [3]
    """
    outcome: tuple[T | None, str | None]
    try:
        outcome = action(), None
    except (OSError, RuntimeError) as error:
        outcome = None, "".join(traceback.format_exception_only(error)).strip()
    outcomes: list[tuple[T | None, str | None]] = [outcome]
    if world_size > 1:
        outcomes = outcomes * world_size
        dist.all_gather_object(outcomes, outcome, group=group)
    errors = [f"rank {rank}: {message}" for rank, (_, message) in enumerate(outcomes) if message is not None]
    if errors:
        raise CheckpointError("; ".join(errors))
    return [result for result, _ in outcomes]  # type: ignore[misc]
