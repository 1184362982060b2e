"""Progressive sequence length: how many tokens of each sample are taken, by the samples seen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from adabatch.schedules.rounding import samples_of_share

__all__ = ["LengthStages"]


@dataclass(frozen=True)
class LengthStages:
    """Short sequences first, such as 64 tokens for 30% of the budget, then 128.

    A sample stays one sample, of which the first tokens are taken, so that the order of the samples, the budget
    and all schedules, which count samples, stay as they are. A step has the length at its first sample.

    Attributes:
        lengths: tokens, one per stage.
        ends: samples seen at which a stage ends; the last stage has no end.

    >>> stages = LengthStages.parse("64:0.3,128:1", full_length=128, total_samples=1000)
    >>> stages.at(0), stages.at(299), stages.at(300), stages.at(5000)
    (64, 64, 128, 128)
    """

    lengths: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def always(cls, length: int) -> LengthStages:
        """One length throughout."""
        return cls((length,), ())

    @classmethod
    def parse(cls, text: str, full_length: int, total_samples: int) -> LengthStages:
        """From text such as ``64:0.3,128:1``; of none, the full length throughout.

        Args:
            text: for each stage its length and the share of the budget at which it ends.
            full_length: tokens of a sample.
            total_samples: the budget.

        Raises:
            ValueError: for anything else, lengths beyond the sample, shares that do not ascend to 1.
        """
        if not text:
            return cls.always(full_length)
        try:
            pairs = (part.split(":") for part in text.split(","))
            stages = [(int(length), float(share)) for length, share in pairs]
        except ValueError:
            raise ValueError(
                "--length-stages takes lengths, each with the share of the budget at which its stage ends, such "
                f"as 64:0.3,128:1, not {text!r}"
            ) from None
        lengths, shares = zip(*stages, strict=True)
        if not all(2 <= length <= full_length for length in lengths):
            raise ValueError(
                f"the lengths of --length-stages {text} must be from 2 to the sequence length, {full_length}: "
                "change them or --sequence-length"
            )
        if not (shares[-1] == 1 and all(a < b for a, b in pairwise((0.0, *shares)))):  # NaN too
            raise ValueError(
                f"the shares of --length-stages {text} must ascend from above 0 to 1: the last stage ends with "
                "the budget (such as 64:0.3,128:1)"
            )
        return cls(lengths, tuple(samples_of_share(share, total_samples) for share in shares[:-1]))

    def at(self, samples: int) -> int:
        """The length of a step that begins after this many samples."""
        return self.lengths[bisect_right(self.ends, samples)]

    def tokens(self, samples: int) -> int:
        """Tokens of the first samples, where each sample has the length of its own stage.

        A step across the end of a stage keeps its length, so that a run differs by less than one batch's tokens
        for each stage.

        >>> lengths = LengthStages.parse("64:0.3,128:1", 128, 1000)
        >>> lengths.tokens(1000), lengths.tokens(200)
        (108800, 12800)
        """
        ends = (min(end, samples) for end in self.ends)
        spans = (end - begin for begin, end in pairwise((0, *ends, samples)))
        return sum(span * length for span, length in zip(spans, self.lengths, strict=True))

    @property
    def text(self) -> str:
        """In words.

        >>> LengthStages.parse("64:0.3,128:1", 128, 1000).text
        '64 until 300 samples, then 128'
        """
        parts = [f"{length:,}" for length in self.lengths]
        until = [f"{part} until {end:,} samples" for part, end in zip(parts, self.ends, strict=False)]
        return ", then ".join([*until, parts[-1]])
