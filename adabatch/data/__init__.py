"""The data of the trainer: corpora, tokenizers, and the order of the samples.

Names are loaded when they are first used, so that the settings can be read without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adabatch.data.corpus import Corpus, open_corpus, prepared_vocabulary
    from adabatch.data.order import group_positions
    from adabatch.data.preparation import prepare
    from adabatch.data.samples import SampleSource
    from adabatch.data.streaming import StreamedSamples
    from adabatch.data.tokenizer import Tokenizer, open_tokenizer

__all__ = [
    "Corpus",
    "SampleSource",
    "StreamedSamples",
    "Tokenizer",
    "group_positions",
    "open_corpus",
    "open_tokenizer",
    "prepare",
    "prepared_vocabulary",
]

_MODULES = {
    "Corpus": "corpus",
    "SampleSource": "samples",
    "StreamedSamples": "streaming",
    "Tokenizer": "tokenizer",
    "group_positions": "order",
    "open_corpus": "corpus",
    "open_tokenizer": "tokenizer",
    "prepare": "preparation",
    "prepared_vocabulary": "corpus",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
