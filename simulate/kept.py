"""Results of finished experiments, kept next to a report that is not written yet."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from simulate.experiments.result import Result
from simulate.experiments.settings import Settings
from simulate.own_code import is_own

__all__ = ["KeptResults"]

ROOT = Path(__file__).parent.parent
OF_REPORT = frozenset({"output", "overwrite", "against", "experiments"})
"""Settings that change no result."""


@dataclass(frozen=True)
class KeptResults:
    """Results by experiment in a folder, found again by the same settings and the same code only.

    Attributes:
        folder: next to the report's; empty for a call that keeps nothing, since it runs code of the user's.
        key: of settings and code.
    """

    folder: Path | None
    key: str

    @classmethod
    def of(cls, settings: Settings) -> KeptResults:
        """Those of a call."""
        own = (*settings.objectives, *settings.optimizers, *settings.noises, *settings.bounds)
        if any(map(is_own, own)):
            return cls(None, "")
        output = settings.output
        of_results = {name: value for name, value in asdict(settings).items() if name not in OF_REPORT}
        text = repr(of_results) + _digest_of_code()
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(output.with_name(f"{output.name}.unfinished"), key)

    def read(self, name: str) -> tuple[Result, float] | None:
        """An experiment's result and seconds; None if it is not there or cannot be read."""
        if self.folder is None:
            return None
        try:
            with self._file(self.folder, name).open("rb") as file:
                result, seconds = _Unpickler(file).load()
        except (OSError, EOFError, pickle.UnpicklingError, AttributeError, TypeError, ValueError):
            return None
        return (result, seconds) if isinstance(result, Result) else None

    def write(self, name: str, timed: tuple[Result, float]) -> None:
        """Keep an experiment's result and seconds."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(self.folder, name)
        temporary = file.with_suffix(".tmp")
        temporary.write_bytes(pickle.dumps(timed))
        temporary.replace(file)

    def remove(self) -> None:
        """What is kept is in the report now."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, folder: Path, name: str) -> Path:
        return folder / f"{name}-{self.key}.pickle"


class _Unpickler(pickle.Unpickler):
    """Makes nothing but what results are made of."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("simulate", "theory") or (module, name) in NUMPY:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong to a result")


NUMPY = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
}


@cache
def _digest_of_code() -> str:
    """Of every module that a result may depend on."""
    files = sorted(
        path for package in ("simulate", "theory", "adabatch/moments") for path in (ROOT / package).rglob("*.py")
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()
