"""Documents and their sources: what every kind of data gives to the preparation of a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Document", "Source", "held_out", "held_out_names"]


class Document(NamedTuple):
    """A document, or a piece of one too long to hold at once."""

    text: bytes
    """UTF-8 text, or whatever bytes a file holds."""
    ends: bool = True
    """Whether the document ends here, that is, whether the end-of-document token follows."""


class Source(Protocol):
    """Data that can be read as documents, any number of times, always in the same order.

    Each source holds out a `validation_fraction` of itself: 0 means that all is for training, 1 that all is for
    validation.
    """

    def documents(self, validation: bool) -> Iterator[Document]:
        """The documents of one part. A document is in exactly one part."""

    def fingerprint(self) -> str:
        """Changes whenever the documents might have; does not depend on where the data lie."""


def held_out(key: str, fraction: float) -> bool:
    """Whether the document of this key is for validation: a hash of the key, so that it never depends on others.

    >>> sum(held_out(f"row {i}", 0.05) for i in range(10_000))
    504
    """
    return _hash(key) < fraction * 2**64


def held_out_names(names: Sequence[str], fraction: float) -> set[str]:
    """The round(fraction * len(names)) names of smallest hash: never by chance none of them.

    >>> len(held_out_names([f"file {i}" for i in range(40)], 0.05))
    2
    """
    return set(sorted(names, key=lambda name: (_hash(name), name))[: round(fraction * len(names))])


def _hash(key: str) -> int:
    digest = hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")
