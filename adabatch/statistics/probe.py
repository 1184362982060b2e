"""Checks that a step's gradient statistics are of one and the same gradient, at no collective of their own.

Two mistakes would make the moments silently wrong: groups of unequal size (on this rank or between ranks), and a
reduced gradient that is not the mean of the gradients that the hooks saw (a loss scale that was taken out of one
and not of the other, clipping before the statistics, a gradient left from the step before, a sum over ranks where
a mean was meant). A few numbers next to the moments, in the same all-reduce, show both. A loss scale that was left
in both sides shows in neither: there a ``GradScaler`` is looked for instead.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch.amp import GradScaler

__all__ = ["GroupSizes", "require_equal_sizes", "require_no_scaler", "require_same_gradient"]

TOLERANCE = 0.25
"""Relative difference of both gradients that rounding (bf16 reductions included) cannot make."""

RESOLVED = 2**-5
"""A mean over groups below this part of one group's size may be rounding: nothing is said of it."""


@dataclass
class GroupSizes:
    """How large this rank's groups of the present step are.

    Attributes:
        micro_batches: M so far.
        samples: m.
        tokens: in a group, 0 if not told.
        loss_scale: by which the losses were multiplied.
    """

    micro_batches: int = 0
    samples: int = 0
    tokens: int = 0
    loss_scale: float = 1.0

    def add(self, samples: int, tokens: int, loss_scale: float) -> None:
        """Count a group.

        Raises:
            ValueError: if it is not as large, or not scaled, as the groups before it.
        """
        first = self.micro_batches == 0
        if samples < 1 or not (first or samples == self.samples):
            raise ValueError(
                f"groups of {self.samples} and of {samples} samples in one step: the statistics need groups "
                "of equal size (at least 1); drop the last incomplete micro-batch"
            )
        if tokens < 0 or not (first or tokens == self.tokens):
            raise ValueError(
                f"groups of {self.tokens} and of {tokens} tokens in one step: means over unequal numbers of "
                "tokens have unequal variances; pack or cut the texts, so that as many tokens count "
                "in every micro-batch's loss"
            )
        if not (loss_scale > 0 and math.isfinite(loss_scale) and (first or loss_scale == self.loss_scale)):
            raise ValueError(
                f"loss scales of {self.loss_scale:g} and {loss_scale:g} in one step: give "
                "loss_scale=scaler.get_scale(), a positive number, and call scaler.update() between steps only"
            )
        self.micro_batches += 1
        self.samples, self.tokens, self.loss_scale = samples, tokens, loss_scale

    def powers(self) -> list[float]:
        """Each size and its square: summed over ranks, they show whether the ranks agree."""
        return [float(size**power) for size in (self.micro_batches, self.samples, self.tokens) for power in (1, 2)]


def require_equal_sizes(sums: Sequence[float], ranks: int) -> None:
    """Raise unless every rank added the same sizes, on all ranks alike.

    Args:
        sums: :meth:`GroupSizes.powers`, summed over ranks.
        ranks: their number.

    Raises:
        ValueError: if the ranks' groups differ.

    >>> require_equal_sizes([4.0, 8.0, 6.0, 18.0, 0.0, 0.0], 2)      # both 2 micro-batches of 3 samples
    """
    names = ("micro-batches per step", "samples per group", "tokens per group")
    for name, total, squares in zip(names, sums[::2], sums[1::2], strict=True):
        if ranks * squares != total**2:
            spread = math.sqrt(max(squares / ranks - (total / ranks) ** 2, 0.0))
            raise ValueError(
                f"the ranks have unequal numbers of {name} (mean {total / ranks:g}, standard deviation "
                f"{spread:g}): the statistics need groups of equal size on every rank; give each rank as many "
                "micro-batches, samples and tokens as the others"
            )


def require_same_gradient(
    *, groups: int, mean: float, reduced: float, probe_squares: float, sum_of_squares: float, squared_norm: float
) -> None:
    """Raise if the reduced gradient is not the mean of the groups' gradients.

    Two tests: n ||g||^2 <= sum_j ||g_j||^2 holds for any mean (Cauchy-Schwarz); and the sum over one small
    parameter's coordinates is taken of both. Numbers that are not finite, or lost in rounding, pass.

    Args:
        groups: n.
        mean: the sum of the probed parameter's coordinates, averaged over the groups' own gradients.
        reduced: the same sum of the reduced gradient.
        probe_squares: sum_j of the probed parameter's squared norm.
        sum_of_squares: sum_j ||g_j||^2 of the whole gradient.
        squared_norm: ||g||^2.

    Raises:
        ValueError: if they differ by more than rounding can.

    >>> require_same_gradient(
    ...     groups=2, mean=1.0, reduced=1.0, probe_squares=2.0, sum_of_squares=10.0, squared_norm=4.0
    ... )
    """
    if not all(map(math.isfinite, (mean, reduced, probe_squares, sum_of_squares, squared_norm))):
        return
    resolved = RESOLVED * math.sqrt(probe_squares / groups)
    differ = abs(mean - reduced) > max(TOLERANCE * max(abs(mean), abs(reduced)), resolved)
    if not differ and groups * squared_norm <= (1 + TOLERANCE) * sum_of_squares:
        return
    factor = reduced / mean if differ and mean else math.sqrt(groups * squared_norm / sum_of_squares)
    raise ValueError(
        f"the reduced gradient is not the mean of the groups' gradients (about {factor:.3g} times): call "
        "zero_grad() before a step's first backward(), and finish() after the backward() that synchronises and "
        "before clipping; with a GradScaler pass loss_scale=scaler.get_scale() to end_microbatch() and call "
        "scaler.unscale_(optimizer) before finish(); take the mean over ranks, not the sum"
    )


def require_no_scaler() -> None:
    """Raise if a ``GradScaler`` of this process has scaled a loss: for loops that did not say by how much.

    It looks through the process's objects, some tenths of a second where there are millions: once is enough.

    Raises:
        ValueError: if there is one whose scale is not 1.

    >>> require_no_scaler()
    """
    if _scale_in_use() is None:
        return
    gc.collect()  # one that nobody holds any more has nothing to say
    scale = _scale_in_use()
    if scale is not None:
        raise ValueError(
            f"a GradScaler multiplies losses by {scale:g}, but end_microbatch() was not told, so that the moments "
            f"would be {scale:g}^2 times too large: pass loss_scale=scaler.get_scale() and call "
            "scaler.unscale_(optimizer) before finish(); pass loss_scale=1.0 if the scaler is another model's"
        )


def _scale_in_use() -> float | None:
    """Other than 1, of any of the process's gradient scalers that has been used."""
    kinds = [GradScaler]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for found in gc.get_referrers(*kinds):
        # The scale's tensor is made when a first loss is scaled; no public method tells.
        if type(found) in kinds and found.is_enabled() and getattr(found, "_scale", None) is not None:
            scale: float = found.get_scale()
            if scale != 1:
                return scale
    return None
