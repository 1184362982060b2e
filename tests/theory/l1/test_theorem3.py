"""Certificates as data, and the bound of Theorem 3 on adversarial runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import evaluate, parameters
from theory.adam.constants import normalized_step_bound
from theory.l1 import theorem3 as l1
from theory.l1.costs import Kind
from theory.l1.theorem import l1_test_bound, largest_admissible_eta
from theory.l1.verification import read_record, record_path

Array = NDArray[np.float64]
L1_BETAS = [(0.0, 0.95), (0.5, 0.9), (0.9, 0.95), (0.9, 0.999)]
VARIANCE_BETAS = [(0.0, 0.9), (0.0, 0.95), (0.5, 0.9), (0.9, 0.95), (0.9, 0.999), (0.95, 0.99)]
BETAS_OF_A_KIND = [*((*b, Kind.L1) for b in L1_BETAS), *((*b, Kind.VARIANCE) for b in VARIANCE_BETAS)]


def certified(certificate, **values):
    """Theorem 3's bound, at the certificate's betas."""
    bound = partial(l1.certified_bound, certificate)
    return evaluate(bound, beta1=certificate.beta1, beta2=certificate.beta2, **values)


PROBLEM = {"smoothness": 2.0, "dimension": 4, "initial_gap": 3.0, "steps": 1000, "step_size": 1e-3}
certificates = pytest.mark.parametrize(
    "certificate", l1.available_certificates(), ids=lambda c: f"{c.kind}-{c.beta1}-{c.beta2}-{c.noise_weight}"
)


def test_the_promised_betas_have_certificates() -> None:
    for beta1, beta2 in L1_BETAS:
        assert l1.find_certificate(beta1, beta2).largest_eta > 0.2
    for beta1, beta2 in VARIANCE_BETAS:
        assert l1.find_certificate(beta1, beta2, 0.9, Kind.VARIANCE).largest_eta > 0.9


# ----------------------------------------------------------------------------------------------------
# The potential.


@certificates
def test_potential_against_a_slow_twin(certificate: l1.Certificate) -> None:
    generator = np.random.default_rng(0)
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    low, high = certificate.log_s_grid[0], certificate.log_s_grid[-1]
    z = generator.uniform(-reach, reach, 2000)
    log_s = generator.uniform(low - 2, high + 5, 2000)
    interpolate = RegularGridInterpolator((certificate.z_grid, certificate.log_s_grid), certificate.values)
    expected = interpolate(np.stack([z, np.clip(log_s, low, high)], axis=-1))
    tail = np.where(log_s > high, np.exp(log_s / 2) - np.exp(high / 2), 0.0)
    found = certificate.potential(z, np.exp(log_s))
    np.testing.assert_allclose(found, expected - certificate.tail_slope * tail, rtol=1e-9, atol=1e-9)


@certificates
def test_lipschitz_constant_is_the_supremum(certificate: l1.Certificate) -> None:
    """Differences of |G| h(sgn(G) m / sqrt(v), v / G^2) over small and large steps, across zero too."""
    generator = np.random.default_rng(1)
    reach = normalized_step_bound(certificate.beta1, certificate.beta2)
    n = 20_000

    def phi(gradient: Array, z: Array, root: Array) -> Array:
        return np.abs(gradient) * certificate.potential(np.sign(gradient) * z, (root / gradient) ** 2)

    z, root = generator.uniform(-reach, reach, n), np.exp(generator.uniform(-20, 6, n))
    first = generator.choice([-1.0, 1.0], n)
    second = np.where(
        generator.random(n) < 0.5, first * np.exp(1e-4 * generator.normal(size=n)), generator.normal(size=n)
    )
    slope = np.abs(phi(second, z, root) - phi(first, z, root)) / np.abs(second - first)
    assert slope.max() <= certificate.lipschitz_constant * (1 + 1e-6)
    # It is attained: at a corner of a cell, or in the tail.
    step = np.diff(certificate.log_s_grid)
    corners = np.abs(certificate.values[:, :-1] - 2 * np.diff(certificate.values, axis=1) / step).max()
    others = np.abs(certificate.values[:, 1:] - 2 * np.diff(certificate.values, axis=1) / step).max()
    tail = np.abs(certificate.values[:, -1] + certificate.tail_slope * np.sqrt(certificate.s_max)).max()
    assert certificate.lipschitz_constant == pytest.approx(max(corners, others, tail), rel=1e-12)


def test_a_steep_tail_decides_the_lipschitz_constant() -> None:
    """Of the kind variance C is free; |G| h(z, v / G^2) has the slope h + C sqrt(s_max) in the tail."""
    certificate = replace(l1.find_certificate(0.5, 0.9, kind=Kind.VARIANCE), tail_slope=100.0)
    root, z = np.sqrt(certificate.s_max), certificate.z_grid
    low, high = (gradient * certificate.potential(z, (root / gradient) ** 2) for gradient in (0.1, 0.2))
    assert certificate.lipschitz_constant == pytest.approx(np.abs(high - low).max() / 0.1, rel=1e-9)


@certificates
def test_the_start_constant_is_what_the_norms_cost(certificate: l1.Certificate) -> None:
    s = np.exp(np.linspace(certificate.log_s_grid[0] - 5, certificate.log_s_grid[-1] + 5, 20_000))
    costs = -certificate.potential(0.0, s) - certificate.tail_slope * np.sqrt(s)
    assert costs.max() <= certificate.start_constant * (1 + 1e-12)
    assert costs.max() >= 0.8 * certificate.start_constant


def test_the_certificate_changes_where_both_bounds_agree() -> None:
    def find(eta: float) -> l1.Certificate:
        return l1.find_certificate(0.9, 0.95, eta, Kind.VARIANCE)

    def best_bound(certificate: l1.Certificate) -> float:
        problem, adam = parameters(**PROBLEM, beta1=0.9, beta2=0.95, eta=low)
        step = l1.best_certified_step_size(certificate, problem, adam)
        return l1.certified_bound(certificate, problem, replace(adam, step_size=step), 0.0, 0.0).value

    low, high = 0.0, 0.68
    for _ in range(40):
        eta = (low + high) / 2
        low, high = (eta, high) if find(eta) is find(0.0) else (low, eta)
    assert find(low) is not find(high)
    assert best_bound(find(low)) == pytest.approx(best_bound(find(high)), rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.0, 0.9), st.floats(-1, 1), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_states_never_leave_the_certificate(ratio: float, share: float, s: float, x: float) -> None:
    beta2 = 0.95
    beta1 = ratio * beta2**0.5
    reach = normalized_step_bound(beta1, beta2)
    new_z, new_s = l1.next_state(beta1, beta2, share * reach, s, x)
    assert abs(new_z) <= reach * (1 + 1e-9)
    assert new_s >= beta2 * s


def test_next_state_is_adam() -> None:
    beta1, beta2, gradient, m, v, g = 0.9, 0.95, -0.3, 0.02, 0.004, 0.7
    new_m, new_v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    z, s = l1.next_state(beta1, beta2, -m / v**0.5, v / gradient**2, g / gradient)
    assert z == pytest.approx(-new_m / new_v**0.5, rel=1e-12)
    assert s == pytest.approx(new_v / gradient**2, rel=1e-12)
    symbolic = l1.next_state(*map(sympy.Rational, ("9/10", "19/20", "1/2", "4", "1")))
    assert float(symbolic[0]) == pytest.approx(l1.next_state(0.9, 0.95, 0.5, 4.0, 1.0)[0], rel=1e-14)


def test_nothing_seen_and_no_gradient_is_state_zero() -> None:
    assert l1.next_state(0.9, 0.95, 0.0, 0.0, 0.0) == (0.0, 0.0)


@certificates
def test_initial_potential_is_the_limit_where_the_gradient_vanishes(certificate: l1.Certificate) -> None:
    at_zero = certificate.initial_potential([0.0, 0.0], [4.0, 0.0])
    assert at_zero == pytest.approx(2 * certificate.tail_slope, rel=1e-12)
    assert certificate.initial_potential([1e-12, 0.0], [4.0, 0.0]) == pytest.approx(at_zero, rel=1e-9)
    direct = -0.3 * float(certificate.potential(0.0, 0.5 / 0.09))
    assert certificate.initial_potential([-0.3], [0.5]) == pytest.approx(direct, rel=1e-12)


# ----------------------------------------------------------------------------------------------------
# Conditions, by name.


def test_certificates_survive_a_file(tmp_path: Path) -> None:
    for kind in Kind:
        original = l1.find_certificate(0.9, 0.95, kind=kind)
        l1.save_certificate(original, tmp_path / "certificate.npz")
        loaded = l1.load_certificate(tmp_path / "certificate.npz")
        assert (loaded.gain, loaded.kind) == (original.gain, kind)
        np.testing.assert_array_equal(loaded.values, original.values)


def test_records_are_written_as_they_are_read() -> None:
    path = next(path for path in l1.certificate_files() if record_path(path).exists())
    record = read_record(path)
    assert record is not None
    assert record.text() == record_path(path).read_text(encoding="utf-8")


def test_a_file_without_a_kind_is_of_the_l1_kind(tmp_path: Path) -> None:
    l1.save_certificate(l1.find_certificate(0.9, 0.95), tmp_path / "certificate.npz")
    with np.load(tmp_path / "certificate.npz") as data:
        older = {name: data[name] for name in data.files if name != "kind"}
    np.savez(tmp_path / "older.npz", **older)
    assert l1.load_certificate(tmp_path / "older.npz").kind is Kind.L1


def test_committed_files_are_small() -> None:
    folder = Path(l1.__file__).parent / "certificates"
    sizes = [path.stat().st_size for path in folder.glob("*.npz")]
    assert len(sizes) >= len(BETAS_OF_A_KIND)
    assert max(sizes) < 300_000


@pytest.mark.parametrize(
    ("change", "hypothesis"),
    [
        (lambda c: {"values": c.values + 1.0}, "h <= 0"),
        (lambda c: {"tail_slope": 1.5 * c.noise_weight / np.sqrt(1 - c.beta2)}, "0 < C <= lambda / sqrt"),
        (lambda c: {"tail_slope": 0.0}, "0 < C <= lambda / sqrt"),
        (lambda c: {"gain": 0.0}, "J > 0"),
        (lambda c: {"z_grid": c.z_grid / 2}, "z_grid from -C_m to C_m"),
        (lambda c: {"log_s_grid": c.log_s_grid[::-1]}, "log_s_grid increasing"),
        (lambda c: {"values": c.values[:, 1:]}, "values of shape"),
        (lambda c: {"values": np.where(c.values == 0, np.nan, c.values)}, "finite values"),
        (lambda c: {"beta1": 0.99}, "beta1 < sqrt"),
        (lambda c: {"kind": Kind.VARIANCE, "tail_slope": 0.0}, "0 < C"),
    ],
)
def test_a_broken_certificate_is_refused(change: object, hypothesis: str) -> None:
    certificate = l1.find_certificate(0.9, 0.95)
    with pytest.raises(HypothesisError) as caught:
        replace(certificate, **change(certificate))  # type: ignore[operator]
    assert hypothesis in caught.value.hypothesis


def test_unknown_betas_are_refused_with_the_known_ones() -> None:
    with pytest.raises(HypothesisError, match=r"betas with a certificate.*\(0\.9, 0\.95\)"):
        l1.find_certificate(0.3, 0.7)


def test_too_large_an_eta_is_refused_with_the_largest_one() -> None:
    certificate = l1.find_certificate(0.9, 0.95)
    start = {"first_gradient": 1.0, "v0": 0.0}
    assert certified(certificate, **PROBLEM, eta=0.999 * certificate.largest_eta, **start).value > 0
    with pytest.raises(HypothesisError, match="lambda eta < J") as caught:
        certified(certificate, **PROBLEM, eta=1.001 * certificate.largest_eta, **start)
    assert f"{certificate.largest_eta:.6g}" in caught.value.nearest
    with pytest.raises(HypothesisError, match="J / lambda"):
        l1.find_certificate(0.9, 0.95, eta=50.0)


def test_shapes_must_fit_the_dimension() -> None:
    certificate = l1.find_certificate(0.9, 0.95)
    with pytest.raises(HypothesisError, match="3 coordinates with dimension = 4"):
        certified(certificate, **PROBLEM, eta=0.1, first_gradient=[1.0, 2.0, 3.0], v0=0.0)


# ----------------------------------------------------------------------------------------------------
# The bound.


@certificates
def test_the_bound_against_a_twin(certificate: l1.Certificate) -> None:
    eta = 0.5 * certificate.largest_eta
    bound = certified(certificate, **PROBLEM, eta=eta, first_gradient=[1.0, -2.0, 0.0, 0.5], v0=0.01)
    beta1, beta2 = certificate.beta1, certificate.beta2
    step = (1 - beta1) / np.sqrt((1 - beta2) * (1 - beta1**2 / beta2))
    right = 3.0 / 1e-3 + 1e-3 * 1000 * 2.0 * 4 * (step**2 / 2 + certificate.lipschitz_constant * step)
    for gradient in (1.0, 2.0, 0.5):
        right -= gradient * float(certificate.potential(0.0, 0.01 / gradient**2))
    right += certificate.tail_slope * 0.1
    kept = certificate.gain - certificate.noise_weight * eta ** (1 if certificate.kind == "l1" else 2)
    assert bound.value == pytest.approx(right / kept, rel=1e-9)
    assert sum(bound.terms.values()) == pytest.approx(bound.value, rel=1e-12)
    assert certificate.support in bound.theorem


def test_a_scalar_start_stands_for_equal_coordinates() -> None:
    certificate = l1.find_certificate(0.5, 0.9)
    same = [
        certified(certificate, **PROBLEM, eta=0.1, first_gradient=gradient, v0=0.2).value
        for gradient in (0.7, [0.7] * 4)
    ]
    assert same[0] == pytest.approx(same[1], rel=1e-12)


def test_knowing_the_second_moments_helps() -> None:
    certificate = l1.find_certificate(0.9, 0.999)
    start = {"first_gradient": 1.0, "v0": 0.1}
    without = certified(certificate, **PROBLEM, eta=0.1, **start)
    known = certified(certificate, **PROBLEM, eta=0.1, **start, log_growth=0.0)
    assert known.value < 0.9 * without.value
    assert known.constants["s_t"] < without.constants["s_t"]


@pytest.mark.parametrize(("beta1", "beta2"), L1_BETAS)
def test_it_is_sharper_than_the_theorem_without_a_certificate(beta1: float, beta2: float) -> None:
    problem = PROBLEM | {"steps": 100_000}
    eta = 0.5 * largest_admissible_eta(beta1, beta2)
    bound = certified(l1.find_certificate(beta1, beta2), **problem, eta=eta, first_gradient=1.0, v0=0.0)
    assert bound.value < evaluate(l1_test_bound, **problem, beta1=beta1, beta2=beta2, eta=eta).value


class Adversary:
    """Adam on sum_i (sqrt(1 + w_i^2) - 1) with noise chosen to hurt, under the test of the certificate's kind."""

    def __init__(self, certificate: l1.Certificate, eta: float, runs: int = 60, dimension: int = 4) -> None:
        self.certificate, self.eta, self.runs, self.dimension = certificate, eta, runs, dimension
        self.generator = np.random.default_rng(5)
        self.start = np.full(dimension, 2.0)

    def noise(self, kind: str, gradient: Array, z: Array, s: Array) -> Array:
        """X = g / G with mean 1; the test holds at every step, by all coordinates or with all noise in one."""
        shape, relative = gradient.shape, np.full(gradient.shape, self.eta)
        if kind == "one coordinate":
            relative = np.zeros(shape)
            size = np.abs(gradient[:, 0])
            relative[:, 0] = self.eta * np.abs(gradient).sum(axis=1) / np.where(size > 0, size, 1.0)
        if kind == "rare spikes":
            chance = 0.02
            return self._two_points(1 - relative * np.sqrt(chance / (1 - chance)), relative)
        if kind == "certificate's own":
            return self._worst_law(z, s, relative)
        return 1 + relative * self.generator.choice([-1.0, 1.0], shape)

    def _two_points(self, lower: Array, deviation: Array) -> Array:
        a = 1 - lower
        b = deviation**2 / np.where(a > 0, a, 1.0)
        chance = np.where(a > 0, b / np.where(a > 0, a + b, 1.0), 1.0)
        return np.where(self.generator.random(lower.shape) < chance, lower, 1 + b)

    def _worst_law(self, z: Array, s: Array, deviation: Array) -> Array:
        """Of several lower atoms, the one that the potential likes least."""
        candidates = [np.zeros_like(z), -0.3 * np.sqrt(s), 1 - deviation, 1 - 3 * deviation, 1 - 0.2 * deviation]
        lowers = np.stack([np.minimum(c, 1 - 1e-3) for c in candidates])
        a = 1 - lowers
        b = deviation**2 / a
        at_lower, at_upper = (self.certificate.step_value(z, s, x) for x in (lowers, 1 + b))
        best = ((b * at_lower + a * at_upper) / (a + b)).argmin(axis=0)
        return self._two_points(np.take_along_axis(lowers, best[None], axis=0)[0], deviation)

    def run(self, kind: str, steps: int, step_size: float) -> float:
        """sum_k E||G_k||_1, over the runs."""
        beta1, beta2 = self.certificate.beta1, self.certificate.beta2
        w = np.tile(self.start, (self.runs, 1))
        m, v, total = np.zeros_like(w), np.zeros_like(w), 0.0
        for _ in range(steps):
            gradient = w / np.sqrt(1 + w**2)
            total += float(np.abs(gradient).sum(axis=1).mean())
            nonzero = np.where(gradient == 0, 1.0, gradient)
            z = np.sign(gradient) * m / np.sqrt(np.where(v > 0, v, 1.0))
            g = gradient * self.noise(kind, gradient, z, v / nonzero**2)
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
            w = w - step_size * m / np.sqrt(np.where(v > 0, v, 1.0))
        return total


ADVERSARIES = [
    (*case, kind)
    for case in BETAS_OF_A_KIND
    for kind in ("all coordinates", "one coordinate", "rare spikes", "certificate's own")
    if kind != "one coordinate" or case[2] is Kind.L1
]


@pytest.mark.parametrize(("beta1", "beta2", "weight", "kind"), ADVERSARIES)
def test_theorem_3_holds_on_adversarial_runs(beta1: float, beta2: float, weight: Kind, kind: str) -> None:
    certificate = l1.find_certificate(beta1, beta2, kind=weight)
    steps = 200
    for share in (0.8,):
        adversary = Adversary(certificate, eta=share * certificate.largest_eta)
        gap = float(np.sum(np.sqrt(1 + adversary.start**2) - 1))
        for step_size in (0.003, 0.03):
            bound = certified(
                certificate,
                smoothness=1.0,
                dimension=4,
                initial_gap=gap,
                steps=steps,
                step_size=step_size,
                eta=adversary.eta,
                first_gradient=adversary.start / np.sqrt(1 + adversary.start**2),
                v0=0.0,
            )
            assert bound.value / adversary.run(kind, steps, step_size) >= 1
