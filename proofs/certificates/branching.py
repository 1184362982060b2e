r"""Branch and bound: the certificate inequality for all two-point laws at all states of given boxes.

Algorithm:
    For each box the atoms below 1 are covered by a list of cells, and so are those above 1. A pair of cells is
    settled where the sum of its minorants (:mod:`proofs.certificates.atoms`) is positive,

        value_a + value_b + noise - r_z |slope_z,a + slope_z,b| - r_t |slope_t,a + slope_t,b| > 0,

    r the radii of the box. Pairs that are not become items of their own, in four dimensions, and are halved where
    the loss is largest, until all are settled. Where one state and one law have a negative margin the search ends.

Guarantee:
    All laws at all states of a box that is settled obey the inequality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proofs.certificates.atoms import INNER_SHARE, SUMMED, Atoms, Boxes, Inequality, Minorant, State
from proofs.certificates.check import margin
from proofs.certificates.intervals import Array, down, up
from proofs.certificates.leaves import Leaf
from theory.l1.theorem3 import Certificate, Kind

__all__ = ["Outcome", "RefusedError", "UnsettledError", "ViolationError", "settle"]

CLOSEST = 1e-4
"""Distance from 1 of the first cells' ends; the cells next to 1 are closed by the margin without noise."""
FARTHEST = 1e7
"""Where the last cells begin, which have no end."""
RATIO = 1.5
"""Of the distances at a cell's ends, in the lists."""
TOGETHER = 32
"""Boxes whose lists are evaluated together."""
ITEMS = 4096
"""Items that are evaluated together: their arrays stay in the cache."""
MOST_OPEN = 400
"""Boxes with more open pairs are halved themselves, if it is their size that keeps the pairs open."""
BUDGET = 100_000_000
"""Items after which a task is given up."""
NARROWEST = 1e-9
"""Relative width of a cell of atoms that is not halved."""
VIOLATED = -1e-9
"""A sum below it, in plain doubles, is a violation."""

Pair = tuple[Array, Array]


class RefusedError(ValueError):
    """The inequality is not verified."""


class ViolationError(RefusedError):
    """A state and a law with a negative margin."""


class UnsettledError(RefusedError):
    """The budget is used up."""


class Items(NamedTuple):
    """Boxes of states and laws: one cell of atoms on each side of 1 for each box."""

    boxes: Boxes
    lower: Atoms
    upper: Atoms

    def take(self, index: Any) -> Items:
        """Some of them."""
        return Items(self.boxes.take(index), self.lower.take(index), self.upper.take(index))

    @classmethod
    def joined(cls, parts: list[Items]) -> Items:
        """All of several."""

        def join(k: int) -> list[Array]:
            return [np.concatenate(ends) for ends in zip(*(part[k] for part in parts), strict=True)]

        return cls(Boxes(*join(0)), Atoms(*join(1)), Atoms(*join(2)))


@dataclass
class Outcome:
    """What it took.

    Attributes:
        boxes: boxes of states, halved ones not counted.
        pairs: evaluated items, beyond the pairs of the lists.
        lists: how often the lists were evaluated, for up to :data:`TOGETHER` boxes.
        leaves: some settled items, for a check with other arithmetic.
        keep: how many leaves to keep.
        generator: of the choice.
    """

    boxes: int = 0
    pairs: int = 0
    lists: int = 0
    leaves: list[Leaf] = field(default_factory=list)
    keep: int = 0
    generator: np.random.Generator = field(default_factory=np.random.default_rng)

    def offer(self, items: Items) -> None:
        """Keep a random one of settled items, of those with ends, while fewer than ``keep`` are kept."""
        boxes, lower, upper = items
        if len(self.leaves) >= self.keep:
            return
        usable = (lower.a1 > 0) & (upper.a1 > 0) & np.isfinite(lower.a2) & np.isfinite(upper.a2)
        chosen = np.flatnonzero(usable & np.isfinite(boxes.t1))
        if len(chosen):
            k = self.generator.choice(chosen)
            ends = (*boxes, lower.x1, lower.x2, upper.x1, upper.x2)
            self.leaves.append(Leaf(*(float(end[k]) for end in ends)))


def settle(inequality: Inequality, boxes: Boxes, keep: int = 0, seed: int = 0, budget: int = BUDGET) -> Outcome:
    """Settle all boxes.

    Args:
        inequality: of a certificate.
        boxes: of states.
        keep: how many settled leaves to hand back.
        seed: of their choice.
        budget: of items; evaluating the lists once counts as 6,400.

    Raises:
        ViolationError: if a margin is negative somewhere.
        UnsettledError: if the budget is used up.
    """
    outcome = Outcome(keep=keep, generator=np.random.default_rng(seed))
    stack = [boxes.take(slice(k, k + TOGETHER)) for k in range(0, len(boxes.z1), TOGETHER)]
    while stack:
        boxes = stack.pop()
        outcome.lists += 1
        _require_budget(outcome, budget, boxes)
        halves, items = _evaluate_lists(inequality, boxes, outcome)
        _refine(inequality, items, outcome, budget)
        if halves is not None:
            stack += [halves.take(slice(k, k + TOGETHER)) for k in range(0, len(halves.z1), TOGETHER)]
    return outcome


def _require_budget(outcome: Outcome, budget: int, boxes: Boxes) -> None:
    if outcome.pairs + 200 * TOGETHER * outcome.lists > budget:
        box = ", ".join(f"{name} = {float(end[0]):.6g}" for name, end in zip(boxes._fields, boxes, strict=True))
        raise UnsettledError(
            f"not settled after {outcome.pairs} items: {box}; take a larger lambda or a smaller J"
        )


# ----------------------------------------------------------------------------------------------------
# Lists of cells that cover all atoms.


def _lower_cells(s: Array) -> Atoms:
    """Atoms below 1, [n, cells]: geometric in the distance next to 1, and in |x| around 0 and far away."""
    n = len(s)
    root = np.minimum(0.25 * np.sqrt(s), 0.4)
    span = np.log(0.5 / root.min())
    inner = _geometric(np.full(n, 0.5), root, int(np.clip(np.ceil(span / np.log(RATIO)), 1, 40)))
    steps = int(np.ceil(np.log(FARTHEST / root.min()) / (1.5 * np.log(RATIO)))) + 1
    outer = -_geometric(root, np.full(n, FARTHEST), steps)
    near = CLOSEST * RATIO ** np.arange(np.floor(np.log(0.5 / CLOSEST) / np.log(RATIO)))
    near = np.broadcast_to(np.append(0.0, near), (n, len(near) + 1))
    atoms = np.concatenate([inner, np.zeros((n, 1)), outer], axis=1)
    # Next to 1 the ends are exact distances, elsewhere exact atoms.
    distances = [np.concatenate([near, bound(1 - atoms)], axis=1) for bound in (down, up)]
    x = [np.concatenate([bound(1 - near), atoms], axis=1) for bound in (down, up)]
    without_end = np.full((n, 1), np.inf)
    return Atoms(
        np.concatenate([x[0][:, 1:], 2 * x[0][:, -1:]], axis=1),
        x[1],
        distances[0],
        np.concatenate([distances[1][:, 1:], without_end], axis=1),
    )


def _geometric(start: Array, end: Array, steps: int) -> Array:
    return start[:, None] * (end / start)[:, None] ** (np.arange(steps + 1) / steps)


def _upper_cells(n: int) -> Atoms:
    """Atoms above 1, [n, cells]: geometric in the distance."""
    steps = int(np.ceil(np.log(FARTHEST / CLOSEST) / np.log(RATIO)))
    distances = np.append(0.0, _geometric(np.array([CLOSEST]), np.array([FARTHEST]), steps)[0])
    high = up(1 + distances)
    ends = down(1 + distances), np.append(high[1:], 2 * high[-1]), distances, np.append(distances[1:], np.inf)
    return Atoms(*(np.broadcast_to(end, (n, len(distances))) for end in ends))


# ----------------------------------------------------------------------------------------------------
# Bounds of pairs.


def _noise(inequality: Inequality, lower: Atoms, upper: Atoms) -> Array:
    """A lower bound of the noise term over pairs of cells (broadcast)."""
    noise: Array
    if inequality.certificate.kind is Kind.VARIANCE:
        noise = lower.a1 + upper.a1
    else:
        # r + 1/r at the square root r >= 1 of the smallest ratio: it grows with r.
        root = np.maximum(np.sqrt(upper.a1) / np.sqrt(lower.a2), np.sqrt(lower.a1) / np.sqrt(upper.a2))
        root = np.maximum(root, 1.0)
        noise = root + 1 / root
    return noise * (inequality.certificate.noise_weight * (1 - SUMMED))


def _bound(a: Minorant, b: Minorant, noise: Array, radius_z: Array, radius_t: Array) -> Array:
    """See the module. The minorants have paid for the rounding of this sum."""
    result = a.value + b.value
    result += noise
    result -= radius_z * np.abs(a.slope_z + b.slope_z)
    result -= radius_t * np.abs(a.slope_t + b.slope_t)
    return result


def _state_losses(a: Minorant, b: Minorant, radius_z: Array, radius_t: Array) -> Pair:
    """What the size of the box in z and in t costs a pair."""
    in_z = radius_z * np.abs(a.slope_z + b.slope_z) + a.rest_z + b.rest_z
    return in_z, radius_t * np.abs(a.slope_t + b.slope_t) + a.rest_t + b.rest_t


def _evaluate_lists(inequality: Inequality, boxes: Boxes, outcome: Outcome) -> tuple[Boxes | None, Items]:
    """All pairs of the lists: the halves of boxes that are too large, and the open pairs of the others."""
    state = inequality.states(boxes)
    n = len(boxes.z1)
    lists = _lower_cells(state.s.high), _upper_cells(n)
    forms = [_minorants_of_list(inequality, state, atoms) for atoms in lists]
    open_items: list[Items] = []
    halved: list[Boxes] = []
    for k in range(n):  # one box at a time: its pairs stay in the cache
        lower, upper = lists[0].take((k, slice(None), None)), lists[1].take((k, None, slice(None)))
        a, b = forms[0].take((k, slice(None), None)), forms[1].take((k, None, slice(None)))
        radii = state.radius_z[k], state.radius_t[k]
        sums = _bound(a, b, _noise(inequality, lower, upper), *radii)
        i, j = np.nonzero(~(sums > 0))
        if len(i) > MOST_OPEN:
            losses = _state_losses(forms[0].take((k, i)), forms[1].take((k, j)), *radii)
            in_z, in_t = (float(loss.mean()) for loss in losses)
            lacking = -sums[i, j]
            if in_z + in_t > 0.3 * lacking[np.isfinite(lacking)].mean():
                halved.append(_halves(boxes.take(slice(k, k + 1)), np.array([in_z >= in_t])))
                continue
        outcome.boxes += 1
        open_items.append(Items(boxes.take(np.full(len(i), k)), lists[0].take((k, i)), lists[1].take((k, j))))
        if k == 0 and outcome.keep:
            i, j = np.nonzero(sums > 0)
            outcome.offer(Items(boxes.take(np.full(len(i), k)), lists[0].take((k, i)), lists[1].take((k, j))))
    halves = Boxes(*(np.concatenate(ends) for ends in zip(*halved, strict=True))) if halved else None
    nothing = Items(boxes.take(slice(0)), *(Atoms(*(end[0, :0] for end in atoms)) for atoms in lists))
    return halves, Items.joined([nothing, *open_items])


def _minorants_of_list(inequality: Inequality, state: State, atoms: Atoms) -> Minorant:
    """Minorants [n, cells]."""
    n, cells = atoms.x1.shape
    repeated = state.take(np.repeat(np.arange(n), cells))
    flat = Atoms(*(np.ascontiguousarray(end).ravel() for end in atoms))
    return Minorant(*(part.reshape(n, cells) for part in inequality.minorants(repeated, flat)))


def _refine(inequality: Inequality, items: Items, outcome: Outcome, budget: int) -> None:
    """Halve items until all are settled."""
    stack = [items]
    while stack:
        items = stack.pop()
        count = len(items.boxes.z1)
        if count > ITEMS:
            stack += [items.take(slice(ITEMS, None)), items.take(slice(0, ITEMS))]
            continue
        if not count:
            continue
        outcome.pairs += count
        _require_budget(outcome, budget, items.boxes)
        state = inequality.states(items.boxes)
        a, b = inequality.minorants(state, items.lower), inequality.minorants(state, items.upper)
        noise = _noise(inequality, items.lower, items.upper)
        settled = _bound(a, b, noise, state.radius_z, state.radius_t) > 0
        outcome.offer(items.take(settled))
        left = np.flatnonzero(~settled)
        if len(left):
            forms = state.take(left), a.take(left), b.take(left), noise[left]
            stack.append(_split(inequality, items.take(left), *forms))


# ----------------------------------------------------------------------------------------------------
# Halving.


class _Middle(NamedTuple):
    """Where to halve cells; ``by_distance``: the distance is exact, else the atom."""

    distance: Array
    atom: Array
    by_distance: NDArray[np.bool_]

    def take(self, index: Any) -> _Middle:
        """Some of them."""
        return _Middle(self.distance[index], self.atom[index], self.by_distance[index])


def _split(inequality: Inequality, items: Items, state: State, a: Minorant, b: Minorant, noise: Array) -> Items:
    """Two halves of each item, along the dimension of the largest loss."""
    certificate = inequality.certificate
    middles = [_middle(atoms, above, state.s.high) for atoms, above in ((items.lower, False), (items.upper, True))]
    values, true_noise = _values_at_middles(certificate, state, *middles)
    shared = np.maximum(true_noise - noise, 0) / 2
    losses = []
    for atoms, value, minorant in zip(items[1:], values, (a, b), strict=True):
        narrowest = NARROWEST * np.maximum(np.abs(atoms.x1), np.abs(atoms.x2))
        losses.append(np.where(atoms.x2 - atoms.x1 > narrowest, value - minorant.at_centre + shared, -np.inf))
    losses += _state_losses(a, b, state.radius_z, state.radius_t)
    # In the lowest row s has no middle: what halving the atoms' cell does not gain, a lower s may.
    lower = items.lower
    lowest = np.isinf(items.boxes.t1) & (lower.x2 - lower.x1 < 0.05 * np.abs(lower.x1))
    losses[3] = np.where(lowest, losses[0], losses[3])
    losses[0] = np.where(lowest, -np.inf, losses[0])
    choice = np.argmax(np.nan_to_num(np.stack(losses), posinf=1e300, neginf=-1e300), axis=0)
    pieces = []
    for dimension in range(4):
        chosen = np.flatnonzero(choice == dimension)
        part = items.take(chosen)
        if dimension == 0:
            halves = _halve_atoms(part.lower, middles[0].take(chosen), above=False)
            pieces += [part._replace(lower=half) for half in halves]
        elif dimension == 1:
            halves = _halve_atoms(part.upper, middles[1].take(chosen), above=True)
            pieces += [part._replace(upper=half) for half in halves]
        else:
            both, count = _halves(part.boxes, np.full(len(chosen), dimension == 2)), len(chosen)
            pieces += [part._replace(boxes=both.take(slice(0, count)))]
            pieces += [part._replace(boxes=both.take(slice(count, None)))]
    return Items.joined(pieces)


def _halves(boxes: Boxes, in_z: NDArray[np.bool_]) -> Boxes:
    """First all first halves, then all second ones; the lowest row is cut two units of log s below its end."""
    z = (boxes.z1 + boxes.z2) / 2
    t = np.where(np.isinf(boxes.t1), boxes.t2 - 2, (boxes.t1 + boxes.t2) / 2)
    first = Boxes(boxes.z1, np.where(in_z, z, boxes.z2), boxes.t1, np.where(in_z, boxes.t2, t))
    second = Boxes(np.where(in_z, z, boxes.z1), boxes.z2, np.where(in_z, boxes.t1, t), boxes.t2)
    return Boxes(*(np.concatenate(ends) for ends in zip(first, second, strict=True)))


def _middle(atoms: Atoms, above: bool, s: Array) -> _Middle:
    """In the middle of log distance or of asinh(x / sqrt(s)), in whichever the cell is longer."""
    a1, a2, root = atoms.a1, atoms.a2, np.sqrt(s)
    open_ended = (a1 == 0) | np.isinf(a2)
    ends = np.arcsinh(atoms.x1 / root), np.arcsinh(atoms.x2 / root)
    width = np.log(np.where(open_ended, 1.0, a2) / np.where(open_ended, 1.0, a1))
    by_distance = open_ended | (width > ends[1] - ends[0])
    inner = np.sqrt(np.where(open_ended, 1.0, a1) * np.where(open_ended, 1.0, a2))
    distance = np.where(a1 == 0, a2 * INNER_SHARE, np.where(np.isinf(a2), 8 * a1, inner))
    sign = 1.0 if above else -1.0
    atom = np.where(by_distance, 1 + sign * distance, root * np.sinh((ends[0] + ends[1]) / 2))
    return _Middle(np.where(by_distance, distance, sign * (atom - 1)), atom, by_distance)


def _halve_atoms(atoms: Atoms, middle: _Middle, above: bool) -> tuple[Atoms, Atoms]:
    """The half nearer to 1, and the other; the end that is not exact is moved outwards."""
    distance, atom, by_distance = middle
    near, far = (np.where(by_distance, distance, bound(distance)) for bound in (down, up))
    low, high = (np.where(by_distance, bound(atom), atom) for bound in (down, up))
    if above:
        return Atoms(atoms.x1, high, atoms.a1, far), Atoms(low, atoms.x2, near, atoms.a2)
    return Atoms(low, atoms.x2, atoms.a1, far), Atoms(atoms.x1, high, near, atoms.a2)


# ----------------------------------------------------------------------------------------------------
# Plain doubles: where to halve, and whether there is a violation.


def _values_at_middles(
    certificate: Certificate, state: State, lower: _Middle, upper: _Middle
) -> tuple[Pair, Array]:
    """The atoms' parts and the noise term at one state and law of each item.

    Raises:
        ViolationError: if a sum is negative.
    """
    x, y = lower.distance, upper.distance
    ratio = x / y
    variance = certificate.kind is Kind.VARIANCE
    noise = certificate.noise_weight * (x + y if variance else np.sqrt(ratio) + np.sqrt(1 / ratio))
    least = np.full(len(x), np.inf), np.full(len(y), np.inf)
    for s in _states_to_try(certificate, state, lower.atom):
        present = certificate.potential(state.centre_z, s) + certificate.gain
        a, b = ((certificate.step_value(state.centre_z, s, m.atom) - present) / m.distance for m in (lower, upper))
        worst = int(np.argmin(a + b + noise))
        if a[worst] + b[worst] + noise[worst] < VIOLATED:
            z, s_there, low, high = (float(v[worst]) for v in (state.centre_z, s, lower.atom, upper.atom))
            value = float(margin(certificate, z, s_there, low, high))
            place = f"z = {z:.6g}, s = {s_there:.6g}, X in {{{low:.6g}, {high:.6g}}}"
            raise ViolationError(f"the inequality is violated: margin {value:.3g} at {place}")
        least = np.minimum(least[0], a), np.minimum(least[1], b)
    return least, noise


def _states_to_try(certificate: Certificate, state: State, x: Array) -> list[Array]:
    """The centre's s; in the lowest row several, the one with the least z' among them."""
    inner = state.centre_s.low > 0
    if inner.all():
        return [state.centre_s.low]
    most, b1, b2 = state.s.high, certificate.beta1, certificate.beta2
    # z' is least at x / sqrt(s) = (1-b1) b2 / (c b1 z).
    place = ((1 - b2) * b1 * state.centre_z / ((1 - b1) * b2)) ** 2
    tried = [most, *(np.minimum(most, x**2 * factor) for factor in (10.0, 1.0, place, 1e-6)), 1e-20 * most]
    return [np.maximum(np.where(inner, state.centre_s.low, s), 1e-290) for s in tried]
