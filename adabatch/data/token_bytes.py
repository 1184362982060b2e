"""How many bytes of text each token stands for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from adabatch.data.tokenizer import ByteTokenizer, Tokenizer

__all__ = ["token_bytes"]


def token_bytes(tokenizer: Tokenizer) -> npt.NDArray[np.int64] | None:
    """The bytes of each token value, int64 [size]; the end of a document has none.

    None for a tokenizer that is not byte-level, or changes the text that it reads: there a token alone does not
    tell which bytes it was made of.

    >>> token_bytes(ByteTokenizer())[[97, 256]].tolist()
    [1, 0]
    """
    lengths = np.zeros(tokenizer.size, dtype=np.int64)
    if isinstance(tokenizer, ByteTokenizer):
        lengths[:256] = 1
        return lengths
    definition = json.loads(tokenizer.definition() or "{}")
    if not _is_byte_level(definition):
        return None
    for token, value in definition["model"]["vocab"].items():
        lengths[value] = len(token)  # a character stands for a byte
    for added in definition["added_tokens"]:
        lengths[added["id"]] = 0 if added["special"] else len(added["content"].encode())
    return lengths


def _is_byte_level(definition: dict[str, Any]) -> bool:
    """Whether text goes through byte-level BPE and nothing else."""
    model = definition.get("model") or {}
    decoder = definition.get("decoder") or {}
    prefixed = '"add_prefix_space": true' in json.dumps(definition.get("pre_tokenizer"))
    marked = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    byte_level = model.get("type") == "BPE" and decoder.get("type") == "ByteLevel"
    return byte_level and not (definition.get("normalizer") or prefixed or marked)
