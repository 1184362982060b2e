"""Random numbers for many runs at once, each run's from its own seed alone.

Every (seed, channel) has its own generator (SFC64, the fastest of numpy's), and numbers are drawn in blocks of
steps, so that a run does not depend on what else is in the batch, nor on the size of the blocks, and the cost of a
Python call is shared by a block.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        self._steps, self._block_numbers = steps, block_numbers
        self._channels: dict[int, _Channel] = {}

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
        known = self._channels.get(channel)
        if known is None:
            size = max(int(np.prod(shape, dtype=int)), 1)
            length = max(self._block_numbers // (size * len(self.seeds)), -(-_CALL_NUMBERS // size))
            length = min(length, max(self._steps, 1))
            known = self._channels[channel] = _Channel(self.seeds, channel, shape, sampler, length)
        elif (known.shape, known.sampler) != (shape, sampler):
            raise ValueError(f"channel {channel} was {known.shape} of {known.sampler}, not {shape} of {sampler}")
        return known.next()


class _Channel:
    """The generators of one channel and the block they drew last, shape [length, seeds, *shape]."""

    def __init__(
        self, seeds: Sequence[int], channel: int, shape: tuple[int, ...], sampler: Sampler, length: int
    ) -> None:
        entropy = (np.random.SeedSequence(seed, spawn_key=(channel,)) for seed in seeds)
        self.generators = [np.random.Generator(np.random.SFC64(sequence)) for sequence in entropy]
        self.shape, self.sampler, self.cursor = shape, sampler, length
        self.block: Array = np.empty((length, len(self.generators), *shape))

    def next(self) -> Array:
        length = len(self.block)
        if self.cursor == length:
            for row, generator in enumerate(self.generators):
                self.block[:, row] = getattr(generator, self.sampler)((length, *self.shape))
            self.cursor = 0
        self.cursor += 1
        numbers: Array = self.block[self.cursor - 1]
        return numbers
