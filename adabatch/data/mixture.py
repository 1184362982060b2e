"""Mixtures: which source each sample is of, at exact shares, and samples taken so from several sources.

After p samples source i has given floor(w_i p) or ceil(w_i p) of them, w_i being its share: less than one sequence
from what was asked for, at every p. So its j-th sample has a window, positions from floor((j - 1) / w_i) up to but
not including ceil(j / w_i). Each position goes to a source whose next window has begun, of these to the one whose
window ends first. As the shares sum to 1, all windows are kept (earliest deadline first: Liu and Layland,
Scheduling algorithms for multiprogramming, Journal of the ACM 20, 1973). The order returns to the exact shares
after a period, 10,000 samples at most, so that any position is computed without those before it.

The groups of the norm test take every n-th position. With such a period all of a source could fall to one of them.
So the positions of a step are shuffled before they are dealt to groups (:func:`shuffled`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from adabatch.data.order import seeded_permutation
from adabatch.data.samples import PreparedSamples, SampleSource
from adabatch.data.streaming import StreamedSamples
from adabatch.settings.mixture import DECIMALS, Ingredient

if TYPE_CHECKING:  # it takes seconds to import, and preparing data does not need it
    import torch

__all__ = ["MixedSamples", "MixedStreams", "Mixture", "MixtureOrder", "shuffled"]

ORDER_IN_STEP = 1_835_629_688
"""With the seed, what a permutation is for; no epoch counts so far."""

Integers = npt.NDArray[np.int64]


class MixtureOrder:
    """Which source each position is of, and which of that source's samples it is.

    >>> from decimal import Decimal
    >>> order = MixtureOrder([Ingredient("a", Decimal("0.75")), Ingredient("b", Decimal("0.25"))])
    >>> order.places(range(4))[0].tolist(), order.counts(10**12 + 1).tolist()
    ([0, 0, 0, 1], [750000000001, 250000000000])
    """

    def __init__(self, ingredients: Sequence[Ingredient]) -> None:
        parts = [int(share * 10**DECIMALS) for _, share in ingredients]
        self._parts = tuple(part // gcd(*parts) for part in parts)

    def places(self, positions: Sequence[int] | range) -> tuple[Integers, Integers]:
        """The source of each position, and which of its samples it takes, int64 [len(positions)] each."""
        period = _period(self._parts)
        before, within = np.divmod(np.asarray(positions, dtype=np.int64), len(period))
        sources = period[within]
        earlier = np.empty_like(period)
        for source, part in enumerate(self._parts):
            earlier[period == source] = np.arange(part)
        return sources, before * np.array(self._parts)[sources] + earlier[within]

    def counts(self, position: int) -> Integers:
        """How many of the samples before this position are of each source, int64 [sources]."""
        period = _period(self._parts)
        before, within = divmod(position, len(period))
        return before * np.array(self._parts) + np.bincount(period[:within], minlength=len(self._parts))

    def length(self, lengths: Sequence[int]) -> int:
        """How many samples there are until a source i has given more than lengths[i]."""
        pairs, total = list(zip(lengths, self._parts, strict=True)), sum(self._parts)
        least = min(length * total // part for length, part in pairs)
        most = min(-(-(length + 1) * total // part) for length, part in pairs)
        return least + bisect_left(range(least, most), True, key=lambda p: any(self.counts(p + 1) > lengths))


@lru_cache(maxsize=16)
def _period(parts: tuple[int, ...]) -> Integers:
    """The sources of sum(parts) positions, parts[i] of them of source i, int64 [sum(parts)]."""
    size, given, order = sum(parts), [0] * len(parts), []
    for position in range(size):
        _, source = min(
            (-(-(count + 1) * size // part), source)
            for source, (count, part) in enumerate(zip(given, parts, strict=True))
            if count * size < part * (position + 1)
        )
        given[source] += 1
        order.append(source)
    return np.array(order)


def shuffled(positions: Sequence[int], start: int, batch_size: int, seed: int) -> list[int]:
    """Where a permutation of the positions [start, start + batch_size) of a step takes some of them.

    Groups are then of sources drawn at random, whichever positions they take. So the norm test counts differences
    between sources as noise of single samples, as it would of samples drawn independently.

    >>> sorted(shuffled(range(100, 104), start=100, batch_size=4, seed=0))
    [100, 101, 102, 103]
    """
    order = seeded_permutation(batch_size, [seed, ORDER_IN_STEP, start])
    return [start + int(order[position - start]) for position in positions]


class Mixture:
    """Samples of several sources, each in its own order, mixed by their shares."""

    def __init__(
        self,
        sources: Sequence[PreparedSamples | StreamedSamples],
        ingredients: Sequence[Ingredient],
        description: dict[str, Any],
    ) -> None:
        self.sources, self.ingredients = sources, ingredients
        self.order = MixtureOrder(ingredients)
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


class MixedSamples(Mixture, SampleSource):
    """A mixture of prepared samples: a source that was read to its end begins again, in another order.

    Args:
        sources: of samples, each in its own order.
        ingredients: their names and shares.
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


class MixedStreams(Mixture):
    """A mixture of streams: a shard that was read to its end begins again, as that of a stream alone does.

    Which of a stream's shards a position is of depends on the shares, so that ranks need samples of each other's.
    """

    sources: Sequence[StreamedSamples]
    length = None

    def readers(self, positions: Sequence[int] | range, ranks: int) -> Integers | None:
        """See :meth:`adabatch.data.samples.SampleSource.readers`; all streams have as many shards."""
        return None if ranks == 1 else self.sources[0].shards(self.order.places(positions)[1]) % ranks

    def state_dict(self) -> dict[str, Any]:
        """Where the streams' shards are that were opened here, as JSON."""
        return {"mixture": [source.state_dict() for source in self.sources]}

    def load_state_dict(self, states: Sequence[dict[str, Any]], samples: int) -> None:
        """Resume at position `samples`, with what all ranks saved there, however many they were."""
        counts = self.order.counts(samples).tolist()
        saved = [state["mixture"] for state in states if len(state.get("mixture", ())) == len(counts)]
        for number, (source, count) in enumerate(zip(self.sources, counts, strict=True)):
            source.load_state_dict([state[number] for state in saved], count)
