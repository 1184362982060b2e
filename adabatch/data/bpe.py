"""A byte-level BPE tokenizer trained on the corpus itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from adabatch.data.documents import Source, read_parts
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
    return open_trained(settings, path)


def open_trained(settings: DataSettings, path: Path) -> TextTokenizer:
    """The trained tokenizer in this file."""
    return TextTokenizer("bpe", tokenizer_from_file(path), settings.end_of_document or END)


def _path_of(settings: DataSettings, sources: Sequence[Source], folder: Path) -> Path:
    """Where the tokenizer of this corpus is kept."""
    made_of = [
        version("tokenizers"),
        str(TRAINING_BYTES),
        str(settings.vocabulary_size),
        settings.end_of_document or END,
        *(source.fingerprint for source in sources),
    ]
    return folder / f"bpe-{hashlib.sha256(chr(10).join(made_of).encode()).hexdigest()[:32]}.json"


def _train(settings: DataSettings, sources: Sequence[Source]) -> str:
    """The definition of a tokenizer trained on the corpus."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        special_tokens=[settings.end_of_document or END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(sources), trainer)
    return str(tokenizer.to_str())


def _texts(sources: Sequence[Source]) -> Iterator[str]:
    """Training text of about TRAINING_BYTES in all."""
    whole = [part for source in sources for part in source.parts(validation=False)]
    shards = max(1, -(-sum(part.size for part in whole) // TRAINING_BYTES))
    chosen = whole if shards == 1 else [part for source in sources for part in source.shard(0, shards)]
    size = 0
    for document in read_parts(chosen):
        yield document.text.decode("utf-8", errors="replace")
        size += len(document.text)
        if size >= TRAINING_BYTES:
            return
    if size == 0:
        raise ValueError("there is no text to train a tokenizer on; name data with at least one document")
