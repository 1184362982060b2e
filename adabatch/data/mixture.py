"""Mixtures: which source each sample is of, at exact shares, and samples taken so from several sources.

After p samples source i has given floor(w_i p) or ceil(w_i p) of them, w_i being its share: less than one sequence
from what was asked for, at every p. So its j-th sample has a window, the positions floor((j - 1) / w_i) up to, not
including, ceil(j / w_i). Within these windows the order is drawn at random: at fixed places in a period, a source
would always fall to the same of the norm test's groups, which take every n-th position.

At each position, the samples not yet placed are looked through in the order of their windows' ends, the deadlines.
Where the first r of them have just r positions left, the next is one of these; otherwise any may come whose window
has begun, each source's first. That there always is one, and all keep their windows, is Hall's theorem: of the
samples whose windows lie in [s, t) there are at most sum_i w_i (t - s) = t - s. (Earliest deadline first is the
order that Tijdeman, The chairman assignment problem, Discrete Mathematics 32, 1980, uses.)

All shares are met exactly after a period, 10,000 samples at most. Each block of whole periods is drawn by itself,
from the seed and its number, so that any position can be computed without those before its block.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adabatch.data.samples import PreparedSamples, SampleSource
from adabatch.data.streaming import StreamedSamples
from adabatch.settings.mixture import DECIMALS, Ingredient

if TYPE_CHECKING:  # it takes seconds to import, and preparing data does not need it
    import torch

__all__ = ["MixedSamples", "MixedStreams", "MixtureOrder"]

BLOCK = 1024
"""Positions of a block at least."""

LOOKAHEAD = 64
"""Samples not yet placed that are looked through once a source has been found."""

ORDER_OF_MIXTURE = 1_835_629_688
"""With the seed, what the random numbers are for; no other order counts so far."""

Integers = npt.NDArray[np.int64]


class MixtureOrder:
    """Which source each position is of, and which of that source's samples it is.

    Args:
        ingredients: the sources with their shares.
        seed: of the order.

    >>> from decimal import Decimal
    >>> order = MixtureOrder([Ingredient("a", Decimal("0.75")), Ingredient("b", Decimal("0.25"))], seed=0)
    >>> order.counts(8).tolist(), order.counts(10**12).tolist()
    ([6, 2], [750000000000, 250000000000])
    """

    def __init__(self, ingredients: Sequence[Ingredient], seed: int) -> None:
        parts = [int(share * 10**DECIMALS) for _, share in ingredients]
        self._parts, self._seed = tuple(part // gcd(*parts) for part in parts), seed
        self._periods = -(-BLOCK // sum(self._parts))
        self._block = self._periods * sum(self._parts)

    def places(self, positions: Sequence[int] | range) -> tuple[Integers, Integers]:
        """The source of each position, and which of its samples it takes, int64 [len(positions)] each."""
        blocks, within = np.divmod(np.asarray(positions, dtype=np.int64), self._block)
        sources, earlier = np.empty_like(within), np.empty_like(within)
        for block in np.unique(blocks):
            chosen, drawn = blocks == block, self._drawn(int(block))
            sources[chosen] = drawn.sources[within[chosen]]
            earlier[chosen] = drawn.earlier[within[chosen]]
        return sources, earlier + blocks * self._periods * np.array(self._parts)[sources]

    def counts(self, position: int) -> Integers:
        """How many of the samples before this position are of each source, int64 [sources]."""
        block, within = divmod(position, self._block)
        whole = block * self._periods * np.array(self._parts)
        if within == 0:
            return whole
        return whole + np.bincount(self._drawn(block).sources[:within], minlength=len(self._parts))

    def length(self, lengths: Sequence[int]) -> int:
        """How many samples there are until a source i has given more than lengths[i]."""
        pairs, total = list(zip(lengths, self._parts, strict=True)), sum(self._parts)
        least = min(length * total // part for length, part in pairs)
        most = min(-(-(length + 1) * total // part) for length, part in pairs)
        return least + bisect_left(range(least, most), True, key=lambda p: any(self.counts(p + 1) > lengths))

    def _drawn(self, block: int) -> _Block:
        return _draw(self._parts, self._periods, self._seed, block)


class _Block(NamedTuple):
    """Some periods of the order."""

    sources: Integers
    earlier: Integers
    """Samples of the same source before in the block."""


@lru_cache(maxsize=8)  # a batch may straddle two, of a training and a validation set
def _draw(parts: tuple[int, ...], periods: int, seed: int, block: int) -> _Block:
    """The order in a block of this many periods of sum(parts) positions; source i has parts[i] of each."""
    period = sum(parts)
    waiting = sorted(
        (-(-(number + 1) * period // part), source, number * period // part)
        for source, part in enumerate(parts)
        for number in range(part * periods)
    )
    draws = np.random.PCG64(np.random.SeedSequence([seed, ORDER_OF_MIXTURE, block])).random_raw(len(waiting))
    sources = np.empty(len(waiting), dtype=np.int64)
    for position, draw in enumerate(draws.tolist()):
        possible = _possible(waiting, position)
        _, sources[position], _ = waiting.pop(possible[draw % len(possible)])
    earlier = np.empty_like(sources)
    for source, part in enumerate(parts):
        earlier[sources == source] = np.arange(part * periods)
    return _Block(sources, earlier)


def _possible(waiting: Sequence[tuple[int, int, int]], position: int) -> list[int]:
    """The places in ``waiting`` (deadline, source, window's begin) of samples that may come at this position."""
    possible: list[int] = []
    seen: set[int] = set()
    for place, (deadline, source, begin) in enumerate(waiting):
        if source not in seen:
            seen.add(source)
            if begin <= position:
                possible.append(place)
        if place + 1 == deadline - position or (possible and place >= LOOKAHEAD):
            break
    return possible


class _Mixed:
    """Samples of several sources, each in its own order, mixed by their shares."""

    def __init__(
        self,
        sources: Sequence[PreparedSamples | StreamedSamples],
        ingredients: Sequence[Ingredient],
        seed: int,
        description: dict[str, Any],
    ) -> None:
        self.sources, self.ingredients = sources, ingredients
        self.order = MixtureOrder(ingredients, seed)
        self._description = description

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """The samples at these positions, int64 [len(positions), L]."""
        import torch

        numbers, indices = self.order.places(positions)
        result = torch.empty((len(numbers), self._description["sequence_length"]), dtype=torch.int64)
        for number, source in enumerate(self.sources):
            chosen = np.flatnonzero(numbers == number)
            if len(chosen):
                result[torch.from_numpy(chosen)] = source.take(indices[chosen].tolist())
        return result

    def samples_by_source(self, samples: int) -> dict[str, int]:
        """How many of the first samples are of each source."""
        names = [Path(name).name or name for name, _ in self.ingredients]
        if len(set(names)) < len(names):
            names = [name for name, _ in self.ingredients]
        return dict(zip(names, self.order.counts(samples).tolist(), strict=True))

    def describe(self) -> dict[str, Any]:
        """All that the samples and their order depend on."""
        return {**self._description, "shares": [str(share) for _, share in self.ingredients]}


class MixedSamples(_Mixed, SampleSource):
    """A mixture of prepared samples: a source that was read to its end begins again, in another order.

    Args:
        sources: of samples, each in its own order.
        ingredients: their names and shares.
        seed: of the order in which they alternate.
        description: what is known about the tokens, returned by `describe`.
    """

    sources: Sequence[PreparedSamples]

    @cached_property
    def length(self) -> int:
        """Samples up to the end of the source that ends first."""
        return self.order.length([source.length for source in self.sources])

    def bytes_per_token(self) -> float:
        """Bytes of text that a token stands for, on average at these shares."""
        pairs = zip(self.ingredients, self.sources, strict=True)
        return sum(float(share) * source.bytes_per_token() for (_, share), source in pairs)

    def describe(self) -> dict[str, Any]:
        """All that the samples and their order depend on."""
        return {**super().describe(), "samples": self.length}


class MixedStreams(_Mixed):
    """A mixture of streams: a shard that was read to its end begins again, as that of a stream alone does.

    Which of a stream's shards a position is of depends on the shares, so that every rank reads all shards.
    """

    sources: Sequence[StreamedSamples]
    length = None

    def state_dict(self) -> dict[str, Any]:
        """Where the streams' shards are that were opened here, as JSON."""
        return {"mixture": [source.state_dict() for source in self.sources]}

    def load_state_dict(self, states: Sequence[dict[str, Any]], samples: int) -> None:
        """Resume at position `samples`, with what all ranks saved there, however many they were."""
        counts = self.order.counts(samples).tolist()
        saved = [state["mixture"] for state in states if len(state.get("mixture", ())) == len(counts)]
        for number, (source, count) in enumerate(zip(self.sources, counts, strict=True)):
            source.load_state_dict([state[number] for state in saved], count)
