"""Sources of samples: sequences of tokens, taken by their position in the order of training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from adabatch.data.order import EpochOrder, epoch_order, samples_at

if TYPE_CHECKING:  # it takes seconds to import, and preparing data does not need it
    import torch

__all__ = ["PreparedSamples", "SampleSource"]


class SampleSource(Protocol):
    """What the trainer asks of its data.

    Which samples are taken next follows from the number of samples seen; with the state a stream resumes
    there without reading all that comes before. Data of which any position can be taken need no state.
    """

    @property
    def length(self) -> int | None:
        """Samples in an epoch; None if unknown (streaming)."""

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """The samples at these positions, int64 [len(positions), sequence_length], on the CPU."""

    def readers(self, positions: Sequence[int] | range, ranks: int) -> npt.NDArray[np.int64] | None:
        """The rank that takes each position for all, where ranks would otherwise read what others read too.

        None where a rank that takes every n-th position (n ranks) reads nothing but its share.
        """
        return None

    def state_dict(self) -> dict[str, Any]:
        """What this rank knows of its place, as JSON."""
        return {}

    def load_state_dict(self, states: Sequence[dict[str, Any]], samples: int) -> None:
        """Resume at position `samples`, with what all ranks saved there, however many they were."""
        return

    def describe(self) -> dict[str, Any]:
        """What this is, as JSON: for the run's records and for comparison on resuming."""


class PreparedSamples(SampleSource):
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
        self._samples = tokens[: count * sequence_length].reshape(count, sequence_length)
        self._seed = seed
        # A batch may straddle an epoch; 8 bytes per sample for each. Each source of a mixture has its own.
        self._order: EpochOrder = lru_cache(maxsize=2)(epoch_order)
        self._description = {**(description or {}), "sequence_length": sequence_length, "seed": seed}

    @property
    def length(self) -> int:
        """Samples in an epoch."""
        return len(self._samples)

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """The samples at these positions, int64 [len(positions), L]."""
        import torch

        if self._seed is None:
            indices = np.asarray(positions, dtype=np.int64) % self.length
        else:
            indices = samples_at(positions, self.length, self._seed, self._order)
        return torch.from_numpy(self._samples[indices].astype(np.int64))

    def bytes_per_token(self) -> float:
        """Bytes of text that a token stands for, on average."""
        return float(self._description["bytes"] / self._description["tokens"])

    def describe(self) -> dict[str, Any]:
        """The token file's description, the samples in an epoch, the seed of their order."""
        return {**self._description, "streaming": False, "samples": self.length}
