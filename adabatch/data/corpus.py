"""Opening a corpus: what the trainer gets from the settings of its data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from adabatch.data.bpe import open_trained
from adabatch.data.cache import map_tokens, named_by, open_owned
from adabatch.data.documents import Part
from adabatch.data.mixture import MixedSamples, MixedStreams, MixtureOrder
from adabatch.data.preparation import PARTS, TOKENIZER_FILE, prepare, prepare_set
from adabatch.data.samples import PreparedSamples, SampleSource
from adabatch.data.sources import open_sources
from adabatch.data.streaming import Stream, StreamedSamples
from adabatch.data.tokenizer import TOKEN_TYPES, Tokenizer, open_tokenizer, padded_vocabulary
from adabatch.refusals import refusing_os_errors
from adabatch.settings.data import DataSettings

__all__ = ["Corpus", "check_sources", "open_corpus", "prepared_vocabulary", "tokenizer_of"]


@dataclass(frozen=True)
class Corpus:
    """Tokenized data, ready to be taken by position."""

    train: SampleSource
    """The training samples, in the order of the seed (of the stream when streaming)."""
    validation: PreparedSamples | MixedSamples | None
    """The validation samples, in the order of the data; None where nothing is held out. Of several sets the
    first."""
    tokenizer: Tokenizer
    """What made the tokens."""
    vocabulary_size: int
    """Token values a model should have: the tokenizer's, rounded up to a multiple of 8."""
    folder: Path
    """Where the prepared files lie."""
    others: Mapping[str, PreparedSamples] = field(default_factory=dict)
    """The validation sets but the first, by name."""

    def describe(self) -> dict[str, Any]:
        """What the corpus is, as JSON. Equal hashes mean equal tokens, on any machine."""
        return {
            "tokenizer": self.tokenizer.name,
            "vocabulary_size": self.vocabulary_size,
            "train": self.train.describe(),
            "validation": None if self.validation is None else self.validation.describe(),
        }


def open_corpus(settings: DataSettings, folder: Path | None = None, sets: Sequence[Path] | None = None) -> Corpus:
    """Open the corpus that the settings describe.

    Args:
        settings: the data, the tokenizer, the length of the sequences.
        folder: what :func:`adabatch.data.preparation.prepare` returned for these settings; the sources are not
            read through again. None: prepare the corpus first.
        sets: what :func:`adabatch.data.progress.prepare_sets` returned for these; None: prepare them first.

    Raises:
        ValueError: the data or the tokenizer cannot be read, a part is shorter than one sequence, or the prepared
            corpus is damaged.

    >>> import tempfile
    >>> settings = DataSettings(sequence_length=64, cache=tempfile.mkdtemp())
    >>> corpus = open_corpus(settings, prepare(settings))
    >>> corpus.train.take(range(3)).shape, corpus.vocabulary_size
    (torch.Size([3, 64]), 264)
    """
    folder = folder or prepare(settings)
    with refusing_os_errors(named_by(settings)):
        corpus = _open_mixture(settings, folder) if settings.mixture else _open(settings, folder)
        further = settings.other_validation
        if sets is None:
            sets = [prepare_set(settings, data, corpus.tokenizer) for data in further.values()]
        named = zip(further.items(), sets, strict=True)
        return replace(corpus, others={name: _open_set(settings, data, path) for (name, data), path in named})


def _open_mixture(settings: DataSettings, folder: Path) -> Corpus:
    record = _read_description(settings, folder, _parts_used(settings))
    corpora = [_open(member, place) for member, place in _members(settings, folder, record)]
    sources: list[Any] = [corpus.train for corpus in corpora]
    held_out: list[Any] = [corpus.validation for corpus in corpora if corpus.validation is not None]
    first, fingerprints = corpora[0], {"sources": record["sources"]}
    described = first.train.describe() | fingerprints
    train: SampleSource = MixedStreams(sources, settings.mixture, described)
    if not settings.streaming:
        train = MixedSamples(sources, settings.mixture, described | record["parts"]["train"])
    validation = first.validation
    if validation is not None and settings.first_validation is None:
        described = validation.describe() | fingerprints | record["parts"]["validation"]
        validation = MixedSamples(held_out, settings.mixture, described)
    return Corpus(train, validation, first.tokenizer, first.vocabulary_size, folder)


def _members(settings: DataSettings, folder: Path, record: dict[str, Any]) -> list[tuple[DataSettings, Path]]:
    """The settings and the folder of each source of a mixture."""
    members = settings.members()
    names: Any = record.get("members")
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not named or len(names) != len(members):
        raise ValueError(f"{folder / 'corpus.json'} is damaged; delete {folder} to prepare it again")
    return [(member, folder.with_name(name)) for member, name in zip(members, names, strict=True)]


def check_sources(settings: DataSettings, folder: Path, samples: int) -> None:
    """Refuse a mixture in which a source ends before this many samples, unless it may begin again.

    Args:
        settings: the data.
        folder: of the prepared corpus.
        samples: the budget, which the last batch may exceed by a little.

    Raises:
        ValueError: which source has how many sequences, and how many its share takes.
    """
    if not settings.mixture:
        return
    with refusing_os_errors(named_by(settings)):
        members = _members(settings, folder, _read_description(settings, folder, _parts_used(settings)))
        sizes = [
            _read_description(member, place, _parts_used(member))["parts"]["train"]["tokens"]
            for member, place in members
        ]
    counts = MixtureOrder(settings.mixture).counts(samples).tolist()
    for (name, share), count, size in zip(settings.mixture, counts, sizes, strict=True):
        sequences = size // settings.sequence_length
        if sequences < count and not (settings.streaming or settings.repeat_sources):
            raise ValueError(
                f"the source {name} has {sequences:,} sequences of {settings.sequence_length} tokens for "
                f"training, but its share of {share} takes {count:,} of {samples:,} samples: give it more text "
                "or a smaller share (--data), lower --samples, or let it begin again (--repeat-sources)"
            )


def tokenizer_of(settings: DataSettings, folder: Path) -> Tokenizer:
    """The tokenizer of the prepared corpus in this folder."""
    if settings.tokenizer == "bpe":
        return open_trained(settings, folder / TOKENIZER_FILE)
    return open_tokenizer(settings.tokenizer, settings.end_of_document)


def _open_set(settings: DataSettings, data: Sequence[str], folder: Path) -> PreparedSamples:
    """The samples of a further validation set."""
    own = replace(settings, validation_data=data)
    return _open_part("validation", folder, _read_description(own, folder, ["validation"]), own)


def _open(settings: DataSettings, folder: Path) -> Corpus:
    parts_used = _parts_used(settings)
    record = _read_description(settings, folder, parts_used)
    tokenizer = tokenizer_of(settings, folder)
    if tokenizer.fingerprint != record["tokenizer"]["fingerprint"]:
        raise ValueError(f"{folder} was prepared with another tokenizer; delete it to prepare it again")
    parts = {part: _open_part(part, folder, record, settings) for part in parts_used}
    train: SampleSource = parts["train"] if not settings.streaming else _open_stream(settings, record, tokenizer)
    return Corpus(train, parts.get("validation"), tokenizer, padded_vocabulary(tokenizer.size), folder)


def prepared_vocabulary(settings: DataSettings, folder: Path, sets: Sequence[Path] = ()) -> int:
    """The token values that a model should have for the corpus in this folder, without opening it.

    Args:
        settings: of the data.
        folder: of the prepared corpus.
        sets: of its further validation sets, which are looked at too.

    Raises:
        ValueError: :func:`open_corpus` would refuse it.

    >>> import tempfile
    >>> settings = DataSettings(cache=tempfile.mkdtemp())
    >>> prepared_vocabulary(settings, prepare(settings))
    264
    """
    with refusing_os_errors(named_by(settings)):
        for data, path in zip(settings.other_validation.values(), sets, strict=False):
            _read_description(replace(settings, validation_data=data), path, ["validation"])
        return padded_vocabulary(_read_description(settings, folder, _parts_used(settings))["tokenizer"]["size"])


def _parts_used(settings: DataSettings) -> list[str]:
    """The token files that are read: a stream has none of its own."""
    return [part for part, used in zip(PARTS, (not settings.streaming, settings.validates), strict=True) if used]


def _read_description(settings: DataSettings, folder: Path, parts_used: Sequence[str]) -> dict[str, Any]:
    """The description of a prepared corpus: its format, and of each part the number of tokens.

    Raises:
        ValueError: it is damaged, or a part is shorter than one sequence.
    """
    with open_owned(folder / "corpus.json") as file:
        content = file.read()
    try:
        record = json.loads(content)
        parts = [record["parts"][part] for part in PARTS]
        good = record["dtype"] in TOKEN_TYPES and type(record["tokenizer"]["size"]) is int
        good = good and isinstance(record["sources"], list) and isinstance(record["tokenizer"]["fingerprint"], str)
        good = good and all(isinstance(part["sha256"], str) for part in parts)
        good = good and all(
            type(part[key]) is int and part[key] >= 0 for part in parts for key in ("tokens", "bytes")
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        good = False
    if not good:
        raise ValueError(f"{folder / 'corpus.json'} is damaged; delete {folder} to prepare it again")
    for part in parts_used:
        size = record["parts"][part]["tokens"]
        if size < settings.sequence_length:
            raise ValueError(_too_short(part, size, settings))
    return dict(record)


def _open_part(part: str, folder: Path, record: dict[str, Any], settings: DataSettings) -> PreparedSamples:
    """One of the token files as samples."""
    size, dtype = record["parts"][part]["tokens"], np.dtype(record["dtype"])
    tokens = map_tokens(folder / f"{part}.tokens", dtype, size, record["parts"][part]["sha256"])
    named = {name: record[name] for name in ("tokenizer", "sources")}
    description = {"part": part, **named, **record["parts"][part]}
    return PreparedSamples(
        tokens, settings.sequence_length, settings.seed if part == "train" else None, description
    )


def _too_short(part: str, size: int, settings: DataSettings) -> str:
    own = settings.first_validation if part == "validation" else None
    names, name = own or DataSettings.names(settings.data), "training" if part == "train" else part
    of = f"the {name} part of data" if settings.validates else "data"
    advice = "use more data or a shorter --sequence-length"
    if part == "validation" and not own:
        advice = (
            "use more data, name --validation-data, raise --validation-fraction (now "
            f"{settings.validation_fraction:g}; 0 trains without validation) or take a shorter --sequence-length"
        )
    return (
        f"{of} {', '.join(names)!r} has {size} tokens, less than one sequence of {settings.sequence_length}; "
        f"{advice}"
    )


def _open_stream(settings: DataSettings, record: dict[str, Any], tokenizer: Tokenizer) -> StreamedSamples:
    sources = open_sources(settings)

    def shard(index: int) -> list[Part]:
        return [part for source in sources for part in source.shard(index, settings.stream_shards)]

    description = {"part": "train", "tokenizer": record["tokenizer"], "sources": record["sources"]}
    return StreamedSamples(Stream(shard, tokenizer, settings, description))
