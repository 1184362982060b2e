r"""Enclosures of a certificate's potential h over rectangles of (z, t), t = log s.

Algorithm:
    h is bilinear in each cell of the grid, constant in t below it, and h(z, t_max) - C (sqrt(s) - sqrt(s_max))
    above. The tail's root is kept apart: h = k - C tail(s), tail(s) = max(sqrt(s) - sqrt(s_max), 0), with k
    constant in t outside of the grid. So k has slopes k_z at the nodes of t, linear between them, and k_t at the
    nodes of z likewise: over a rectangle their hull over all nodes of the cells that it meets is an enclosure, and
    on a line of fixed z the least k is at an end or a node. The least and the largest entries of rectangles of
    nodes come from tables over all sizes 2^p x 2^q.

Guarantee:
    With outward rounding: grid and values of the certificate are taken as exact doubles.

Shapes:
    All arguments: float64 arrays [n].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.certificates.intervals import ROUNDING, Array, Enclosure, down, up
from theory.l1.theorem3 import Certificate

__all__ = ["PotentialEnclosure"]

Indices = NDArray[np.int64]

FAR = 1e4
"""Beyond every log s: where the outermost cells end."""


class _Extremes:
    """The least and the largest of a matrix's entries over rectangles of indices."""

    def __init__(self, matrix: Array) -> None:
        n, m = matrix.shape
        self.shape = (n, m)
        both = np.stack([matrix, -matrix], axis=-1)
        rows = [both]
        for p in range(1, n.bit_length()):
            half = 2 ** (p - 1)
            rows.append(_pairwise(rows[-1], half, 0))
        self.levels = max(m.bit_length(), 1)
        blocks = []
        for row in rows:
            blocks.append(row)
            for q in range(1, self.levels):
                blocks.append(_pairwise(blocks[-1], 2 ** (q - 1), 1))
        self.table = np.concatenate([block.reshape(-1, 2) for block in blocks])

    def __call__(self, i0: Indices, i1: Indices, j0: Indices, j1: Indices) -> Enclosure:
        n, m = self.shape
        p, q = _log2(i1 - i0 + 1), _log2(j1 - j0 + 1)
        start = (p * self.levels + q) * n * m
        first, second = start + i0 * m, start + (i1 - (1 << p) + 1) * m
        last = j1 - (1 << q) + 1
        least = np.minimum(self.table[first + j0], self.table[first + last])
        least = np.minimum(least, np.minimum(self.table[second + j0], self.table[second + last]))
        return Enclosure(least[:, 0], -least[:, 1])


def _pairwise(block: Array, step: int, axis: int) -> Array:
    """The least of each entry and the one ``step`` further (as it is where there is none)."""
    result = block.copy()
    if axis == 0:
        result[:-step] = np.minimum(block[:-step], block[step:])
    else:
        result[:, :-step] = np.minimum(block[:, :-step], block[:, step:])
    return result


def _log2(n: Indices) -> Indices:
    result: Indices = np.frexp(n.astype(float))[1].astype(np.int64) - 1
    return result


class PotentialEnclosure:
    """Bounds on h and its slopes.

    Attributes:
        z: the grid of z.
        t: the grid of log s, with one cell to either side.
    """

    def __init__(self, certificate: Certificate) -> None:
        values = certificate.values
        self.z = certificate.z_grid
        inner = certificate.log_s_grid
        self.t = np.concatenate([[-FAR], inner, [FAR]])
        self.values = np.concatenate([values[:, :1], values, values[:, -1:]], axis=1)
        self.tail_slope = certificate.tail_slope
        self.s_max = Enclosure.of(inner[-1]).exp()
        self.root_s_max = self.s_max.sqrt()
        # A difference of values over one of nodes, and its interpolation: a dozen roundings.
        z_slopes = np.diff(self.values, axis=0) / np.diff(self.z)[:, None]
        t_slopes = np.diff(self.values, axis=1) / np.diff(self.t)
        size = float(np.abs(values).max())
        self.error = 32 * ROUNDING * size
        self._z_slack = 8 * ROUNDING * float(np.abs(z_slopes).max()) + 1e-300
        self._t_slack = 8 * ROUNDING * float(np.abs(t_slopes).max()) + 1e-300
        self.z_slopes, self.t_slopes = z_slopes, t_slopes
        self._z_extremes, self._t_extremes = _Extremes(z_slopes), _Extremes(t_slopes)
        rows = [self.values]
        for q in range(1, len(self.t).bit_length()):
            rows.append(_pairwise(rows[-1], 2 ** (q - 1), 1))
        self._least = np.concatenate([row.ravel() for row in rows])

    def cells(self, z: Array, t: Array) -> tuple[Indices, Indices]:
        """The cells of points (z clipped to its grid)."""
        return self._cell(self.z, z), self._cell(self.t, t)

    def _cell(self, grid: Array, x: Array) -> Indices:
        return np.clip(np.searchsorted(grid, x, side="right") - 1, 0, len(grid) - 2)

    def _share(self, grid: Array, cell: Indices, x: Array) -> Array:
        return np.clip((x - grid[cell]) / (grid[cell + 1] - grid[cell]), 0.0, 1.0)

    def points(self, z: Array, t: Array) -> Array:
        """k at points, up to :attr:`error`: the interpolation's dozen roundings of numbers at most max |h|."""
        i, j = self.cells(z, t)
        across, along = self._share(self.z, i, z), self._share(self.t, j, t)
        low = self.values[i, j] * (1 - along) + self.values[i, j + 1] * along
        high = self.values[i + 1, j] * (1 - along) + self.values[i + 1, j + 1] * along
        return low * (1 - across) + high * across

    def least_on_line(self, z: Array, t: Enclosure) -> Array:
        """A lower bound of k(z, .) on intervals of t: its ends, and the nodes between."""
        i = self._cell(self.z, z)
        across = self._share(self.z, i, z)
        j0, j1 = self._cell(self.t, t.low), self._cell(self.t, t.high)
        low = self._at(i, across, j0, t.low)
        least = np.minimum(low, self._at(i, across, j1, t.high))
        some = np.flatnonzero(j1 > j0)
        if len(some):
            i, across = i[some], across[some]
            q = _log2(j1[some] - j0[some])
            n, m = self.values.shape
            start = q * n * m + i * m
            first, last = j0[some] + 1, j1[some] - (1 << q) + 1
            lower = np.minimum(self._least[start + first], self._least[start + last])
            upper = np.minimum(self._least[start + m + first], self._least[start + m + last])
            # The least of the sum is at least the sum of the least.
            least[some] = np.minimum(least[some], lower * (1 - across) + upper * across)
        return least - self.error

    def _at(self, i: Indices, across: Array, j: Indices, t: Array) -> Array:
        along = self._share(self.t, j, t)
        m = self.values.shape[1]
        flat, at = self.values.ravel(), i * m + j
        low = flat[at] * (1 - along) + flat[at + 1] * along
        high = flat[at + m] * (1 - along) + flat[at + m + 1] * along
        result: Array = low * (1 - across) + high * across
        return result

    def z_slope(self, z: Enclosure, t: Enclosure) -> Enclosure:
        """Encloses k_z on rectangles; 0 beyond the grid's ends, where z is clipped."""
        i0, i1 = self._cell(self.z, z.low), self._cell(self.z, z.high)
        found = self._z_extremes(i0, i1, self._cell(self.t, t.low), self._cell(self.t, t.high) + 1)
        return self._beyond(found, z)

    def _beyond(self, slope: Enclosure, z: Enclosure) -> Enclosure:
        outside = (z.low < self.z[0]) | (z.high > self.z[-1])
        low = np.where(outside, np.minimum(slope.low, 0.0), slope.low)
        high = np.where(outside, np.maximum(slope.high, 0.0), slope.high)
        return Enclosure(low - self._z_slack, high + self._z_slack)

    def t_slope(self, z: Enclosure, t: Enclosure) -> Enclosure:
        """Encloses k_t on rectangles."""
        i0, i1 = self._cell(self.z, z.low), self._cell(self.z, z.high)
        found = self._t_extremes(i0, i1 + 1, self._cell(self.t, t.low), self._cell(self.t, t.high))
        return Enclosure(found.low - self._t_slack, found.high + self._t_slack)

    def own_slopes(self, z: Enclosure, t: Enclosure) -> tuple[Enclosure, Enclosure]:
        """Encloses k_z and k_t on rectangles that each lie in one cell: linear there, so that the ends decide."""
        i, j = self.cells((z.low + z.high) / 2, (t.low + t.high) / 2)
        ends = [self._share(self.t, j, end) for end in t]
        z_slope = [self.z_slopes[i, j] * (1 - q) + self.z_slopes[i, j + 1] * q for q in ends]
        ends = [self._share(self.z, i, end) for end in z]
        t_slope = [self.t_slopes[i, j] * (1 - q) + self.t_slopes[i + 1, j] * q for q in ends]
        at_z = Enclosure(np.minimum(*z_slope), np.maximum(*z_slope))
        at_t = Enclosure(np.minimum(*t_slope), np.maximum(*t_slope))
        return self._beyond(at_z, z), Enclosure(at_t.low - self._t_slack, at_t.high + self._t_slack)

    def tail(self, s: Enclosure) -> Enclosure:
        """C max(sqrt(s) - sqrt(s_max), 0)."""
        root = s.sqrt()
        above = Enclosure(root.low - self.root_s_max.high, root.high - self.root_s_max.low)
        low = np.maximum(down(down(above.low) * self.tail_slope), 0.0)
        return Enclosure(low, np.maximum(up(up(above.high) * self.tail_slope), 0.0))
