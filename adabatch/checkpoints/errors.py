"""Errors of checkpoints, and actions that may fail on any rank: all ranks learn whether one did."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from adabatch.distributed.parallel import DistributedContext

__all__ = ["AgreedError", "CheckpointError", "raise_on_all_ranks"]

T = TypeVar("T")


class AgreedError(ValueError):
    """A user's error that every rank finds at the same place; the main rank reports it for all."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; the message gives the reason and what to do."""


def raise_on_all_ranks(
    action: Callable[[], T], ranks: DistributedContext, group: dist.ProcessGroup | None = None
) -> list[T]:
    """Call the action on every rank and return all results by rank.

    Args:
        action: the result must be picklable.
        ranks: this process among the others.
        group: all ranks; None for the default group.

    Raises:
        CheckpointError: on every rank, if the action failed with an OSError or RuntimeError on any.

    >>> raise_on_all_ranks(lambda: 3, DistributedContext())
    [3]
    """
    outcome: tuple[T | None, str | None]
    try:
        outcome = action(), None
    except (OSError, RuntimeError) as error:
        outcome = None, "".join(traceback.format_exception_only(error)).strip()
    outcomes = ranks.gather(outcome, group)
    errors = [f"rank {rank}: {message}" for rank, (_, message) in enumerate(outcomes) if message is not None]
    if errors:
        raise CheckpointError("; ".join(errors))
    return [result for result, _ in outcomes]  # type: ignore[misc]
