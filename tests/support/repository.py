"""The repository's folder, and its scripts as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def script(path: str) -> ModuleType:
    """``examples/x.py`` or ``benchmarks/x.py``; it finds the modules of its folder, as when Python runs it."""
    file = ROOT / path
    sys.path.insert(0, str(file.parent))
    try:
        return importlib.import_module(file.stem)
    finally:
        sys.path.remove(str(file.parent))
