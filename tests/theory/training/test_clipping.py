"""Clipping: the theorem's bound against runs, its limits, and the counterexample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.adam_runs import run_adam
from tests.support.parameters import evaluate
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.training.clipping import (
    ClippingDivergence,
    clip_factor,
    clipped_bound,
    largest_admissible_eta,
    reversing_factor,
    simulate,
    wrong_probability,
)

PROBLEM = {"smoothness": 1.0, "dimension": 4, "initial_gap": 2.0, "steps": 100, "step_size": 0.01}
INSTANCE = ClippingDivergence(beta1=0.9, beta2=0.999, eta=0.3, delta=0.1, size_ratio=200.0, count=4e8)


@pytest.mark.parametrize(("beta1", "beta2", "eta", "floor"), [(0.0, 0.5, 0.5, 0.5), (0.5, 0.9, 0.3, 0.3)])
def test_bound_holds_for_the_worst_clipping(beta1, beta2, eta, floor):
    run = run_adam(
        beta1=beta1, beta2=beta2, step_size=0.02, steps=400, deviation=lambda k: eta, floor=floor, paths=100
    )
    bound = evaluate(
        clipped_bound,
        smoothness=1.0,
        dimension=4,
        initial_gap=run.gap,
        steps=400,
        step_size=0.02,
        beta1=beta1,
        beta2=beta2,
        eta=eta,
        floor=floor,
    )
    assert run.norms.sum() < bound.value


@settings(deadline=None, max_examples=60)
@given(r=st.floats(0, 0.95), beta2=st.floats(0.05, 0.999), share=st.floats(0, 0.95), floor=st.floats(0.05, 1))
def test_no_clipping_is_the_corrected_theorem_and_clipping_only_costs(r, beta2, share, floor):
    adam = {"beta1": r * beta2**0.5, "beta2": beta2, "eta": share * (floor * (1 - r)) ** 0.5, "sum_sqrt_v0": 0.3}
    unclipped = evaluate(gradient_norm_sum_bound, **PROBLEM, **adam).value
    assert evaluate(clipped_bound, **PROBLEM, **adam, floor=1.0).value == pytest.approx(unclipped, rel=1e-9)
    assert evaluate(clipped_bound, **PROBLEM, **adam, floor=floor).value >= unclipped * (1 - 1e-9)


def test_arrays():
    floors = np.array([0.3, 0.6, 1.0])
    values = evaluate(clipped_bound, **PROBLEM, beta1=0.5, beta2=0.9, eta=0.2, floor=floors).value
    single = [
        evaluate(clipped_bound, **PROBLEM, beta1=0.5, beta2=0.9, eta=0.2, floor=f).value for f in floors.tolist()
    ]
    assert values == pytest.approx(single)
    assert np.all(np.diff(values) < 0)


def test_hypotheses_name_the_nearest_eta():
    limit = largest_admissible_eta(0.9, 0.95, 0.5)
    evaluate(clipped_bound, **PROBLEM, beta1=0.9, beta2=0.95, eta=limit * 0.9999, floor=0.5)
    with pytest.raises(HypothesisError, match=f"eta = {limit:.6g}"):
        evaluate(clipped_bound, **PROBLEM, beta1=0.9, beta2=0.95, eta=limit * 1.0001, floor=0.5)
    for floor in (0.0, 1.5):
        with pytest.raises(HypothesisError, match="phi0 <= 1"):
            evaluate(clipped_bound, **PROBLEM, beta1=0.9, beta2=0.95, eta=0.1, floor=floor)
    with pytest.raises(HypothesisError, match="count > 0"):
        ClippingDivergence(beta1=0.9, beta2=0.999, eta=0.3, delta=0.1, size_ratio=200.0, count=0.0)


@pytest.mark.parametrize("delta", [0.1, 0.3, 1.0])
def test_the_coordinate_wise_test_is_met_in_the_counterexample(delta):
    instance = ClippingDivergence(beta1=0.9, beta2=0.999, eta=0.3, delta=delta, size_ratio=200.0, count=4e8)
    q, (right_1, right) = instance.wrong_probability, instance.right_values
    assert -q * delta + (1 - q) * right == pytest.approx(1)
    assert (1 - q) * right_1 == pytest.approx(1)
    assert q * (1 + delta) ** 2 + (1 - q) * (right - 1) ** 2 == pytest.approx(0.3**2)
    assert q + (1 - q) * (right_1 - 1) ** 2 <= 0.3**2


def test_clipped_adam_climbs_and_unclipped_converges():
    clipped = simulate(INSTANCE, 1e-11, 3000)
    assert clipped[0] == 3
    assert clipped[-1] == pytest.approx(6.8, abs=0.2)
    longer = simulate(INSTANCE, 1e-11, 12_000)
    assert longer[-1] > longer[6000] + 4 > clipped[-1]
    assert (longer[-1] - longer[6000]) / 6000 == pytest.approx(INSTANCE.drift(1e-11), rel=0.06)
    assert abs(simulate(INSTANCE, 1e-11, 3000, clip=False)[-1]) < 1e-6


def test_milder_clipping_does_not_climb():
    mild = ClippingDivergence(beta1=0.9, beta2=0.999, eta=0.3, delta=0.1, size_ratio=5.0, count=4e8)
    assert mild.drift(1e-11) < 0
    assert simulate(mild, 1e-11, 5000)[-1] < 1.5


@settings(deadline=None, max_examples=60)
@given(eta=st.floats(0.01, 2), delta=st.floats(0.01, 10))
def test_the_reversing_factor_is_of_the_order_of_eta_squared(eta, delta):
    q = wrong_probability(eta, delta)
    factor, right = reversing_factor(eta, delta), (1 + q * delta) / (1 - q)
    assert -q * delta + (1 - q) * 0.99 * factor * right < 0 < -q * delta + (1 - q) * 1.01 * factor * right
    assert factor <= eta**2 / 4 * (1 + 1e-12)


def test_clip_factor():
    assert clip_factor(np.array([0.5, 2.0]), 1.0).tolist() == [1.0, 0.5]
