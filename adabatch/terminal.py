"""Output streams and consoles that print any text as it is, to terminals of any encoding."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "plain", "prepare_streams"]

PLAIN = {
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "⇒": "=>",
    "−": "-",
    "×": "x",
    "·": "*",
    "√": "sqrt",
    "∞": "inf",
    "∑": "sum",
    "∏": "prod",
    "∈": "in",
    "∇": "grad",
    "‖": "||",
    "–": "-",
    "—": "-",
    "…": "...",
    "│": "|",
    "─": "-",
    "•": "*",
    "’": "'",
    "“": '"',
    "”": '"',
    "⌈": "ceil(",
    "⌉": ")",
    "⌊": "floor(",
    "⌋": ")",
}
"""What stands for a character that the terminal does not have, where its name or decomposition does not tell."""

GREEK = ("GREEK SMALL LETTER ", "GREEK CAPITAL LETTER ")
RAISED = {"SUPERSCRIPT": "^", "SUBSCRIPT": "_"}


def plain(character: str) -> str:
    r"""A character in ASCII.

    >>> [plain(character) for character in "ηΔ²₁é≤字"]
    ['eta', 'Delta', '^2', '_1', 'e', '<=', '\\u5b57']
    """
    name, parts = unicodedata.name(character, ""), unicodedata.normalize("NFKD", character)
    for prefix, case in zip(GREEK, (str.lower, str.capitalize), strict=True):
        if name.startswith(prefix):
            return case(name.removeprefix(prefix).split()[0])
    base = parts.encode("ascii", errors="ignore").decode()
    if character in PLAIN or not base:
        return PLAIN.get(character) or character.encode("ascii", errors="backslashreplace").decode()
    return RAISED.get(name.partition(" ")[0], "") + base


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """The error handler of codecs: ASCII in place of what cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def prepare_streams() -> None:
    """From now on, standard output and error write in ASCII what their encoding lacks, in place of failing."""
    codecs.register_error("adabatch-plain", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.errors != "adabatch-plain":
            stream.reconfigure(errors="adabatch-plain")


def console(*, stderr: bool = False) -> Console:
    """A console of ``rich`` that takes brackets and colons in paths and messages for nothing but themselves.

    Args:
        stderr: to standard error rather than to standard output.
    """
    from rich.console import Console

    prepare_streams()
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
