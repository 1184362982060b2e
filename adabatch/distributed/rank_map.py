"""Ranks that follow the batch: how many a batch gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from adabatch.settings import ParallelSettings

__all__ = ["RankMap"]


@dataclass(frozen=True)
class RankMap:
    """From batches to numbers of ranks; both ascend.

    Attributes:
        sizes: the batch from which on, and the ranks; the first from 0 on.

    >>> ranks = RankMap.of(ParallelSettings(ranks=1, ranks_at="64:2,256:4"), world_size=1)
    >>> [ranks.at(batch) for batch in (8, 64, 255, 256)]
    [1, 2, 2, 4]
    """

    sizes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, settings: ParallelSettings, world_size: int) -> RankMap:
        """That of ``--ranks`` and ``--ranks-at``; without the latter, every batch gets ``world_size``.

        Raises:
            ValueError: for text that is not such a map, one that does not ascend, or numbers of ranks that do not
                divide the largest.
        """
        text = settings.ranks_at
        if not text:
            return cls(((0, world_size),))
        if not re.fullmatch(r"\d{1,9}:\d{1,5}(,\d{1,9}:\d{1,5})*", text, re.ASCII):
            raise ValueError(
                f"--ranks-at takes batches, each with the ranks from there on, such as 64:2,256:4, not {text!r}"
            )
        pairs = (pair.split(":") for pair in text.split(","))
        made = cls(((0, settings.ranks), *((int(batch), int(ranks)) for batch, ranks in pairs)))
        for (least, ranks), (next_least, more) in pairwise(made.sizes):
            if next_least <= least or more <= ranks:
                raise ValueError(
                    f"--ranks-at must ascend in batches and in ranks, from --ranks {settings.ranks} on, but in "
                    f"{text} {next_least}:{more} follows {f'{least}:{ranks}' if least else f'--ranks {ranks}'}"
                )
        if odd := [ranks for ranks in made.numbers if made.most % ranks]:
            raise ValueError(
                f"the batches are those that {made.most} ranks can make, but {odd[0]} does not divide "
                f"{made.most}: take divisors of the largest number of ranks (--ranks, --ranks-at)"
            )
        return made

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of ranks, ascending."""
        return tuple(ranks for _, ranks in self.sizes)

    @property
    def most(self) -> int:
        """The largest number of ranks, for which batches are rounded."""
        return self.numbers[-1]

    def at(self, batch: int, present: int = 0) -> int:
        """The ranks of a batch.

        Args:
            batch: its samples.
            present: ranks that are at work. They are given back where also twice the batch would get fewer, so
                that a batch that swings about a threshold does not start the ranks again and again.

        >>> ranks = RankMap(((0, 1), (64, 2)))
        >>> ranks.at(40, present=1), ranks.at(40, present=2), ranks.at(31, present=2)
        (1, 2, 1)
        """
        wanted = self._at(batch)
        return min(present, self._at(2 * batch)) if wanted < present and present in self.numbers else wanted

    def _at(self, batch: int) -> int:
        return max(ranks for least, ranks in self.sizes if least <= batch)
