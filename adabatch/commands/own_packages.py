"""The command's own theory, proofs and simulate, also where a user's folder holds modules of these names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import adabatch

__all__ = ["OWN", "refuse_foreign_modules", "resolve_own_packages"]

OWN = ("theory", "proofs", "simulate")
"""Packages that are installed next to ``adabatch``."""

HOME = Path(adabatch.__file__).parent.parent
"""The folder that holds adabatch and the packages that belong to it."""


class OwnPackages(MetaPathFinder):
    """Finds the packages of :data:`OWN` next to ``adabatch``, before the module search path is asked."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package next to ``adabatch``; None for other modules."""
        return PathFinder.find_spec(fullname, [str(HOME)]) if fullname in OWN else None


def resolve_own_packages() -> None:
    """From now on, import theory, proofs and simulate from where ``adabatch`` is; once per process."""
    if not any(isinstance(finder, OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, OwnPackages())


def refuse_foreign_modules() -> None:
    """Name the file of a foreign module that was imported before and is now in the way.

    Raises:
        ValueError: if there is one.
    """
    for name in OWN:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and Path(file).parent != HOME / name:
            raise ValueError(
                f"the module {name!r} from {file} was imported in place of adabatch's own: rename that file, or "
                "start the command where it is not on the module search path"
            )
