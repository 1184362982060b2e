"""Preparing a corpus: documents to tokens, one after another, in files that are mapped into memory.

A prepared corpus is a folder of the cache named by a fingerprint of the sources and the tokenizer, with
``train.tokens`` and ``validation.tokens`` (little-endian uint16, or uint32 for more than 65536 token values) and
``corpus.json``. It does not depend on the sequence length or the seed. The folder is written under a temporary
name, synchronised to disk and renamed, so that it is either whole or not there; of several processes that prepare
the same corpus at once the first to finish wins, and all use its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from adabatch.data.documents import Document, Source
from adabatch.data.settings import DataSettings
from adabatch.data.sources import open_sources
from adabatch.data.tokenizer import Tokenizer, open_tokenizer

__all__ = ["cache_folder", "corpus_folder", "documents_to_tokens", "prepare", "prepared_folder"]

FORMAT = 1
DOCUMENTS_AT_ONCE = 256
BYTES_AT_ONCE = 16 * 2**20


def cache_folder(settings: DataSettings) -> Path:
    """The folder of the prepared corpora: the settings', ``$ADABATCH_CACHE`` or ``~/.cache/adabatch``."""
    chosen = settings.cache or os.environ.get("ADABATCH_CACHE") or "~/.cache/adabatch"
    return Path(chosen).expanduser() / "corpora"


def corpus_folder(settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer) -> Path:
    """Where the corpus of these sources and this tokenizer lies once it is prepared."""
    streaming = f"first {settings.streaming_validation_tokens} of validation" if settings.streaming else "all"
    parts = [str(FORMAT), streaming, tokenizer.fingerprint(), *(source.fingerprint() for source in sources)]
    return cache_folder(settings) / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def prepare(settings: DataSettings) -> Path:
    """Prepare the corpus unless it is prepared already, and return its folder.

    When several processes train together, one on each file system calls this first. When streaming, only the
    validation set is prepared.

    Raises:
        ValueError: the data or the tokenizer cannot be read.
    """
    return prepared_folder(settings, open_sources(settings), open_tokenizer_of(settings))


def open_tokenizer_of(settings: DataSettings) -> Tokenizer:
    """The tokenizer that the settings name."""
    return open_tokenizer(settings.tokenizer, settings.end_of_document)


def prepared_folder(settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer) -> Path:
    """As :func:`prepare`, with the sources and the tokenizer opened already."""
    folder = corpus_folder(settings, sources, tokenizer)
    if (folder / "corpus.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"unfinished-{folder.name}-", dir=folder.parent))
    try:
        unfinished.chmod(0o755)
        _write(unfinished, settings, sources, tokenizer)
        _rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _write(folder: Path, settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer) -> None:
    """The token files and ``corpus.json``, all of them on disk on return."""
    dtype = "<u2" if tokenizer.size <= 2**16 else "<u4"
    parts = {}
    for part in ("train", "validation"):
        validation = part == "validation"
        documents = _documents(sources, validation)
        if settings.streaming and not validation:
            documents = iter(())
        limit = settings.streaming_validation_tokens if settings.streaming else None
        with (folder / f"{part}.tokens").open("wb") as file:
            parts[part] = _write_tokens(file, documents_to_tokens(documents, tokenizer), dtype, limit)
            _synchronise(file)
    record = {
        "format": FORMAT,
        "data": DataSettings.names(settings.data),
        "validation_data": DataSettings.names(settings.validation_data),
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint(), "size": tokenizer.size},
        "texts_with_invalid_utf8": getattr(tokenizer, "replaced", 0),
        "dtype": dtype,
        "parts": parts,
        "versions": {name: version(name) for name in ("numpy", "tokenizers", "transformers", "datasets")},
    }
    with (folder / "corpus.json").open("wb") as file:
        file.write(json.dumps(record, indent=2).encode())
        _synchronise(file)


def _documents(sources: Sequence[Source], validation: bool) -> Iterator[Document]:
    for source in sources:
        yield from source.documents(validation)


def documents_to_tokens(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[npt.NDArray[Any]]:
    """The tokens of the documents, the end-of-document token after each; a block of many documents at a time."""
    for batch in _batches(documents):
        end = np.array([tokenizer.end_of_document])
        blocks = []
        for document, tokens in zip(batch, tokenizer.encode([each.text for each in batch]), strict=True):
            blocks += [tokens, end] if document.ends else [tokens]
        yield np.concatenate(blocks)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if len(batch) == DOCUMENTS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write_tokens(
    file: BinaryIO, blocks: Iterator[npt.NDArray[Any]], dtype: str, limit: int | None
) -> dict[str, Any]:
    """Write blocks of tokens, the first `limit` if there are more; their number and their hash."""
    tokens, digest = 0, hashlib.sha256()
    for block in blocks:
        kept = block if limit is None else block[: limit - tokens]
        data = kept.astype(dtype).tobytes()
        file.write(data)
        digest.update(data)
        tokens += len(kept)
        if tokens == limit:
            break
    return {"tokens": tokens, "sha256": digest.hexdigest()}


def _synchronise(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _rename(unfinished: Path, folder: Path) -> None:
    """Give a finished folder its name, unless another process was first; then that one's stays."""
    _synchronise_folder(unfinished)
    try:
        unfinished.rename(folder)
    except OSError:
        if not (folder / "corpus.json").is_file():
            raise
    _synchronise_folder(folder.parent)


def _synchronise_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # a folder cannot be opened for this elsewhere
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
