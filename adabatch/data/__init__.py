"""The data of the trainer: corpora, tokenizers, and the order of the samples. Importing it does not load torch."""

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
