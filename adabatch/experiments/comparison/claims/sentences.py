"""The sentences of a Markdown page, those of its bullet points, and the decimal numbers in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

__all__ = ["Block", "blocks", "decimal_numbers", "sentences", "shows"]

ABBREVIATION = re.compile(
    r"(?:^|[^\w.])(?:e\.g|i\.e|cf|vs|al|figs?|eqs?|sec|thm|prop|approx|resp|dr)\.$", flags=re.IGNORECASE
)
ENCLOSED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|`[^`]*`")
END = re.compile(r"[.!?…][)\]*_\"'”’†]*\s+(?![\"'“‘(\[*_]*[a-zà-öø-ÿα-ω])")
BULLET = re.compile(r"\s*[-*+]\s+(.*)")
NO_PROSE = re.compile(r"#{1,6}\s.*|\|.*\||!\[.*\]\(.*\)")
LINK = re.compile(r"\[[^\]]*\]\(#[^)]*\)")
NUMBER = re.compile(
    r"(?<![A-Za-z0-9.])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+(?:e[-−+]?\d+)?|(?<=\d)e[-−+]?\d+)(?!\.?\d)"
)
"""A number with a point or an exponent. A hyphen after a digit, as in 0.01-0.02, is not a minus."""


class Block(NamedTuple):
    """A paragraph, or an item of a list, as one line."""

    text: str
    bullet: bool


def blocks(page: str) -> list[Block]:
    r"""Paragraphs and items of lists, without headings, tables, figures, code, and links to parts of the page.

    >>> blocks("# Title\n\nA paragraph.\n\n- One item,\n  in two lines.\n- Another.")[1:]
    [Block(text='One item, in two lines.', bullet=True), Block(text='Another.', bullet=True)]
    """
    found: list[Block] = []
    code, ended = False, True
    for line in page.splitlines():
        stripped = line.strip()
        fence = stripped.startswith(("```", "~~~"))
        code ^= fence
        if code or fence or not stripped or NO_PROSE.fullmatch(stripped):
            ended = True
        elif bullet := BULLET.fullmatch(line):
            found.append(Block(bullet[1], True))
            ended = False
        elif not ended or (found and found[-1].bullet and line[0].isspace()):
            found[-1] = Block(f"{found[-1].text} {stripped}", found[-1].bullet)
            ended = False
        else:
            found.append(Block(stripped, False))
            ended = False
    lines = [Block(" ".join(text.split()), bullet) for text, bullet in found]
    return [line for line in lines if not LINK.fullmatch(line.text)]


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph, white space collapsed; together they are all of it.

    >>> sentences("**No.** It gains 0.012 (e.g. at 16. Or 32), i.e. nothing. What of `a. B`?")
    ['**No.**', 'It gains 0.012 (e.g. at 16. Or 32), i.e. nothing.', 'What of `a. B`?']
    """
    text = " ".join(text.split())
    outside = _without_ends_inside(text)
    starts = [0]
    for match in END.finditer(outside):
        if not ABBREVIATION.search(outside[: match.start() + 1]):
            starts.append(match.end())
    return [
        part for start, end in zip(starts, [*starts[1:], None], strict=True) if (part := text[start:end].strip())
    ]


def _without_ends_inside(text: str) -> str:
    """The text, of equal length, without what parentheses, brackets and code enclose: there no sentence ends.

    But for the last point in parentheses that enclose whole sentences.
    """
    before = None
    while text != before:  # from the innermost parentheses outwards
        before, text = text, ENCLOSED.sub(_filled, text)
    return text


def _filled(match: re.Match[str]) -> str:
    inside = match.group()[1:-1]
    if match.group()[0] == "`":
        return f"´{'_' * len(inside)}´"  # no letter, which might seem to continue a sentence
    first = inside[:1] if inside[:1].isalpha() else "_"  # a small letter shows that the sentence continues
    last = "." if inside.endswith(".") and not ABBREVIATION.search(inside) else "_"
    filled = (first + "_" * (len(inside) - 2) + last)[: len(inside)]
    return f"_{filled}_"


def decimal_numbers(sentence: str, names: Sequence[str] = ()) -> Iterator[str]:
    """The numbers that are not integers, as they are shown, with a sign if they have one.

    Args:
        sentence: in Markdown; where its links lead is left out.
        names: which may have numbers, and are left out.

    >>> list(decimal_numbers("From 0.01-0.02 in 8 runs to −1.07 with norm-test-0.7.", ["norm-test-0.7"]))
    ['0.01', '0.02', '-1.07']
    """
    text = re.sub(r"\]\([^()]*\)", "]", sentence)
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-]|\.\d)", " ", text, flags=re.IGNORECASE)
    return (match.group().replace("−", "-").replace(",", "") for match in NUMBER.finditer(text))


def shows(number: str, value: float) -> bool:
    """Whether a number, at its digits, is the value; without a sign, the absolute value.

    >>> shows("0.012", -0.0123), shows("-0.012", -0.0123), shows("+0.012", -0.0123), shows("0.013", -0.0123)
    (True, True, False, False)
    """
    shown = Decimal(number)
    exponent = shown.as_tuple().exponent
    assert isinstance(exponent, int)
    rounded = Decimal(repr(round(float(value), -exponent)))
    return shown == rounded if number[0] in "+-" else shown == abs(rounded)
