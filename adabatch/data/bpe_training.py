"""``python -m adabatch.data.bpe_training``: a byte-level BPE is trained in a process that can be ended.

The library's training neither hears interrupts nor gives its memory back. It reads from standard input: a line of
JSON (the number of token values, the end of a document), and then texts, before each a line with its number of
bytes. It writes the tokenizer's definition to standard output.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import BinaryIO

from adabatch.distributed.signals import die_with_parent

__all__ = ["byte_level_bpe", "train"]

LONGEST_WORD = 32
"""Bytes after which a word is cut while training: the work on one grows with the square of its length."""

WORD_BYTES = 4 * 2**20
"""Bytes of different words after which no more text is taken; 64 MB of prose or program have about 2 MB.

Memory and time of the training are proportional to it, 0.1 GB and some seconds per MB. Text that hardly repeats
itself (DNA, hashes) has as many after 4 MB of it.
"""

WORD = re.compile(rf" ?[^\W\d_]{{1,{LONGEST_WORD}}}| ?\d{{1,{LONGEST_WORD}}}| ?[^\w\s]{{1,{LONGEST_WORD}}}|_+|\s+")
"""About what the tokenizer splits text into."""


def byte_level_bpe(texts: Iterator[str], vocabulary_size: int, end: str) -> str:
    """The definition of a tokenizer trained on these texts, or the first of them.

    >>> len(byte_level_bpe(iter(["some text"]), 257, "<end>")) > 1000
    True
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.FixedLength(LONGEST_WORD)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[end],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_enough(texts), trainer)
    tokenizer.pre_tokenizer = words
    return str(tokenizer.to_str())


def _enough(texts: Iterator[str]) -> Iterator[str]:
    """The texts until they have `WORD_BYTES` of different words."""
    known: set[str] = set()
    size = 0
    for text in texts:
        for start in range(0, len(text), WORD_BYTES // 16):  # not all of a long text at once
            part = text[start : start + WORD_BYTES // 16]
            new = set(WORD.findall(part)) - known
            known |= new
            size += sum(len(word.encode()) for word in new)
            yield part
            if size >= WORD_BYTES:
                return


def _read(stream: BinaryIO) -> Iterator[str]:
    while line := stream.readline():
        yield stream.read(int(line)).decode()


def train(stream: BinaryIO) -> str:
    """The definition of the tokenizer that the stream asks for."""
    asked = json.loads(stream.readline())
    return byte_level_bpe(_read(stream), asked["vocabulary_size"], asked["end"])


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    sys.stdout.write(train(sys.stdin.buffer))
