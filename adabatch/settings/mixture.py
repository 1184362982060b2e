"""Mixtures: data whose names each have a share, as in ``--data a.jsonl:0.7 --data b.jsonl:0.3``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from adabatch.settings.paths import split_share

__all__ = ["Ingredient", "ingredients_of"]

DECIMALS = 4
"""Of a share: the order of a mixture returns to the exact shares after 10,000 samples at most."""


class Ingredient(NamedTuple):
    """A source of a mixture, and its part of the samples."""

    name: str
    share: Decimal


def ingredients_of(names: Sequence[str]) -> tuple[Ingredient, ...]:
    """The sources of a mixture with their shares, which sum to 1 exactly; none if no name has a share.

    Raises:
        ValueError: a share that is missing or not allowed, a source that is named twice, another sum.

    >>> [str(share) for _, share in ingredients_of(["a.jsonl:0.7", "b.jsonl:0.3"])], ingredients_of(["a.jsonl"])
    (['0.7', '0.3'], ())
    """
    parts = [split_share(name) for name in names]
    if not any(share for _, share in parts):
        return ()
    for name, share in parts:
        if not share:
            raise ValueError(f"--data {name} has no share, unlike others: give each one ({name}:0.5) or none")
    found = tuple(Ingredient(name, _share(name, text)) for name, text in parts)
    name, count = Counter(name for name, _ in found).most_common(1)[0]
    if count > 1:
        raise ValueError(f"--data names {name} {count} times: name it once, with the sum of its shares")
    total = sum(share for _, share in found)
    if total != 1:
        listed = ", ".join(f"{name} {share}" for name, share in found)
        raise ValueError(f"shares of a mixture must sum to 1, but {listed} sum to {total}: change them (--data)")
    return found


def _share(name: str, text: str) -> Decimal:
    try:
        share = Decimal(text)
        allowed = 0 < share <= 1 and share == round(share, DECIMALS)
    except InvalidOperation:
        allowed = False
    if not allowed:
        raise ValueError(
            f"the share of --data {name} is {text}: give a number above 0 and at most 1, of at most {DECIMALS} "
            "decimals, such as 0.25"
        )
    return share
