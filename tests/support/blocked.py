"""A process in which packages are not installed: what an extra leaves out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["without"]

START = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {blocked!r}:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def without(
    blocked: set[str], code: str, *arguments: str, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python code where none of these packages can be imported."""
    return subprocess.run(
        [sys.executable, "-c", START.format(blocked=blocked) + code, *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
