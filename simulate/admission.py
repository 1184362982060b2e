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

__all__ = ["require_built_in_rules", "require_objectives"]


def require_built_in_rules() -> None:
    """Compare the registries of optimizers and noise with how they were made.

    Raises:
        ValueError: for an entry that was added, replaced or removed.
    """
    for registry, place in ((OPTIMIZERS, "OPTIMIZERS"), (NOISES, "NOISES")):
        for name, change in registry.changes().items():
            raise ValueError(
                f"{registry.kind} {name!r} was {change} in {place}: the theorems are on the built-in ones, and no "
                "experiment can check them on another; undo this change"
            )


def require_objectives(names: Iterable[str]) -> None:
    """Check chosen objectives (:func:`simulate.consistency.require_consistent`), and that none was replaced.

    Args:
        names: of the objectives that were chosen.

    Raises:
        ValueError: for the first that is not what it says, or that is not this package's under the name of one.
    """
    for name in names:
        require_consistent(name, OBJECTIVES[name])
    for name, change in OBJECTIVES.changes().items():
        if change != "added":
            raise ValueError(
                f"objective {name!r} was {change} in OBJECTIVES: experiments rely on the built-in one; add yours "
                "under a name of its own and choose it with --objective"
            )
