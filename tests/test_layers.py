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


AGAINST = [
    # file, what it must not import, what the broken contract is called
    ("adabatch/schedules/fixed.py", "theory.adam", "knows nothing of theory"),
    ("theory/audit/claims.py", "adabatch.schedules", "take only the moments"),
    ("simulate/rates.py", "adabatch.statistics", "take only the moments"),
    ("simulate/rates.py", "proofs.report", "do not know each other"),
    ("adabatch/statistics/norms.py", "adabatch.training.run", "import downwards only"),
    ("adabatch/data/order.py", "adabatch.data.corpus", "No circle"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the linter prints of a copy with all of these imports."""
    folder = tmp_path_factory.mktemp("copy")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for file, imported, _ in AGAINST:
        with (folder / file).open("a") as module:
            module.write(f"\nimport {imported}\n")
    done = lint(folder)
    assert done.returncode == 1
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(("file", "imported", "broken"), AGAINST)
def test_an_import_against_them_is_found(report, file, imported, broken):
    assert any(broken in part and "BROKEN" in part for part in report.split("KEPT"))
    importing = file.removesuffix(".py").replace("/", ".")
    circle = f"No cycles are allowed in {importing.rpartition('.')[0]}."
    assert (circle if broken == "No circle" else f"{importing} -> {imported} (l.") in report
