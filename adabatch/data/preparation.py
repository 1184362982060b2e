"""Preparing a corpus: documents to tokens, one after another, in files that are mapped into memory.

A prepared corpus is a folder of the cache named by a fingerprint of the sources and the tokenizer, with
``train.tokens`` and ``validation.tokens`` (little-endian uint16, or uint32 for more than 65536 token values),
``corpus.json`` and, for a subword tokenizer, ``tokenizer.json``. It does not depend on the sequence length or the
seed, nor on the number of processes that prepared it. Each source of a mixture is a corpus of its own; the folder
of the mixture has no tokens, and its ``corpus.json`` names theirs.

The work is cut into tasks that depend on the sources alone. Each writes the tokens of its documents into a
folder ``unfinished-...``, together with their hash, and what is written there is kept if the work is interrupted.
In the end the tokens are put together, checked against the hashes, and the folder is synchronised to disk and
renamed: a prepared corpus is either whole or not there. (While it is put together, the tokens are on the disk
twice.) A lock on the unfinished folder lets one process at a time prepare a corpus; others wait and use its
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adabatch.data.bpe import trained_tokenizer
from adabatch.data.cache import cache_folder, check_owner, named_by, refuse_others, remember_checked
from adabatch.data.documents import Source
from adabatch.data.sources import open_set, open_sources
from adabatch.data.tasks import Progress, Task, TokenCount, cut_tasks, run_tasks, write_tokens
from adabatch.data.tokenizer import Tokenizer, open_tokenizer, token_type
from adabatch.files import remove_by_name, rename_folder, sync, temporary_names, write_json, write_text
from adabatch.locks import exclusive
from adabatch.refusals import refusing_os_errors
from adabatch.settings.data import DataSettings

__all__ = ["PARTS", "TOKENIZER_FILE", "prepare", "prepare_set", "save_tokenizer"]

FORMAT = 5
TOKENIZER_FILE = "tokenizer.json"
PARTS = ("train", "validation")
NAMES = ("corpus.json", TOKENIZER_FILE, *(f"{part}.tokens" for part in PARTS))
COPIED_AT_ONCE = 16 * 2**20


def prepare(settings: DataSettings, progress: Progress | None = None, saved_tokenizer: Path | None = None) -> Path:
    """Prepare the corpus unless it is prepared already, and return its folder.

    The sources are read through once for their fingerprint. When several processes train together, one on each
    file system calls this, and all open the folder that it returns (:func:`adabatch.data.corpus.open_corpus`).
    When streaming, only the validation set is prepared. Work that was interrupted is resumed.

    Args:
        settings: the data, the tokenizer, the number of processes.
        progress: is called with (tasks done, tasks in all, tokens so far).
        saved_tokenizer: the ``tokenizer.json`` of a run that resumes, if there is one: with ``bpe`` it is used
            rather than another one trained.

    Raises:
        ValueError: the data or the tokenizer cannot be read.
    """
    with refusing_os_errors(named_by(settings)):
        members = [(member, open_sources(member, warn=True)) for member in settings.members()]
        cache = cache_folder(settings)
        if settings.tokenizer == "bpe":
            every = [source for _, sources in members for source in sources]
            tokenizer: Tokenizer = trained_tokenizer(settings, every, cache / "tokenizers", saved_tokenizer)
        else:
            tokenizer = open_tokenizer(settings.tokenizer, settings.end_of_document)
        folders = [_prepare(_Inputs(member, sources, tokenizer), progress) for member, sources in members]
        return _write_mixture(cache, settings, tokenizer, folders) if settings.mixture else folders[0]


def prepare_set(
    settings: DataSettings, data: Sequence[str], tokenizer: Tokenizer, progress: Progress | None = None
) -> Path:
    """As :func:`prepare`, of a further validation set: a corpus of its own, with nothing for training."""
    with refusing_os_errors(named_by(settings)):
        sources = open_set(settings, data, warn=True)
        return _prepare(_Inputs(replace(settings, data=data), sources, tokenizer), progress)


def _prepare(inputs: _Inputs, progress: Progress | None) -> Path:
    """The folder of a corpus that is not a mixture."""
    folder = cache_folder(inputs.settings) / "corpora" / inputs.fingerprint()
    if _is_whole(folder):
        return folder
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(unfinished) and not unfinished.is_dir():
        check_owner(unfinished, stat.S_IFDIR)
    with exclusive(unfinished):
        refuse_others(unfinished)
        check_owner(unfinished, stat.S_IFDIR)
        if not _is_whole(folder):
            whole = _write_unchanged(unfinished, inputs, progress)
            _clear(folder)
            rename_folder(whole, folder)
            for part, count in json.loads((folder / "corpus.json").read_text())["parts"].items():
                remember_checked(folder / f"{part}.tokens", count["sha256"])
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _write_mixture(cache: Path, settings: DataSettings, tokenizer: Tokenizer, members: Sequence[Path]) -> Path:
    """A folder with a description of all, which names the members; none of it depends on their shares."""
    names = [member.name for member in members]
    folder = cache / "corpora" / hashlib.sha256("\n".join(["mixture", *names]).encode()).hexdigest()[:32]
    if _is_whole(folder):
        return folder
    records = [json.loads((member / "corpus.json").read_text()) for member in members]
    folder.mkdir(parents=True, exist_ok=True)
    refuse_others(folder)
    check_owner(folder, stat.S_IFDIR)
    save_tokenizer(tokenizer, folder)
    record = records[0] | {
        "data": [ingredient.name for ingredient in settings.mixture],
        "sources": [source for record in records for source in record["sources"]],
        "missing_texts": sum(record["missing_texts"] for record in records),
        "parts": {part: _sum_of([record["parts"][part] for record in records]) for part in PARTS},
        "members": names,
    }
    write_json(folder / "corpus.json", record)
    for path in (folder / TOKENIZER_FILE, folder / "corpus.json"):
        if path.is_file():
            refuse_others(path)
    return folder


def _sum_of(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the members' parts, what a corpus records of one."""
    sums = {name: sum(part[name] for part in parts) for name in ("tokens", "bytes")}
    hashes = " ".join(part["sha256"] for part in parts)
    return {**sums, "sha256": hashlib.sha256(hashes.encode()).hexdigest()}


def _clear(folder: Path) -> None:
    """Delete what is left of a corpus without its description, which was removed.

    Raises:
        ValueError: something else is there.
    """
    if os.path.lexists(folder):
        check_owner(folder, stat.S_IFDIR)
        remove_by_name(folder, "|".join(map(temporary_names, NAMES)))
        if os.path.lexists(folder):
            raise ValueError(f"{folder} is not a prepared corpus and holds other files; move it away")


@dataclass(frozen=True)
class _Inputs:
    """What a prepared corpus is made of."""

    settings: DataSettings
    sources: Sequence[Source]
    tokenizer: Tokenizer

    def fingerprint(self) -> str:
        """The name of the corpus of these sources and this tokenizer."""
        settings = self.settings
        streaming = f"first {settings.streaming_validation_tokens} of validation" if settings.streaming else "all"
        sources = [source.fingerprint for source in self.sources]
        parts = [str(FORMAT), streaming, self.tokenizer.fingerprint, *sources]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _is_whole(folder: Path) -> bool:
    if not (folder / "corpus.json").is_file():
        return False
    check_owner(folder, stat.S_IFDIR)
    check_owner(folder / "corpus.json")
    return True


def _write_unchanged(unfinished: Path, inputs: _Inputs, progress: Progress | None) -> Path:
    """The whole corpus in a subfolder of the unfinished one.

    Raises:
        ValueError: the data cannot be read, or changed meanwhile; what was written is removed, as data that are
            fixed have another fingerprint.
    """
    changed = f"data {inputs.settings.data!r} changed while it was prepared"
    try:
        whole = _write(unfinished, inputs, progress)
        if any(source.has_changed() for source in inputs.sources):
            raise ValueError(f"{changed}; prepare it again")
    except ValueError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    except FileNotFoundError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ValueError(f"{changed} ({error.filename} is gone); prepare it again") from error
    return whole


def _write(unfinished: Path, inputs: _Inputs, progress: Progress | None) -> Path:
    whole = unfinished / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    settings, tokenizer = inputs.settings, inputs.tokenizer
    if settings.streaming:
        whole.mkdir()
        parts = _beginning_of_validation(whole, inputs)
    else:
        tasks = {part: cut_tasks(inputs.sources, part == "validation") for part in PARTS}
        every = [task for part in PARTS for task in tasks[part]]
        run_tasks(every, unfinished, tokenizer, settings.processes, progress)
        whole.mkdir()
        parts = {part: _put_together(whole / f"{part}.tokens", tasks[part], unfinished) for part in PARTS}
    for part in PARTS:
        sync(whole / f"{part}.tokens")
    _describe(whole, inputs, parts)
    for path in (whole, *whole.iterdir()):
        refuse_others(path)
    return whole


def _beginning_of_validation(whole: Path, inputs: _Inputs) -> dict[str, TokenCount]:
    """The first of the tokens held out, and no training tokens: what streaming needs."""
    held_out = (part for source in inputs.sources for part in source.parts(validation=True))
    (whole / "train.tokens").touch()
    with (whole / "validation.tokens").open("wb") as file:
        count = write_tokens(file, held_out, inputs.tokenizer, inputs.settings.streaming_validation_tokens)
    return {"train": TokenCount(sha256=hashlib.sha256().hexdigest()), "validation": count}


def _put_together(path: Path, tasks: Sequence[Task], unfinished: Path) -> TokenCount:
    """Append the tasks' tokens, each checked against its hash.

    Raises:
        ValueError: what a task wrote was damaged since.
    """
    counts, digest = [task.count(unfinished) or TokenCount() for task in tasks], hashlib.sha256()
    with path.open("wb") as file:
        for task, count in zip(tasks, counts, strict=True):
            own = hashlib.sha256()
            with task.path(unfinished, "tokens").open("rb") as tokens:
                while data := tokens.read(COPIED_AT_ONCE):
                    file.write(data)
                    digest.update(data)
                    own.update(data)
            if own.hexdigest() != count.sha256:
                raise ValueError(f"tokens in {unfinished} were damaged; prepare the corpus again")
    tokens, size, missing = (sum(getattr(c, name) for c in counts) for name in ("tokens", "bytes", "missing"))
    return TokenCount(tokens, size, missing, digest.hexdigest())


def _describe(whole: Path, inputs: _Inputs, parts: dict[str, TokenCount]) -> None:
    """``corpus.json``, and the tokenizer if it has a definition."""
    settings, tokenizer = inputs.settings, inputs.tokenizer
    record: dict[str, Any] = {
        "format": FORMAT,
        "data": DataSettings.names(settings.data),
        "validation_data": settings.first_validation or (),
        "sources": [source.fingerprint for source in inputs.sources],
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint, "size": tokenizer.size},
        "missing_texts": sum(count.missing for count in parts.values()),
        "dtype": token_type(tokenizer.size),
        "parts": {
            part: {"tokens": count.tokens, "bytes": count.bytes, "sha256": count.sha256}
            for part, count in parts.items()
        },
        "versions": {name: version(name) for name in ("numpy", "tokenizers", "transformers", "datasets")},
    }
    save_tokenizer(tokenizer, whole)
    write_json(whole / "corpus.json", record)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write ``tokenizer.json``, from which a run resumes and is exported; nothing for ``bytes``."""
    definition = tokenizer.definition()
    if definition is not None:
        write_text(folder / TOKENIZER_FILE, definition)
