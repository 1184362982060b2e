"""The data of the trainer: corpora, tokenizers, and the order of the samples."""

from adabatch.data.corpus import Corpus, open_corpus
from adabatch.data.order import SampleOrder, group_positions
from adabatch.data.preparation import prepare
from adabatch.data.samples import PreparedSamples, SampleSource, StreamedSamples
from adabatch.data.settings import DataSettings
from adabatch.data.tokenizer import Tokenizer, open_tokenizer

__all__ = [
    "Corpus",
    "DataSettings",
    "PreparedSamples",
    "SampleOrder",
    "SampleSource",
    "StreamedSamples",
    "Tokenizer",
    "group_positions",
    "open_corpus",
    "open_tokenizer",
    "prepare",
]
