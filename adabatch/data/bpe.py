"""A byte-level BPE tokenizer trained on the corpus itself."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import adabatch
from adabatch.data import bpe_training
from adabatch.data.cache import check_owner, refuse_others
from adabatch.data.documents import Source, read_parts, whole_characters
from adabatch.data.tokenizer import TextTokenizer, tokenizer_from_file
from adabatch.files import write_whole
from adabatch.settings.data import DataSettings

__all__ = ["END", "open_trained", "trained_tokenizer"]

END = "<|endoftext|>"
"""The token after each document, unless `end_of_document` names another."""

TRAINING_BYTES = 2**26
"""Text that it is trained on at most: 64 MB, from all over the corpus where its size is known beforehand."""


def trained_tokenizer(
    settings: DataSettings, sources: Sequence[Source], folder: Path, saved: Path | None = None
) -> TextTokenizer:
    """The tokenizer of the training part of this corpus, trained unless that was done before.

    The same text and version of `tokenizers` give the same tokenizer, in any number of threads.

    Args:
        settings: the number of token values, and the name of the end of a document.
        sources: the corpus.
        folder: where trained tokenizers are kept.
        saved: the file of a run that resumes, if there is one: the run continues with it where the cache is
            another, was deleted, or has one by other versions of the libraries.

    Raises:
        ValueError: the corpus has no text.
    """
    path = _path_of(settings, sources, folder)
    if saved is not None and not saved.is_file():
        saved = None
    if saved is not None or not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, _train(settings, sources).encode() if saved is None else saved.read_bytes())
        refuse_others(path)
    check_owner(path)
    return open_trained(settings, path)


def open_trained(settings: DataSettings, path: Path) -> TextTokenizer:
    """The trained tokenizer in this file."""
    return TextTokenizer("bpe", tokenizer_from_file(path), settings.end_of_document or END)


def _path_of(settings: DataSettings, sources: Sequence[Source], folder: Path) -> Path:
    """Where the tokenizer of this corpus is kept."""
    made_of = [
        version("tokenizers"),
        str(TRAINING_BYTES),
        f"{bpe_training.WORD_BYTES} {bpe_training.LONGEST_WORD}",
        str(settings.vocabulary_size),
        settings.end_of_document or END,
        *(source.fingerprint for source in sources),
    ]
    return folder / f"bpe-{hashlib.sha256(chr(10).join(made_of).encode()).hexdigest()[:32]}.json"


def _train(settings: DataSettings, sources: Sequence[Source]) -> str:
    """The definition of a tokenizer trained on the corpus, in a process of its own, which ends with this one.

    Raises:
        ValueError: the corpus has no text, or the process was ended (as for lack of memory).
    """
    asked = {"vocabulary_size": settings.vocabulary_size, "end": settings.end_of_document or END}
    command = [sys.executable, "-P", "-m", bpe_training.__name__, str(os.getpid())]
    path = os.pathsep.join(filter(None, [str(Path(adabatch.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            start_new_session=True,  # an interrupt from the terminal is for this process
            env=os.environ | {"PYTHONPATH": path},
        )
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it has ended, or has enough
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                for text in _texts(sources):
                    process.stdin.write(b"%d\n%b" % (len(text), text))
                process.stdin.close()
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):  # what an interrupt left unwritten
                process.stdin.close()
        output.seek(0)
        errors.seek(0)
        definition, said = output.read().decode(), errors.read().decode(errors="replace").strip().splitlines()
    if code != 0:
        reason = f"signal {-code}" if code < 0 else (said or [f"exit code {code}"])[-1]
        raise ValueError(
            f"training the tokenizer ended early ({reason}); lower --vocabulary-size or take a tokenizer file"
        )
    return definition


def _texts(sources: Sequence[Source]) -> Iterator[bytes]:
    """Training text of about TRAINING_BYTES in all."""
    whole = [part for source in sources for part in source.parts(validation=False)]
    shards = max(1, -(-sum(part.size for part in whole) // TRAINING_BYTES))
    chosen = whole if shards == 1 else [part for source in sources for part in source.shard(0, shards)]
    size = 0
    for document in read_parts(chosen):
        text = whole_characters(document.text[: TRAINING_BYTES - size])
        yield text
        size += len(text)
        if size + 3 >= TRAINING_BYTES:  # less than a character may be left
            return
    if size == 0:
        raise ValueError("there is no text to train a tokenizer on; name data with at least one document")
