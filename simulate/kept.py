"""Results of finished experiments and of their pieces, kept next to a report that is not written yet."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from simulate.experiments.settings import Settings
from simulate.own_code import is_own

__all__ = ["KeptResults", "unpickled"]

ROOT = Path(__file__).parent.parent
OF_REPORT = frozenset({"output", "overwrite", "against", "experiments"})
"""Settings that change no result."""


@dataclass(frozen=True)
class KeptResults:
    """Results by experiment or piece in a folder, found again by the same settings and the same code only.

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

    def read(self, name: str) -> tuple[Any, float] | None:
        """Result and seconds of an experiment, or of a piece; None if it is not there or cannot be read."""
        if self.folder is None:
            return None
        try:
            result, seconds = unpickled(self._file(self.folder, name).read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError, AttributeError, TypeError, ValueError):
            return None
        return (result, seconds) if isinstance(seconds, float) else None

    def count(self, name: str) -> int:
        """How many pieces of an experiment are kept."""
        return 0 if self.folder is None else len(list(self.folder.glob(f"{name}-*[0-9]-{self.key}.pickle")))

    def write(self, name: str, timed: tuple[Any, float]) -> None:
        """Keep result and seconds."""
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


def unpickled(content: bytes) -> Any:
    """What was kept.

    Raises:
        UnpicklingError: for anything but what results are made of.
    """
    return _Unpickler(io.BytesIO(content)).load()


class _Unpickler(pickle.Unpickler):
    """Makes nothing but what results are made of."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in (*OWN, "numpy"):
            found = super().find_class(module, name)
            if (module, name) in NUMPY or (isinstance(found, type) and found.__module__.split(".")[0] in OWN):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} does not belong to a result")


OWN = ("simulate", "theory")
"""Packages whose classes results are made of."""

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
