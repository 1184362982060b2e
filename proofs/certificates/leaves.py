r"""The second program: one settled box of states and laws, confirmed in ball arithmetic.

Problem:
    :mod:`proofs.certificates.branching` settles boxes with doubles that are rounded outwards. An error in it would
    go unseen. Here the same statement, for one box, is evaluated by other means: scalar code, in Arb's ball
    arithmetic (python-flint) at 106 bits, which needs no argument about rounding.

Algorithm:
    For z in [z1, z2], t = log s in [t1, t2] and atoms at x < 1 < y in intervals, the mean value theorem in (z, t),

        l(x)/(1-x) + l(y)/(y-1) + noise >= (the same at the centre) - r_z |d/dz| - r_t |d/dt|,

    all parts as balls; a box where that is not positive is halved.

Guarantee:
    If :func:`confirmed` is true, the inequality holds on the box.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import flint
from flint import arb

from theory.l1.theorem3 import Certificate, Kind

__all__ = ["Leaf", "confirmed"]

flint.ctx.prec = 106
MOST_PARTS = 100_000


class Leaf(NamedTuple):
    """A box of states and laws."""

    z1: float
    z2: float
    t1: float
    t2: float
    x1: float
    x2: float
    y1: float
    y2: float


def confirmed(certificate: Certificate, leaf: Leaf) -> bool:
    """Whether the inequality holds on the box, as far as :data:`MOST_PARTS` parts can tell."""
    balls = _Balls(certificate)
    stack = [(leaf, 0)]
    parts = 0
    while stack:
        part, depth = stack.pop()
        parts += 1
        if parts > MOST_PARTS:
            return False
        if not balls.margin(part) > 0:
            stack += [(half, depth + 1) for half in _halves(part, depth)]
    return True


def _halves(leaf: Leaf, depth: int) -> tuple[Leaf, Leaf]:
    """Halves in x, y, z and t by turns."""
    low, high = (("x1", "x2"), ("y1", "y2"), ("z1", "z2"), ("t1", "t2"))[depth % 4]
    middle = (getattr(leaf, low) + getattr(leaf, high)) / 2
    return leaf._replace(**{high: middle}), leaf._replace(**{low: middle})


def _hull(*balls: arb) -> arb:
    result = balls[0]
    for ball in balls[1:]:
        result = result.union(ball)
    return result


class _Step(NamedTuple):
    z: arb
    s: arb
    u: arb
    w: arb


class _Balls:
    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.b1, self.b2 = arb(certificate.beta1), arb(certificate.beta2)
        self.c = 1 - self.b2
        self.z, self.t = certificate.z_grid.tolist(), certificate.log_s_grid.tolist()
        self.values = certificate.values.tolist()
        self.slope = arb(certificate.tail_slope)
        self.root_s_max = (arb(self.t[-1]) / 2).exp()

    def margin(self, leaf: Leaf) -> arb:
        """A lower bound of the scaled margin on the box."""
        z, t = _hull(arb(leaf.z1), arb(leaf.z2)), _hull(arb(leaf.t1), arb(leaf.t2))
        z_c, t_c = arb((leaf.z1 + leaf.z2) / 2), arb((leaf.t1 + leaf.t2) / 2)
        height = self.potential(z_c, t_c) + arb(self.certificate.gain)
        centre, slope_z, slope_t = arb(0), arb(0), arb(0)
        for x1, x2 in ((leaf.x1, leaf.x2), (leaf.y1, leaf.y2)):
            distance = abs(_hull(arb(x1), arb(x2)) - 1)
            step = self.step(z_c, t_c, arb(x1), arb(x2))
            new, new_t = step.z.lower(), step.s.log()
            whole = (new + self.potential(new, new_t, step.s) - height) / distance
            if abs(distance).lower() > 0.25:
                apart = (new + self.without_tail(new, new_t) - height) / distance
                whole = arb(max(whole.lower(), (apart - self.tail_over_distance(t_c, x1, x2)).lower()))
            centre += whole
            d_z, d_t = self.slopes(leaf, z, t, arb(x1), arb(x2))
            slope_z, slope_t = slope_z + d_z / distance, slope_t + d_t / distance
        lost = abs(z - z_c).upper() * abs(slope_z).upper() + abs(t - t_c).upper() * abs(slope_t).upper()
        return centre.lower() + self.noise(leaf) - lost

    def noise(self, leaf: Leaf) -> arb:
        """The least noise term: at the nearest ratio of the distances, or at the least ones."""
        near_a, far_a, near_b, far_b = 1 - arb(leaf.x2), 1 - arb(leaf.x1), arb(leaf.y1) - 1, arb(leaf.y2) - 1
        weight = arb(self.certificate.noise_weight)
        if self.certificate.kind is Kind.VARIANCE:
            return (weight * (near_a + near_b)).lower()
        for smaller, larger in ((far_a, near_b), (far_b, near_a)):
            if smaller < larger:
                root = (smaller / larger).sqrt()
                return (weight * (root + 1 / root)).lower()
        return (2 * weight).lower()

    def step(self, z: arb, t: arb, x1: arb, x2: arb) -> _Step:
        """Ranges of z', s', u = sqrt(s/s') and w = x / sqrt(s')."""
        ends = [(x1 / (t / 2).exp()).lower(), (x2 / (t / 2).exp()).upper()]
        if ends[0] < 0 and ends[1] > 0:
            ends.insert(1, arb(0))
        roots = [(self.b2 + self.c * end**2).sqrt() for end in ends]
        u, w = _hull(*(1 / root for root in roots)), _hull(*(e / r for e, r in zip(ends, roots, strict=True)))
        new = [(self.b1 * z + (1 - self.b1) * e) / r for e, r in zip(ends, roots, strict=True)]
        if self.b1 > 0:
            # Extrema in xi are at xi = (1-b1) b2 / (c b1 z).
            for end in (z.lower(), z.upper()):
                if not end.contains(0):
                    place = (1 - self.b1) * self.b2 / (self.c * self.b1 * end)
                    inner = _hull(place, place)
                    if not (inner < ends[0] or inner > ends[-1]):
                        new.append((self.b1 * end + (1 - self.b1) * place) / (self.b2 + self.c * place**2).sqrt())
        x = _hull(x1, x2)
        square = _hull(x1**2, x2**2, *([arb(0)] if x.contains(0) else []))
        return _Step(_hull(*new), self.b2 * t.exp() + self.c * square, u, w)

    def slopes(self, leaf: Leaf, z: arb, t: arb, x1: arb, x2: arb) -> tuple[arb, arb]:
        """d/dz and d/dt of z' + h(z', s') - h(z, s), for z and t in the leaf."""
        step = self.step(z, t, x1, x2)
        c, b1, b2 = self.c, self.b1, self.b2
        new_z, new_t = self.gradient(step.z, step.s.log())
        own_z, own_t = self.own_gradient(leaf, z, t)
        d_z = (1 + new_z) * b1 * step.u - own_z
        turn = -step.u * ((1 - b1) * b2 * step.w * step.u - c * b1 * z * step.w**2) / 2
        d_t = (1 + new_z) * turn + new_t * b2 * step.u**2 - own_t
        root = (t / 2).exp()
        own_tail, new_tail = leaf.t1 >= self.t[-1], step.s.log() > self.t[-1]
        if own_tail and new_tail:
            return d_z, d_t + self.slope * root * (1 - b2 * step.u) / 2
        if own_tail:
            d_t += self.slope * root / 2
        if not step.s.log() < self.t[-1]:
            whole = self.slope * step.s.sqrt() * b2 * step.u**2 / 2
            d_t -= whole if new_tail else _hull(arb(0), whole)
        return d_z, d_t

    def tail_over_distance(self, t: arb, x1: float, x2: float) -> arb:
        """At most C max(sqrt(s') - sqrt(s_max), 0) / distance: s' / distance^2 is convex in 1 / distance."""
        start, distances = self.b2 * t.exp(), [abs(arb(x) - 1) for x in (x1, x2)]
        roots = [(start + self.c * arb(x) ** 2).sqrt() / d for x, d in zip((x1, x2), distances, strict=True)]
        most = roots[0].max(roots[1]).upper() - (self.root_s_max / distances[0].max(distances[1])).lower()
        return self.slope * most.max(arb(0))

    def without_tail(self, z: arb, t: arb) -> arb:
        """h on a ball of (z, t), without the tail's root above s_max."""
        return _hull(*(self._bilinear(i, j, z_part, t_part) for i, z_part, j, t_part in self._parts(z, t)))

    def potential(self, z: arb, t: arb, s: arb | None = None) -> arb:
        """h on a ball of (z, t)."""
        root = (t / 2).exp() if s is None else s.sqrt()
        tail = self.slope * (root - self.root_s_max)
        if t < self.t[-1]:
            tail = arb(0)
        elif not t > self.t[-1]:
            tail = _hull(arb(0), tail.upper().max(arb(0)))
        return self.without_tail(z, t) - tail

    def gradient(self, z: arb, t: arb) -> tuple[arb, arb]:
        """h_z and h_t without the tail's, on a ball of (z, t)."""
        parts = [self._cell_gradient(*part) for part in self._parts(z, t)]
        in_z, in_t = ([part[k] for part in parts] for k in (0, 1))
        if not (t > self.t[0] and t < self.t[-1]):
            in_t.append(arb(0))
        if not (z > self.z[0] and z < self.z[-1]):
            in_z.append(arb(0))
        outside = t < self.t[0] or t > self.t[-1]
        return _hull(*in_z), arb(0) if outside else _hull(*in_t)

    def own_gradient(self, leaf: Leaf, z: arb, t: arb) -> tuple[arb, arb]:
        """The same where the leaf's states lie, in one cell of the grid: its neighbours' slopes play no part."""
        i, j = (
            _cell(grid, low, high) for grid, low, high in ((self.z, leaf.z1, leaf.z2), (self.t, leaf.t1, leaf.t2))
        )
        beyond_z = not self.z[i] <= leaf.z1 <= leaf.z2 <= self.z[i + 1]
        beyond_t = not self.t[j] <= leaf.t1 <= leaf.t2 <= self.t[j + 1]
        if beyond_z or beyond_t:  # where the potential is constant, or the box is not one of a cell
            return self.gradient(z, t)
        return self._cell_gradient(i, z, j, t)

    def _cell_gradient(self, i: int, z: arb, j: int, t: arb) -> tuple[arb, arb]:
        width, height = arb(self.z[i + 1]) - self.z[i], arb(self.t[j + 1]) - self.t[j]
        (v00, v01), (v10, v11) = ([arb(self.values[k][m]) for m in (j, j + 1)] for k in (i, i + 1))
        across, along = (z - self.z[i]) / width, (t - self.t[j]) / height
        in_z = ((v10 - v00) + (v11 - v01 - v10 + v00) * along) / width
        return in_z, ((v01 - v00) + (v11 - v10 - v01 + v00) * across) / height

    def _bilinear(self, i: int, j: int, z: arb, t: arb) -> arb:
        across = (z - self.z[i]) / (arb(self.z[i + 1]) - self.z[i])
        along = (t - self.t[j]) / (arb(self.t[j + 1]) - self.t[j])
        rows = [
            arb(self.values[k][j]) + (arb(self.values[k][j + 1]) - arb(self.values[k][j])) * along
            for k in (i, i + 1)
        ]
        return rows[0] + (rows[1] - rows[0]) * across

    def _parts(self, z: arb, t: arb) -> list[tuple[int, arb, int, arb]]:
        """The cells that a ball meets, and its part in each (clipped to the grid)."""
        return [(i, z_part, j, t_part) for i, z_part in _cells(self.z, z) for j, t_part in _cells(self.t, t)]


def _cell(grid: list[float], low: float, high: float) -> int:
    """The cell that holds the middle."""
    return min(max(bisect_right(grid, (low + high) / 2) - 1, 0), len(grid) - 2)


def _cells(grid: list[float], ball: arb) -> list[tuple[int, arb]]:
    low, high = ball.lower(), ball.upper()
    low, high = (end.max(arb(grid[0])).min(arb(grid[-1])) for end in (low, high))
    first, last = (
        min(max(bisect_right(grid, float(end) + shift) - 1, 0), len(grid) - 2)
        for end, shift in ((low, -1e-12), (high, 1e-12))
    )
    return [
        (k, _hull(low.max(arb(grid[k])).min(arb(grid[k + 1])), high.min(arb(grid[k + 1])).max(arb(grid[k]))))
        for k in range(first, last + 1)
    ]
