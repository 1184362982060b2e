"""The batch rules by name: what a run's settings, their choices, help and checks are derived from.

A rule registers itself next to its class, with the options that only it has. A new one is a module of this
package; nothing else has to know it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from adabatch.schedules.base import BatchSizeSchedule
from adabatch.schedules.learning_rate import LearningRate

__all__ = ["BatchRule", "RunContext", "batch_rules", "register"]


@dataclass(frozen=True)
class RunContext:
    """What a rule may need of the run apart from its own options.

    Attributes:
        samples: the budget.
        learning_rate: builds the run's, before any scaling by the batch.
        read_records: the records of another run, from its folder.
        scaling: by which batch and learning rate are exchanged, the optimizer's
            (:func:`~adabatch.schedules.learning_rate.rule_of_optimizer`).
    """

    samples: int
    learning_rate: Callable[[], LearningRate]
    read_records: Callable[[Path], Sequence[Mapping[str, Any]]]
    scaling: str = "sqrt"


class _Buildable(Protocol):
    name: str

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> BatchSizeSchedule:
        """The schedule, not yet rounded to what a run can realise."""
        ...


@dataclass(frozen=True)
class BatchRule:
    """A registered rule.

    Attributes:
        name: as in ``--schedule NAME``.
        summary: one sentence for its help.
        options: a dataclass of the settings that only this rule reads, with a docstring under each field.
        build: from all of a schedule's settings and the run's context.
    """

    name: str
    summary: str
    options: type | None
    build: Callable[[Any, RunContext], BatchSizeSchedule]


T = TypeVar("T", bound=type[_Buildable])

_RULES: dict[str, BatchRule] = {}


def register(name: str, options: type | None = None) -> Callable[[T], T]:
    """Make a schedule's class known under a name; its docstring's first paragraph is its help.

    Args:
        name: as in ``--schedule NAME``.
        options: see :class:`BatchRule`.
    """

    def decorate(schedule: T) -> T:
        paragraph = (schedule.__doc__ or "").split("\n\n")[0]
        summary = " ".join(paragraph.split()).replace("``", "").removesuffix(".")
        schedule.name = name
        _RULES[name] = BatchRule(name, summary, options, schedule.from_settings)
        return schedule

    return decorate


def batch_rules() -> Mapping[str, BatchRule]:
    """All rules of this package, by name.

    >>> "norm-test" in batch_rules()
    True
    """
    for module in pkgutil.iter_modules(importlib.import_module(__package__).__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return dict(sorted(_RULES.items()))
