"""Weight decay: the bound against runs, the bound on the weights, and the gap that noise leaves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.adam_runs import run_adam
from tests.support.parameters import evaluate
from theory.adam.constants import normalized_step_bound
from theory.adam.normalized_step import Law, two_point_law
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.training.weight_decay import (
    frank_wolfe_gap,
    largest_admissible_decay,
    limiting_gap,
    simulate_box_gap,
    weight_bound,
    weight_decay_bound,
)

PROBLEM = {"smoothness": 1.0, "dimension": 4, "initial_gap": 2.0, "steps": 100, "step_size": 0.01}


@pytest.mark.parametrize(
    ("beta1", "beta2", "eta", "decay"), [(0.0, 0.5, 0.3, 0.02), (0.5, 0.9, 0.3, 0.005), (0.9, 0.95, 0.2, 0.001)]
)
def test_bound_holds_in_runs(beta1, beta2, eta, decay):
    run = run_adam(
        beta1=beta1, beta2=beta2, step_size=0.02, steps=400, deviation=lambda k: eta, weight_decay=decay, paths=100
    )
    assert run.largest_weight <= weight_bound(beta1, beta2, decay, 3.0, 0.02, 400)
    bound = evaluate(
        weight_decay_bound,
        smoothness=1.0,
        dimension=4,
        initial_gap=run.gap,
        steps=400,
        step_size=0.02,
        beta1=beta1,
        beta2=beta2,
        eta=eta,
        weight_decay=decay,
        largest_weight=run.largest_weight,
    )
    assert run.norms.sum() < bound.value <= bound.terms["simpler form"] * (1 + 1e-12)


@settings(deadline=None, max_examples=60)
@given(
    r=st.floats(0, 0.95),
    beta2=st.floats(0.05, 0.999),
    share=st.floats(0, 0.95),
    pull=st.floats(0, 0.95),
    v0=st.floats(0, 10),
)
def test_against_the_simpler_form_and_without_decay(r, beta2, share, pull, v0):
    adam = {"beta1": r * beta2**0.5, "beta2": beta2, "eta": share * (1 - r) ** 0.5, "sum_sqrt_v0": v0}
    limit = largest_admissible_decay(adam["beta1"], beta2, adam["eta"])
    bound = evaluate(weight_decay_bound, **PROBLEM, **adam, weight_decay=pull * limit, largest_weight=1.0)
    without = evaluate(weight_decay_bound, **PROBLEM, **adam, weight_decay=0.0, largest_weight=1.0)
    assert bound.value <= bound.terms["simpler form"] * (1 + 1e-9)
    assert bound.value >= without.value * (1 - 1e-12)
    assert without.value == pytest.approx(evaluate(gradient_norm_sum_bound, **PROBLEM, **adam).value, rel=1e-9)
    # never the whole box
    assert limit < normalized_step_bound(adam["beta1"], beta2)


def test_the_condition_names_the_limit():
    limit = largest_admissible_decay(0.9, 0.95, 0.2)
    adam = {"beta1": 0.9, "beta2": 0.95, "eta": 0.2}
    evaluate(weight_decay_bound, **PROBLEM, **adam, weight_decay=limit * 0.999, largest_weight=1.0)
    with pytest.raises(HypothesisError, match=f"lambda W = {limit:.6g}"):
        evaluate(weight_decay_bound, **PROBLEM, **adam, weight_decay=limit * 1.001, largest_weight=1.0)
    with pytest.raises(HypothesisError, match="step_size"):
        evaluate(weight_decay_bound, **PROBLEM, **adam, weight_decay=101.0, largest_weight=1e-9)


def test_weight_bound_is_attained_by_the_worst_gradients():
    beta1, beta2, decay, alpha = 0.9, 0.95, 0.1, 0.01
    limit = normalized_step_bound(beta1, beta2)
    w = 1.0
    for k in range(1, 500):
        w = (1 - alpha * decay) * w + alpha * limit
        assert w <= weight_bound(beta1, beta2, decay, 1.0, alpha, k) * (1 + 1e-12)
    assert w == pytest.approx(weight_bound(beta1, beta2, decay, 1.0, alpha, 499))
    assert weight_bound(beta1, beta2, decay, 100.0, alpha, 50) == 100.0
    assert weight_bound(beta1, beta2, decay, 1.0, alpha, 10**6) == pytest.approx(limit / decay)


@pytest.mark.parametrize(
    ("betas", "eta", "delta", "published"),
    [((0.9, 0.95), 0.2, 1e-3, 0.020), ((0.9, 0.95), 0.27, 1e-3, 0.035), ((0.0, 1e-4), 0.7, 0.05, 0.60)],
)
def test_the_gap_that_noise_leaves(betas, eta, delta, published):
    noise = two_point_law(delta, (1 + delta) ** 2 / ((1 + delta) ** 2 + eta**2))
    assert noise.variance == pytest.approx(eta**2)
    limit = limiting_gap(noise, *betas)
    assert limit == pytest.approx(published, abs=0.01 if published > 0.1 else 5e-4)
    seen = simulate_box_gap(noise, *betas, steps=8000, step_size=0.02, paths=64)
    assert abs(seen.mean() - limit) < 5 * seen.std() / 8 + 0.005 * limit + 2e-3


def test_without_noise_there_is_no_gap():
    seen = simulate_box_gap(Law((1.0,), (1.0,)), 0.9, 0.95, steps=10_000, step_size=0.04, paths=1)
    assert seen[0] < 1e-6
    assert limiting_gap(Law((1.0,), (1.0,)), 0.9, 0.95) < 1e-9


def test_frank_wolfe_gap_by_corners():
    rng = np.random.default_rng(0)
    gradient, weights = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    corners = np.array(np.meshgrid(*[[-2.0, 2.0]] * 3)).reshape(3, -1).T
    worst = np.max(np.sum(gradient[:, None] * (weights[:, None] - corners), axis=-1), axis=1)
    assert frank_wolfe_gap(gradient, weights, 0.5) == pytest.approx(worst)
