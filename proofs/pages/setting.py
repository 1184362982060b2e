"""The page docs/theory/setting.md: assumptions, the algorithm, the tests, and every symbol that proofs share."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from proofs.composition import Assumption
from proofs.notation import assumption, families, setting
from proofs.pages.derivations import FAMILIES
from proofs.typesetting import in_table, typeset

__all__ = ["setting_page"]


def setting_page() -> str:
    """The page; its words are those of ``setting.md``, its tables those of ``notation.toml``."""
    words = files("proofs.pages").joinpath("setting.md").read_text(encoding="utf-8")
    rows = "\n".join(f"| {typeset(a)} | {in_table(assumption(a))} |" for a in Assumption)
    tables = [("\n".join([f"### {title}", "", _table(group)])) for title, group in setting().items()]
    tables += ["\n".join([f"### {FAMILIES[name][0]}", "", _table(group)]) for name, group in families().items()]
    return words.replace("{assumptions}", f"| name | what is assumed |\n|---|---|\n{rows}").replace(
        "{symbols}\n", "\n\n".join(tables) + "\n"
    )


def _table(symbols: Mapping[str, str]) -> str:
    rows = [f"| ${in_table(symbol)}$ | {in_table(meaning)} |" for symbol, meaning in symbols.items()]
    return "\n".join(["| symbol | meaning |", "|---|---|", *rows])
