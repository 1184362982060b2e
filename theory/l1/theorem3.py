r"""Theorem 3 and its twin: Adam converges under the l1 or the coordinate-wise norm test, given a certificate.

Problem:
    :mod:`theory.l1.theorem` proves a theorem for the l1 norm test whose eta is tiny. Here the alignment of
    Adam's step with the gradient is bounded by a potential function instead, found by dynamic programming.

Algorithm:
    Adam (Eq. 6), 0 <= beta1 < sqrt(beta2) < 1, c = 1 - beta2. With sd_{k,i}^2 = Var_k g_{k,i}, each **kind** of
    certificate uses its test on average only, 0/0 = 0:

        l1:        sum_k E sum_i sd_{k,i} <= eta sum_k E||G_k||_1             (the l1 test),
        variance:  sum_k E sum_i sd_{k,i}^2 / |G_{k,i}| <= eta^2 sum_k E||G_k||_1,  sd = 0 where G = 0
                                                                              (the coordinate-wise test).

    A coordinate's state is z = m / sqrt(v), signed by its gradient G, and s = v / G^2; a step with X = g / G gives

        s' = beta2 s + c X^2,        z' = (beta1 z sqrt(s) + (1 - beta1) X) / sqrt(s').

    A **certificate** is a potential h(z, s) <= 0 with numbers lambda, J, C: h is constant in s below s_min, equal
    to h(z, s_max) - C (sqrt(s) - sqrt(s_max)) above s_max, and for all |z| <= C_m, s > 0 and every law X with
    E X = 1, and x = sd(X) (kind l1, with lambda >= C sqrt(c)) or x = Var(X) (kind variance),

        E[z' + h(z', s')] + lambda x >= J + h(z, s).            (certificate inequality)

Guarantee:
    With Lambda = sup |h - 2 s h_s| and the mean step s_t = min(C_m, ((1-beta1)/(1-r)) sqrt(H/(K d))): if
    J' = J - lambda eta (l1) or J - lambda eta^2 (variance) is positive, then for all alpha > 0 and K >= 1

        J' sum_k E||G_k||_1 <= Delta/alpha + alpha K L d (s_t^2/2 + Lambda s_t)
                               + sum_i |G_{1,i}| (-h(0, v_{0,i} / G_{1,i}^2)).

    **What is proven and what is not.** That the certificate inequality implies the bound is proven
    (:mod:`proofs.l1.theorem3`). Of the certificates that come with the package the inequality has been found
    numerically, and then verified with directed rounding for all states and laws
    (:mod:`proofs.certificates.verify`), with a lambda a little larger and a J a little smaller than those of the
    file: those that are used. The result is recorded next to each file (:mod:`theory.l1.verification`). A
    certificate without such a record is supported numerically only, and every bound says which of the two holds
    (:attr:`Certificate.support`).

Files:
    A certificate is an ``.npz`` with one entry for each field of :class:`Certificate`, by its name: the numbers
    ``beta1``, ``beta2``, ``noise_weight`` (lambda), ``gain`` (J) and ``tail_slope`` (C), the float64 arrays
    ``z_grid`` [n_z], ``log_s_grid`` [n_s] and ``values`` [n_z, n_s], and the string ``kind``, ``"l1"`` or
    ``"variance"``; a file without ``kind`` is of the kind ``"l1"``. They are named
    ``beta1_<beta1>_beta2_<beta2>_lambda_<lambda>.npz``, of the kind variance ``..._variance_<lambda>.npz``.

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

from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, is_symbolic, item, sqrt, where
from theory.adam.constants import normalized_step_bound, second_moment_weight
from theory.adam_sharp.constants import gradient_energy, mean_step
from theory.bound import Bound
from theory.l1.costs import Kind, deviation_weight, epsilon_step, kept_gain, small_step_share, worst_loss
from theory.l1.verification import Verification, read_record
from theory.problem import AdamParameters, Problem, require_betas

__all__ = [
    "NUMERICAL_SUPPORT",
    "VERIFIED_SUPPORT",
    "Certificate",
    "Kind",
    "available_certificates",
    "best_certified_step_size",
    "bound_terms",
    "certificate_files",
    "certificates_at",
    "certificates_of",
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
NAMES = {Kind.L1: "Theorem 3 (averaged l1 norm test)", Kind.VARIANCE: "Theorem 3 (coordinate-wise norm test)"}
SHARES = np.concatenate([2.0 ** np.arange(-30.0, -4.0), np.arange(1.0, 16.0) / 16])
"""The q that are tried with epsilon: how small a step X = g / G still counts."""
VERIFIED_SUPPORT = "proven; its certificate is verified with directed rounding"
"""The same where the certificate's inequality has been verified (:mod:`proofs.certificates.verify`)."""


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
        tail_slope: C > 0; of the kind ``"l1"`` with C sqrt(c) <= lambda.
        z_grid: increasing, from -C_m to C_m, shape [n_z].
        log_s_grid: increasing, from log s_min to log s_max, shape [n_s].
        values: h on the grid, shape [n_z, n_s], none positive.
        kind: ``"l1"`` or ``"variance"``.
        record: of its verification, if it was loaded with one; a changed copy has none.
    """

    beta1: float
    beta2: float
    noise_weight: float
    gain: float
    tail_slope: float
    z_grid: Array
    log_s_grid: Array
    values: Array
    kind: Kind = Kind.L1
    record: Verification | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Kind(self.kind))
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
        # Of the kind variance there is no noise where G = 0, and C is free.
        limit = self.noise_weight / np.sqrt(second_moment_weight(self.beta2)) if self.kind is Kind.L1 else np.inf
        allowed = 0 < self.tail_slope <= limit * (1 + 1e-12)
        slope = describe("C", self.tail_slope)
        require(allowed, "0 < C <= lambda / sqrt(c)", slope, f"take C > 0 up to {limit:.6g}")

    @property
    def proven(self) -> bool:
        """Whether the certificate inequality is proven: verified with directed rounding, as its record says."""
        return self.record is not None

    @property
    def support(self) -> str:
        """How far the theorem is proven with this certificate."""
        return VERIFIED_SUPPORT if self.proven else NUMERICAL_SUPPORT

    @property
    def s_max(self) -> float:
        """Where the tail begins."""
        return float(np.exp(self.log_s_grid[-1]))

    @property
    def largest_eta(self) -> float:
        """J / lambda, or its root for the variance: the theorem needs eta below it."""
        ratio = self.gain / self.noise_weight
        return ratio if self.kind is Kind.L1 else float(np.sqrt(ratio))

    def kept(self, eta: Value) -> Value:
        """J' at this eta."""
        return kept_gain(self.kind, self.gain, self.noise_weight, eta)

    def fits(self, beta1: Value, beta2: Value) -> NDArray[np.bool_]:
        """Whether these are the certificate's betas (broadcast together)."""
        near = [np.isclose(x, own, rtol=0, atol=1e-12) for x, own in ((beta1, self.beta1), (beta2, self.beta2))]
        return np.asarray(near[0] & near[1])

    def largest_eta_covered(self, adam: AdamParameters) -> Value:
        """The supremum of the eta that the bound allows at these betas and this epsilon; 0 at other betas."""
        largest = where(np.asarray(adam.epsilon) > 0, self.largest_eta_with_epsilon, self.largest_eta)
        return where(self.fits(adam.beta1, adam.beta2), largest, 0.0)

    def covers(self, adam: AdamParameters) -> NDArray[np.bool_]:
        """Where the bound holds (broadcast together)."""
        return np.asarray(np.asarray(adam.eta) < self.largest_eta_covered(adam))

    @property
    def largest_step(self) -> float:
        """C_m."""
        return float(normalized_step_bound(self.beta1, self.beta2))

    @cached_property
    def largest_eta_with_epsilon(self) -> float:
        """The supremum of the eta that the bound allows with epsilon > 0: at the smallest share q."""

        def left(eta: float) -> float:
            return float(self.kept(eta) - self.largest_step * small_step_share(self.kind, eta, SHARES[0]))

        return float(brentq(left, 0.0, self.largest_eta))

    @cached_property
    def deviation_weight(self) -> float:
        """Of the kind variance: the lambda of the same potential as a certificate of the kind l1."""
        drop = self.tail_slope * np.sqrt(second_moment_weight(self.beta2))
        loss = worst_loss(self.beta1, self.beta2, self.tail_slope, self.lipschitz_constant)
        return float(deviation_weight(self.noise_weight, drop, self.gain + loss))

    @property
    def for_deviations(self) -> Certificate:
        """Of the kind variance: the certificate of the kind l1 that it is (:mod:`theory.l1.costs`)."""
        same = replace(self, noise_weight=self.deviation_weight, kind=Kind.L1)
        object.__setattr__(same, "record", self.record)
        return same

    @cached_property
    def start_constant(self) -> float:
        """h_0 >= sup_s (-h(0, s) - C sqrt(s)): in each cell from -h's larger end and the least s."""
        start = -self.potential(0.0, np.exp(self.log_s_grid))
        in_cells = np.maximum(start[:-1], start[1:]) - self.tail_slope * np.exp(self.log_s_grid[:-1] / 2)
        return float(max(start[0], in_cells.max()))  # above s_max it only falls

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
    stored = [f.name for f in fields(certificate) if f.name != "record"]
    np.savez_compressed(path, **{name: getattr(certificate, name) for name in stored})


def load_certificate(path: Path, recorded: bool = True) -> Certificate:
    """Read a certificate, and check all of its conditions but the inequality.

    Args:
        path: an ``.npz`` file.
        recorded: whether lambda and J are those of the record of its verification, where it has one.

    Raises:
        HypothesisError: if one of them is violated, or if the record is of another file.
    """
    with np.load(path) as data:
        entries = {name: data[name] for name in data.files}
    numbers: dict[str, Any] = {k: v.item() if v.ndim == 0 else v for k, v in entries.items()}
    record = read_record(path) if recorded else None
    if record is not None:
        numbers |= {"noise_weight": record.noise_weight, "gain": record.gain}
    certificate = Certificate(**numbers)
    object.__setattr__(certificate, "record", record)
    return certificate


def certificate_files() -> list[Path]:
    """The files of the certificates that come with the package."""
    return sorted(Path(str(files("theory.l1") / "certificates")).glob("*.npz"))


@lru_cache
def available_certificates() -> tuple[Certificate, ...]:
    """The certificates that come with the package."""
    return tuple(map(load_certificate, certificate_files()))


@lru_cache
def certificates_of(kind: Kind) -> tuple[Certificate, ...]:
    """All whose inequality is of this kind: of the kind l1 also those of the kind variance, at a larger lambda.

    They allow small eta only, and are better there. The converse does not follow, and is not needed: the
    coordinate-wise test implies the l1 test.

    >>> len(certificates_of(Kind.L1)) == len(available_certificates())
    True
    """
    own = tuple(c for c in available_certificates() if c.kind is kind)
    others = (c.for_deviations for c in available_certificates() if c.kind is not kind)
    return own if kind is Kind.VARIANCE else (*own, *others)


def certificates_at(beta1: float, beta2: float, kind: Kind) -> list[Certificate]:
    """The committed certificates of a kind for these betas; empty if there is none."""
    return [c for c in available_certificates() if c.kind is kind and bool(c.fits(beta1, beta2))]


def find_certificate(beta1: float, beta2: float, eta: float = 0.0, kind: Kind = Kind.L1) -> Certificate:
    """The committed certificate for these betas whose bound at its best step size is least.

    Without v_0 and epsilon, that is the one with the smallest (s_t/2 + Lambda) / J'^2.

    Raises:
        HypothesisError: if there is none; it lists the betas that have one, or the largest eta.
    """
    given = f"{describe('beta1', beta1)}, {describe('beta2', beta2)}"
    at_betas = certificates_at(beta1, beta2, kind)
    known = ", ".join(sorted({f"({c.beta1:g}, {c.beta2:g})" for c in available_certificates() if c.kind is kind}))
    advice = f"take one of {known}, or compute one with proofs.certificates.compute"
    require(bool(at_betas), f"betas with a certificate of kind {kind}", given, advice)
    largest = max(c.largest_eta for c in at_betas)
    advice = f"take eta below {largest:.4g}"
    condition = f"0 <= eta < {'J / lambda' if kind is Kind.L1 else 'sqrt(J / lambda)'}"
    require(0 <= eta < largest, condition, f"{describe('eta', eta)} at {given}", advice)
    usable = [c for c in at_betas if c.largest_eta > eta]
    step = normalized_step_bound(beta1, beta2)
    return min(usable, key=lambda c: (step / 2 + c.lipschitz_constant) / c.kept(eta) ** 2)


# ----------------------------------------------------------------------------------------------------
# The bound.


def certified_bound(
    certificate: Certificate,
    problem: Problem,
    adam: AdamParameters,
    first_gradient: ArrayLike | None = None,
    v0: ArrayLike | None = None,
    *,
    floors: Value = 0.0,
    multipliers: ArrayLike | None = None,
) -> Bound:
    """Theorem 3 or its twin: bound on sum_k E||grad L(w_k)||_1 under the averaged test of the certificate's kind.

    Args:
        certificate: for the run's betas, with J' > 0.
        problem: L, d, Delta and K; ||G_1||_1 where ``first_gradient`` is not given.
        adam: eta is of the test, on average over the steps; ``log_growth`` makes s_t smaller. With epsilon, the
            share q (:mod:`theory.l1.costs`) is chosen of a grid.
        first_gradient: G_1, shape [d] (a scalar stands for d equal coordinates), with ``v0``.
        v0: shape [d] or a scalar, in place of ``adam.sum_sqrt_v0``.
        floors: sum_i eps_i of the test's floors.
        multipliers: non-increasing s_k > 0, shape [K], of the step sizes alpha s_k: then sum_k s_k E||G_k||_1 is
            bounded, the test's averages are weighted with s_k, and s_t is C_m.

    Raises:
        HypothesisError: for other betas than the certificate's, or if J' <= 0, naming the largest eta.

    >>> certificate = find_certificate(0.9, 0.95, 0.5, Kind.VARIANCE)
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.5, step_size=4e-5)
    >>> certified_bound(certificate, problem, adam).value / 10**6 < 0.1
    True
    """
    _require_hypotheses(certificate, adam)
    decrease = _Decrease.of(problem, multipliers)
    step = _mean_step(certificate, problem, adam) if multipliers is None else certificate.largest_step
    terms = bound_terms(problem, adam.alpha, certificate.lipschitz_constant, step, decrease.squares)
    terms["initial potential"] = decrease.first * _initial(certificate, problem, adam, first_gradient, v0)
    kept, costs = _costs(certificate, problem, adam, floors, sum(terms.values()), decrease.total)
    constants = {
        "lambda": certificate.noise_weight,
        "J": certificate.gain,
        "C": certificate.tail_slope,
        "Lambda": certificate.lipschitz_constant,
        "J'": kept,
        "s_t": step,
    }
    terms |= costs
    weighted = "" if multipliers is None else "s_k "
    return Bound(
        value=sum(terms.values()) / kept,
        theorem=f"{NAMES[certificate.kind]}: {certificate.support}",
        quantity=f"sum_k {weighted}E||grad L(w_k)||_1",
        constants=constants,
        terms={name: term / kept for name, term in terms.items()},
    )


def best_certified_step_size(certificate: Certificate, problem: Problem, adam: AdamParameters) -> Value:
    """alpha = sqrt(Delta / (K L d (s_t^2/2 + Lambda s_t))), which makes the bound least.

    Raises:
        HypothesisError: at Delta = 0, where w_1 is a minimiser and the bound only falls with the step size.
    """
    problem.require_gap()
    step = _mean_step(certificate, problem, adam)
    unit = bound_terms(problem, 1.0, certificate.lipschitz_constant, step)
    return sqrt(problem.initial_gap / (unit["second order"] + unit["potential drift"]))


def bound_terms(
    problem: Problem,
    step_size: Value,
    lipschitz_constant: Value,
    mean_step: Value,
    squares: Value | None = None,
) -> dict[str, Value]:
    """The right side but for the initial potential: gap, the descent lemma's square, the drift.

    ``squares`` is sum_k s_k^2 of the multipliers of the step size, K without them.
    """
    moved = step_size * (problem.steps if squares is None else squares) * problem.smoothness * problem.dimension
    return {
        "initial gap": problem.initial_gap / step_size,
        "second order": moved * mean_step**2 / 2,
        "potential drift": moved * lipschitz_constant * mean_step,
    }


@dataclass(frozen=True)
class _Decrease:
    """sum s_k, sum s_k^2 and s_1 of the step sizes alpha s_k; K, K and 1 where they are constant."""

    total: Value
    squares: Value
    first: Value

    @classmethod
    def of(cls, problem: Problem, multipliers: ArrayLike | None) -> _Decrease:
        if multipliers is None:
            return cls(problem.steps, problem.steps, 1.0)
        s = np.asarray(multipliers, float)
        given = f"{s.size} multipliers for {problem.steps} steps"
        require(s.shape == (problem.steps,), "a multiplier for each step", given, "give s_1 to s_K")
        falls = bool(s[-1] > 0 and np.all(np.diff(s) <= 0) and np.isfinite(s[0]))
        advice = "a step size that rises, as by warm-up or bias correction, is not covered"
        require(falls, "s_1 >= s_2 >= ... > 0", describe("multipliers", s), advice)
        return cls(float(s.sum()), float(s @ s), float(s[0]))


def _require_hypotheses(certificate: Certificate, adam: AdamParameters) -> None:
    beta1, beta2 = certificate.beta1, certificate.beta2
    given = f"{describe('beta1', adam.beta1)}, {describe('beta2', adam.beta2)}"
    same = np.all(certificate.fits(adam.beta1, adam.beta2))
    require(same, f"the certificate's betas ({beta1:g}, {beta2:g})", given, "see find_certificate")
    power, root = ("", "") if certificate.kind is Kind.L1 else ("^2", " the root of")
    advice = f"take eta below{root} J / lambda = {certificate.largest_eta:.6g}"
    require(certificate.kept(adam.eta) > 0, f"lambda eta{power} < J", describe("eta", adam.eta), advice)


def _mean_step(certificate: Certificate, problem: Problem, adam: AdamParameters) -> Value:
    energy = gradient_energy(problem.steps, problem.dimension, certificate.beta2, adam.log_growth)
    return mean_step(energy, problem.steps, problem.dimension, certificate.beta1, certificate.beta2)


def _costs(
    certificate: Certificate, problem: Problem, adam: AdamParameters, floors: Value, others: Value, total: Value
) -> tuple[Value, dict[str, Value]]:
    """J' and the terms of the floors and of epsilon, at the share q of a grid that makes the bound least."""
    beta1, beta2, kind, eta = certificate.beta1, certificate.beta2, certificate.kind, adam.eta
    require(floors >= 0, "floors >= 0", describe("floors", floors), "take 0 or more")
    weight = certificate.noise_weight if kind is Kind.L1 else certificate.deviation_weight
    floor, kept = total * weight * eta * floors, certificate.kept(eta)
    if np.all(np.asarray(adam.epsilon) == 0):
        return kept, {"floors": floor} if np.any(np.asarray(floors) > 0) else {}
    share = SHARES.reshape(-1, *[1] * np.ndim(others + floor + eta + adam.epsilon))
    reach = certificate.largest_step
    # Below its floor a coordinate may lose its whole step (variance), or adds to the average of x (l1).
    lost = reach if kind is Kind.VARIANCE else reach * eta / (2 * (1 - share))
    left = np.asarray(kept - reach * small_step_share(kind, eta, share) * (np.asarray(adam.epsilon) > 0))
    advice = f"take eta below {certificate.largest_eta_with_epsilon:.4g}, or epsilon = 0"
    require(left.max(axis=0) > 0, "J' > 0 with epsilon", describe("eta", eta), advice)
    taken = total * (problem.dimension * epsilon_step(beta1, beta2, adam.epsilon, share) + lost * floors)
    cost = floor + taken
    values = np.where(left > 0, (others + cost) / np.where(left > 0, left, 1.0), np.inf)
    best = values.argmin(axis=0)

    def chosen(value: Value) -> Value:
        every = np.broadcast_to(value, values.shape)
        return item(np.take_along_axis(every, best[None], axis=0)[0])

    return chosen(left), {"floors and epsilon": chosen(cost)}


def _initial(
    certificate: Certificate,
    problem: Problem,
    adam: AdamParameters,
    first_gradient: ArrayLike | None,
    v0: ArrayLike | None,
) -> Value:
    """From G_1 and v_0, or from ||G_1||_1 and sum_i sqrt(v_{0,i}): -G h(0, v/G^2) <= h_0 |G| + C sqrt(v)."""
    if first_gradient is None:
        known = certificate.start_constant * problem.first_gradient_norm
        return known + certificate.tail_slope * adam.sum_sqrt_v0
    gradient, start = np.broadcast_arrays(
        np.asarray(first_gradient, float), np.asarray(0.0 if v0 is None else v0, float)
    )
    dimension = problem.dimension
    if gradient.ndim == 0:
        return float(dimension) * certificate.initial_potential(gradient, start)
    given = f"{gradient.shape[-1]} coordinates with dimension = {dimension}"
    require(gradient.shape == (dimension,), "first_gradient and v0 of shape [d] or scalars", given)
    return certificate.initial_potential(gradient, start)
