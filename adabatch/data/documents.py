"""Documents, and the sources and parts of sources that they are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from math import gcd
from typing import NamedTuple, Protocol

__all__ = [
    "CONTEXT",
    "CONTINUATION",
    "PIECE",
    "Deal",
    "Document",
    "Part",
    "Place",
    "Source",
    "batches",
    "cut_document",
    "deal",
    "head",
    "held_out",
    "held_out_names",
    "name_hash",
    "read_parts",
    "tail",
    "whole_characters",
]

PIECE = 2**20  # bytes of a long text that are read and tokenized at once; at least a character's 4
CONTEXT = 4096  # bytes on either side that go with a piece
CONTINUATION = bytes(range(0x80, 0xC0))  # what a character's bytes after its first are

Place = tuple[int, ...]
"""Where the reading of a part resumes; numbers whose meaning only the part knows. Empty: at its beginning."""


class Document(NamedTuple):
    """A document, or a piece of one too long to hold at once."""

    text: bytes
    """UTF-8 text."""
    ends: bool = True
    """Whether the document ends here, that is, whether the end-of-document token follows."""
    before: bytes = b""
    """Of a piece: some of the text before it, whole characters, which decides about its first tokens."""
    after: bytes = b""
    """Of a piece: some of the text after it."""
    missing: bool = False
    """A null in place of a text: it is counted and has no tokens."""


class Part(Protocol):
    """A piece of a source that can be read by itself, and be sent to another process."""

    @property
    def size(self) -> int:
        """Bytes to read, for sharing out work; 0 where it is not known beforehand."""
        return 0

    def read(self, place: Place = ()) -> Iterator[tuple[Document, Place]]:
        """The documents from a place on, each with the place after it."""


class Source(Protocol):
    """Data that can be read as documents, any number of times, always in the same order.

    Each source holds out a `validation_fraction` of itself: 0 means that all is for training, 1 that all is for
    validation. A document is in exactly one of the two.
    """

    def parts(self, validation: bool) -> Sequence[Part]:
        """All documents for training or for validation, in their order."""

    def shard(self, index: int, count: int) -> Sequence[Part]:
        """The training documents of one of `count` shards of nearly equal size, which share none."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the documents might have; does not depend on where the data lie. Computed once."""

    def has_changed(self) -> bool:
        """Whether the data are not any more those of the fingerprint, as far as a look at them shows."""
        return False  # data that keep their version while they are open


def batches(
    documents: Iterable[tuple[Document, Place]], count: int, size: int
) -> Iterator[tuple[list[Document], Place]]:
    """Up to `count` documents at a time, or as many as first have `size` bytes, with the place after them."""
    batch: list[Document] = []
    read = 0
    place: Place = ()
    for document, place in documents:
        batch.append(document)
        read += len(document.text)
        if len(batch) == count or read >= size:
            yield batch, place
            batch, read = [], 0
    if batch:
        yield batch, place


def cut_document(document: Document, size: int, context: int) -> Iterator[Document]:
    """A document, or a piece of one, in pieces of about this many bytes, each with its context."""
    text, offset = document.text, 0
    while offset == 0 or offset < len(text):
        piece = text[offset : offset + size]
        if offset + size < len(text):
            piece = piece[: piece.rfind(b"\n") + 1] or whole_characters(piece)
        end = offset + len(piece)
        before = tail((document.before if offset < context else b"") + text[max(0, offset - context) : offset])
        after = head(text[end : end + context] + (document.after if end + context > len(text) else b""))
        yield Document(piece, document.ends and end == len(text), before, after)
        offset = end
        if not piece:
            return


def tail(text: bytes) -> bytes:
    """The last `CONTEXT` bytes, from a character's start."""
    return text[-CONTEXT:].lstrip(CONTINUATION)


def head(text: bytes) -> bytes:
    """The first `CONTEXT` bytes, up to a character's end."""
    return whole_characters(text[:CONTEXT])


def whole_characters(text: bytes) -> bytes:
    r"""UTF-8 without a character at its end of which bytes are missing.

    >>> whole_characters("aé".encode()[:2]), whole_characters("aé".encode())
    (b'a', b'a\xc3\xa9')
    """
    for size in range(1, min(4, len(text)) + 1):
        lead = text[-size]
        if lead not in CONTINUATION:
            return text[:-size] if lead >= 0xC0 and size < 2 + (lead >= 0xE0) + (lead >= 0xF0) else text
    return text


def read_parts(parts: Iterable[Part]) -> Iterator[Document]:
    """The documents of parts, one part after another."""
    for part in parts:
        for document, _ in part.read():
            yield document


class Deal(NamedTuple):
    """The documents of one file whose number is `residue` modulo `modulus`."""

    file: int
    modulus: int
    residue: int


def deal(names: Sequence[str], index: int, count: int) -> list[Deal]:
    """Deal files that can only be read from their beginning to `count` shards; the share of shard `index`.

    With U files and S shards, the documents of each file are numbered and dealt round robin to k = S / gcd(U, S)
    hands, and the U k hands, in the order of the files, round robin to the shards: U k is a multiple of S, so that
    all shards get equally many. A file is read by at most k shards, by one if S divides U. Which hand a file's
    first document falls into depends on its name, so that files of one document do not all fall to the same
    shards.

    >>> deal(["a", "b", "c", "d"], 1, 2)
    [Deal(file=1, modulus=1, residue=0), Deal(file=3, modulus=1, residue=0)]
    >>> [hand.modulus for hand in deal(["a"], 0, 4)]
    [4]
    """
    hands = count // gcd(len(names), count)
    shares = []
    for hand in range(index, len(names) * hands, count):
        file, residue = divmod(hand, hands)
        shares.append(Deal(file, hands, (residue + name_hash(names[file])) % hands))
    return shares


def held_out(key: str, fraction: float) -> bool:
    """Whether the document of this key is for validation: a hash of the key, so that it never depends on others.

    >>> sum(held_out(f"row {i}", 0.05) for i in range(10_000))
    504
    """
    return name_hash(key) < fraction * 2**64


def held_out_names(names: Sequence[str], fraction: float) -> set[str]:
    """The round(fraction * len(names)) names of smallest hash: never by chance none of them.

    >>> len(held_out_names([f"file {i}" for i in range(40)], 0.05))
    2
    """
    return set(sorted(names, key=lambda name: (name_hash(name), name))[: round(fraction * len(names))])


def name_hash(key: str) -> int:
    """64 bits that look random and are the same on every machine."""
    digest = hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")
