"""What there is to choose from, a line each."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from simulate.laboratory.parts import KINDS, settings_of

__all__ = ["CATALOGUES", "catalogue"]


def _parts(kind: Any) -> dict[str, str]:
    return {name: _line(factory) for name, factory in KINDS[kind].registry.items()}


def _line(documented: Any) -> str:
    """The first paragraph of a docstring, and the settings of what is called."""
    first = (inspect.getdoc(documented) or "").split("\n\n")[0]
    sentence = " ".join(first.split()).replace("``", "")
    settings = ", ".join(settings_of(documented)) if callable(documented) else ""
    return sentence + (f" [{settings}]" if settings else "")


def _experiments() -> dict[str, str]:
    from simulate.experiments.known import EXPERIMENTS

    return {name: _line(sys.modules[experiment.function.__module__]) for name, experiment in EXPERIMENTS.items()}


def _schedules() -> dict[str, str]:
    from adabatch.schedules.registry import batch_rules

    return {name: f"{rule.summary}." for name, rule in batch_rules().items()}


CATALOGUES: Mapping[str, Callable[[], dict[str, str]]] = {
    "objectives": lambda: _parts("objective"),
    "optimizers": lambda: _parts("optimizer"),
    "noises": lambda: _parts("noise"),
    "bounds": lambda: _parts("bound"),
    "experiments": _experiments,
    "schedules": _schedules,
}
"""What can be listed."""


def catalogue(kind: str) -> dict[str, str]:
    """Names and a sentence each, with the settings in brackets.

    Args:
        kind: one of :data:`CATALOGUES`.

    Raises:
        ValueError: for another kind.

    >>> catalogue("bounds")["sgd"]
    'The theorem on the mean of E||G_k||_2^2 of SGD under the norm-wise test.'
    """
    if kind not in CATALOGUES:
        raise ValueError(f"there is no list of {kind!r}; choose one of: {', '.join(CATALOGUES)}")
    return CATALOGUES[kind]()
