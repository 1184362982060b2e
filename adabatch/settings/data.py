"""What a corpus is made of: the settings of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from adabatch.ranges import Range, option_of
from adabatch.settings.mixture import Ingredient, ingredients_of
from adabatch.settings.paths import HELD_OUT, named_set, split_share
from adabatch.settings.section import Section

__all__ = ["DataSettings"]

SMALLEST_VOCABULARY = 257
DEFAULT_CACHE = "~/.cache/adabatch"
ONE_IN_TWENTY = "0.05 holds one document in twenty out"
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
    number of ranks; with a multiple of the number of ranks they need not send samples to each other."""
    shuffle_buffer: Annotated[int, Range(0, 2**20)] = 4096
    """Streaming: samples that are shuffled together, over all shards; 0: the order of the data."""
    split: str = "train"
    """The split of a Hugging Face dataset to train on."""
    validation_data: str | Sequence[str] | None = None
    """Data to validate on, named as in `data`. None: the dataset's own ``validation`` split where it has one,
    otherwise a part held out of `data`. Several sets, each with losses of its own, as ``NAME=DATA``: code=a.txt.
    The first set decides which checkpoint is the best; it needs no name, and ``held-out`` is that part."""
    validation_fraction: Annotated[float, Range(0, 1, below=True, advice=ONE_IN_TWENTY)] = 0.05
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
        self._check_sets()
        if self.tokenizer == "bpe" and self.vocabulary_size < SMALLEST_VOCABULARY:
            raise ValueError(
                f"vocabulary_size is {self.vocabulary_size}; bpe needs at least {SMALLEST_VOCABULARY} token "
                "values (256 bytes and the end of a document)"
            )

    def _check_sets(self) -> None:
        sets = self.validation_sets()
        for place, (name, data) in enumerate(sets.items()):
            held_out = HELD_OUT in data
            if held_out and (place or len(data) > 1):
                raise ValueError(
                    f"{option_of('validation_data')} {HELD_OUT} is a set of its own, the first one: put it first, "
                    "and name the others, as in code=a.txt"
                )
            if not name and place:
                raise ValueError(
                    f"{option_of('validation_data')} {data[0]} has no name, and only the first validation set "
                    f"needs none: name it, as in prose={data[0]}"
                )
            if held_out and self.validation_data is not None and not self.validation_fraction:
                raise ValueError(
                    f"{option_of('validation_data')} {HELD_OUT} needs a part that is held out: raise "
                    f"{option_of('validation_fraction')}, which is 0"
                )

    def validation_sets(self) -> Mapping[str, tuple[str, ...]]:
        """The data of each validation set, by its name; that of the first may be empty.

        >>> DataSettings(validation_data=("a.txt", "code=b.py", "code=c.py")).validation_sets()
        {'': ('a.txt',), 'code': ('b.py', 'c.py')}
        """
        sets: dict[str, tuple[str, ...]] = {}
        for name, data in map(named_set, self.names(self.validation_data)):
            sets[name] = (*sets.get(name, ()), data)
        return sets or {"": (HELD_OUT,)}

    @property
    def first_validation(self) -> tuple[str, ...] | None:
        """The data of the first validation set; None: the part held out, if any."""
        first = next(iter(self.validation_sets().values()))
        return None if first == (HELD_OUT,) else first

    @property
    def other_validation(self) -> Mapping[str, tuple[str, ...]]:
        """The data of the validation sets but the first, by name."""
        return dict(list(self.validation_sets().items())[1:])

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on."""
        return self.first_validation is not None or self.validation_fraction > 0

    @property
    def mixture(self) -> tuple[Ingredient, ...]:
        """The sources with their shares; empty where `data` is not a mixture."""
        return ingredients_of(self.names(self.data))

    def members(self) -> tuple[DataSettings, ...]:
        """The settings of each source of a mixture alone, without further validation sets; or just these.

        The first one has the first validation set, where that is data of its own.
        """
        named = self.first_validation
        found = [replace(self, data=(source.name,), validation_data=named) for source in self.mixture]
        if named is not None:
            found[1:] = [replace(member, validation_data=None, validation_fraction=0.0) for member in found[1:]]
        return tuple(found) or (self,)

    @staticmethod
    def names(data: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names in a `data` field, as a tuple: one name or several are given alike."""
        if data is None:
            return ()
        return (data,) if isinstance(data, str) else tuple(data)
