"""Floors, epsilon and falling step sizes in Theorem 3: formulas against twins, bounds on runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import evaluate
from theory.l1 import theorem3
from theory.l1.costs import Kind, deviation_weight, small_step_share

Array = NDArray[np.float64]
RUN = {"smoothness": 1.0, "dimension": 3, "steps": 300, "step_size": 0.01, "beta1": 0.5, "beta2": 0.9}
kinds = pytest.mark.parametrize("kind", list(Kind))


def bound_of(kind, eta=0.3, **changes):
    certificate = theorem3.find_certificate(0.5, 0.9, eta, kind)
    return evaluate(
        lambda problem, adam, **own: theorem3.certified_bound(certificate, problem, adam, **own),
        **{**RUN, "eta": eta, "initial_gap": 2.0, "first_gradient": 0.8, "v0": 0.0, **changes},
    )


@kinds
def test_equal_multipliers_are_a_larger_step_size(kind):
    costs = {"epsilon": 1e-3, "floors": 0.1}
    twice = bound_of(kind, **costs, multipliers=[2.0] * RUN["steps"])
    assert twice.value == pytest.approx(
        2 * bound_of(kind, **costs, step_size=2 * RUN["step_size"]).value, rel=1e-9
    )


@given(st.floats(1e-3, 1e3), st.floats(0, 1e3), st.floats(1e-3, 1e3), st.floats(1e-6, 1e6))
def test_the_smaller_of_variance_and_worst_loss_is_below_the_line(weight, slope, kept, x):
    kappa = deviation_weight(weight, slope, kept)
    assert kappa >= slope
    assert min(weight * x**2, kept + slope * x) <= kappa * x * (1 + 1e-12)


@given(st.floats(-1, 1), st.floats(-6, 6), st.floats(-3, 3), st.floats(-3, 3))
@settings(deadline=None, max_examples=200)
def test_a_certificate_of_the_variance_is_one_of_the_l1_kind(z, log_s, log_a, log_b):
    """On the two-point law of 1 - a and 1 + b."""
    below, above, s = 10**log_a, 10**log_b, 10**log_s
    chance, deviation = above / (above + below), np.sqrt(above * below)
    for certificate in theorem3.certificates_at(0.5, 0.9, Kind.VARIANCE):
        same, state = certificate.for_deviations, z * certificate.largest_step
        low, high = same.step_value(state, s, 1 - below), same.step_value(state, s, 1 + above)
        left = chance * low + (1 - chance) * high - same.potential(state, s)
        assert left + same.noise_weight * deviation >= same.gain - 1e-9
        assert (same.kind, same.proven) == (Kind.L1, certificate.proven)


def test_a_tenth_of_the_weight_is_not_enough():
    certificate = theorem3.certificates_at(0.5, 0.9, Kind.VARIANCE)[-1].for_deviations
    z, s, a, b = np.meshgrid([-1.0, 0.0, 1.0], np.geomspace(1e-4, 1e4, 9), *2 * [np.geomspace(1e-2, 1e2, 25)])
    state, chance = z * certificate.largest_step, b / (a + b)
    mean = chance * certificate.step_value(state, s, 1 - a) + (1 - chance) * certificate.step_value(
        state, s, 1 + b
    )
    left = mean - certificate.potential(state, s) - certificate.gain
    assert np.min(left + certificate.noise_weight * np.sqrt(a * b)) >= 0
    assert np.min(left + certificate.noise_weight / 10 * np.sqrt(a * b)) < 0


@kinds
@given(eta=st.floats(0.01, 2), share=st.floats(0.01, 0.9), low=st.floats(-3, 0.99), rest=st.floats(0, 1))
def test_small_steps_are_as_rare_as_the_share_says(kind, eta, share, low, rest):
    """Half of the gradients with one two-point law, half with another, at the averaged test."""
    deviations = np.array([rest, 2 - rest]) * eta if kind is Kind.L1 else np.sqrt([rest, 2 - rest]) * eta
    below = 1 - low
    chance = np.where(low <= share, deviations**2 / (deviations**2 + below**2), 0.0)
    assert chance.mean() <= small_step_share(kind, eta, share) * (1 + 1e-12)


def simulate(
    kind: Kind, eta: float, *, floor: float, epsilon: float, multipliers: Array
) -> tuple[float, Array, float]:
    """sum s_k ||G_k||_1 on sum sqrt(1+w^2) - 1 with noise at its floor, G_1, and Delta."""
    generator = np.random.default_rng(3)
    w = np.full((200, RUN["dimension"]), 1.5)
    first = w[0] / np.sqrt(1 + w[0] ** 2)
    gap = float(np.sum(np.sqrt(1 + w[0] ** 2) - 1))
    m, v, total = np.zeros_like(w), np.zeros_like(w), 0.0
    for s in multipliers:
        gradient = w / np.sqrt(1 + w**2)
        total += float(s * np.abs(gradient).sum(axis=1).mean())
        size = np.abs(gradient)
        deviation = eta * (size + floor if kind is Kind.L1 else np.maximum(size, floor))
        # Mostly a little too low, against the gradient; rarely much too high.
        rare = generator.random(w.shape) < 0.1
        g = gradient + np.sign(gradient) * deviation * np.where(rare, 3.0, -1 / 3)
        m = RUN["beta1"] * m + (1 - RUN["beta1"]) * g
        v = RUN["beta2"] * v + (1 - RUN["beta2"]) * g**2
        w = w - RUN["step_size"] * s * m / (np.sqrt(v) + epsilon)
    return total, first, gap


@kinds
@pytest.mark.parametrize(("floor", "epsilon", "falls"), [(0.05, 0.0, False), (0.0, 0.1, False), (0.05, 0.1, True)])
def test_the_bounds_hold_on_runs(kind, floor, epsilon, falls):
    steps = RUN["steps"]
    multipliers = np.linspace(1, 0.1, steps) if falls else np.ones(steps)
    total, first, gap = simulate(kind, 0.3, floor=floor, epsilon=epsilon, multipliers=multipliers)
    own = {"multipliers": multipliers} if falls else {}
    bound = bound_of(
        kind, initial_gap=gap, first_gradient=first, epsilon=epsilon, floors=floor * RUN["dimension"], **own
    )
    assert total <= bound.value
    assert sum(bound.terms.values()) == pytest.approx(bound.value, rel=1e-12)
    if falls:
        assert "s_k" in bound.quantity


@kinds
def test_constant_multipliers_change_nothing(kind):
    plain, ones = bound_of(kind), bound_of(kind, multipliers=np.ones(RUN["steps"]))
    assert ones.value == pytest.approx(plain.value, rel=1e-12)


@kinds
def test_costs_grow_from_none_and_of_epsilon_from_the_chance_of_no_step(kind):
    """However small epsilon is, steps X = 0 may be lost: J' falls by C_m p_0(eta)."""
    none = bound_of(kind)
    for cost in ("floors", "epsilon"):
        values = [none.value, *(bound_of(kind, **{cost: size}).value for size in (1e-12, 1e-3, 1e-2))]
        assert values == sorted(values)
        certificate = theorem3.find_certificate(0.5, 0.9, 0.3, kind)
        lost = certificate.largest_step * small_step_share(kind, 0.3, 0.0) if cost == "epsilon" else 0.0
        kept = none.constants["J'"]
        assert values[1] == pytest.approx(none.value * kept / (kept - lost), rel=1e-3)


def test_the_floors_of_the_l1_test_cost_lambda_eta():
    certificate = theorem3.find_certificate(0.5, 0.9, 0.3)
    extra = bound_of(Kind.L1, floors=0.7).value - bound_of(Kind.L1).value
    expected = 300 * certificate.noise_weight * 0.3 * 0.7 / (certificate.gain - certificate.noise_weight * 0.3)
    assert extra == pytest.approx(expected, rel=1e-9)


@kinds
def test_the_largest_eta_with_epsilon_is_where_nothing_is_kept(kind):
    certificate = theorem3.certificates_at(0.5, 0.9, kind)[0]
    start = {**RUN, "initial_gap": 1.0, "epsilon": 1e-8}
    evaluate_at = lambda eta: evaluate(  # noqa: E731
        lambda problem, adam: theorem3.certified_bound(certificate, problem, adam), **start, eta=eta
    )
    largest = certificate.largest_eta_with_epsilon
    assert 0 < largest < certificate.largest_eta
    assert np.isfinite(evaluate_at(largest * 0.999).value)
    with pytest.raises(HypothesisError, match="J' > 0 with epsilon"):
        evaluate_at(largest * 1.001)


@kinds
@pytest.mark.parametrize("rising", [np.linspace(0.1, 1, 300), np.zeros(300), np.ones(299), np.full(300, np.nan)])
def test_step_sizes_that_rise_or_vanish_are_refused(kind, rising):
    with pytest.raises(HypothesisError, match=r"s_1 >= s_2|a multiplier for each step"):
        bound_of(kind, multipliers=rising)


@kinds
def test_the_start_from_norms_is_at_least_the_exact_one(kind):
    certificate = theorem3.find_certificate(0.5, 0.9, 0.3, kind)
    for gradient in (1e-6, 0.1, 3.0):
        for v0 in (0.0, 1e-8, 1.0, 1e6):
            exact = certificate.initial_potential(gradient, v0)
            norms = certificate.start_constant * gradient + certificate.tail_slope * np.sqrt(v0)
            assert exact <= norms * (1 + 1e-12)
    assert bound_of(kind, first_gradient=None, v0=None, initial_gradient_norm=2.4).value >= bound_of(kind).value
