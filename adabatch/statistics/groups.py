"""How large a step's groups are, and whether they may be put together.

A group is a rank's micro-batch. Without tokens told all groups have the same number of samples, and each loss is
the mean over its group's samples. With tokens told groups may have any size: each loss is the sum over the group's
tokens divided by the tokens of all groups, and a group counts by its tokens
(:mod:`adabatch.moments.gradient_moments`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

__all__ = ["GroupSizes", "StepSizes"]

UNEQUAL = (
    "divide each loss by the tokens of the whole batch and tell every group's own, end_microbatch(samples, "
    "tokens=...); where the loss is a mean over samples, of any length, tokens=samples says so"
)
"""What to do about groups of unequal size."""


@dataclass
class GroupSizes:
    """How large this rank's groups of the present step are.

    Attributes:
        micro_batches: M so far.
        samples: of the last group.
        tokens: of the last group that count in the loss, None if not told.
        loss_scale: by which the losses were multiplied.
        all_samples: of all groups.
        all_tokens: of all groups.
        filled: groups with tokens; all of them if tokens were not told.
        unequal: groups with other tokens than the one before.
        elements: of the last group's inputs, 0 where they were not seen.
    """

    micro_batches: int = 0
    samples: int = 0
    tokens: int | None = None
    loss_scale: float = 1.0
    all_samples: int = 0
    all_tokens: int = 0
    filled: int = 0
    unequal: int = 0
    elements: int = 0

    def add(
        self,
        samples: SupportsIndex,
        tokens: SupportsIndex | None = None,
        loss_scale: float = 1.0,
        elements: int = 0,
    ) -> int:
        """Count a group; returns by how much its squares are divided: its tokens if told, else 1.

        Raises:
            ValueError: for a size that is not a count, and for a group that does not go with those before.
        """
        first = self.micro_batches == 0
        m, t = _count("samples", samples, 1), None if tokens is None else _count("tokens", tokens, 0)
        if not first and (t is None) != (self.tokens is None):
            raise ValueError(
                "tokens= was told for some groups of this step and not for others: tell it for every group, or "
                "for none"
            )
        if not (first or t is not None or m == self.samples):
            raise ValueError(
                f"groups of {self.samples} and of {m} samples in one step: the statistics need groups of equal "
                f"size: drop the last incomplete micro-batch, or {UNEQUAL}"
            )
        if not (loss_scale > 0 and math.isfinite(loss_scale) and (first or loss_scale == self.loss_scale)):
            raise ValueError(
                f"loss scales of {self.loss_scale:g} and {loss_scale:g} in one step: give "
                "loss_scale=scaler.get_scale(), a positive number, and call scaler.update() between steps only"
            )
        if 1 < elements < m:
            raise ValueError(
                f"end_microbatch() was told {m} samples, but the model's inputs of this micro-batch have "
                f"{elements} elements: give the number of samples in this rank's micro-batch"
            )
        if not (first or t is not None or elements == self.elements):
            raise ValueError(
                f"the model's inputs have {self.elements} elements in one micro-batch of this step and {elements} "
                f"in another, and tokens= was not told: {UNEQUAL}"
            )
        self.unequal += not first and t != self.tokens
        self.micro_batches += 1
        self.samples, self.tokens, self.loss_scale, self.elements = m, t, loss_scale, elements
        self.all_samples += m
        self.all_tokens += t or 0
        self.filled += t != 0
        return 1 if t is None else t

    def sums(self) -> list[float]:
        """What :class:`StepSizes` is made from, once it is summed over ranks."""
        told = self.tokens is not None
        own = (0, 0) if told else (self.samples, self.elements)
        agreed = [
            float(value**power) for value in (self.micro_batches, told, self.tokens or 0, *own) for power in (1, 2)
        ]
        totals = (self.unequal, self.filled, self.all_tokens, self.all_samples)
        return [*agreed, *map(float, totals)]


@dataclass(frozen=True)
class StepSizes:
    """How large the groups of all ranks are.

    Attributes:
        groups: n, those with tokens if tokens were told.
        samples: b.
        tokens: N, None if not told.
        equal: whether all groups are of the same size.

    >>> ranks = [GroupSizes(), GroupSizes()]
    >>> for sizes in ranks:
    ...     _ = sizes.add(3, None, 1.0)
    >>> StepSizes.of(ranks[0], [sum(pair) for pair in zip(*(sizes.sums() for sizes in ranks))], 2)
    StepSizes(groups=2, samples=6, tokens=None, equal=True)
    """

    groups: int
    samples: int
    tokens: int | None
    equal: bool

    @classmethod
    def of(cls, own: GroupSizes, sums: Sequence[float], ranks: int, tensor_parallel: int = 1) -> StepSizes:
        """From :meth:`GroupSizes.sums`, summed over ranks, on all ranks alike.

        Args:
            own: this rank's.
            sums: the sums.
            ranks: their number.
            tensor_parallel: how many of them work on the same samples.

        Raises:
            ValueError: if the ranks' groups cannot be put together, or no token counts in any of them.
        """
        counts, squares, rest = sums[:10:2], sums[1:10:2], sums[10:]
        agreed = [ranks * square == total**2 for total, square in zip(counts, squares, strict=True)]
        names = (
            "micro-batches per step",
            "tokens told",
            "tokens per group",
            "samples per group",
            "input elements",
        )
        for name, total, square, equal in zip(names, counts, squares, agreed, strict=True):
            if not equal and name != "tokens per group":
                spread = math.sqrt(max(square / ranks - (total / ranks) ** 2, 0.0))
                raise ValueError(
                    f"the ranks have unequal numbers of {name} (mean {total / ranks:g}, standard deviation "
                    f"{spread:g}): give each rank as many micro-batches and samples as the others, or {UNEQUAL}"
                )
        if own.tokens is None:  # every rank has as many
            groups = own.micro_batches * (ranks // tensor_parallel)
            return cls(groups, groups * own.samples, None, True)
        unequal, groups, tokens, samples = (round(total / tensor_parallel) for total in rest)
        if groups == 0:
            raise ValueError(
                "no token counts in the loss of any group of this step: skip such a step with reset() and "
                "zero_grad()"
            )
        return cls(groups, samples, tokens, agreed[2] and unequal == 0)

    @property
    def total(self) -> int:
        """N: tokens if told; else the groups, each of which counts once."""
        return self.groups if self.tokens is None else self.tokens

    @property
    def group_size(self) -> float:
        """m: samples in a group, or N / n tokens."""
        return self.samples // self.groups if self.tokens is None else self.tokens / self.groups


def _count(name: str, value: SupportsIndex, least: int) -> int:
    """The value as an int.

    Raises:
        ValueError: if it is none, or too small.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least:
        raise ValueError(
            f"end_microbatch() was told {value!r} {name}: give the group's own number, at least {least}"
        )
    return count
