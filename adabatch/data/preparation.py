"""Preparing a corpus: documents to tokens, one after another, in files that are mapped into memory.

A prepared corpus is a folder of the cache named by a fingerprint of the sources and the tokenizer, with
``train.tokens`` and ``validation.tokens`` (little-endian uint16, or uint32 for more than 65536 token values),
``corpus.json`` and, for a subword tokenizer, ``tokenizer.json``. It does not depend on the sequence length or the
seed, nor on the number of processes that prepared it.

The work is cut into tasks that depend on the sources alone. Each writes the tokens of its documents into a
folder ``unfinished-...``, with their hash beside them, and what is written there is kept if the work is
interrupted. In the end the tokens are put together, checked against the hashes, and the folder is synchronised to
disk and renamed: a prepared corpus is either whole or not there. (While it is put together, the tokens are on the
disk twice.) A lock on the unfinished folder lets one process at a time prepare a corpus; others wait and use its
folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adabatch.data.bpe import trained_tokenizer
from adabatch.data.documents import Source, read_parts
from adabatch.data.locks import exclusive
from adabatch.data.sources import open_sources
from adabatch.data.tasks import Report, Task, TokenCount, cut_tasks, documents_to_tokens, run_tasks, write_tokens
from adabatch.data.tokenizer import Tokenizer, open_tokenizer
from adabatch.files import rename_folder, sync, write_json, write_text
from adabatch.settings.data import DataSettings

__all__ = ["cache_folder", "corpus_folder", "open_tokenizer_of", "prepare", "prepared_folder", "tokenizer_folder"]

FORMAT = 3
PARTS = ("train", "validation")
TOKEN_TYPES = ("<u2", "<u4")
COPIED_AT_ONCE = 16 * 2**20


def cache_folder(settings: DataSettings) -> Path:
    """The folder of the prepared corpora: the settings', ``$ADABATCH_CACHE`` or ``~/.cache/adabatch``."""
    return _cache(settings) / "corpora"


def tokenizer_folder(settings: DataSettings) -> Path:
    """The folder of the trained tokenizers, beside that of the corpora."""
    return _cache(settings) / "tokenizers"


def _cache(settings: DataSettings) -> Path:
    chosen = settings.cache or os.environ.get("ADABATCH_CACHE") or "~/.cache/adabatch"
    return Path(chosen).expanduser()


def corpus_folder(settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer) -> Path:
    """Where the corpus of these sources and this tokenizer lies once it is prepared."""
    streaming = f"first {settings.streaming_validation_tokens} of validation" if settings.streaming else "all"
    parts = [str(FORMAT), streaming, tokenizer.fingerprint(), *(source.fingerprint() for source in sources)]
    return cache_folder(settings) / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def prepare(settings: DataSettings, report: Report | None = None) -> Path:
    """Prepare the corpus unless it is prepared already, and return its folder.

    When several processes train together, one on each file system calls this first. When streaming, only the
    validation set is prepared. Work that was interrupted is taken up again.

    Args:
        settings: what data, which tokenizer, how many processes.
        report: is called with (tasks done, tasks in all, tokens so far).

    Raises:
        ValueError: the data or the tokenizer cannot be read.
    """
    sources = open_sources(settings)
    return prepared_folder(settings, sources, open_tokenizer_of(settings, sources), report)


def open_tokenizer_of(settings: DataSettings, sources: Sequence[Source], *, train: bool = True) -> Tokenizer:
    """The tokenizer that the settings name; one of the corpus itself is trained if need be and allowed."""
    if settings.tokenizer == "bpe":
        return trained_tokenizer(settings, sources, tokenizer_folder(settings), train=train)
    return open_tokenizer(settings.tokenizer, settings.end_of_document)


def prepared_folder(
    settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer, report: Report | None = None
) -> Path:
    """As :func:`prepare`, with the sources and the tokenizer opened already."""
    folder = corpus_folder(settings, sources, tokenizer)
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    with exclusive(unfinished):
        if not _is_whole(folder):
            try:
                whole = _write(unfinished, settings, sources, tokenizer, report)
                _check_unchanged(folder, settings, sources, tokenizer)
            except ValueError:  # data that cannot be read: mended data have another fingerprint
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            except FileNotFoundError as error:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise ValueError(
                    f"data {settings.data!r} changed while it was prepared ({error.filename} is gone); prepare it "
                    "again"
                ) from error
            rename_folder(whole, folder)
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _check_unchanged(
    folder: Path, settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer
) -> None:
    """Raise ValueError if the data are not any more what they were when the work began."""
    if corpus_folder(settings, sources, tokenizer) != folder:
        raise ValueError(f"data {settings.data!r} changed while it was prepared; prepare it again")


def _is_whole(folder: Path) -> bool:
    return (folder / "corpus.json").is_file()


def _write(
    unfinished: Path,
    settings: DataSettings,
    sources: Sequence[Source],
    tokenizer: Tokenizer,
    report: Report | None,
) -> Path:
    """The whole corpus in a subfolder of the unfinished one."""
    whole = unfinished / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    dtype = TOKEN_TYPES[tokenizer.size > 2**16]
    if settings.streaming:
        parts = _beginning_of_validation(whole, settings, sources, tokenizer, dtype)
    else:
        tasks = {part: cut_tasks(sources, part == "validation") for part in PARTS}
        every = [task for part in PARTS for task in tasks[part]]
        run_tasks(every, unfinished, tokenizer, dtype, settings.processes, report)
        whole.mkdir()
        parts = {part: _put_together(whole / f"{part}.tokens", tasks[part], unfinished) for part in PARTS}
    for part in PARTS:
        sync(whole / f"{part}.tokens")
    _describe(whole, settings, tokenizer, dtype, parts)
    return whole


def _beginning_of_validation(
    whole: Path, settings: DataSettings, sources: Sequence[Source], tokenizer: Tokenizer, dtype: str
) -> dict[str, TokenCount]:
    """The first of the tokens held out, and no training tokens: what streaming needs."""
    whole.mkdir()
    with (whole / "train.tokens").open("wb") as file:
        nothing = write_tokens(file, iter(()), dtype)
    with (whole / "validation.tokens").open("wb") as file:
        parts = (part for source in sources for part in source.parts(validation=True))
        blocks = documents_to_tokens(read_parts(parts), tokenizer)
        return {
            "train": nothing,
            "validation": write_tokens(file, blocks, dtype, settings.streaming_validation_tokens),
        }


def _put_together(path: Path, tasks: Sequence[Task], unfinished: Path) -> TokenCount:
    """Append the tasks' tokens, each checked against its hash.

    Raises:
        ValueError: what a task wrote was damaged since; it is removed, so that it will be made again.
    """
    total, digest = TokenCount(), hashlib.sha256()
    with path.open("wb") as file:
        for task in tasks:
            count, own = task.count(unfinished), hashlib.sha256()
            for data in _chunks(task.tokens_path(unfinished)):
                file.write(data)
                digest.update(data)
                own.update(data)
            if own.hexdigest() != count.sha256:
                task.forget(unfinished)
                raise ValueError(
                    f"tokens in {unfinished} were damaged; prepare the corpus again to make them anew"
                )
            total = total.plus(count)
    return total.with_hash(digest.hexdigest())


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(COPIED_AT_ONCE):
            yield data


def _describe(
    whole: Path, settings: DataSettings, tokenizer: Tokenizer, dtype: str, parts: dict[str, TokenCount]
) -> None:
    """``corpus.json``, and the tokenizer if it has a definition to keep."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "data": DataSettings.names(settings.data),
        "validation_data": DataSettings.names(settings.validation_data),
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint(), "size": tokenizer.size},
        "texts_with_invalid_utf8": sum(count.replaced for count in parts.values()),
        "dtype": dtype,
        "parts": {
            part: {"tokens": count.tokens, "bytes": count.bytes, "sha256": count.sha256}
            for part, count in parts.items()
        },
        "versions": {name: version(name) for name in ("numpy", "tokenizers", "transformers", "datasets")},
    }
    definition = tokenizer.definition()
    if definition is not None:
        write_text(whole / "tokenizer.json", definition)
    write_json(whole / "corpus.json", record)
