r"""Lower bounds of one atom's part of the certificate inequality over boxes of states.

Problem:
    For a law with atoms 1 - a and 1 + b, (a + b) / (a b) times the margin is

        l(1-a) / a + l(1+b) / b + noise(a, b),     l(x) = z' + h(z', s') - h(z, s) - J,

    noise = lambda (sqrt(a/b) + sqrt(b/a)) or, for the variance, lambda (a + b). Each atom's part depends on the
    state and on its own distance from 1 only.

Algorithm:
    With u = sqrt(s/s'), w = x / sqrt(s'), so that b2 u^2 + c w^2 = 1 and z' = b1 z u + (1-b1) w: along
    xi = x / sqrt(s) it is a sine, with ends at the ends of xi and one inner extremum. z + h grows with z (checked
    first), so that the least z' and the range of s' bound z' + h(z', s') from below. That is done at the centre of
    a box of states; over the box the mean value theorem gives, with t = log s, a **minorant**

        l / distance >= value + slope_z (z - z_c) + slope_t (t - t_c),

    value lowered by the slopes' uncertainty. The slopes are kept: those of a law's two atoms cancel where the law
    is the worst one of its state, and the error is of second order in the box.

Guarantee:
    With outward rounding, for all states of the box and all atoms of the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proofs.certificates.enclosures import PotentialEnclosure
from proofs.certificates.intervals import Array, Enclosure, down, up
from theory.l1.theorem3 import Certificate

__all__ = ["INNER_SHARE", "SUMMED", "Atoms", "Boxes", "Inequality", "Minorant", "State"]

SUMMED = 1e-14
"""Share of every term by which sums of a few terms may differ from their rounded value (90 units; 20 would do)."""


INNER_SHARE = 0.125
"""A cell next to 1 is divided at this share of its end."""


class Boxes(NamedTuple):
    """Boxes of states, each in one cell of the potential's grid, shape [n].

    Attributes:
        z1: lowest z.
        z2: highest z.
        t1: lowest log s; minus infinity stands for all s in (0, exp(t2)].
        t2: highest log s.
    """

    z1: Array
    z2: Array
    t1: Array
    t2: Array

    def take(self, index: Any) -> Boxes:
        """Some of them."""
        return Boxes(*(end[index] for end in self))


class Atoms(NamedTuple):
    """Cells of atoms: x in [x1, x2] at distances from 1 in [a1, a2], shape [n] or [n, cells].

    Both are kept, since next to 1 the distance is exact, and next to 0 the atom. a1 = 0 and a2 = inf are allowed;
    of a cell without end x1 and x2 are not used.
    """

    x1: Array
    x2: Array
    a1: Array
    a2: Array

    def take(self, index: Any) -> Atoms:
        """Some of them."""
        return Atoms(*(end[index] for end in self))


class Minorant(NamedTuple):
    """See the module.

    Attributes:
        value: at the centre of the box, lowered by the rests (but next to 1, where it is for the whole box).
        slope_z: per unit of z.
        slope_t: per unit of log s.
        rest_z: what the uncertainty of slope_z costs.
        rest_t: what that of slope_t costs.
        at_centre: the value at the centre of the box, over the cell.
    """

    value: Array
    slope_z: Array
    slope_t: Array
    rest_z: Array
    rest_t: Array
    at_centre: Array

    def take(self, index: Any) -> Minorant:
        """Some of them."""
        return Minorant(*(part[index] for part in self))


class State(NamedTuple):
    """What depends on the box only."""

    z: Enclosure
    t: Enclosure
    s: Enclosure
    centre_z: Array
    centre_t: Array
    centre_s: Enclosure
    radius_z: Array
    radius_t: Array
    height: Array
    slope_z: Enclosure
    slope_t: Enclosure
    tail: Array
    in_tail: NDArray[np.bool_]

    def take(self, index: Any) -> State:
        """Some of them."""

        def part(x: Any) -> Any:
            return Enclosure(x.low[index], x.high[index]) if isinstance(x, Enclosure) else x[index]

        return State(*(part(x) for x in self))


@dataclass(frozen=True)
class _Step:
    z: Enclosure
    t: Enclosure
    s: Enclosure
    u: Enclosure
    w: Enclosure


class Inequality:
    """The inequality of a certificate with its own lambda and J."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.potential = PotentialEnclosure(certificate)
        one = Enclosure.of(1.0)
        self.b1, self.b2 = Enclosure.of(certificate.beta1), Enclosure.of(certificate.beta2)
        self.c, self.b1c = one - self.b2, one - self.b1
        # C_m^2 = ((1 - b1)^2 / c) / (1 - b1^2 / b2) bounds |z'| wherever it bounds |z|.
        self.reach = float((self.b1c.square() / self.c / (one - self.b1.square() / self.b2)).sqrt().high)
        self.widest = float((one / self.b2.sqrt()).high)
        slopes = self.potential.z_slopes
        if float(slopes.min()) < -1 + 1e-9:
            raise ValueError(f"z + h decreases in z: slope of h {slopes.min():.6g} at a node, below -1")
        self.floor = float(certificate.values.min()) - self.potential.error

    def states(self, boxes: Boxes) -> State:
        """Centres, ranges and slopes of boxes."""
        bottom = np.isinf(boxes.t1)
        t1 = np.where(bottom, boxes.t2, boxes.t1)
        centre_z, centre_t = (boxes.z1 + boxes.z2) / 2, (t1 + boxes.t2) / 2
        s = Enclosure(np.where(bottom, 0.0, Enclosure.of(t1).exp().low), Enclosure.of(boxes.t2).exp().high)
        centre = Enclosure.of(centre_t).exp()
        centre_s = Enclosure(np.where(bottom, 0.0, centre.low), np.where(bottom, s.high, centre.high))
        radius_z = up(np.maximum(up(boxes.z2 - centre_z), up(centre_z - boxes.z1)))
        radius_t = np.where(bottom, 0.0, np.maximum(up(boxes.t2 - centre_t), up(centre_t - t1)))
        z, t = Enclosure(boxes.z1, boxes.z2), Enclosure(t1, boxes.t2)
        slope_z, slope_t = self.potential.own_slopes(z, t)
        zero = np.zeros_like(centre_t)
        slope_t = Enclosure(np.where(bottom, zero, slope_t.low), np.where(bottom, zero, slope_t.high))
        tail = self.potential.tail(centre_s)
        height = self.potential.points(centre_z, centre_t) + self.potential.error
        in_tail = s.low >= self.potential.s_max.high
        in_tail |= boxes.t1 >= self.certificate.log_s_grid[-1]
        return State(
            z, t, s, centre_z, centre_t, centre_s, radius_z, radius_t, height, slope_z, slope_t, tail.low, in_tail
        )

    def _step(self, z: Enclosure, s: Enclosure, x1: Array, x2: Array) -> _Step:
        """The ranges of z', t' = log s', s', u and w."""
        lowest = np.where(x1 >= 0, s.high, s.low)  # of xi = x / sqrt(s): at (x1, lowest), (x2, highest)
        highest = np.where(x2 > 0, s.low, s.high)
        at_low, at_high = Enclosure.of(x1).square(), Enclosure.of(x2).square()
        c, b2 = self.c, self.b2
        u, w, ends_low, ends_high = [], [], [], []
        for x, square, end in ((x1, at_low, lowest), (x2, at_high, highest)):
            root = (b2.scale_nonnegative(Enclosure.of(end)) + c.scale_nonnegative(square)).sqrt()
            u.append(Enclosure.of(end).sqrt() / root)
            w.append(Enclosure.of(x) / root)
            moved = self.b1c * w[-1]
            ends_low.append((self.b1 * (Enclosure.of(z.low) * u[-1]) + moved).low)
            ends_high.append((self.b1 * (Enclosure.of(z.high) * u[-1]) + moved).high)
        new_z = Enclosure(np.minimum(*ends_low), np.maximum(*ends_high))
        u_range, w_range = u[0].hull(u[1]), Enclosure(w[0].low, w[1].high)
        across = (x1 < 0) & (x2 > 0)
        u_range = Enclosure(u_range.low, np.where(across, self.widest, u_range.high))
        new_z = self._inner_extrema(z, new_z, w_range)
        small = np.where(across, 0.0, np.minimum(at_low.low, at_high.low))
        squares = Enclosure(small, np.maximum(at_low.high, at_high.high))
        new_s = b2.scale_nonnegative(s) + c.scale_nonnegative(squares)
        return _Step(new_z, new_s.log(), new_s, u_range, w_range)

    def _inner_extrema(self, z: Enclosure, new_z: Enclosure, w: Enclosure) -> Enclosure:
        """Where the sine's extremum lies in the range: its amplitude, sqrt(b1^2 z^2 / b2 + (1-b1)^2 / c)."""
        low, high = new_z
        if self.certificate.beta1 > 0:
            steady = self.b1c.square() / self.c
            for end, sign in ((z.low, -1.0), (z.high, 1.0)):
                amplitude = (self.b1.square() / self.b2 * Enclosure.of(end).square() + steady).sqrt()
                # It is at w = sign (1-b1) / (c amplitude), if b1 z u points there too.
                place = sign * float(self.b1c.high) / (float(self.c.low) * amplitude.low)
                inside = (sign * end > 0) & (place > w.low - 1e-9 * (1 + w.largest()))
                inside &= place < w.high + 1e-9 * (1 + w.largest())
                if sign < 0:
                    low = np.where(inside, -amplitude.high, low)
                else:
                    high = np.where(inside, amplitude.high, high)
        return Enclosure(np.maximum(low, -self.reach), np.minimum(high, self.reach))

    def minorants(self, state: State, atoms: Atoms) -> Minorant:
        """For n boxes and one cell each."""
        height, gain = state.height, self.certificate.gain
        centre_z = Enclosure.of(state.centre_z)
        step = self._step(centre_z, state.centre_s, atoms.x1, atoms.x2)
        least = step.z.low + self.potential.least_on_line(step.z.low, step.t)
        new_tail = self.potential.tail(step.s).high
        terms = np.abs(least) + np.abs(height) + gain + state.tail
        value = least - height - gain + state.tail - SUMMED * terms
        slope_z, slope_t = self._slopes(state, atoms)
        return self._divided(state, atoms, (value, new_tail), slope_z, slope_t)

    def _tail_over_distance(self, state: State, atoms: Atoms) -> Array:
        """An upper bound of C tail(s') / distance at the centre (infinite for distances below 1/4).

        s' / distance^2 = b2 s r^2 + c (1 +- r)^2 with r = 1 / distance is convex in r: the ends decide.
        """
        start = self.b2.scale_nonnegative(state.centre_s)
        most = np.zeros_like(atoms.x1)
        for x in (atoms.x1, atoms.x2):
            point = Enclosure.of(x)
            distance = np.maximum((point - Enclosure.of(1.0)).smallest(), 0.25)
            root = (start + self.c.scale_nonnegative(point.square())).sqrt().high
            most = np.maximum(most, up(root / distance))
        least = down(self.potential.root_s_max.low / np.where(np.isinf(atoms.a2), 1.0, atoms.a2))
        result = up(np.maximum(up(most - least), 0.0) * self.certificate.tail_slope)
        return np.where(atoms.a1 >= 0.25 * (1 + SUMMED), result, np.inf)

    def _slopes(self, state: State, atoms: Atoms) -> tuple[Enclosure, Enclosure]:
        """The derivatives of l in z and t over the box and the cell."""
        step = self._step(state.z, state.s, atoms.x1, atoms.x2)
        b1, b2, c, b1c = self.b1, self.b2, self.c, self.b1c
        k_z = self.potential.z_slope(step.z, step.t) + Enclosure.of(1.0)
        k_z = Enclosure(np.maximum(k_z.low, 0.0), k_z.high)
        slope_z = k_z.scale_nonnegative(b1.scale_nonnegative(step.u)) - state.slope_z
        # dz'/dt = -(1/2) u ((1-b1) b2 w u - b1 c z w^2)
        turning = b1c * b2 * step.w * step.u - b1 * c * state.z * step.w.square()
        turning = Enclosure.of(-0.5) * step.u * turning
        share = b2.scale_nonnegative(step.u.square())  # dt'/dt
        slope_t = k_z * turning + self.potential.t_slope(step.z, step.t) * share - state.slope_t
        return slope_z, slope_t + self._tail_slope(state, step, share)

    def _tail_slope(self, state: State, step: _Step, share: Enclosure) -> Enclosure:
        """The derivative in t of C (tail(s) - tail(s'))."""
        half = 0.5 * self.certificate.tail_slope
        root, new_root = state.s.sqrt(), step.s.sqrt()
        s_max = self.potential.s_max
        enters, inside = step.s.high > s_max.low, step.s.low >= s_max.high
        from_new = new_root.scale_nonnegative(share)
        from_new = Enclosure(np.where(inside, from_new.low, 0.0), np.where(enters, from_new.high, 0.0))
        own = Enclosure(np.where(state.in_tail, root.low, 0.0), np.where(state.in_tail, root.high, 0.0))
        apart = own - from_new
        # sqrt(s) - b2 s / sqrt(s') = sqrt(s) (1 - b2 u)
        together = root * (Enclosure.of(1.0) - self.b2.scale_nonnegative(step.u))
        both = state.in_tail & inside
        low, high = np.where(both, together.low, apart.low), np.where(both, together.high, apart.high)
        return Enclosure(low, high) * Enclosure.of(half)

    def _divided(
        self, state: State, atoms: Atoms, parts: tuple[Array, Array], slope_z: Enclosure, slope_t: Enclosure
    ) -> Minorant:
        """The minorant of l over the distance, from l's value (without and with the tail of s') and slopes."""
        value = centre = down(parts[0] - parts[1])
        near, far = atoms.a1 <= 0, np.isinf(atoms.a2)
        a = Enclosure(np.where(near, atoms.a2, atoms.a1), np.where(far, atoms.a1, atoms.a2))
        apart_from_tail = down((Enclosure.of(parts[0]) / a).low - self._tail_over_distance(state, atoms))
        quotient = np.maximum((Enclosure.of(value) / a).low, apart_from_tail)
        over = slope_z / a, slope_t / a
        middles = [(slope.low + slope.high) / 2 for slope in over]
        rests = [
            up(radius * up(np.maximum(slope.high - middle, middle - slope.low)))
            for radius, slope, middle in zip((state.radius_z, state.radius_t), over, middles, strict=True)
        ]
        # The least of l itself, over the whole box: next to 1, where slopes over the distance are unbounded.
        loss_z, loss_t = state.radius_z * slope_z.largest(), state.radius_t * slope_t.largest()
        losses = loss_z + loss_t
        least = value - losses - SUMMED * (np.abs(value) + losses)
        alone = np.where(least >= 0, down(least / a.high), np.where(near, -np.inf, down(least / a.low)))
        # Far away z' >= -C_m, 0 >= h >= floor - C sqrt(s'), sqrt(s') <= sqrt(s) + sqrt(c) (1 + distance).
        at_most = self.reach + self.certificate.gain - self.floor
        constant = at_most + self.certificate.tail_slope * np.sqrt(state.s.high) * (1 + 1e-12)
        slope = self.certificate.tail_slope * float(self.c.sqrt().high) * (1 + 1e-12)
        beyond = -(constant / a.low * (1 + 1e-12) + slope * (1 + 1 / a.low) * (1 + 1e-12))
        steep = sum(
            radius * np.abs(slope) for radius, slope in zip((state.radius_z, state.radius_t), middles, strict=True)
        )
        apart = quotient - rests[0] - rests[1] - SUMMED * (np.abs(quotient) + steep + rests[0] + rests[1])
        flat = near | far | (alone > apart - steep)
        value = np.where(far, beyond, np.where(flat, alone, apart))
        kept = [np.where(flat, 0.0, x) for x in (*middles, *rests)]
        distance = INNER_SHARE * a.high
        divisor = np.where(near, distance, a.high)
        kept[2:] = [
            np.where(flat & ~far, loss / divisor, rest) for loss, rest in ((loss_z, kept[2]), (loss_t, kept[3]))
        ]
        at_centre = np.where(near, centre / distance, np.where(far, beyond, quotient))
        return Minorant(value, kept[0], kept[1], kept[2], kept[3], at_centre)
