"""Sources of samples: sequences of tokens, taken by their position in the order of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from adabatch.data.order import SampleOrder, as_positions

__all__ = ["PreparedSamples", "SampleSource", "StreamedSamples"]


class SampleSource(Protocol):
    """What the trainer asks of its data. A source has no state to save but the number of samples seen."""

    @property
    def length(self) -> int | None:
        """Samples in an epoch; None if unknown (streaming)."""

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """The samples at these positions, int64 [len(positions), sequence_length], on the CPU."""

    def describe(self) -> dict[str, Any]:
        """What this is, as JSON: for the run's records and for comparison on resuming."""


class PreparedSamples:
    """Samples of a prepared token file: sample i is the tokens [i L, (i + 1) L) of the file.

    Any position can be taken at any time; position p beyond the last sample begins another epoch.

    Args:
        tokens: the token file, memory-mapped, uint16 or uint32 [tokens].
        sequence_length: L.
        seed: seed of the order, or None for the order of the file (validation).
        description: what is known about the tokens, returned by `describe`.

    >>> source = PreparedSamples(np.arange(7, dtype=np.uint16), 3, seed=None)
    >>> source.take([1, 0]).tolist(), source.length
    ([[3, 4, 5], [0, 1, 2]], 2)
    """

    def __init__(
        self,
        tokens: npt.NDArray[Any],
        sequence_length: int,
        seed: int | None,
        description: dict[str, Any] | None = None,
    ) -> None:
        count = len(tokens) // sequence_length
        if count < 1:
            raise ValueError(f"{len(tokens)} tokens do not fill one sequence of {sequence_length}")
        self._samples = tokens[: count * sequence_length].reshape(count, sequence_length)
        self._order = None if seed is None else SampleOrder(count, seed)
        self._description = {**(description or {}), "sequence_length": sequence_length, "seed": seed}

    @property
    def length(self) -> int:
        """Samples in an epoch."""
        return len(self._samples)

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """The samples at these positions, int64 [len(positions), L]."""
        if self._order is None:
            indices = as_positions(positions) % self.length
        else:
            indices = self._order.indices(positions)
        return torch.from_numpy(self._samples[indices].astype(np.int64))

    def describe(self) -> dict[str, Any]:
        """The token file's description, the samples in an epoch, the seed of their order."""
        return {**self._description, "streaming": False, "samples": self.length}


class StreamedSamples:
    """Samples cut from a stream of documents while training, in the order of the stream.

    Position p is the p-th sequence of the stream; when the stream ends it starts again. Positions may be left
    out; those of a call come after those of the call before. Every rank reads and tokenizes the whole stream.

    Args:
        read: starts the stream over, yielding the tokens of a document or of several at a time.
        sequence_length: L.
        description: what is known about the stream, returned by `describe`.

    >>> source = StreamedSamples(lambda: iter([np.arange(5), np.arange(5, 8)]), 3)
    >>> source.take([0, 1]).tolist(), source.take([3]).tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3]])
    """

    length = None

    def __init__(
        self,
        read: Callable[[], Iterator[npt.NDArray[Any]]],
        sequence_length: int,
        description: dict[str, Any] | None = None,
    ) -> None:
        self._read, self._sequence_length = read, sequence_length
        self._description = description or {}
        self._next = 0
        self._sequences = self._cut()

    def _cut(self) -> Iterator[npt.NDArray[Any]]:
        """The sequences of the stream, over and over; each is a view into a block of tokens."""
        size = self._sequence_length
        rest = np.empty(0, dtype=np.int64)
        while True:
            seen = 0
            for tokens in self._read():
                seen += len(tokens)
                rest = np.concatenate([rest, tokens])
                whole = len(rest) // size * size
                yield from rest[:whole].reshape(-1, size)
                rest = rest[whole:]
            if seen == 0:
                raise ValueError("the stream holds no text; name data with at least one document to train on")

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """The sequences at these positions, int64 [len(positions), L].

        Raises:
            ValueError: a position lies before one already taken or passed over.
        """
        where = as_positions(positions)
        taken = np.empty((len(where), self._sequence_length), dtype=np.int64)
        for row in np.argsort(where, kind="stable").tolist():
            position = int(where[row])
            if position < self._next:
                raise ValueError(
                    f"position {position} was asked of a stream that is at {self._next}; a stream is read "
                    "forwards only: open it again, or prepare the data (streaming off) to take any position"
                )
            self.skip(position)
            taken[row] = next(self._sequences)
            self._next += 1
        return torch.from_numpy(taken)

    def skip(self, position: int) -> None:
        """Read on until this position is next; resuming needs no call, since `take` does so by itself."""
        while self._next < position:
            next(self._sequences)
            self._next += 1

    def describe(self) -> dict[str, Any]:
        """The stream's description."""
        return {**self._description, "sequence_length": self._sequence_length, "streaming": True, "samples": None}
