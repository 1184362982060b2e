r"""Checks a certificate's inequality by searching for a state and a law that violate it.

Problem:
    :mod:`theory.l1_certificates` needs, for all |z| <= C_m, s >= 0 and every law X with mean 1 and deviation x,
    E[z' + h(z', s')] + lambda x >= J + h(z, s). Two-point laws suffice (:mod:`proofs.theorem3`): X = 1 - a with
    probability b / (a + b), else 1 + b, whose mean is 1 and whose variance is a b.

Algorithm:
    The **margin** of (z, s, a, b) is left side minus right side. It is minimised

    1. on a grid of states between and beyond the potential's own grid, times a grid of laws;
    2. at random, with three-point laws too (they cannot do worse: a check of the reduction);
    3. by local descent from the worst states found.

    The search shares the potential's definition (:meth:`Certificate.potential`) with the bound, and nothing with
    the program that found it.

Guarantee:
    None but the search's own: a violation that is found is one (up to rounding); that none was found proves
    nothing. Double precision, no interval arithmetic; the states s above 10^10 s_max and below 10^-10 and the laws
    with atoms beyond 10^8 or within 10^-7 of 0 are not visited.

Example:
    $ python -m proofs.certificates.check                   # all certificates that come with the package
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.adam_constants import normalized_step_bound
from theory.l1_certificates import Certificate, available_certificates

__all__ = [
    "CertificateViolation",
    "Effort",
    "Report",
    "check_certificate",
    "margin",
    "require_certificate_inequality",
]

Array = NDArray[np.float64]

ROUNDING = 1e-9
"""A margin above minus this counts as not negative."""


class CertificateViolation(ValueError):
    """A state and a law at which the certificate inequality fails."""


@dataclass(frozen=True)
class Effort:
    """How hard to search.

    Attributes:
        z_points: states' z values.
        s_per_unit: states per unit of log s.
        per_decade: atoms per decade.
        random_laws: random states with a random two-point and a random three-point law each.
        descents: local searches.
        rounds: steps of each local search.
    """

    z_points: int = 61
    s_per_unit: float = 17.3
    per_decade: float = 13.7
    random_laws: int = 400_000
    descents: int = 400
    rounds: int = 400


QUICK = Effort(z_points=17, s_per_unit=3.1, per_decade=6.3, random_laws=50_000, descents=100, rounds=200)
"""Seconds instead of minutes: finds J raised by 5 %, not a small violation between grid points."""


@dataclass(frozen=True)
class Worst:
    """The smallest margin of one search, and where.

    Attributes:
        search: ``"grid"``, ``"random"``, ``"three-point"`` or ``"descent"``.
        margin: left minus right side of the certificate inequality.
        z: state.
        s: state.
        a: the lower atom is 1 - a.
        b: the upper atom is 1 + b.
    """

    search: str
    margin: float
    z: float
    s: float
    a: float
    b: float

    def __str__(self) -> str:
        place = f"z = {self.z:.4g}, s = {self.s:.4g}, X in {{{1 - self.a:.4g}, {1 + self.b:.4g}}}"
        return f"margin {self.margin:+.3g} ({self.search} search) at {place}"


@dataclass(frozen=True)
class Report:
    """What the searches found."""

    certificate: Certificate
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


def margin(certificate: Certificate, z: ArrayLike, s: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """E[z' + h(z', s')] + lambda sqrt(a b) - J - h(z, s) for the two-point law on 1 - a and 1 + b (broadcast)."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    weight = b / (a + b)
    mean = weight * certificate.step_value(z, s, 1 - a) + (1 - weight) * certificate.step_value(z, s, 1 + b)
    noise = certificate.noise_weight * np.sqrt(a * b)
    return np.asarray(mean + noise - certificate.gain - certificate.potential(z, s))


def require_certificate_inequality(certificate: Certificate, effort: Effort = QUICK) -> Report:
    """Check, and raise :class:`CertificateViolation` with the place if a violation is found."""
    report = check_certificate(certificate, effort)
    if not report.holds:
        name = f"beta1 = {certificate.beta1:g}, beta2 = {certificate.beta2:g}, J = {certificate.gain:.6g}"
        raise CertificateViolation(f"certificate inequality violated ({name}): {report.worst}")
    return report


def check_certificate(certificate: Certificate, effort: Effort = QUICK, seed: int = 0) -> Report:
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
    chosen = np.argsort(margins)[: effort.descents]
    starts = np.stack([part[chosen] for part in (*states, *laws)])
    searches.append(_descend(certificate, effort, generator, starts))
    return Report(certificate, tuple(searches), time.perf_counter() - start)


def _worst(search: str, margins: Array, z: Array, s: Array, a: Array, b: Array) -> Worst:
    k = int(np.argmin(margins))
    return Worst(search, float(margins[k]), float(z[k]), float(s[k]), float(a[k]), float(b[k]))


def _state_grid(certificate: Certificate, effort: Effort) -> tuple[Array, Array]:
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    low, high = certificate.log_s_grid[0], certificate.log_s_grid[-1]
    inside = np.linspace(low, high, int((high - low) * effort.s_per_unit) + 2)
    edges = [high + np.linspace(0, 3, int(6 * effort.s_per_unit)), low - np.linspace(0, 3, 20)]
    beyond = [np.linspace(high + 3, high + 23, 40), np.linspace(np.log(1e-10), low - 3, 20)]
    log_s = np.concatenate([inside, *edges, *beyond, [-800.0]])  # the last one is s = 0
    z, s = np.meshgrid(np.linspace(-reach, reach, effort.z_points), np.exp(log_s), indexing="ij")
    return z.ravel(), s.ravel()


def _atom_grid(effort: Effort) -> tuple[Array, Array]:
    """Values of a (lower atom 1 - a: on both sides of 0, and near 1) and of b."""
    near_zero = np.logspace(-7, 0, int(7 * effort.per_decade), endpoint=False)
    far = np.logspace(0, 8, int(8 * effort.per_decade))
    near_one = np.logspace(-4, -0.3, int(3.7 * effort.per_decade))
    lower = np.concatenate([near_one, 1 - near_zero, [1.0], 1 + near_zero, 1 + far])
    return lower, np.concatenate([near_one, np.logspace(-0.3, 8, int(8.3 * effort.per_decade))])


def _grid_search(
    certificate: Certificate, effort: Effort, block: int = 64
) -> tuple[tuple[Array, Array], tuple[Array, Array], Array]:
    """Per state the worst law of the grid and its margin."""
    z, s = _state_grid(certificate, effort)
    a, b = _atom_grid(effort)
    weight = b / (a[:, None] + b)
    noise = certificate.noise_weight * np.sqrt(a[:, None] * b)
    margins, chosen = np.empty(len(z)), np.empty(len(z), int)
    for start in range(0, len(z), block):
        part = slice(start, start + block)
        lower = certificate.step_value(z[part, None], s[part, None], 1 - a)
        upper = certificate.step_value(z[part, None], s[part, None], 1 + b)
        values = (lower[:, :, None] - upper[:, None, :]) * weight + upper[:, None, :] + noise
        values = values.reshape(len(values), -1)
        chosen[part] = values.argmin(axis=1)
        margins[part] = values.min(axis=1) - certificate.gain - certificate.potential(z[part], s[part])
    i, j = np.divmod(chosen, len(b))
    return (z, s), (a[i], b[j]), margins


def _random_search(certificate: Certificate, effort: Effort, generator: np.random.Generator) -> list[Worst]:
    n = effort.random_laws
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    z = generator.uniform(-reach, reach, n)
    s = np.exp(generator.uniform(certificate.log_s_grid[0] - 3, certificate.log_s_grid[-1] + 3, n))
    a, b = 10 ** generator.uniform(-3, 4, n), 10 ** generator.uniform(-3, 4, n)
    # Half of the lower atoms at the scale of sqrt(s), where the step turns negative.
    a = np.where(generator.random(n) < 0.5, 1 - generator.normal(size=n) * np.sqrt(s), a)
    a = np.where(a > 0, a, 1.0)
    two = _worst("random", margin(certificate, z, s, a, b), z, s, a, b)
    # A third atom: the same law, mixed with a second one that shares the state.
    a2, b2 = 10 ** generator.uniform(-3, 4, n), 10 ** generator.uniform(-3, 4, n)
    share = generator.random(n)
    variance = share * a * b + (1 - share) * a2 * b2
    noise = certificate.noise_weight * (
        np.sqrt(variance) - share * np.sqrt(a * b) - (1 - share) * np.sqrt(a2 * b2)
    )
    mixed = share * margin(certificate, z, s, a, b) + (1 - share) * margin(certificate, z, s, a2, b2) + noise
    return [two, _worst("three-point", mixed, z, s, a, b)]


def _descend(certificate: Certificate, effort: Effort, generator: np.random.Generator, starts: Array) -> Worst:
    """Random local descent of all starts together: a proposal is kept where it lowers the margin."""
    z, s, a, b = starts
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    now = np.stack([z, np.log(np.maximum(s, 1e-12)), a, b])
    margins = margin(certificate, z, np.exp(now[1]), a, b)
    for scale in np.geomspace(0.3, 1e-4, effort.rounds):
        moved = now + scale * generator.normal(size=now.shape) * np.array([[reach], [1.0], [0.0], [0.0]])
        moved[0] = np.clip(moved[0], -reach, reach)
        # The lower atom moves in proportion to its size (it may sit at the scale of sqrt(s)), the upper to b.
        moved[2] = 1 - (1 - now[2]) * np.exp(scale * generator.normal(size=len(a)))
        moved[2] = np.where(generator.random(len(a)) < 0.3, now[2] * np.exp(scale * generator.normal()), moved[2])
        moved[2] = np.where(moved[2] > 1e-9, moved[2], now[2])
        moved[3] = now[3] * np.exp(scale * generator.normal(size=len(b)))
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
        print(f"({certificate.beta1:g}, {certificate.beta2:g}): {constants} [{report.seconds:.0f} s]")
        for worst in report.searches:
            print(f"    {worst}")
        failed |= not report.holds
    return int(failed)


def with_gain(certificate: Certificate, gain: float) -> Certificate:
    """The same potential with another J."""
    return replace(certificate, gain=gain)


if __name__ == "__main__":
    sys.exit(main())
