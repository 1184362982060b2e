"""What a corpus is made of: the settings of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from adabatch.ranges import Range
from adabatch.settings.mixture import Ingredient, ingredients_of
from adabatch.settings.paths import split_share
from adabatch.settings.section import Section

__all__ = ["DataSettings"]

SMALLEST_VOCABULARY = 257
DEFAULT_CACHE = "~/.cache/adabatch"
HELD_OUT = "0.05 holds one document in twenty out"
PREDICTED = "each token is predicted from those before it"


@dataclass(frozen=True)
class DataSettings(Section):
    """The settings of :func:`adabatch.data.corpus.open_corpus`; every field has a usable default.

    Raises:
        ValueError: a field is outside what is allowed.

    >>> DataSettings(sequence_length=128).data
    'stdlib'
    """

    data: str | Sequence[str] = "stdlib"
    """One or more of: ``stdlib`` (the source text of the running Python's standard library), ``site-packages``
    (that of its installed packages; differs from machine to machine), a text file, a JSON-lines file, a folder of
    such files, a Parquet file or folder, a Hugging Face dataset's name. With ``:0.7`` after each name, a mixture
    with these shares of the samples, which sum to 1; an existing file of the very name wins over the colon."""
    repeat_sources: bool = False
    """Mixtures: begin a source again, in another order, that has fewer sequences than its share of `samples`;
    without it such a run is refused. (Streams, whose size is not known, begin again in any case.)"""
    data_config: str | None = None
    """The configuration of a Hugging Face dataset, for example ``en`` for ``allenai/c4``; with it, a folder is
    read as a copy of such a dataset."""
    text_field: str = "text"
    """The field of a JSON line, or the column of a dataset, that holds a document's text."""
    streaming: bool = False
    """Read and tokenize while training instead of preparing token files first; each rank reads its share."""
    stream_shards: Annotated[int, Range(1, 65_536)] = 32
    """Streaming: into how many shards the data are dealt. The order of the samples depends on it, not on the
    number of ranks; take a multiple of the number of ranks, or else ranks read more than their share."""
    shuffle_buffer: Annotated[int, Range(0, 2**20)] = 4096
    """Streaming: samples that are shuffled together, over all shards; 0: the order of the data."""
    split: str = "train"
    """The split of a Hugging Face dataset to train on."""
    validation_data: str | Sequence[str] | None = None
    """Data to validate on, named as in `data`. None: the dataset's own ``validation`` split where it has one,
    otherwise a part held out of `data`."""
    validation_fraction: Annotated[float, Range(0, 1, below=True, advice=HELD_OUT)] = 0.05
    """The part of `data` held out where no validation data is given, in [0, 1): whole documents chosen by a
    hash of their name or row, or the end of each text file where the files are too few. 0: no validation."""
    streaming_validation_tokens: Annotated[int, Range(0, 10**10)] = 1_048_576
    """When streaming, the validation set is this many of the tokens held out, the first ones."""
    tokenizer: str = "bytes"
    """``bytes`` (one token per byte), ``bpe`` (byte-level BPE trained on `data` and saved with the run), a
    ``tokenizers`` JSON file, or a ``transformers`` tokenizer's name or folder (code shipped with a tokenizer is
    never run)."""
    vocabulary_size: Annotated[int, Range(1, 2**20)] = 4096
    """``bpe``: token values; fewer if the text is too short for that many."""
    end_of_document: str | None = None
    """The token put after each document. None: the tokenizer's end-of-sequence token. Ignored by ``bytes``."""
    sequence_length: Annotated[int, Range(2, 2**20, advice=PREDICTED)] = 256
    """Tokens in a sequence (one sample); the unit of every batch size is one such sequence."""
    document_mask: bool = False
    """Let tokens attend only to those of their own document, and count positions from its beginning. The token at
    the end of a document begins the next one, whose first token is predicted from it."""
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    """Seed of the order of the training samples."""
    cache: str | None = None
    """Folder of the prepared token files. None: ``$ADABATCH_CACHE`` or ``~/.cache/adabatch``."""
    processes: Annotated[int, Range(0, 1024)] = 1
    """Processes that prepare the data, with the same result for any number; 0: one per core (the default of
    ``adabatch prepare``)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.names(self.data):
            raise ValueError("data is empty; name at least one file, folder or dataset, or 'stdlib'")
        ingredients_of(self.names(self.data))
        for name in self.names(self.validation_data):
            if split_share(name)[1]:
                raise ValueError(
                    f"--validation-data {name} has a share: shares are for --data alone, leave it out"
                )
        if self.streaming and self.streaming_validation_tokens < self.sequence_length:
            raise ValueError(
                f"streaming_validation_tokens is {self.streaming_validation_tokens}; at least one sequence "
                f"({self.sequence_length} tokens) is needed"
            )
        if self.tokenizer == "bpe" and self.vocabulary_size < SMALLEST_VOCABULARY:
            raise ValueError(
                f"vocabulary_size is {self.vocabulary_size}; bpe needs at least {SMALLEST_VOCABULARY} token "
                "values (256 bytes and the end of a document)"
            )

    @property
    def mixture(self) -> tuple[Ingredient, ...]:
        """The sources with their shares; empty where `data` is not a mixture."""
        return ingredients_of(self.names(self.data))

    def members(self) -> tuple[DataSettings, ...]:
        """The settings of each source of a mixture alone, named validation data with the first; or just these."""
        found = [replace(self, data=(ingredient.name,)) for ingredient in self.mixture]
        if self.validation_data is not None:
            found[1:] = [replace(member, validation_data=None, validation_fraction=0.0) for member in found[1:]]
        return tuple(found) or (self,)

    @staticmethod
    def names(data: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names in a `data` field, as a tuple: one name or several are given alike."""
        if data is None:
            return ()
        return (data,) if isinstance(data, str) else tuple(data)
