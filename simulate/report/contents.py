"""What was run and what came out, as one record that JSON can hold."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from simulate.experiments.result import Result
from simulate.outcomes import Outcome
from simulate.text import counted

__all__ = ["FORMAT", "Report", "software_versions"]

FORMAT = 1
"""Of report.json and its tables; counted up where an earlier reader would misread them."""


def software_versions() -> dict[str, str]:
    """Versions of what the numbers depend on, without importing any of it."""
    known = {"Python": platform.python_version()}
    for package in ("adabatch", "numpy", "scipy", "matplotlib"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "not installed"
    return known


@dataclass(frozen=True)
class Report:
    """One call of ``verify-bounds``.

    Attributes:
        command: as typed.
        settings: resolved, by name.
        results: of the experiments, in order.
        seconds: wall time of each experiment.
        created: date and time, for people.
        versions: of the software.
    """

    command: str
    settings: Mapping[str, Any]
    results: Sequence[Result]
    seconds: Mapping[str, float]
    created: str
    versions: Mapping[str, str] = field(default_factory=software_versions)

    @property
    def outcomes(self) -> list[Outcome]:
        """All verdicts, in order."""
        return [outcome for result in self.results for outcome in result.outcomes]

    @property
    def passed(self) -> bool:
        """Whether there are verdicts, and all came out as they should."""
        return bool(self.outcomes) and all(outcome.as_expected for outcome in self.outcomes)

    @property
    def conclusion(self) -> str:
        """How many verdicts came out as they should, in a sentence."""
        count, failed = len(self.outcomes), sum(not outcome.as_expected for outcome in self.outcomes)
        if failed or not count:
            return f"{failed} of {counted(count, 'verdict')} did not."
        if count == 1:
            return "The one verdict came out as it should."
        return f"All {count} verdicts came out as they should."

    @property
    def verdicts(self) -> dict[str, dict[str, Any]]:
        """The verdicts as JSON has them, by their names."""
        return {outcome.name: _standard(outcome.as_dict()) for outcome in self.outcomes}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            "command": self.command,
            "created": self.created,
            "versions": dict(self.versions),
            "settings": dict(self.settings),
            "passed": self.passed,
            "experiments": [
                {
                    "name": result.name,
                    "title": result.title,
                    "summary": result.summary,
                    "seconds": round(self.seconds[result.name], 3),
                    "theorems": list(result.theorems),
                    "tables": [f"figures/{name}.csv" for name in result.tables],
                    "verdicts": [outcome.as_dict() for outcome in result.outcomes],
                }
                for result in self.results
            ],
        }

    def to_json(self) -> str:
        """Standard JSON: numbers that are not finite become null."""
        return json.dumps(_standard(self.as_dict()), indent=2, allow_nan=False) + "\n"


def _standard(value: Any) -> Any:
    """The value with non-finite floats replaced, at any depth."""
    if isinstance(value, Mapping):
        return {str(key): _standard(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_standard(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
