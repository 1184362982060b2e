r"""Finds a certificate for Theorem 3 by dynamic programming.

Problem:
    For the given betas and noise weight lambda, find a potential h and the largest J of the certificate
    inequality (:mod:`theory.l1.theorem3`): J + h(z, s) <= min over laws X of E[z' + h(z', s')] + lambda x, with
    x = sd(X) for the kind ``l1``, Var(X) for the kind ``variance``.

Algorithm:
    It is the Bellman equation of an adversary who picks the law X in every state (z, s) and pays lambda per
    unit of x: J is the least average of z' + lambda x that he can reach. Policy iteration on a grid of
    states and two-point laws: improve the law in every state, then solve the linear system for (h, J). Then J is
    lowered to what holds between the grid points too (:mod:`proofs.certificates.check`), and by a safety margin.

Guarantee:
    None: h is a guess. Its inequality is checked by another program.

Example:
    $ python -m proofs.certificates.compute --beta1 .9 --beta2 .95 --noise-weight .3 --s-max 100
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from proofs.certificates.check import Effort, check_certificate, margin, worst_laws
from theory.adam.constants import normalized_step_bound, second_moment_weight
from theory.l1.theorem3 import Certificate, Kind, grid_cell, next_state, save_certificate, tail_potential

__all__ = ["Grid", "certificate_file", "find", "lower_gain", "main"]

Array = NDArray[np.float64]


BELOW = 1e-6
"""In the lowest states the adversary may also start at this share of s_min: the potential is constant below."""


@dataclass(frozen=True)
class Grid:
    """The states and laws of the dynamic program.

    Attributes:
        z_points: states' z values, equally spaced from -C_m to C_m.
        s_points: states' s values between s_dense and s_max, equally spaced in log s.
        low_points: states' s values between s_min and s_dense, likewise.
        s_min: below it the potential is constant: so far down because an adversary whose gradient has just grown
            keeps the momentum against it for log(1/s) steps.
        s_dense: where the denser grid begins.
        s_max: above it the potential falls like -C sqrt(s).
        tail_share: C as a share of lambda / sqrt(c), in (0, 1] for the kind ``l1``.
        per_decade: atoms per decade.
        tolerance: policy iteration stops where J is known this well.
    """

    z_points: int = 25
    s_points: int = 110
    low_points: int = 70
    s_min: float = 1e-40
    s_dense: float = 1e-5
    s_max: float = 100.0
    tail_share: float = 1.0
    per_decade: int = 8
    tolerance: float = 5e-4


@dataclass(frozen=True)
class _Policy:
    """The adversary's law in every state: mean 1 on two atoms; lower = upper = 1 where X = 1.

    Below s_min the potential is constant: the grid's first s stands for all s in (0, s_min], and the adversary
    chooses which.
    """

    s: Array
    lower: Array
    upper: Array


def find(
    beta1: float, beta2: float, noise_weight: float, grid: Grid, kind: Kind = Kind.L1, iterations: int = 60
) -> Certificate:
    """A certificate for the grid points, without safety margin.

    Raises:
        RuntimeError: if policy iteration does not settle, or settles at J <= 0 (lambda is too small).
    """
    certificate = _start(beta1, beta2, noise_weight, grid, kind)
    atoms = _atoms(grid)
    policy = None
    for _ in range(iterations):
        values, policy = _improve(certificate, atoms, policy)
        gains = values - certificate.values
        if gains.max() - gains.min() < grid.tolerance:
            break
        certificate = _evaluate(certificate, policy)
    else:
        raise RuntimeError(f"policy iteration did not settle: J between {gains.min():.4g} and {gains.max():.4g}")
    if gains.min() <= 0:
        raise RuntimeError(f"J = {gains.min():.4g} at lambda = {noise_weight:g}: take a larger lambda")
    return replace(certificate, gain=float(gains.min()))


def lower_gain(certificate: Certificate, effort: Effort, safety: float) -> Certificate:
    """The certificate with J lowered to what the checker finds everywhere, then by the share ``safety``.

    Raises:
        RuntimeError: if nothing is left of J: the grid is too coarse.
    """
    violation = min(check_certificate(certificate, effort).worst.margin, 0.0)
    gain = (certificate.gain + violation) * (1 - safety)
    if gain <= 0:
        raise RuntimeError(f"between the grid points J is {gain:.4g}: take more points, or a larger s_max")
    return replace(certificate, gain=gain)


def _start(beta1: float, beta2: float, noise_weight: float, grid: Grid, kind: Kind) -> Certificate:
    slope = grid.tail_share * noise_weight / np.sqrt(second_moment_weight(beta2))
    reach = normalized_step_bound(beta1, beta2)
    dense = np.linspace(np.log(grid.s_dense), np.log(grid.s_max), grid.s_points)
    log_s = np.concatenate([np.linspace(np.log(grid.s_min), dense[0], grid.low_points, endpoint=False), dense])
    values = np.broadcast_to(-slope * np.exp(log_s / 2), (grid.z_points, len(log_s))).copy()
    z = np.linspace(-reach, reach, grid.z_points)
    return Certificate(beta1, beta2, noise_weight, 1.0, slope, z, log_s, values, kind)


def _atoms(grid: Grid) -> tuple[Array, Array]:
    """Lower atoms on both sides of 0, down to the scale of sqrt(s), and near 1; upper atoms."""
    per_decade = grid.per_decade
    lowest = np.log10(BELOW * grid.s_min) / 2 - 0.5
    near_zero = np.logspace(lowest, 0, int(-lowest * per_decade), endpoint=False)
    far = np.logspace(0, 4, 4 * per_decade + 1)
    near_one = np.logspace(-3, -0.5, 2 * per_decade)
    upper = np.concatenate([near_one, np.logspace(-0.5, 4, int(4.5 * per_decade))])
    return np.concatenate([1 - near_one, near_zero, [0.0], -near_zero, -far]), 1 + upper


def _states(certificate: Certificate) -> tuple[Array, Array]:
    z, log_s = np.meshgrid(certificate.z_grid, certificate.log_s_grid, indexing="ij")
    return z.ravel(), np.exp(log_s).ravel()


def _improve(certificate: Certificate, atoms: tuple[Array, Array], known: _Policy | None) -> tuple[Array, _Policy]:
    """In every state the least E[z' + h(z', s')] + lambda x over the laws, and a law that reaches it."""
    z, s = _states(certificate)
    below = s == s[0]
    best, policy = _best_laws(certificate, z, s, atoms, known)
    smaller, policy_below = _best_laws(certificate, z[below], BELOW * s[below], atoms, None)
    chosen = np.flatnonzero(below)[smaller < best[below]]
    for part in ("s", "lower", "upper"):
        getattr(policy, part)[chosen] = getattr(policy_below, part)[smaller < best[below]]
    best[below] = np.minimum(best[below], smaller)
    return best.reshape(certificate.values.shape), policy


def _best_laws(
    certificate: Certificate, z: Array, s: Array, atoms: tuple[Array, Array], known: _Policy | None
) -> tuple[Array, _Policy]:
    best, lower, upper = worst_laws(certificate, z, s, *atoms)
    right = certificate.gain + certificate.potential(z, s)
    if known is not None:  # a polished law of the last round may beat the grid's: without it, rounds could cycle
        noisy = known.lower < known.upper
        old_lower, old_upper = np.where(noisy, known.lower, lower), np.where(noisy, known.upper, upper)
        old = right + margin(certificate, z, s, old_lower, old_upper)
        lower, upper = np.where(old < best, old_lower, lower), np.where(old < best, old_upper, upper)
        best = np.minimum(best, old)
    best, lower, upper = _polish(certificate, z, s, best, lower, upper)
    noiseless = certificate.step_value(z, s, 1.0)
    policy = _Policy(s.copy(), np.where(best < noiseless, lower, 1.0), np.where(best < noiseless, upper, 1.0))
    return np.minimum(best, noiseless), policy


def _polish(
    certificate: Certificate, z: Array, s: Array, best: Array, lower: Array, upper: Array, rounds: int = 8
) -> tuple[Array, Array, Array]:
    """Laws between the grid's: atoms are moved by ever smaller factors wherever that lowers the value."""
    right = certificate.gain + certificate.potential(z, s)
    for factor in np.exp(0.16 * 0.6 ** np.arange(rounds)):
        from_one = (1 - (1 - lower) * factor, 1 - (1 - lower) / factor)
        for new_lower in (lower, lower * factor, lower / factor, *from_one):
            tried_lower = np.where(new_lower < 1 - 1e-6, new_lower, lower)
            for tried_upper in (upper, 1 + (upper - 1) * factor, 1 + (upper - 1) / factor):
                value = right + margin(certificate, z, s, tried_lower, tried_upper)
                better = value < best
                best = np.where(better, value, best)
                lower, upper = np.where(better, tried_lower, lower), np.where(better, tried_upper, upper)
    return best, lower, upper


def _evaluate(certificate: Certificate, policy: _Policy) -> Certificate:
    """(h, J) of a policy: h + J = reward + P h, with h shifted to max h = 0."""
    z, s = _states(certificate)[0], policy.s
    n = len(z)
    a, b = 1 - policy.lower, policy.upper - 1
    noisy = a + b > 0
    lower_weight = np.where(noisy, b / np.where(noisy, a + b, 1.0), 1.0)
    reward = certificate.noise_weight * certificate.kind.cost(a * b)
    transition = sparse.csr_matrix((n, n))
    for x, weight in ((policy.lower, lower_weight), (policy.upper, 1 - lower_weight)):
        new_z, new_s = next_state(certificate.beta1, certificate.beta2, z, s, x)
        tail = tail_potential(0.0, certificate.tail_slope, np.maximum(new_s, certificate.s_max), certificate.s_max)
        reward = reward + weight * (new_z + tail)
        transition = transition + sparse.diags(weight) @ _interpolation(certificate, new_z, new_s)
    gain_column, anchor = np.ones((n, 1)), sparse.csr_matrix(([1.0], ([0], [n // 2])), (1, n))
    system = sparse.bmat([[sparse.eye(n) - transition, gain_column], [anchor, None]], format="csc")
    solution = spsolve(system, np.append(reward, 0.0))
    values = solution[:-1].reshape(certificate.values.shape)
    return replace(certificate, values=values - values.max())


def _interpolation(certificate: Certificate, z: Array, s: Array) -> sparse.csr_matrix:
    """The matrix that takes the values on the grid to their bilinear interpolation at the points (z, s)."""
    z_grid, log_s_grid = certificate.z_grid, certificate.log_s_grid
    log_s = np.log(np.clip(s, np.exp(log_s_grid[0]), np.exp(log_s_grid[-1])))
    rows, columns, weights = [], [], []
    (i, across), (j, along) = grid_cell(z_grid, z), grid_cell(log_s_grid, log_s)
    for up, share_z in ((0, 1 - across), (1, across)):
        for right, share_s in ((0, 1 - along), (1, along)):
            rows.append(np.arange(len(z)))
            columns.append((i + up) * len(log_s_grid) + j + right)
            weights.append(share_z * share_s)
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, (len(z), len(z_grid) * len(log_s_grid)))


def certificate_file(certificate: Certificate) -> str:
    """The file name of a certificate."""
    betas = f"beta1_{certificate.beta1:g}_beta2_{certificate.beta2:g}"
    weight = "lambda" if certificate.kind is Kind.L1 else certificate.kind
    return f"{betas}_{weight}_{certificate.noise_weight:g}.npz"


def main(arguments: Sequence[str] | None = None) -> None:
    """Find, lower, report and save a certificate."""
    parser = argparse.ArgumentParser(description="Find a certificate for Theorem 3 or its twin.")
    parser.add_argument("--beta1", type=float, required=True)
    parser.add_argument("--beta2", type=float, required=True)
    parser.add_argument("--noise-weight", type=float, default=0.3, help="lambda: a small one allows a large eta")
    parser.add_argument("--kind", type=Kind, choices=list(Kind), default=Kind.L1, help="how noise is weighed")
    for field in fields(Grid):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default)
    parser.add_argument("--safety", type=float, default=0.01, help="share of J given up after the check")
    parser.add_argument("--output", type=Path, default=Path("theory/l1/certificates"), help="a folder")
    given = parser.parse_args(arguments)
    start = time.perf_counter()
    grid = Grid(**{field.name: getattr(given, field.name) for field in fields(Grid)})
    found = find(given.beta1, given.beta2, given.noise_weight, grid, given.kind)
    certificate = lower_gain(found, Effort(), given.safety)
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / certificate_file(certificate)
    save_certificate(certificate, path)
    print(
        f"{path}: lambda {certificate.noise_weight:g}, J {certificate.gain:.4f} (on the grid {found.gain:.4f}), "
        f"Lambda {certificate.lipschitz_constant:.1f}, eta < {certificate.largest_eta:.3f}, "
        f"{time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
