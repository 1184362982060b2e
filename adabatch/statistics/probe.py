"""Whether the reduced gradient is the mean of the groups' gradients, at no collective of its own.

Clipping before the statistics, a gradient left from the step before, a rank that was not reduced, a sum where a
mean was meant, a hook that changes ``.grad``: each makes the moments wrong, and none is seen in them. So a few
hundred coordinates of several parameters are followed: their values in each group, added up in fp64, next to
their values in the reduced gradient, each taken from one data-parallel rank alone (so that ranks that hold other
gradients than the rest are seen too). They travel with the moments.

Tolerance:
    Let a coordinate's groups be h_1 .. h_n. Adding them takes M - 1 additions on each rank with unit roundoff u_a
    and one per rank and a few divisions over ranks with unit roundoff u_r. The computed mean is then off by at
    most ((1 + gamma_a)(1 + gamma_r) - 1) sum_j |h_j| / c with gamma = k u / (1 - k u), in any order, and by
    what underflows. This is a bound, not an estimate: a right step never fails it. A factor kappa on the gradient
    shows as soon as |1 - kappa| |g_i| exceeds it in one coordinate: in fp32 that is 1e-6 of the coordinate's mean
    absolute value, under a bf16 reduction some per cent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor

from adabatch.statistics.coordinate_shards import coprime_stride, counted_positions, dense
from adabatch.statistics.leaves import Leaf
from adabatch.statistics.norms import local
from adabatch.statistics.reductions import DataParallel, like

__all__ = ["Probe", "require_mean", "require_no_larger_norm"]

LEAVES, COORDINATES = 4, 64
"""Parameters that are followed, and coordinates of each."""

DIVISIONS = 4
"""Roundings over ranks apart from the additions: FSDP2 divides before and after, hybrid sharding once more."""

UNKNOWN = 0.25
"""Relative tolerance, over all coordinates, where the arithmetic that reduced is not known."""


@dataclass(frozen=True)
class _Place:
    """Where one parameter's coordinates are.

    Attributes:
        leaf: the parameter.
        start: the first of their places in the probe's vector.
        slots: these places.
        positions: in the flat tensor that the hook sees, int64.
        owned: the slots whose reduced value this rank tells, int64.
        reduced: their positions in this rank's flat part of the reduced gradient, int64.
    """

    leaf: Leaf
    start: int
    slots: Tensor
    positions: Tensor
    owned: Tensor
    reduced: Tensor


class Probe:
    """The coordinates that are followed, and their sums over this rank's groups.

    A few parameters are followed in each step, and others in the next, until all have been: what is wrong with
    one parameter alone shows as well.

    Args:
        leaves: of the model.
        layout: of the ranks.
        device: of the leaves.
        avoid: leaves that are followed only if there is no other (sparse ones, whose rows are often empty).
    """

    def __init__(
        self,
        leaves: Sequence[Leaf],
        layout: DataParallel,
        device: torch.device,
        avoid: frozenset[int] = frozenset(),
    ) -> None:
        self._divisor, self._tensor_parallel = layout.divisor, layout.tensor_parallel
        self._rounds = [_Round(leaves, chosen, layout, device) for chosen in _rounds(leaves, avoid)]
        self._step = 0
        self._round = self._told = self._rounds[0]
        self.clear()

    @property
    def names(self) -> list[str]:
        """The parameter of each coordinate of the last :meth:`totals`."""
        return self._told.names

    def clear(self) -> None:
        """Begin a new step."""
        self._round = self._rounds[self._step % len(self._rounds)]
        self._round.values.zero_()
        self._sums = torch.zeros_like(self._round.values.expand(2, -1), dtype=torch.float64)

    def underflow(self, groups: float) -> float:
        """What underflow can do to a coordinate's mean at most: a smallest normal number in each addition."""
        return (groups + DIVISIONS) * torch.finfo(self._told.values.dtype).tiny

    def take(self, index: int, gradient: Tensor, whole: Tensor) -> None:
        """A group's gradient of one leaf: this rank's own part, and as it came.

        Under tensor parallelism it may come as a sum that is still open, whose terms cancel: then it is they that
        rounding goes by.
        """
        place = self._round.places.get(index)
        if place is None:
            return
        torch.take(_real(gradient), place.positions, out=place.slots)
        if isinstance(whole, DTensor) and any(placement.is_partial() for placement in whole.placements):
            terms = torch.take(_real(whole.to_local()), place.positions).abs().double()
            self._sums[1, place.start : place.start + len(terms)] += self._tensor_parallel * terms

    def skip(self, index: int) -> None:
        """A leaf that got no gradient in this group."""
        place = self._round.places.get(index)
        if place is not None:
            place.slots.zero_()

    def end_group(self) -> None:
        """Add the group's values, and their absolute values."""
        values = self._round.values
        self._sums += torch.stack([values, values.abs()])

    def totals(self, loss_scale: float) -> Tensor:
        """This rank's part of what :func:`require_mean` compares, [3, coordinates], fp64; then :meth:`clear`."""
        totals = torch.cat([self._sums / (loss_scale * self._divisor), torch.zeros_like(self._sums[:1])])
        values, owned = [], []
        for place in self._round.places.values():
            gradient = place.leaf.parameter.grad
            if gradient is not None and len(place.owned):
                values.append(torch.take(_real(local(like(gradient, place.leaf.parameter))), place.reduced))
                owned.append(place.owned)
        if values:
            totals[2, torch.cat(owned)] = torch.cat(values).double()
        self._told = self._round
        self._step += 1  # on every rank alike: each is about to add its totals to the others'
        return totals


class _Round:
    """The leaves that are followed in one step.

    Attributes:
        names: of each coordinate's parameter.
        values: of the coordinates in the present group.
        places: of the leaves' coordinates, by the leaf's number.
    """

    def __init__(
        self, leaves: Sequence[Leaf], chosen: Sequence[int], layout: DataParallel, device: torch.device
    ) -> None:
        self.names = [leaves[index].name for index in chosen for _ in range(COORDINATES)]
        dtype = leaves[chosen[0]].gradient_dtype
        self.values = torch.zeros(len(self.names), dtype=dtype.to_real(), device=device)
        self.places = {
            index: _place(leaves[index], layout, self.values, number * COORDINATES)
            for number, index in enumerate(chosen)
        }


def require_mean(
    names: Sequence[str],
    mean: NDArray[np.float64],
    absolute: NDArray[np.float64],
    reduced: NDArray[np.float64],
    rounding: float,
    underflow: float = 0.0,
) -> None:
    """Raise if the reduced gradient is not the mean of the groups' gradients.

    Args:
        names: of each coordinate's parameter.
        mean: of the groups' gradients, [coordinates].
        absolute: mean of the groups' absolute values.
        reduced: as the gradient has it.
        rounding: relative to the mean absolute value, what rounding can do at most; infinite if not known.
        underflow: what underflow can do at most.

    Raises:
        ValueError: if a coordinate differs by more.

    >>> require_mean(["weight"], np.array([1.0]), np.array([2.0]), np.array([1.0 + 1e-7]), rounding=1e-6)
    """
    with np.errstate(invalid="ignore"):  # a step that is not finite passes: others say so
        difference, allowed = np.abs(mean - reduced), rounding * absolute + underflow
        if math.isinf(rounding):  # small coordinates may be lost altogether, but not the whole
            lost = np.linalg.norm(difference) > UNKNOWN * np.linalg.norm(absolute)
            allowed = np.full_like(mean, 0.0 if lost else math.inf)
        wrong = difference > allowed
    if not wrong.any():
        return
    wrong &= np.isfinite(difference)
    if not wrong.any():
        return
    worst = int(np.argmax(np.where(wrong, difference / np.maximum(allowed, 1e-300), 0.0)))
    finite = np.isfinite(mean) & np.isfinite(reduced)
    squares = float(mean[finite] @ mean[finite])
    factor = float(mean[finite] @ reduced[finite]) / squares if squares else math.inf
    raise ValueError(
        f"the reduced gradient is not the mean of the groups' gradients (about {factor:.4g} times; most clearly "
        f"in {names[worst]}): {ADVICE}"
    )


def require_no_larger_norm(groups: int, sum_of_squares: float, squared_norm: float, rounding: float) -> None:
    """Raise if n ||g||^2 exceeds S, which it does for no mean (Cauchy-Schwarz).

    Args:
        groups: n.
        sum_of_squares: S.
        squared_norm: ||g||^2.
        rounding: relative to S, what rounding can do; infinite if not known.

    Raises:
        ValueError: if it does.

    >>> require_no_larger_norm(2, 10.0, 5.0, 1e-6)
    """
    finite = math.isfinite(sum_of_squares) and math.isfinite(squared_norm)  # else others say so, as above
    if finite and groups * squared_norm > (1 + min(rounding, UNKNOWN)) * sum_of_squares:
        factor = math.sqrt(groups * squared_norm / sum_of_squares) if sum_of_squares else math.inf
        raise ValueError(
            f"the reduced gradient is not the mean of the groups' gradients (its norm is {factor:.4g} times the "
            f"largest possible): {ADVICE}"
        )


ADVICE = (
    "call zero_grad() before a step's first backward(), let the last backward() synchronise the ranks, and call "
    "finish() after it and before anything that changes .grad, such as clipping; with a GradScaler pass "
    "loss_scale=scaler.get_scale() to end_microbatch() and call scaler.unscale_(optimizer) before finish(); where "
    'ranks are summed and not averaged, say so (reduction="sum")'
)


def _rounds(leaves: Sequence[Leaf], avoid: frozenset[int]) -> list[list[int]]:
    """All leaves, a few of one type in each round, spread over the model."""
    by_type: dict[torch.dtype, list[int]] = {}
    for index in [index for index in range(len(leaves)) if index not in avoid] or range(len(leaves)):
        by_type.setdefault(leaves[index].gradient_dtype, []).append(index)
    rounds: list[list[int]] = []
    for alike in sorted(by_type.values(), key=len, reverse=True):
        count = -(-len(alike) // LEAVES)
        rounds += [alike[first::count] for first in range(count)]
    return rounds


def _place(leaf: Leaf, layout: DataParallel, values: Tensor, start: int) -> _Place:
    """Coordinates spread over this rank's part of a leaf, and those of them whose reduced value it tells.

    ``values`` is the round's vector, ``start`` the leaf's first place in it.
    """
    size = local(leaf.tensor).numel()
    count = min(COORDINATES, size)
    step = coprime_stride(max(size // max(count, 1), 1), size)  # all columns are met, and no position twice
    positions = np.arange(count, dtype=np.int64) * step % max(size, 1)
    owned, reduced = counted_positions(leaf, layout, positions)

    def on_device(array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(values.device)

    slots = on_device(np.arange(start, start + count, dtype=np.int64)[owned])
    return _Place(leaf, start, values[start : start + count], on_device(positions), slots, on_device(reduced))


def _real(gradient: Tensor) -> Tensor:
    """Dense and real: what take() can read."""
    whole = dense(gradient)
    return whole.real if whole.is_complex() else whole
