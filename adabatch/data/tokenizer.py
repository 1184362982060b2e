"""Tokenizers: bytes, a `tokenizers` JSON file, or a `transformers` tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from adabatch.data.documents import Document
from adabatch.settings.paths import expand_user

__all__ = [
    "TOKEN_TYPES",
    "ByteTokenizer",
    "TextTokenizer",
    "Tokenizer",
    "open_tokenizer",
    "padded_vocabulary",
    "token_type",
    "tokenizer_from_file",
]

VOCABULARY_MULTIPLE = 8
LOOK = 256  # characters on either side of a cut that are looked at
SEARCH = 512  # characters among which a cut is sought; a piece has both on its two sides
TOKEN_TYPES = ("<u2", "<u4")
COMMON_ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>", "[EOS]", "[SEP]")


class Tokenizer(Protocol):
    """What the corpus asks of a tokenizer."""

    name: str
    size: int
    """Token values, the end of a document included."""
    end_of_document: int
    """The token put after each document."""
    fingerprint: str
    """Changes whenever the tokens of some text might."""

    def encode(self, texts: Sequence[bytes]) -> list[npt.NDArray[Any]]:
        """The tokens of each text, without the end of the document."""

    def encode_piece(self, piece: Document) -> npt.NDArray[Any]:
        """The tokens of a piece of a text, as they are within the text; its end may move a little, with them."""

    def decode(self, tokens: Sequence[int] | npt.NDArray[Any]) -> str:
        """The text of these tokens."""

    def definition(self) -> str | None:
        """The content of a `tokenizers` JSON file that gives this tokenizer again; None without one."""
        return None


def padded_vocabulary(size: int) -> int:
    """The vocabulary a model should have: `size` rounded up to a multiple of 8.

    257 is prime; a multiple of 8 can be sharded over up to 8 tensor-parallel ranks and keeps matrix products
    aligned. The added values never occur as tokens.

    >>> padded_vocabulary(257), padded_vocabulary(32000)
    (264, 32000)
    """
    return -(-size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def token_type(size: int) -> str:
    """NumPy's name of the type in which tokens are kept, of a tokenizer with this many token values.

    >>> token_type(257), token_type(100_000)
    ('<u2', '<u4')
    """
    return TOKEN_TYPES[size > 2**16]


class ByteTokenizer(Tokenizer):
    """One token per byte, 0 to 255, and 256 after each document.

    >>> ByteTokenizer().encode([b"ab"])[0].tolist()
    [97, 98]
    """

    name = "bytes"
    size = 257
    end_of_document = 256
    fingerprint = "bytes-1"

    def encode(self, texts: Sequence[bytes]) -> list[npt.NDArray[Any]]:
        """The bytes of each text, uint8 [bytes]; invalid UTF-8 is kept as it is."""
        return [np.frombuffer(text, dtype=np.uint8) for text in texts]

    def encode_piece(self, piece: Document) -> npt.NDArray[Any]:
        """Its bytes, uint8 [bytes]."""
        return np.frombuffer(piece.text, dtype=np.uint8)

    def decode(self, tokens: Sequence[int] | npt.NDArray[Any]) -> str:
        """The text of these bytes; other tokens are left out, invalid UTF-8 becomes U+FFFD."""
        return bytes(int(token) for token in tokens if token < 256).decode("utf-8", errors="replace")


class TextTokenizer(Tokenizer):
    """A subword tokenizer of the `tokenizers` or `transformers` libraries, without its special tokens.

    The fingerprint is a hash of the whole definition where there is one, otherwise of the vocabulary.
    """

    def __init__(self, name: str, backend: Any, end_of_document: str | None) -> None:
        self.name = name
        self._backend = backend
        vocabulary = backend.get_vocab()
        if not vocabulary:
            raise ValueError(f"the tokenizer {name} has no tokens; take another one, or 'bytes'")
        self.size = max(vocabulary.values()) + 1
        self.end_of_document = self._find_end(vocabulary, end_of_document)
        definition = self.definition() or type(backend).__name__ + json.dumps(vocabulary, sort_keys=True)
        self.fingerprint = f"{hashlib.sha256(definition.encode()).hexdigest()[:32]}-{self.end_of_document}"

    def _find_end(self, vocabulary: dict[str, int], wanted: str | None) -> int:
        usual = (getattr(self._backend, "eos_token", None), *COMMON_ENDS)
        for token in usual if wanted is None else (wanted,):
            if token in vocabulary:
                return int(vocabulary[token])
        if wanted is not None:
            raise ValueError(
                f"--end-of-document is {wanted!r}, which is not a token of {self.name}; name one that is"
            )
        raise ValueError(
            f"the tokenizer {self.name} names no end-of-sequence token and has none of "
            f"{', '.join(COMMON_ENDS)}; name one of its tokens (--end-of-document)"
        )

    def encode(self, texts: Sequence[bytes]) -> list[npt.NDArray[Any]]:
        """The tokens of each text, int64 [tokens].

        Raises:
            ValueError: the tokenizer has no token for something in a text.
        """
        return [np.asarray(each, dtype=np.int64) for each in self._ids([text.decode() for text in texts])]

    def encode_piece(self, piece: Document) -> npt.NDArray[Any]:
        """The tokens of a piece, int64 [tokens]: from the first good cut at its beginning to that at its end.

        Tokenizers put a space before a text, mark words that are continued, or merge across any place. So a piece
        is encoded behind some of the text before it, whose tokens are then left out, and cuts are where that gives
        the same tokens. Both pieces at a cut find it alone, from the same text on its two sides.

        Raises:
            ValueError: the tokenizer has no token for something in the piece.
        """
        before, text, after = piece.before.decode(), piece.text.decode(), piece.after.decode()
        whole = before + text + after
        start = self._good_cut(whole, len(before)) if before else 0
        stop = self._good_cut(whole, len(before) + len(text)) if after else len(whole)
        if start >= stop:
            return np.empty(0, dtype=np.int64)
        behind = max(0, start - LOOK)
        head, all_of_it = self._ids([whole[behind:start], whole[behind:stop]])
        if list(all_of_it[: len(head)]) == list(head):
            return np.asarray(all_of_it[len(head) :], dtype=np.int64)
        return np.asarray(self._ids([whole[start:stop]])[0], dtype=np.int64)

    def _good_cut(self, text: str, place: int) -> int:
        """The first place from this one on where the text can be cut, best next to a space.

        A place is good if the tokens of the text before it are the first tokens of the text around it. Without
        one among the next characters, the last of them is taken. So later places never have earlier cuts.
        """
        last = min(place + SEARCH, len(text))
        spaces = [at for at in range(max(place, 1), last) if text[at].isspace() != text[at - 1].isspace()]
        for at in chain(spaces, range(place, last)):
            around = text[max(0, at - LOOK) : at + LOOK]
            head, both = self._ids([text[max(0, at - LOOK) : at], around])
            if list(both[: len(head)]) == list(head):
                return at
        return last

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text."""
        try:
            if hasattr(self._backend, "encode_batch_fast"):
                return [each.ids for each in self._backend.encode_batch_fast(texts, add_special_tokens=False)]
            options = {"add_special_tokens": False, "return_attention_mask": False}
            return list(self._backend(list(texts), **options)["input_ids"])
        except Exception as error:  # the Rust library raises plain Exception
            raise ValueError(
                f"the tokenizer {self.name} cannot encode the data ({_first_line(error)}); take one that has a "
                "token for unknown words, or 'bytes'"
            ) from error

    def decode(self, tokens: Sequence[int] | npt.NDArray[Any]) -> str:
        """The text of these tokens, special tokens left out; padding values beyond the vocabulary too."""
        known = [int(token) for token in tokens if token < self.size]
        return str(self._backend.decode(known, skip_special_tokens=True))

    def definition(self) -> str | None:
        """The content of a `tokenizers` JSON file, unless the tokenizer is a Python one of `transformers`."""
        fast = getattr(self._backend, "backend_tokenizer", self._backend)
        return str(fast.to_str()) if hasattr(fast, "to_str") else None


def open_tokenizer(name: str, end_of_document: str | None = None) -> Tokenizer:
    """The tokenizer of this name.

    Args:
        name: ``bytes``, a `tokenizers` JSON file, or a `transformers` tokenizer's name or folder.
        end_of_document: the token after each document; None: the tokenizer's own end of sequence.

    Raises:
        ValueError: there is no such tokenizer, or it has no such token.

    >>> open_tokenizer("bytes").size
    257
    """
    if name == "bytes":
        return ByteTokenizer()
    path = expand_user(name)
    if path.is_file() or path.suffix == ".json":
        return TextTokenizer(name, tokenizer_from_file(path), end_of_document)
    return TextTokenizer(name, _from_transformers(str(path) if path.is_dir() else name), end_of_document)


def tokenizer_from_file(path: Path) -> Any:
    """The tokenizer of a `tokenizers` JSON file; it reads all text as text, even what looks like a special token.

    Raises:
        ValueError: there is no such file, or it does not hold a tokenizer.
    """
    from tokenizers import Tokenizer as Backend

    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # the Rust library raises plain Exception
        raise ValueError(
            f"tokenizer file {path} could not be read ({_first_line(error)}); give a JSON file written by the "
            "tokenizers library, a transformers tokenizer's name or folder, or 'bytes'"
        ) from error
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def _from_transformers(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        backend = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # offline, unknown, incomplete folders: each its own type
        raise ValueError(
            f"tokenizer {name!r} could not be loaded ({_first_line(error)}); give 'bytes', a tokenizers JSON "
            "file, a folder with a saved transformers tokenizer, or a name on the Hugging Face hub (which needs "
            "a network or a copy in its cache)"
        ) from error
    backend.model_max_length = int(1e30)  # documents are cut into sequences later; silences a warning
    return backend


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
