"""Random numbers for many runs at once, each run's from its own seed alone.

Every (seed, channel) has its own generator (SFC64, the fastest of numpy's), and numbers are drawn in blocks of
steps, so that a run does not depend on what else is in the batch, nor on the size of the blocks, and the cost of a
Python call is shared by a block. Runs of one seed, as those of a grid's settings, share its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Sampler", "SeedStreams"]

Array = NDArray[np.float64]

Sampler = Literal["standard_normal", "random", "standard_exponential"]
"""A method of numpy's generators that draws element after element: two calls give what one twice as long gives."""

_BLOCK_NUMBERS = 1 << 17  # 1 MiB per block: long enough to amortise the calls, short enough for the cache
_CALL_NUMBERS = 256  # but no call for fewer numbers than this, however many seeds there are


class SeedStreams:
    """One stream of random numbers for each seed and channel.

    Args:
        seeds: one nonnegative integer for each run; equal seeds give equal numbers.
        steps: how many steps will be drawn at most; blocks are not longer.
        block_numbers: how many numbers per block holds at most, if that leaves each call enough to do.

    Example:
        >>> together, alone = SeedStreams([7, 8, 9], steps=5), SeedStreams([8], steps=5, block_numbers=1)
        >>> for _ in range(5):
        ...     both = together.draw(0, (2,), "random"), alone.draw(0, (2,), "random")
        >>> bool((both[0][1] == both[1][0]).all())
        True
    """

    def __init__(self, seeds: Sequence[int], steps: int, block_numbers: int = _BLOCK_NUMBERS) -> None:
        self.seeds = tuple(int(seed) for seed in seeds)
        distinct, rows = np.unique(self.seeds, return_inverse=True)
        self._distinct: list[int] = distinct.tolist()
        self._rows = None if np.array_equal(rows, np.arange(len(rows))) else rows
        self._steps, self._block_numbers = steps, block_numbers
        self._channels: dict[int, tuple[tuple[int, ...], Sampler, Iterator[Array]]] = {}

    def __len__(self) -> int:
        return len(self.seeds)

    def draw(self, channel: int, shape: tuple[int, ...], sampler: Sampler) -> Array:
        """The next numbers of a channel, shape [seeds, *shape]; valid until the channel's next draw.

        Args:
            channel: a nonnegative integer; the numbers of different channels are independent.
            shape: numbers per seed and step; the same at every call for a channel.
            sampler: the law; the same at every call for a channel.

        Raises:
            ValueError: if a channel is asked for another shape or law than before.
        """
        if channel not in self._channels:
            size = max(int(np.prod(shape, dtype=int)), 1)
            length = max(self._block_numbers // (size * len(self._distinct)), -(-_CALL_NUMBERS // size))
            numbers = _numbers(self._distinct, channel, shape, sampler, min(length, max(self._steps, 1)))
            self._channels[channel] = shape, sampler, numbers
        known_shape, known_sampler, numbers = self._channels[channel]
        if (known_shape, known_sampler) != (shape, sampler):
            raise ValueError(f"channel {channel} was {known_shape} of {known_sampler}, not {shape} of {sampler}")
        drawn = next(numbers)
        return drawn if self._rows is None else drawn[self._rows]


def _numbers(
    seeds: Sequence[int], channel: int, shape: tuple[int, ...], sampler: Sampler, length: int
) -> Iterator[Array]:
    """The numbers of one channel, step by step, each [seeds, *shape], drawn in blocks of ``length`` steps."""
    entropy = (np.random.SeedSequence(seed, spawn_key=(channel,)) for seed in seeds)
    generators = [np.random.Generator(np.random.SFC64(sequence)) for sequence in entropy]
    block: Array = np.empty((length, len(generators), *shape))
    while True:
        for row, generator in enumerate(generators):
            block[:, row] = getattr(generator, sampler)((length, *shape))
        yield from block
