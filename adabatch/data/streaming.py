"""Samples cut from streams of documents while training, each rank reading its share.

The training documents are dealt to S shards, for any number of ranks. Each shard is an endless line of
samples:

- its parts (files, or pieces of files) are read in a random order, another one in each epoch of the shard;
- their tokens, one document after another, are cut into sequences; what is left at the end of an epoch begins the
  first sequence of the next;
- the sequences fill a buffer, which is shuffled and emptied before it is filled again. It is also emptied at the
  end of an epoch, so that all of an epoch comes before any of the next.

Position p of the stream is sample p // S of shard p mod S. So the samples and their order depend on the seed, S
and the buffer alone. A rank computes positions that are equal modulo the number of ranks J
(:func:`adabatch.data.order.group_positions`), hence if J divides S it opens only S / J of the shards, and the
ranks' shards are disjoint: nothing is tokenized twice and nothing is left out. If J does not divide S, and in a
mixture, ranks need samples of each other's shards: shard r is read by rank r mod J, which sends its samples to the
others (:func:`adabatch.training.loop.next_batch`).

A shard's epochs are its own: one with less text begins again earlier. Shards are made nearly equal. A shard
without any text (more shards than documents) reads the next shard's instead.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adabatch.data.documents import Part, Place, batches
from adabatch.data.order import seeded_permutation
from adabatch.data.tasks import encode_documents
from adabatch.data.tokenizer import Tokenizer, token_type
from adabatch.settings.data import DataSettings

if TYPE_CHECKING:  # it takes seconds to import, and preparing data does not need it
    import torch

__all__ = ["ShardStream", "Stream", "StreamedSamples"]

DOCUMENTS_AT_ONCE = 16
BYTES_AT_ONCE = 2**18

ORDER_SETTINGS = ("sequence_length", "stream_shards", "shuffle_buffer", "seed")
"""What the samples and their order depend on."""

ORDER_OF_PARTS, ORDER_OF_BUFFER = 0, 1
"""With the seed, what a permutation is for."""


@dataclass(frozen=True)
class Stream:
    """What is streamed, and in which order."""

    shard: Callable[[int], Sequence[Part]]
    """The parts of a shard."""
    tokenizer: Tokenizer
    settings: DataSettings
    """The length of a sequence, the number S of shards, the size of the buffer and the seed."""
    description: dict[str, Any] = field(default_factory=dict)
    """What is known about the data."""


class Cursor(NamedTuple):
    """Where the reading of a shard resumes."""

    home: int
    """The shard whose documents are read: its own, unless that has none."""
    epoch: int = 0
    part: int = 0
    """Number of the part in this epoch's order."""
    place: Place = ()
    """Where in the part."""

    @property
    def at_start(self) -> bool:
        """Whether nothing of the epoch has been read."""
        return self.part == 0 and self.place == ()


class ShardStream:
    """The endless samples of one shard, read forwards, with a state from which reading resumes.

    Args:
        stream: what is streamed.
        index: which shard.
        state: what :meth:`state_dict` returned, to resume there.
    """

    def __init__(self, stream: Stream, index: int, state: dict[str, Any] | None = None) -> None:
        self._stream, self._settings, self._index = stream, stream.settings, index
        self._dtype = np.dtype(token_type(stream.tokenizer.size))
        state = state or {"cursor": [index, 0, 0, []], "rest": "", "cut": 0, "block": 0, "first": 0}
        home, epoch, part, place = state["cursor"]
        self._cursor, self._cut = Cursor(home, epoch, part, tuple(place)), state["cut"]
        """Where the tokens in use were read from, and how many sequences were cut from them."""
        self._rest = np.frombuffer(base64.b64decode(state["rest"]), self._dtype)
        """The tokens left over before those."""
        self._block = state["block"]
        """Number of the buffer's next filling."""
        self._end = state["first"]
        """Samples up to the end of the filling in use."""
        self._samples = np.empty((0, stream.settings.sequence_length), self._dtype)
        """The shuffled buffer."""
        self._sequences = self._cut_sequences()
        self._filled_from = self._snapshot()

    def sample(self, number: int) -> npt.NDArray[Any]:
        """The tokens of a sample of this shard, [L].

        Raises:
            ValueError: the buffer that held it was emptied before, or the stream has no text at all.
        """
        while number >= self._end:
            self._fill()
        first = self._end - len(self._samples)
        if number < first:
            raise ValueError(
                f"sample {number} of shard {self._index} was asked of a stream that is at {first}, and is read "
                "forwards only: open it again, or prepare the data (streaming off) to take any position"
            )
        row: npt.NDArray[Any] = self._samples[number - first]
        return row

    def state_dict(self) -> dict[str, Any]:
        """Where the buffer in use was filled from, as JSON: resuming reads this filling again and no more."""
        return self._filled_from

    def _snapshot(self) -> dict[str, Any]:
        return {
            "first": self._end,
            "block": self._block,
            "cursor": [*self._cursor[:3], list(self._cursor.place)],
            "rest": base64.b64encode(self._rest.tobytes()).decode(),
            "cut": self._cut,
        }

    def _fill(self) -> None:
        """Fill the buffer with the next sequences, to its size or the end of the epoch, and shuffle it."""
        self._filled_from = self._snapshot()
        size = max(1, -(-self._settings.shuffle_buffer // self._settings.stream_shards))
        if self._block == 0:  # less, so that the shards do not all read at once later
            size = -(-size * (self._index + 1) // self._settings.stream_shards)
        sequences: list[npt.NDArray[Any]] = []
        while len(sequences) < size:
            sequence = next(self._sequences)
            if sequence is not None:
                sequences.append(sequence)
            elif sequences:
                break
        order = seeded_permutation(
            len(sequences), [self._settings.seed, ORDER_OF_BUFFER, self._index, self._block]
        )
        self._samples = np.stack(sequences)[order]
        self._end += len(sequences)
        self._block += 1

    def _cut_sequences(self) -> Iterator[npt.NDArray[Any] | None]:
        """The sequences from the cursor on; None at the end of an epoch."""
        length = self._settings.sequence_length
        for tokens, after in self._read(self._cursor):
            joined = np.concatenate([self._rest, tokens.astype(self._dtype)])
            whole = len(joined) // length
            for row in joined[: whole * length].reshape(-1, length)[self._cut :]:
                self._cut += 1
                yield row
            self._cursor, self._rest, self._cut = after, joined[whole * length :], 0
            if after.at_start:
                yield None

    def _read(self, cursor: Cursor) -> Iterator[tuple[npt.NDArray[Any], Cursor]]:
        """Tokens from a cursor on, each with the cursor after them; none, at the end of an epoch."""
        nothing = np.empty(0, self._dtype)
        while True:
            parts = self._parts(cursor)
            empty = cursor.at_start
            for number in range(cursor.part, len(parts)):
                start = cursor.place if number == cursor.part else ()
                for documents, place in batches(parts[number].read(start), DOCUMENTS_AT_ONCE, BYTES_AT_ONCE):
                    empty = False
                    after = Cursor(cursor.home, cursor.epoch, number, place)
                    yield encode_documents(documents, self._stream.tokenizer), after
            home = self._next_home(cursor.home) if empty else cursor.home
            cursor = Cursor(home, cursor.epoch + (not empty))
            if not empty:
                yield nothing, cursor

    def _parts(self, cursor: Cursor) -> list[Part]:
        """The parts in the order of the epoch."""
        parts = self._stream.shard(cursor.home)
        if not self._settings.shuffle_buffer:
            return list(parts)
        keys = [self._settings.seed, ORDER_OF_PARTS, self._index, cursor.epoch]
        return [parts[number] for number in seeded_permutation(len(parts), keys)]

    def _next_home(self, home: int) -> int:
        """The shard to read where this one has no text."""
        following = (home + 1) % self._settings.stream_shards
        if following == self._index:
            raise ValueError("the stream holds no text; name data with at least one document to train on")
        return following


class StreamedSamples:
    """The samples of a stream by their position: sample p // S of shard p mod S.

    Positions are taken forwards: those of a call come after those of the calls before, apart from those of the
    last call, which may be taken again. Only the shards of positions that are asked for are opened.
    """

    length = None

    def __init__(self, stream: Stream) -> None:
        self._stream, self._settings = stream, stream.settings
        self._open: dict[int, ShardStream] = {}
        self._saved: dict[int, dict[str, Any]] = {}
        """States of shards that are not open yet."""
        self._last: dict[int, npt.NDArray[Any]] = {}
        """What the last call took, by position."""

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """The sequences at these positions, int64 [len(positions), L].

        Raises:
            ValueError: a position lies too far before those taken last, or the stream has no text.
        """
        import torch

        self._last = {position: self._at(position) for position in sorted(positions)}
        samples = [self._last[position] for position in positions]
        return torch.from_numpy(np.array(samples, np.int64).reshape(-1, self._settings.sequence_length))

    def _at(self, position: int) -> npt.NDArray[Any]:
        if position in self._last:
            return self._last[position]
        number, index = divmod(position, self._settings.stream_shards)
        if index not in self._open:
            self._open[index] = ShardStream(self._stream, index, self._saved.pop(index, None))
        return self._open[index].sample(number)

    def readers(self, positions: Sequence[int] | range, ranks: int) -> npt.NDArray[np.int64] | None:
        """See :meth:`adabatch.data.samples.SampleSource.readers`."""
        if self._settings.stream_shards % ranks == 0:
            return None
        return self.shards(positions) % ranks

    def shards(self, positions: Sequence[int] | range | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The shard of each position, int64 [len(positions)]."""
        return np.asarray(positions, dtype=np.int64) % self._settings.stream_shards

    def state_dict(self) -> dict[str, Any]:
        """Where the shards are that were opened here, as JSON, for :meth:`load_state_dict` of any rank."""
        states = self._saved | {index: shard.state_dict() for index, shard in self._open.items()}
        return {"stream": self.describe(), "shards": {str(index): state for index, state in states.items()}}

    def load_state_dict(self, states: Sequence[dict[str, Any]], samples: int) -> None:
        """Resume at position `samples` without reading again what comes before.

        Args:
            states: what all ranks saved, for any number of them. A shard whose state is missing is read from its
                beginning: the samples are the same, it only takes longer.
            samples: the position that will be taken next, or one before it.
        """
        self._open, self._last, self._saved = {}, {}, {}
        for state in states:
            if state.get("stream") != self.describe():
                warnings.warn(
                    "the saved place in the stream is that of other data or another order; the stream is read "
                    f"from its beginning up to position {samples}",
                    stacklevel=2,
                )
                return
            for name, shard in state["shards"].items():
                index = int(name)
                needed = -(-(samples - index) // self._settings.stream_shards)
                known = self._saved.get(index)
                if shard["first"] <= max(needed, 0) and (known is None or shard["first"] > known["first"]):
                    self._saved[index] = shard

    def describe(self) -> dict[str, Any]:
        """All that the samples and their order depend on."""
        chosen = {name: getattr(self._settings, name) for name in ORDER_SETTINGS}
        return {**self._stream.description, **chosen, "streaming": True, "samples": None}
