"""A theorem, its proof and its measurement stand under the same path."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from proofs.registry import MODULES

ROOT = Path(__file__).parent.parent.parent
PROVEN_ELSEWHERE = {
    "adam/key_inequality": "proofs/adam/l5_key_inequality",
    "adam_sharp/sharpness_example": "an example, enumerated exactly in theory.audit.checks.sharpness",
    "audit/corrected_adam": "its log step in proofs/audit/published_adam; the bound itself is not proven",
    "estimators/finite_population": "proofs/estimators/expectations",
    "estimators/exact_tests": "proofs/audit/published_adam",
    "schedules/second_moments": "recursions of known models; their use in proofs/schedules/sandwich_sgd and _adam",
}
"""Modules with a guarantee that have no proof under their own path: where it is."""


def modules_with_a_guarantee() -> list[str]:
    """Paths below theory, in a folder, whose docstring states a guarantee."""
    paths = [path for path in (ROOT / "theory").glob("*/*.py") if path.stem != "__init__"]
    stated = [path for path in paths if "Guarantee" in (ast.get_docstring(ast.parse(path.read_text())) or "")]
    return sorted(path.relative_to(ROOT / "theory").with_suffix("").as_posix() for path in stated)


@pytest.mark.parametrize("module", modules_with_a_guarantee())
def test_a_guarantee_has_its_proof_under_the_same_path(module):
    proven = f"proofs.{module.replace('/', '.')}" in MODULES
    assert proven != (module in PROVEN_ELSEWHERE), (
        f"theory/{module}.py: no proof at proofs/{module}.py, or listed too"
    )


def test_every_exception_is_a_module():
    assert all((ROOT / "theory" / f"{module}.py").is_file() for module in PROVEN_ELSEWHERE)


def test_every_folder_of_proofs_is_one_of_theory():
    folders = {path.parent.name for path in (ROOT / "proofs").glob("*/__init__.py")}
    assert folders - {path.parent.name for path in (ROOT / "theory").glob("*/__init__.py")} == {
        "certificates",
        "pages",
    }
