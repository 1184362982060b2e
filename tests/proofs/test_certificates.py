"""Theorem 3's proof, the committed certificates, and certificates that must be rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy

from proofs.certificates.check import (
    QUICK,
    check_certificate,
    margin,
)
from proofs.certificates.compute import Grid, find, lower_gain, main
from proofs.l1 import costs, theorem3
from proofs.steps import Provable
from tests.support.altered_proofs import altered
from theory.adam_sharp.constants import mean_step
from theory.l1 import theorem3 as theory
from theory.l1.costs import Kind, small_step_share
from theory.l1.theorem3 import Certificate, certificate_files, find_certificate, load_certificate

ALL = [load_certificate(path, recorded=False) for path in certificate_files()]
"""With lambda and J as found, which leave hardly any margin, not as verified."""
certificates = pytest.mark.parametrize(
    "certificate", ALL, ids=lambda c: f"{c.kind}-{c.beta1}-{c.beta2}-{c.noise_weight}"
)
of_each_kind = pytest.mark.parametrize(
    "certificate", [next(c for c in ALL if c.kind is kind and c.beta1 == 0) for kind in Kind], ids=list(Kind)
)
"""Without momentum checks are quick."""


# ----------------------------------------------------------------------------------------------------
# The proof.


def test_wrong_two_point_laws_are_rejected() -> None:
    assert altered(theorem3.two_point_laws, {"low_weight": lambda a, b: a / (a + b)}, only="E X = 1").failures
    assert altered(
        theorem3.two_point_laws, {"variance": lambda a, b: sympy.Rational(99, 100) * a * b}, only="ab"
    ).failures


@pytest.mark.parametrize(
    ("derivative", "fragment"),
    [
        (lambda h, s, h_s: h - s * h_s, r"\frac{d}{dG}"),
        (lambda h, s, h_s: h + 2 * s * h_s, r"\frac{d}{dG}"),
        (lambda h, s, h_s: h - 2 * h_s, r"\frac{d}{dG}"),
    ],
)
def test_a_wrong_derivative_is_rejected(derivative: Callable[..., Any], fragment: str) -> None:
    assert altered(
        theorem3.certificate_potential, {"theory.scaling_derivative": derivative}, only=fragment
    ).failures


@pytest.mark.parametrize(
    ("tail", "fragment"),
    [
        (lambda h, c, s, s_max: h - c * sympy.log(s / s_max), r"\lim_{G\to0}"),
        (lambda h, c, s, s_max: h - c * (s - s_max), "in the tail"),
        (lambda h, c, s, s_max: h + c * (sympy.sqrt(s) - sympy.sqrt(s_max)), r"h \le 0"),
        (lambda h, c, s, s_max: h - c * sympy.sqrt(s), "continuous"),
    ],
)
def test_a_wrong_tail_is_rejected(tail: Callable[..., Any], fragment: str) -> None:
    assert altered(theorem3.certificate_potential, {"theory.tail_potential": tail}, only=fragment).failures


def test_a_wrong_step_is_rejected() -> None:
    def without_weight(beta1: Any, beta2: Any, z: Any, s: Any, x: Any) -> Any:
        new_s = beta2 * s + x**2
        return (beta1 * z * sympy.sqrt(s) + (1 - beta1) * x) / sympy.sqrt(new_s), new_s

    def nesterov(beta1: Any, beta2: Any, z: Any, s: Any, x: Any) -> Any:
        new_z, new_s = theory.next_state(beta1, beta2, z, s, x)
        return new_z + (1 - beta1) * x / sympy.sqrt(new_s), new_s

    assert altered(theorem3.certificate_telescoping, {"theory.next_state": without_weight}, only="s'").failures
    assert altered(theorem3.certificate_telescoping, {"theory.next_state": nesterov}, only="z'").failures


@pytest.mark.parametrize("name", ["initial gap", "second order", "potential drift"])
def test_a_smaller_term_is_rejected(name: str) -> None:
    def terms(*arguments: Any) -> dict[str, Any]:
        found = theory.bound_terms(*arguments)
        return found | {name: found[name] * sympy.Rational(95, 100)}

    assert altered(theorem3.theorem_3, {"theory.bound_terms": terms}, only=r"\Delta").failures


def test_a_wrong_power_of_eta_is_rejected() -> None:
    def of_l1(_: Kind, gain: Any, weight: Any, eta: Any) -> Any:
        return gain - weight * eta

    assert altered(theorem3.theorem_3, {"kept_gain": of_l1}, only="J").failures


def smaller_share(kind: Kind, eta: Any, share: Any) -> Any:
    found = small_step_share(kind, eta, share)
    return found if kind is Kind.L1 else found * sympy.Rational(9, 10)


@pytest.mark.parametrize(
    ("lemma", "formula", "false", "fragment"),
    [
        (costs.variance_as_deviation, "deviation_weight", lambda w, b, p: b + sympy.sqrt(w * p), r"\kappa"),
        (costs.variance_as_deviation, "worst_loss", lambda b1, b2, c, lip: lip, "-D"),
        (costs.floor_cost, "kept_gain", lambda kind, gain, weight, eta: gain - weight * eta**3, "epsilon_i"),
        (costs.epsilon_cost, "epsilon_step", lambda b1, b2, eps, q: eps / q, "cost of a step"),
        (costs.epsilon_cost, "small_step_share", smaller_share, "p_q"),
    ],
)
def test_a_wrong_cost_is_rejected(lemma: Provable, formula: str, false: Callable[..., Any], fragment: str) -> None:
    assert altered(lemma, {f"theory.{formula}": false}, only=fragment).failures


def test_a_smaller_mean_step_is_rejected() -> None:
    def smaller(*arguments: Any) -> Any:
        return mean_step(*arguments) * sympy.Rational(95, 100)

    assert altered(theorem3.theorem_3, {"mean_step": smaller}, only="s_t").failures


# ----------------------------------------------------------------------------------------------------
# The certificates.


def slow_margin(certificate: Certificate, z: float, s: float, atoms: list[tuple[float, float]]) -> float:
    """The certificate inequality's margin for any finite law, in plain Python."""
    mean = sum(p * x for x, p in atoms)
    assert mean == pytest.approx(1, abs=1e-9)
    variance = sum(p * (x - 1) ** 2 for x, p in atoms)
    total = certificate.noise_weight * (variance**0.5 if certificate.kind == "l1" else variance)
    for x, p in atoms:
        new_s = certificate.beta2 * s + (1 - certificate.beta2) * x * x
        new_z = (certificate.beta1 * z * s**0.5 + (1 - certificate.beta1) * x) / new_s**0.5
        total += p * (new_z + float(certificate.potential(new_z, new_s)))
    return total - certificate.gain - float(certificate.potential(z, s))


@certificates
def test_margin_against_a_slow_twin(certificate: Certificate) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        z, s = generator.uniform(certificate.z_grid[0], certificate.z_grid[-1]), np.exp(generator.uniform(-20, 8))
        lower, upper = 1 - 10 ** generator.uniform(-2, 2), 1 + 10 ** generator.uniform(-2, 2)
        chance = (upper - 1) / (upper - lower)
        slow = slow_margin(certificate, z, s, [(lower, chance), (upper, 1 - chance)])
        assert float(margin(certificate, z, s, lower, upper)) == pytest.approx(slow, rel=1e-9, abs=1e-9)


@pytest.mark.slow
@certificates
def test_committed_certificates_pass_the_quick_check(certificate: Certificate) -> None:
    report = check_certificate(certificate)
    assert report.holds
    assert {search.search for search in report.searches} == {"grid", "random", "mixture", "descent"}
    assert report.worst.margin > 0


@certificates
def test_three_point_laws_do_no_worse(certificate: Certificate) -> None:
    generator = np.random.default_rng(1)
    for _ in range(300):
        z, s = generator.uniform(certificate.z_grid[0], certificate.z_grid[-1]), np.exp(generator.uniform(-20, 8))
        x = np.array(
            [-np.sqrt(s) * generator.exponential(), generator.uniform(-1, 1), 1 + 10 ** generator.uniform(-1, 2)]
        )
        low = generator.uniform(0, 1)
        chance = 1 / (x[2] - (low * x[0] + (1 - low) * x[1])) * (1 - (low * x[0] + (1 - low) * x[1]))
        law = [(x[0], (1 - chance) * low), (x[1], (1 - chance) * (1 - low)), (x[2], chance)]
        assert slow_margin(certificate, z, s, law) > 0


# ----------------------------------------------------------------------------------------------------
# Negative controls: the checker rejects what is not a certificate.


@of_each_kind
def test_five_percent_more_gain_is_rejected(certificate: Certificate) -> None:
    assert not check_certificate(replace(certificate, gain=1.05 * certificate.gain)).holds


@of_each_kind
@pytest.mark.parametrize("factor", [0.9, 0.5])
def test_a_scaled_potential_is_rejected(certificate: Certificate, factor: float) -> None:
    scaled = replace(certificate, values=factor * certificate.values)
    assert not check_certificate(scaled).holds


@of_each_kind
def test_a_smaller_noise_weight_is_rejected(certificate: Certificate) -> None:
    share = 0.9
    weaker = replace(
        certificate, noise_weight=share * certificate.noise_weight, tail_slope=share * certificate.tail_slope
    )
    assert not check_certificate(weaker).holds


def test_the_trivial_potential_is_rejected() -> None:
    certificate = find_certificate(0.9, 0.95)
    assert not check_certificate(replace(certificate, values=0 * certificate.values)).holds


def test_one_bad_cell_is_found() -> None:
    """A dent of a third of a unit in a single value of the potential."""
    certificate = find_certificate(0.9, 0.95)
    values = certificate.values.copy()
    values[len(values) // 2, -30] -= 0.3
    report = check_certificate(replace(certificate, values=values), QUICK)
    assert not report.holds


# ----------------------------------------------------------------------------------------------------
# The program that finds certificates.


@pytest.mark.parametrize("kind", list(Kind))
def test_a_certificate_is_found_and_checked_again(kind: Kind) -> None:
    """RMSProp with a short memory, on a coarse grid: from nothing to a file that passes the check."""
    grid = Grid(z_points=2, s_points=60, low_points=40, s_min=1e-12, s_max=20.0, tail_share=0.9, per_decade=6)
    found = find(0.0, 0.5, 2.0, grid, kind)
    lowered = lower_gain(found, QUICK, safety=0.05)
    assert 0 < lowered.gain < found.gain
    assert check_certificate(lowered).holds
    assert lowered.largest_eta > 0.2


def test_a_noise_weight_that_is_too_small_is_refused() -> None:
    grid = Grid(z_points=2, s_points=40, low_points=20, s_min=1e-8, s_max=20.0, tail_share=0.9, per_decade=5)
    with pytest.raises(RuntimeError, match="take a larger lambda"):
        find(0.0, 0.5, 1e-3, grid)


@pytest.mark.slow
def test_the_command_writes_a_certificate(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--beta1 0 --beta2 .5 --noise-weight 2 --z-points 2 --s-points 60 --low-points 40 --s-min 1e-12 --s-max 20"
    )
    main([*options.split(), "--tail-share", "0.9", "--output", str(tmp_path)])
    certificate = load_certificate(next(tmp_path.glob("*.npz")))
    assert f"J {certificate.gain:.4f}" in capsys.readouterr().out
    assert check_certificate(certificate).holds
