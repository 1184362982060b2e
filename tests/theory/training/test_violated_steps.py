"""Violated steps: the bound against runs that violate the test, and what it reduces to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.adam_runs import run_adam
from tests.support.parameters import evaluate
from theory.adam.theorem1 import best_step_size, gradient_norm_sum_bound
from theory.training.violated_steps import violated_bound

PROBLEM = {"smoothness": 1.0, "dimension": 4, "initial_gap": 2.0, "steps": 100, "step_size": 0.01}


@pytest.mark.parametrize(("beta1", "beta2", "eta"), [(0.0, 0.5, 0.5), (0.5, 0.9, 0.3)])
@pytest.mark.parametrize("period", [2, 10])
def test_bound_holds_where_steps_are_violated(beta1, beta2, eta, period):
    steps, bad = 400, 3.0
    run = run_adam(
        beta1=beta1,
        beta2=beta2,
        step_size=0.02,
        steps=steps,
        deviation=lambda k: bad if k % period == 0 else eta,
        paths=100,
    )
    violated = run.norms[::period].sum()
    bound = evaluate(
        violated_bound,
        smoothness=1.0,
        dimension=4,
        initial_gap=run.gap,
        steps=steps,
        step_size=0.02,
        beta1=beta1,
        beta2=beta2,
        eta=eta,
        violated_gradient=violated,
        excess_deviation=(bad - eta) * violated,
    )
    assert run.norms.sum() < bound.value


def test_the_noise_of_a_violated_step_must_be_counted():
    """One wild gradient keeps v large for the whole run: without its excess the bound would be false."""
    beta2, steps, wild = 0.9, 1200, 1e30
    gap = 2**0.5 - 1
    alpha = evaluate(
        best_step_size, smoothness=1.0, dimension=1, initial_gap=gap, steps=steps, beta1=0.0, beta2=beta2
    )
    w, v, norms = 1.0, (1 - beta2) * wild**2, []
    for _ in range(steps):
        g = w / (1 + w * w) ** 0.5
        norms.append(abs(g))
        v = beta2 * v + (1 - beta2) * g * g
        w = w - alpha * g / v**0.5
    arguments = {"smoothness": 1.0, "dimension": 1, "initial_gap": gap, "steps": steps, "step_size": alpha}
    adam = {"beta1": 0.0, "beta2": beta2, "eta": 0.0, "violated_gradient": norms[0]}
    assert sum(norms) < evaluate(violated_bound, **arguments, **adam, excess_deviation=wild).value
    assert sum(norms) > evaluate(violated_bound, **arguments, **adam).value


@settings(deadline=None, max_examples=60)
@given(
    r=st.floats(0, 0.95),
    beta2=st.floats(0.05, 0.999),
    share=st.floats(0, 0.95),
    f=st.floats(0, 1e3),
    x=st.floats(0, 1e3),
)
def test_without_violations_it_is_the_corrected_theorem_and_they_only_cost(r, beta2, share, f, x):
    adam = {"beta1": r * beta2**0.5, "beta2": beta2, "eta": share * (1 - r) ** 0.5, "sum_sqrt_v0": 0.3}
    clean = evaluate(violated_bound, **PROBLEM, **adam).value
    assert clean == pytest.approx(evaluate(gradient_norm_sum_bound, **PROBLEM, **adam).value, rel=1e-12)
    costly = evaluate(violated_bound, **PROBLEM, **adam, violated_gradient=f, excess_deviation=x).value
    more = evaluate(violated_bound, **PROBLEM, **adam, violated_gradient=f + 1, excess_deviation=x + 1).value
    assert clean <= costly < more


def test_hypotheses():
    adam = {"beta1": 0.9, "beta2": 0.95, "eta": 0.2}
    for name in ("violated_gradient", "excess_deviation"):
        with pytest.raises(HypothesisError, match=f"{name} >= 0"):
            evaluate(violated_bound, **PROBLEM, **adam, **{name: -1.0})
    with pytest.raises(HypothesisError, match="eta"):
        evaluate(violated_bound, **PROBLEM, beta1=0.9, beta2=0.95, eta=0.3)
