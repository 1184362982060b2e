"""The layers stated in pyproject.toml hold, and an import against them is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("adabatch", "theory", "proofs", "simulate")
LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINTER, "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_layers_hold():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("adabatch/schedules/fixed.py", "import theory.adam", "knows nothing of theory"),
        ("theory/audit/claims.py", "import adabatch.schedules", "take only the moments"),
        ("simulate/rates.py", "import adabatch.statistics", "take only the moments"),
        ("simulate/rates.py", "import proofs.report", "do not know each other"),
        ("adabatch/statistics/norms.py", "import adabatch.training.run", "import downwards only"),
        ("adabatch/data/order.py", "import adabatch.data.corpus", "No circle"),
    ],
)
def test_an_import_against_them_is_found(tmp_path, file, line, broken):
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as module:
        module.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert any(broken in part and "BROKEN" in part for part in done.stdout.replace("\n", " ").split("KEPT"))
