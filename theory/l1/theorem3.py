r"""Theorem 3: Adam converges under the l1 norm test at usable eta, given a certificate.

Problem:
    :mod:`theory.l1.theorem` proves a theorem for the l1 norm test whose eta is tiny. Here the alignment of
    Adam's step with the gradient is bounded by a potential function instead, found by dynamic programming.

Algorithm:
    Adam (Eq. 6), no epsilon, 0 <= beta1 < sqrt(beta2) < 1, c = 1 - beta2. Only the *averaged* l1 test is used:

        sum_k E sum_i sd_{k,i} <= eta sum_k E||G_k||_1,         sd_{k,i}^2 = Var_k g_{k,i}.

    A coordinate's state is z = m / sqrt(v), signed by its gradient G, and s = v / G^2; a step with X = g / G gives

        s' = beta2 s + c X^2,        z' = (beta1 z sqrt(s) + (1 - beta1) X) / sqrt(s').

    A **certificate** is a potential h(z, s) <= 0 with numbers lambda, J, C: h is constant in s below s_min, equal
    to h(z, s_max) - C (sqrt(s) - sqrt(s_max)) above s_max, lambda >= C sqrt(c), and for all |z| <= C_m, s > 0 and
    every law X with E X = 1 and standard deviation x

        E[z' + h(z', s')] + lambda x >= J + h(z, s).            (certificate inequality)

Guarantee:
    With Lambda = sup |h - 2 s h_s| and the mean step s_t = min(C_m, ((1-beta1)/(1-r)) sqrt(H/(K d))): if
    lambda eta < J, then for all alpha > 0 and K >= 1

        (J - lambda eta) sum_k E||G_k||_1 <= Delta/alpha + alpha K L d (s_t^2/2 + Lambda s_t)
                                             + sum_i |G_{1,i}| (-h(0, v_{0,i} / G_{1,i}^2)).

    **What is proven and what is not.** That the certificate inequality implies the bound is proven
    (:mod:`proofs.l1.theorem3`). The inequality itself is, for the certificates that come with the package,
    supported *numerically only*: a checker apart from the program that found them searched the states and the
    two-point laws (which suffice, :func:`proofs.l1.theorem3.two_point_laws`) on grids, at random and by local
    descent, in double precision, and J was lowered by a safety margin (:mod:`proofs.certificates`). It is not an
    interval proof.

References:
    :mod:`proofs.l1.theorem3` (the proof), :mod:`proofs.certificates.compute` (how certificates are found) and
    :mod:`proofs.certificates.check` (how they are checked).

Shapes:
    States, atoms and v_0: floats or numpy arrays (broadcast together); :func:`next_state`,
    :func:`scaling_derivative` and :func:`tail_potential` take SymPy expressions too.

Example:
    >>> certificate = find_certificate(0.9, 0.95)
    >>> certificate.largest_eta > 1, certificate.lipschitz_constant < 20
    (True, True)
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10_000)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=1e-3)
    >>> bound = certified_bound(certificate, problem, adam, first_gradient=[1.0] * 10, v0=[0.0] * 10)
    >>> 0.8 < bound.value / 10_000 < 1.0
    True
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, is_symbolic, sqrt, where
from theory.adam.constants import normalized_step_bound, second_moment_weight
from theory.adam_sharp.constants import gradient_energy, mean_step
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas

__all__ = [
    "NUMERICAL_SUPPORT",
    "Certificate",
    "available_certificates",
    "bound_terms",
    "certified_bound",
    "find_certificate",
    "grid_cell",
    "load_certificate",
    "next_state",
    "save_certificate",
    "scaling_derivative",
    "tail_potential",
]

Array = NDArray[np.float64]

NUMERICAL_SUPPORT = "proven given its certificate; the certificate's inequality is supported numerically only"
"""How far Theorem 3 is proven: said in every bound that it gives."""


# ----------------------------------------------------------------------------------------------------
# The state of a coordinate, and the parts of a potential: formulas that the proof works on.


def next_state(beta1: Value, beta2: Value, z: Value, s: Value, x: Value) -> tuple[Value, Value]:
    """(z', s') after a step with g = x G from z = m sgn(G) / sqrt(v), s = v / G^2; 0/0 := 0.

    >>> next_state(0.0, 0.75, 0.0, 0.0, 1.0)                # sign descent on the first step: 1 / sqrt(c)
    (2.0, 0.25)
    """
    new_s = beta2 * s + second_moment_weight(beta2) * x**2
    momentum = beta1 * z * sqrt(s) + (1 - beta1) * x
    if is_symbolic(momentum, new_s):
        return momentum / sqrt(new_s), new_s
    return momentum / sqrt(where(new_s > 0, new_s, 1.0)), new_s


def scaling_derivative(h: Value, s: Value, h_s: Value) -> Value:
    """h - 2 s h_s, the derivative of G -> G h(z, v / G^2) where s = v / G^2: |.| <= Lambda makes it Lipschitz."""
    return h - 2 * s * h_s


def tail_potential(boundary: Value, tail_slope: Value, s: Value, s_max: Value) -> Value:
    """h above s_max: boundary - C (sqrt(s) - sqrt(s_max)), so that |G| h(., v / G^2) -> -C sqrt(v) as G -> 0."""
    return boundary - tail_slope * (sqrt(s) - sqrt(s_max))


# ----------------------------------------------------------------------------------------------------
# Certificates as data.


@dataclass(frozen=True, eq=False)
class Certificate:
    """A potential on a grid, interpolated bilinearly in (z, log s), with the numbers that go with it.

    Attributes:
        beta1: 0 <= beta1 < sqrt(beta2).
        beta2: < 1.
        noise_weight: lambda > 0.
        gain: J > 0, lowered by the safety margin.
        tail_slope: C with 0 < C sqrt(c) <= lambda.
        z_grid: increasing, from -C_m to C_m, shape [n_z].
        log_s_grid: increasing, from log s_min to log s_max, shape [n_s].
        values: h on the grid, shape [n_z, n_s], none positive.
    """

    beta1: float
    beta2: float
    noise_weight: float
    gain: float
    tail_slope: float
    z_grid: Array
    log_s_grid: Array
    values: Array

    def __post_init__(self) -> None:
        require_betas(self.beta1, self.beta2)
        shape = (len(self.z_grid), len(self.log_s_grid))
        require(self.values.shape == shape, f"values of shape {shape}", f"shape = {self.values.shape}")
        require(bool(np.all(np.isfinite(self.values))), "finite values", "some value is not finite")
        highest = float(self.values.max())
        require(highest <= 0, "h <= 0", describe("max h", highest), "subtract max h from all values")
        for name, grid in (("z_grid", self.z_grid), ("log_s_grid", self.log_s_grid)):
            smallest = float(np.diff(grid).min())
            require(smallest > 0, f"{name} increasing", describe("smallest step", smallest))
        reach = normalized_step_bound(self.beta1, self.beta2)
        ends = bool(np.allclose([self.z_grid[0], self.z_grid[-1]], [-reach, reach], rtol=1e-12))
        require(ends, "z_grid from -C_m to C_m", describe("z_grid", self.z_grid), f"C_m = {reach:.17g}")
        require(self.gain > 0, "J > 0", describe("J", self.gain))
        limit = self.noise_weight / np.sqrt(second_moment_weight(self.beta2))
        slope = describe("C", self.tail_slope)
        allowed = 0 < self.tail_slope <= limit * (1 + 1e-12)
        require(allowed, "0 < C <= lambda / sqrt(c)", slope, f"take C up to {limit:.6g}")

    @property
    def s_max(self) -> float:
        """Where the tail begins."""
        return float(np.exp(self.log_s_grid[-1]))

    @property
    def largest_eta(self) -> float:
        """J / lambda: Theorem 3 needs eta below it."""
        return self.gain / self.noise_weight

    @cached_property
    def lipschitz_constant(self) -> float:
        """Lambda = sup |h - 2 s h_s|, exactly: bilinear in each cell, so that the corners decide; and the tail."""
        slopes = np.diff(self.values, axis=1) / np.diff(self.log_s_grid)  # s h_s, on each cell's two z edges
        inside = np.abs(np.stack([self.values[:, :-1], self.values[:, 1:]]) - 2 * slopes).max()
        below = np.abs(self.values[:, 0]).max()
        above = np.abs(self.values[:, -1] + self.tail_slope * np.sqrt(self.s_max)).max()
        return float(max(inside, below, above))

    def potential(self, z: ArrayLike, s: ArrayLike) -> Array:
        """h(z, s), for |z| <= C_m and s >= 0 (broadcast together)."""
        z, s = np.asarray(z, float), np.asarray(s, float)
        log_s = np.log(np.clip(s, np.exp(self.log_s_grid[0]), self.s_max))
        i, across = grid_cell(self.z_grid, z)
        j, along = grid_cell(self.log_s_grid, log_s)
        low = self.values[i, j] * (1 - along) + self.values[i, j + 1] * along
        high = self.values[i + 1, j] * (1 - along) + self.values[i + 1, j + 1] * along
        boundary: Array = low * (1 - across) + high * across
        return np.asarray(tail_potential(boundary, self.tail_slope, np.maximum(s, self.s_max), self.s_max))

    def step_value(self, z: ArrayLike, s: ArrayLike, x: ArrayLike) -> Array:
        """z' + h(z', s') after a step with g = x G (broadcast together)."""
        new_z, new_s = next_state(
            self.beta1, self.beta2, np.asarray(z, float), np.asarray(s, float), np.asarray(x)
        )
        return np.asarray(new_z + self.potential(new_z, new_s))

    def initial_potential(self, first_gradient: ArrayLike, v0: ArrayLike) -> float:
        """sum_i |G_{1,i}| (-h(0, v_{0,i} / G_{1,i}^2)); a coordinate with G = 0 counts C sqrt(v_0), the limit."""
        gradient, v0 = np.broadcast_arrays(np.abs(np.asarray(first_gradient, float)), np.asarray(v0, float))
        # In terms of sqrt(v_0), so that a small gradient neither divides by zero nor overflows.
        nonzero = np.where(gradient > 0, gradient, 1.0)
        ratio = np.minimum(np.sqrt(v0) / nonzero, np.sqrt(self.s_max)) ** 2
        excess = np.maximum(np.sqrt(v0) - gradient * np.sqrt(self.s_max), 0.0)
        return float(np.sum(-gradient * self.potential(0.0, ratio) + self.tail_slope * excess))


def grid_cell(grid: Array, x: Array) -> tuple[NDArray[np.int64], Array]:
    """The cell of an increasing grid that x lies in, and where in it, from 0 to 1 (x is clipped to the grid)."""
    index = np.clip(np.searchsorted(grid, x, side="right") - 1, 0, len(grid) - 2)
    share = (x - grid[index]) / (grid[index + 1] - grid[index])
    return index, np.clip(share, 0.0, 1.0)


def save_certificate(certificate: Certificate, path: Path) -> None:
    """Write a certificate as ``.npz``."""
    np.savez_compressed(path, **{f.name: getattr(certificate, f.name) for f in fields(certificate)})


def load_certificate(path: Path) -> Certificate:
    """Read a certificate, and check all of its conditions but the inequality.

    Raises:
        HypothesisError: if one of them is violated.
    """
    with np.load(path) as data:
        numbers = {name: data[name] for name in data.files}
    return Certificate(**{k: v.item() if v.ndim == 0 else v for k, v in numbers.items()})


@lru_cache
def available_certificates() -> tuple[Certificate, ...]:
    """The certificates that come with the package."""
    folder = Path(str(files("theory.l1") / "certificates"))
    return tuple(load_certificate(path) for path in sorted(folder.glob("*.npz")))


def find_certificate(beta1: float, beta2: float, eta: float = 0.0) -> Certificate:
    """The committed certificate for these betas with the smallest Lambda / (J - lambda eta).

    Raises:
        HypothesisError: if there is none; it lists the betas that have one, or the largest eta.
    """
    certificates = available_certificates()
    given = f"beta1 = {beta1:g}, beta2 = {beta2:g}"
    at_betas = [c for c in certificates if np.allclose([c.beta1, c.beta2], [beta1, beta2], rtol=0, atol=1e-12)]
    known = ", ".join(sorted({f"({c.beta1:g}, {c.beta2:g})" for c in certificates}))
    advice = f"take one of {known}, or compute one with proofs.certificates.compute"
    require(bool(at_betas), "betas with a certificate", given, advice)
    largest = max(c.largest_eta for c in at_betas)
    advice = f"take eta below {largest:.4g}"
    require(0 <= eta < largest, "0 <= eta < J / lambda", f"eta = {eta:g} at {given}", advice)
    usable = [c for c in at_betas if c.largest_eta > eta]
    return min(usable, key=lambda c: c.lipschitz_constant / (c.gain - c.noise_weight * eta))


# ----------------------------------------------------------------------------------------------------
# The bound.


def certified_bound(
    certificate: Certificate, problem: Problem, adam: AdamParameters, first_gradient: ArrayLike, v0: ArrayLike
) -> Bound:
    """Theorem 3: bound on sum_k E||grad L(w_k)||_1 under the averaged l1 test.

    Args:
        certificate: for the run's betas, with lambda eta < J.
        problem: L, d, Delta and K.
        adam: eta is of the l1 test, on average over the steps; ``log_growth`` makes s_t smaller.
        first_gradient: G_1, shape [d] (a scalar stands for d equal coordinates).
        v0: shape [d] or a scalar, in place of ``adam.sum_sqrt_v0``.

    Raises:
        HypothesisError: for other betas than the certificate's, or if lambda eta >= J, naming the largest eta.
    """
    beta1, beta2 = certificate.beta1, certificate.beta2
    given = f"{describe('beta1', adam.beta1)}, {describe('beta2', adam.beta2)}"
    same = np.allclose([adam.beta1, adam.beta2], [beta1, beta2], rtol=0, atol=1e-12)
    require(same, f"the certificate's betas ({beta1:g}, {beta2:g})", given, "see find_certificate")
    kept = certificate.gain - certificate.noise_weight * adam.eta
    advice = f"take eta below J / lambda = {certificate.largest_eta:.6g}"
    require(kept > 0, "lambda eta < J", describe("eta", adam.eta), advice)
    energy = gradient_energy(problem.steps, problem.dimension, beta2, adam.log_growth)
    step = mean_step(energy, problem.steps, problem.dimension, beta1, beta2)
    terms = bound_terms(problem, adam.alpha, certificate.lipschitz_constant, step)
    terms["initial potential"] = _initial(certificate, problem.dimension, first_gradient, v0)
    return Bound(
        value=sum(terms.values()) / kept,
        theorem=f"Theorem 3 (averaged l1 norm test): {NUMERICAL_SUPPORT}",
        constants={
            "lambda": certificate.noise_weight,
            "J": certificate.gain,
            "C": certificate.tail_slope,
            "Lambda": certificate.lipschitz_constant,
            "J - lambda eta": kept,
            "s_t": step,
        },
        terms={name: term / kept for name, term in terms.items()},
    )


def bound_terms(
    problem: Problem, step_size: Value, lipschitz_constant: Value, mean_step: Value
) -> dict[str, Value]:
    """Theorem 3's right side but for the initial potential: gap, the descent lemma's square, the drift."""
    moved = step_size * problem.steps * problem.smoothness * problem.dimension
    return {
        "initial gap": problem.initial_gap / step_size,
        "second order": moved * mean_step**2 / 2,
        "potential drift": moved * lipschitz_constant * mean_step,
    }


def _initial(certificate: Certificate, dimension: Value, first_gradient: ArrayLike, v0: ArrayLike) -> float:
    gradient, start = np.broadcast_arrays(np.asarray(first_gradient, float), np.asarray(v0, float))
    if gradient.ndim == 0:
        return float(dimension) * certificate.initial_potential(gradient, start)
    given = f"{gradient.shape[-1]} coordinates with dimension = {dimension}"
    require(gradient.shape == (dimension,), "first_gradient and v0 of shape [d] or scalars", given)
    return certificate.initial_potential(gradient, start)
