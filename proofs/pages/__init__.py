"""The pages docs/theory: written from the code, and compared with it by a test."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["FOLDER", "pages", "write_pages"]

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "theory"


@cache
def pages() -> dict[str, str]:
    """The text of every page, by its file's name."""
    from proofs.pages.claims import claims_page
    from proofs.pages.derivations import proofs_page
    from proofs.pages.setting import setting_page
    from proofs.pages.theorems import theorems_page
    from proofs.registry import MODULES, all_proofs, proofs_of
    from theory.audit.claims import CLAIMS

    proofs = all_proofs()
    return {
        "claims.md": claims_page(CLAIMS, proofs),
        "setting.md": setting_page(),
        "theorems.md": theorems_page({proof.name: proof for proof in proofs}),
        "proofs.md": proofs_page([(module, proofs_of(module)) for module in MODULES]),
    }


def write_pages(folder: Path = FOLDER) -> list[Path]:
    """Write the pages.

    Raises:
        ValueError: if the folder does not exist, as where adabatch was installed from a wheel.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: --write-docs writes a clone's pages; run it there")
    paths = []
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return paths
