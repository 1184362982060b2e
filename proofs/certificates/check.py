r"""Checks a certificate's inequality by searching for a state and a law that violate it.

Problem:
    :mod:`theory.l1.theorem3` needs, for all |z| <= C_m, s >= 0 and every law X with mean 1,
    E[z' + h(z', s')] + lambda x >= J + h(z, s), x the deviation of X or, by the kind, its variance. Two-point
    laws suffice (:mod:`proofs.l1.theorem3`): X = 1 - a with probability b / (a + b), else 1 + b, whose mean is 1
    and whose variance is a b. The atoms themselves are kept, not a and b: the lower one may be as small as
    sqrt(s).

Algorithm:
    The **margin** of a state and a law is left side minus right side. It is minimised

    1. on a grid of states between and beyond the potential's own grid, times a grid of laws;
    2. at random, with mixtures of two such laws too (they cannot do worse: a check of the reduction);
    3. by local descent from the worst states found.

    The search shares the potential's definition (:meth:`Certificate.potential`) with the bound, and nothing with
    the program that found it.

Guarantee:
    None but the search's own: a violation that is found is one (up to rounding); that none was found proves
    nothing. Double precision, no interval arithmetic; states with s above 10^10 s_max or below s_min / 3000
    and laws with atoms beyond 10^8 are not visited (s = 0 itself is a limit of those below s_min).

Example:
    $ python -m proofs.certificates.check                   # all certificates that come with the package
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.adam.constants import normalized_step_bound
from theory.l1.theorem3 import Certificate, available_certificates

__all__ = ["QUICK", "Effort", "SearchResult", "check_certificate", "margin", "worst_laws"]

Array = NDArray[np.float64]

ROUNDING = 1e-9
"""A margin above minus this counts as not negative."""


@dataclass(frozen=True)
class Effort:
    """How hard to search.

    Attributes:
        z_points: states' z values.
        s_per_unit: states per unit of log s (a quarter of it for s below 1.5e-8 s_max).
        per_decade: atoms per decade.
        random_laws: random states, each with a random two-point law and a mixture of two.
        descents: local searches from the worst states (and one more for each s).
        rounds: steps of each local search.
    """

    z_points: int = 47
    s_per_unit: float = 12.3
    per_decade: float = 10.7
    random_laws: int = 400_000
    descents: int = 400
    rounds: int = 400


QUICK = Effort(z_points=9, s_per_unit=6.1, per_decade=5.3, random_laws=50_000, descents=100, rounds=200)
"""Seconds instead of minutes: finds J raised by 5 %, not a small violation between grid points."""


@dataclass(frozen=True)
class Worst:
    """The smallest margin of one search, and where.

    Attributes:
        search: ``"grid"``, ``"random"``, ``"mixture"`` or ``"descent"``.
        margin: left minus right side of the certificate inequality.
        z: state.
        s: state.
        lower: the lower atom, below 1.
        upper: the upper atom, above 1.
    """

    search: str
    margin: float
    z: float
    s: float
    lower: float
    upper: float

    def __str__(self) -> str:
        place = f"z = {self.z:.4g}, s = {self.s:.4g}, X in {{{self.lower:.4g}, {self.upper:.4g}}}"
        return f"margin {self.margin:+.3g} ({self.search} search) at {place}"


@dataclass(frozen=True)
class SearchResult:
    """What the searches found."""

    searches: tuple[Worst, ...]
    seconds: float

    @property
    def worst(self) -> Worst:
        """The smallest margin of all."""
        return min(self.searches, key=lambda w: w.margin)

    @property
    def holds(self) -> bool:
        """Whether no violation was found."""
        return self.worst.margin >= -ROUNDING


def margin(certificate: Certificate, z: ArrayLike, s: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Array:
    """E[z' + h(z', s')] + lambda x - J - h(z, s) for the law with mean 1 on two atoms (broadcast)."""
    a, b = 1 - np.asarray(lower, float), np.asarray(upper, float) - 1
    weight = b / (a + b)
    mean = weight * certificate.step_value(z, s, lower) + (1 - weight) * certificate.step_value(z, s, upper)
    noise = certificate.noise_weight * certificate.kind.cost(a * b)
    return np.asarray(mean + noise - certificate.gain - certificate.potential(z, s))


def check_certificate(certificate: Certificate, effort: Effort = QUICK, seed: int = 0) -> SearchResult:
    """Search for violations.

    Args:
        certificate: to be checked.
        effort: how hard.
        seed: of the random searches.
    """
    start = time.perf_counter()
    generator = np.random.default_rng(seed)
    states, laws, margins = _grid_search(certificate, effort)
    searches = [_worst("grid", margins, *states, *laws)]
    searches += _random_search(certificate, effort, generator)
    # From the worst states of all, and from the worst one at each s: a violation may be confined to few s.
    by_s = margins.reshape(effort.z_points, -1)
    worst_at_s = by_s.argmin(axis=0) * by_s.shape[1] + np.arange(by_s.shape[1])
    chosen = np.concatenate([np.argsort(margins)[: effort.descents], worst_at_s])
    starts = np.stack([part[chosen] for part in (*states, *laws)])
    searches.append(_descend(certificate, effort, generator, starts))
    return SearchResult(tuple(searches), time.perf_counter() - start)


def _worst(search: str, margins: Array, z: Array, s: Array, lower: Array, upper: Array) -> Worst:
    k = int(np.argmin(margins))
    return Worst(search, *(float(part[k]) for part in (margins, z, s, lower, upper)))


def _state_grid(certificate: Certificate, effort: Effort) -> tuple[Array, Array]:
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    low, high = certificate.log_s_grid[0], certificate.log_s_grid[-1]
    middle = max(low, high - 18.0)  # potentials vary slowly below it
    inside = np.linspace(middle, high, int((high - middle) * effort.s_per_unit) + 2)
    slow = np.linspace(low, middle, int((middle - low) * effort.s_per_unit / 4) + 2)
    edges = [slow, high + np.linspace(0, 3, int(6 * effort.s_per_unit)), low - np.linspace(0, 3, 20)]
    beyond = [np.linspace(high + 3, high + 23, 40), np.linspace(low - 8, low - 3, 10)]
    log_s = np.concatenate([inside, *edges, *beyond])
    z, s = np.meshgrid(np.linspace(-reach, reach, effort.z_points), np.exp(log_s), indexing="ij")
    return z.ravel(), s.ravel()


def _atom_grid(certificate: Certificate, effort: Effort) -> tuple[Array, Array]:
    """Lower atoms (near 1, and on both sides of 0 down to sqrt(s_min) / 3000) and upper atoms."""
    lowest = float(certificate.log_s_grid[0]) / np.log(10) / 2 - 3.5
    near_zero = np.logspace(lowest, 0, int(-lowest * effort.per_decade), endpoint=False)
    far = np.logspace(0, 8, int(8 * effort.per_decade))
    near_one = np.logspace(-4, -0.3, int(3.7 * effort.per_decade))
    lower = np.concatenate([1 - near_one, near_zero, [0.0], -near_zero, -far])
    return lower, 1 + np.concatenate([near_one, np.logspace(-0.3, 8, int(8.3 * effort.per_decade))])


def _grid_search(
    certificate: Certificate, effort: Effort
) -> tuple[tuple[Array, Array], tuple[Array, Array], Array]:
    """Per state the worst law of the grid and its margin."""
    z, s = _state_grid(certificate, effort)
    least, lower, upper = worst_laws(certificate, z, s, *_atom_grid(certificate, effort))
    return (z, s), (lower, upper), least - certificate.gain - certificate.potential(z, s)


def worst_laws(
    certificate: Certificate, z: Array, s: Array, lower: Array, upper: Array, block: int = 4
) -> tuple[Array, Array, Array]:
    """Per state the least E[z' + h(z', s')] + lambda x over the laws on two of these atoms, and those atoms.

    Computed over so few states at a time (``block``) that they stay in cache.
    """
    a, b = 1 - lower[:, None], upper - 1
    weight, noise = b / (a + b), certificate.noise_weight * certificate.kind.cost(a * b)
    least, chosen = np.empty(len(z)), np.empty(len(z), int)
    scratch = np.empty((block, *weight.shape))
    for start in range(0, len(z), block):
        part = slice(start, start + block)
        at_lower = certificate.step_value(z[part, None], s[part, None], lower)
        at_upper = certificate.step_value(z[part, None], s[part, None], upper)
        values = np.subtract(at_lower[:, :, None], at_upper[:, None, :], out=scratch[: len(at_lower)])
        values *= weight
        values += at_upper[:, None, :]
        values += noise
        laws = values.reshape(len(values), -1)
        chosen[part] = laws.argmin(axis=1)
        least[part] = laws[np.arange(len(laws)), chosen[part]]
    i, j = np.divmod(chosen, len(upper))
    return least, lower[i], upper[j]


def _random_law(generator: np.random.Generator, s: Array) -> tuple[Array, Array]:
    """Atoms over many scales, half of the lower ones at that of sqrt(s), where the step turns negative."""
    n = len(s)
    wide = 1 - 10 ** generator.uniform(-3, 4, n)
    small = np.where(generator.random(n) < 0.5, generator.normal(size=n) * np.sqrt(s), wide)
    return np.where(small < 1, small, wide), 1 + 10 ** generator.uniform(-3, 4, n)


def _random_search(certificate: Certificate, effort: Effort, generator: np.random.Generator) -> list[Worst]:
    n = effort.random_laws
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    z = generator.uniform(-reach, reach, n)
    s = np.exp(generator.uniform(certificate.log_s_grid[0] - 3, certificate.log_s_grid[-1] + 3, n))
    first, second = _random_law(generator, s), _random_law(generator, s)
    two = margin(certificate, z, s, *first)
    # A mixture of two laws has up to four atoms, the mean of their variances, and so no less deviation.
    share = generator.random(n)
    variance, other = ((1 - lower) * (upper - 1) for lower, upper in (first, second))
    cost = certificate.kind.cost
    excess = cost(share * variance + (1 - share) * other) - share * cost(variance) - (1 - share) * cost(other)
    mixed = share * two + (1 - share) * margin(certificate, z, s, *second) + certificate.noise_weight * excess
    return [_worst("random", two, z, s, *first), _worst("mixture", mixed, z, s, *first)]


def _descend(certificate: Certificate, effort: Effort, generator: np.random.Generator, starts: Array) -> Worst:
    """Random local descent of all starts together: a proposal is kept where it lowers the margin."""
    z, s, lower, upper = starts
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    now = np.stack([z, np.log(s), lower, upper])
    margins = margin(certificate, z, s, lower, upper)
    for scale in np.geomspace(0.3, 1e-4, effort.rounds):
        noise = scale * generator.normal(size=now.shape)
        moved = np.empty_like(now)
        moved[0] = np.clip(now[0] + reach * noise[0], -reach, reach)
        moved[1] = now[1] + noise[1]
        # The lower atom moves in proportion to itself, or to its distance from 1.
        near_zero = generator.random(now.shape[1]) < 0.5
        moved[2] = np.where(near_zero, now[2] * np.exp(noise[2]), 1 - (1 - now[2]) * np.exp(noise[2]))
        moved[2] = np.where(moved[2] < 1 - 1e-6, moved[2], now[2])
        moved[3] = 1 + (now[3] - 1) * np.exp(noise[3])
        tried = margin(certificate, moved[0], np.exp(moved[1]), moved[2], moved[3])
        better = tried < margins
        now, margins = np.where(better, moved, now), np.where(better, tried, margins)
    return _worst("descent", margins, now[0], np.exp(now[1]), now[2], now[3])


def main() -> int:
    """Check all certificates that come with the package, thoroughly; 1 if one fails."""
    failed = False
    for certificate in available_certificates():
        report = check_certificate(certificate, Effort())
        numbers = f"lambda {certificate.noise_weight:g}, J {certificate.gain:.4f}, Lambda"
        constants = f"{numbers} {certificate.lipschitz_constant:.1f}, eta < {certificate.largest_eta:.3f}"
        name = f"({certificate.beta1:g}, {certificate.beta2:g}) {certificate.kind}"
        print(f"{name}: {constants} [{report.seconds:.0f} s]")
        for worst in report.searches:
            print(f"    {worst}")
        failed |= not report.holds
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
