"""Opening a corpus: what the trainer gets from the settings of its data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adabatch.data.bpe import restore_tokenizer
from adabatch.data.documents import Part, Source
from adabatch.data.preparation import (
    PARTS,
    TOKEN_TYPES,
    corpus_folder,
    open_tokenizer_of,
    prepared_folder,
    tokenizer_folder,
)
from adabatch.data.samples import PreparedSamples, SampleSource
from adabatch.data.sources import open_sources
from adabatch.data.streaming import Stream, StreamedSamples
from adabatch.data.tokenizer import Tokenizer, padded_vocabulary
from adabatch.files import write_text
from adabatch.settings.data import DataSettings

__all__ = ["Corpus", "keep_tokenizer", "open_corpus"]


@dataclass(frozen=True)
class Corpus:
    """Tokenized data, ready to be taken by position."""

    train: SampleSource
    """The training samples, in the order of the seed (of the stream when streaming)."""
    validation: PreparedSamples | None
    """The validation samples, in the order of the data; None where nothing is held out."""
    tokenizer: Tokenizer
    """What made the tokens."""
    vocabulary_size: int
    """Token values a model should have: the tokenizer's, rounded up to a multiple of 8."""
    folder: Path
    """Where the prepared files lie."""

    def bytes_per_token(self) -> float | None:
        """Bytes of text that a token stands for, on average over the validation set; None without one."""
        if self.validation is None:
            return None
        part = self.validation.describe()
        return float(part["bytes"] / part["tokens"])

    def save_tokenizer(self, folder: Path) -> None:
        """Write ``tokenizer.json``, from which a run goes on and is exported; nothing for ``bytes``."""
        definition = self.tokenizer.definition()
        if definition is not None:
            write_text(folder / TOKENIZER_FILE, definition)

    def describe(self) -> dict[str, Any]:
        """What the corpus is, as JSON. Equal hashes mean equal tokens, whatever the machine."""
        return {
            "tokenizer": self.tokenizer.name,
            "vocabulary_size": self.vocabulary_size,
            "train": self.train.describe(),
            "validation": None if self.validation is None else self.validation.describe(),
        }


TOKENIZER_FILE = "tokenizer.json"


def keep_tokenizer(settings: DataSettings, folder: Path) -> None:
    """Before a run in this folder goes on: its trained tokenizer, if it has one, is that of its corpus again.

    It need not be trained anew where the cache is another or was deleted, nor change with the libraries.
    """
    saved = folder / TOKENIZER_FILE
    if settings.tokenizer == "bpe" and saved.is_file():
        restore_tokenizer(settings, open_sources(settings), tokenizer_folder(settings), saved)


def open_corpus(settings: DataSettings, *, prepare: bool = True) -> Corpus:
    """Open the corpus that the settings describe.

    Args:
        settings: what data, which tokenizer, how long the sequences are.
        prepare: prepare the corpus if it is not. With several processes, let one call
            :func:`adabatch.data.prepare` first; that all prepare at once is safe, but wasteful.

    Raises:
        ValueError: the data or the tokenizer cannot be read, or a part is shorter than one sequence, or the
            corpus is not prepared and may not be.

    >>> import tempfile
    >>> corpus = open_corpus(DataSettings(sequence_length=64, cache=tempfile.mkdtemp()))
    >>> corpus.train.take(range(3)).shape, corpus.vocabulary_size
    (torch.Size([3, 64]), 264)
    """
    sources = open_sources(settings)
    tokenizer = open_tokenizer_of(settings, sources, train=prepare)
    if prepare:
        folder = prepared_folder(settings, sources, tokenizer)
    else:
        folder = corpus_folder(settings, sources, tokenizer)
    if not (folder / "corpus.json").is_file():
        raise ValueError(
            f"the corpus of data {settings.data!r} is not prepared in {folder.parent}; call "
            "adabatch.data.prepare(settings) in one process first, or open it with prepare=True"
        )
    record = _read_description(folder)
    train: SampleSource
    if settings.streaming:
        train = _stream(settings, sources, tokenizer)
    else:
        train = _open_part("train", folder, record, settings)
    validated = settings.validation_data is not None or settings.validation_fraction > 0
    validation = _open_part("validation", folder, record, settings) if validated else None
    return Corpus(train, validation, tokenizer, padded_vocabulary(tokenizer.size), folder)


def _read_description(folder: Path) -> dict[str, Any]:
    """The description of a prepared corpus: its format, and of each part the number of tokens.

    Raises:
        ValueError: it is damaged, or describes what preparing does not write.
    """
    try:
        record = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        parts = [record["parts"][part] for part in PARTS]
        good = record["dtype"] in TOKEN_TYPES and isinstance(record["tokenizer"], dict)
        good = good and all(type(part["tokens"]) is int and type(part["bytes"]) is int for part in parts)
        good = good and all(part["tokens"] >= 0 for part in parts)
    except (ValueError, LookupError, TypeError, RecursionError):
        good = False
    if not good:
        raise ValueError(f"{folder / 'corpus.json'} is damaged; delete {folder} to prepare it again")
    return dict(record)


def _open_part(part: str, folder: Path, record: dict[str, Any], settings: DataSettings) -> PreparedSamples:
    """One of the token files as samples."""
    size, dtype = record["parts"][part]["tokens"], np.dtype(record["dtype"])
    if size < settings.sequence_length:
        raise ValueError(_too_short(part, size, settings))
    path = folder / f"{part}.tokens"
    if not path.is_file() or path.stat().st_size != size * dtype.itemsize:
        raise ValueError(f"{path} should hold {size} tokens and does not; delete {folder} to prepare it again")
    tokens = np.memmap(path, dtype=dtype, mode="r", shape=(size,))
    description = {"part": part, "tokenizer": record["tokenizer"], **record["parts"][part]}
    return PreparedSamples(
        tokens, settings.sequence_length, settings.seed if part == "train" else None, description
    )


def _too_short(part: str, size: int, settings: DataSettings) -> str:
    name = {"train": "training", "validation": "validation"}[part]
    if part == "validation" and settings.validation_data is None:
        advice = (
            "use more data, name validation_data, raise validation_fraction (now "
            f"{settings.validation_fraction:g}; 0 trains without validation) or shorten sequence_length"
        )
    else:
        advice = "use more data or shorten sequence_length"
    data = settings.validation_data if part == "validation" and settings.validation_data else settings.data
    return (
        f"the {name} part of data {data!r} has {size} tokens, less than one sequence of "
        f"{settings.sequence_length}; {advice}"
    )


def _stream(settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer) -> StreamedSamples:
    def shard(index: int) -> list[Part]:
        return [part for source in sources for part in source.shard(index, settings.stream_shards)]

    description = {
        "part": "train",
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint(), "size": tokenizer.size},
        "sources": [source.fingerprint() for source in sources],
    }
    return StreamedSamples(
        Stream(
            shard,
            settings.stream_shards,
            tokenizer,
            settings.sequence_length,
            settings.shuffle_buffer,
            settings.seed,
            description,
        )
    )
