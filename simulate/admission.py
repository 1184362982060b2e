"""What experiments may go by: registries as they were made, and objectives that are what they say.

Objectives may be added to :data:`simulate.objectives.OBJECTIVES` and chosen by name. A theorem is on one optimizer
and one law of noise, and some experiments take theirs, and some objectives, without a registry. Where an entry was
replaced, a verdict under its name would be on something else: such registries are refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from simulate.consistency import require_consistent
from simulate.noise import NOISES
from simulate.objectives import OBJECTIVES
from simulate.optimizers import OPTIMIZERS

__all__ = ["require_consistent_objectives", "require_registries"]


def require_registries() -> None:
    """Compare the registries with how they were made.

    Raises:
        ValueError: for an optimizer or noise that was added, replaced or removed, and for an objective of this
            package that was replaced or removed.
    """
    for registry, place in ((OPTIMIZERS, "OPTIMIZERS"), (NOISES, "NOISES")):
        for name, change in registry.changes().items():
            raise ValueError(
                f"{registry.kind} {name!r} was {change} in {place}: the theorems are on the built-in ones, and no "
                "experiment can check them on another; undo this change"
            )
    for name, change in OBJECTIVES.changes().items():
        if change != "added":
            raise ValueError(
                f"objective {name!r} was {change} in OBJECTIVES: experiments rely on the built-in one; add yours "
                "under a name of its own and choose it with --objective"
            )


def require_consistent_objectives(names: Iterable[str]) -> None:
    """Check objectives by name; see :func:`simulate.consistency.require_consistent`.

    Raises:
        ValueError: for the first that is not what it says.
    """
    for name in names:
        require_consistent(name, OBJECTIVES[name])
