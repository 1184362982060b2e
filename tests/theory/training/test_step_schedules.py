"""Schedules: recursions against double sums, the published amplifications, the bound against runs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.adam_runs import run_adam
from tests.support.parameters import evaluate
from theory.adam.constants import momentum_amplification, root_gap
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.training.step_schedules import (
    bias_correction,
    first_admissible_step,
    momentum_sums,
    schedule_amplification,
    schedule_bound,
    schedule_growth,
    second_moment_sums,
    warmup_amplification,
    warmup_cosine,
)


def bound_of(multipliers, **values):
    """The bound on as many steps as there are multipliers."""
    return evaluate(schedule_bound, multipliers=multipliers, steps=np.shape(multipliers)[-1], **values)


schedules = st.lists(st.floats(1e-3, 10), min_size=1, max_size=30).map(np.array)


@settings(deadline=None, max_examples=50)
@given(s=schedules, r=st.floats(0, 0.95), beta2=st.floats(0.05, 0.99), data=st.data())
def test_recursions_against_double_sums(s, r, beta2, data):
    beta1, root, first = r * beta2**0.5, beta2**0.5, data.draw(st.integers(1, len(s)))
    ratio = beta1 / root
    slow = [sum(s[k] * ratio ** (k - j) for k in range(j, len(s))) for j in range(len(s))]
    assert momentum_sums(s, beta1, beta2) == pytest.approx(slow, rel=1e-10)
    expected = max(x / y for x, y in zip(slow[first - 1 :], s[first - 1 :], strict=True))
    assert schedule_amplification(s, beta1, beta2, first) == pytest.approx(expected, rel=1e-10)
    later = [sum(s[k] * root ** (k - 1 - j) for k in range(j + 1, len(s))) for j in range(len(s))]
    assert second_moment_sums(s, beta2)[1:] == pytest.approx(later[:-1], rel=1e-10)
    growth = max(x / y for x, y in zip(later[first - 1 :], s[first - 1 :], strict=True))
    assert schedule_growth(s, beta2, first) == pytest.approx(growth, rel=1e-10)


@settings(deadline=None, max_examples=50)
@given(s=schedules, r=st.floats(0, 0.95), beta2=st.floats(0.05, 0.99))
def test_a_schedule_that_never_rises_costs_nothing(s, r, beta2):
    falling = np.sort(s)[::-1]
    rho = schedule_amplification(falling, r * beta2**0.5, beta2)
    assert 1 <= rho <= momentum_amplification(r * beta2**0.5, beta2) * (1 + 1e-9)
    assert schedule_growth(falling, beta2) <= 1 / root_gap(beta2) * (1 + 1e-9)


def test_a_warm_up_and_half_a_cosine():
    s = warmup_cosine(99, 20, final=0.2)
    assert s[[9, 19, 59]] == pytest.approx([0.5, 1.0, 0.6])
    assert (np.diff(s[19:]) < 0).all()
    assert 0.2 < s[-1] < 0.2 + 1e-3


def test_published_amplifications():
    s = warmup_cosine(5000, 400) * bias_correction(5000, 0.9, 0.95)
    found = [schedule_amplification(s, 0.9, 0.95, first) for first in (1, 100, 200)]
    assert found == pytest.approx([74.6, 14.6, 13.8], abs=0.05)
    # bias correction matters at the start: without it the first step costs more than twice as much
    plain = schedule_amplification(warmup_cosine(5000, 400), 0.9, 0.95)
    assert plain > 2 * found[0]


@pytest.mark.parametrize("first", [1, 10, 100, 300])
def test_linear_warm_up(first):
    s = np.minimum(np.arange(1, 4001) / 400, 1.0)
    assert schedule_amplification(s, 0.9, 0.95, first) <= warmup_amplification(0.9, 0.95, first)
    endless = np.arange(1, 4001) / 400
    assert schedule_amplification(endless, 0.9, 0.95, first) == pytest.approx(
        warmup_amplification(0.9, 0.95, first)
    )


@pytest.mark.parametrize(
    ("betas", "eta", "first"), [((0.0, 0.5), 0.5, 1), ((0.5, 0.9), 0.3, 20), ((0.9, 0.95), 0.2, 60)]
)
def test_bound_holds_in_runs(betas, eta, first):
    steps = 400
    s = warmup_cosine(steps, 80) * bias_correction(steps, *betas)
    run = run_adam(
        beta1=betas[0],
        beta2=betas[1],
        step_size=0.02,
        steps=steps,
        deviation=lambda k: eta,
        multipliers=s,
        paths=100,
    )
    bound = bound_of(
        multipliers=s,
        smoothness=1.0,
        dimension=4,
        initial_gap=run.gap,
        step_size=0.02,
        beta1=betas[0],
        beta2=betas[1],
        eta=eta,
        initial_gradient_norm=run.initial_gradient,
        first=first,
    )
    assert run.weighted(s, first) < bound.value


def test_a_constant_schedule_is_the_corrected_theorem():
    problem = {"smoothness": 2.0, "dimension": 3, "initial_gap": 1.0, "step_size": 0.01}
    adam = {"beta1": 0.5, "beta2": 0.9, "eta": 0.3, "sum_sqrt_v0": 0.5}
    found = bound_of(multipliers=np.ones(2000), **problem, **adam)
    plain = evaluate(gradient_norm_sum_bound, **problem, **adam, steps=2000)
    assert found.value == pytest.approx(plain.value, rel=1e-9)
    larger = evaluate(gradient_norm_sum_bound, **problem | {"step_size": 0.02}, **adam, steps=2000)
    assert bound_of(multipliers=np.full(2000, 2.0), **problem, **adam).value == pytest.approx(2 * larger.value)
    # epsilon adds d eps K to A
    with_epsilon = bound_of(multipliers=np.ones(2000), **problem, **adam, epsilon=1e-3)
    assert with_epsilon.constants["A"] == pytest.approx(plain.constants["A"] + 3 * 1e-3 * 2000, rel=1e-9)


def test_schedules_in_batches():
    s = np.stack([warmup_cosine(50, 10), np.ones(50)])
    arguments = {"smoothness": 1.0, "dimension": 2, "step_size": 0.1, "beta1": 0.5, "beta2": 0.9, "eta": 0.1}
    together = bound_of(multipliers=s, initial_gap=1.0, initial_gradient_norm=1.0, first=5, **arguments)
    for row, value in zip(s, together.value, strict=True):
        alone = bound_of(multipliers=row, initial_gap=1.0, initial_gradient_norm=1.0, first=5, **arguments)
        assert alone.value == pytest.approx(value, rel=1e-12)


def test_hypotheses():
    s = warmup_cosine(1000, 400) * bias_correction(1000, 0.9, 0.95)
    arguments = {"smoothness": 1.0, "dimension": 2, "initial_gap": 1.0, "step_size": 0.1}
    adam = {"beta1": 0.9, "beta2": 0.95}
    least = first_admissible_step(s, 0.9, 0.95, 0.2)
    assert least is not None
    assert least > 1
    bound_of(multipliers=s, **arguments, **adam, eta=0.2, first=least, initial_gradient_norm=1.0)
    with pytest.raises(HypothesisError, match=f"k0 = {least}$"):
        bound_of(multipliers=s, **arguments, **adam, eta=0.2, first=least - 1, initial_gradient_norm=1.0)
    with pytest.raises(HypothesisError, match="supremum"):
        bound_of(multipliers=np.ones(1000), **arguments, **adam, eta=1.2)
    with pytest.raises(HypothesisError, match="s_k > 0"):
        bound_of(multipliers=[0.0, 1.0], **arguments, **adam, eta=0.1)
    with pytest.raises(HypothesisError, match="1 <= k0 <= K"):
        bound_of(multipliers=[1.0, 1.0], **arguments, **adam, eta=0.1, first=3)
    with pytest.raises(HypothesisError, match="initial_gradient"):
        bound_of(multipliers=[1.0, 1.0], **arguments, **adam, eta=0.1, first=2)
    with pytest.raises(HypothesisError, match="warmup < steps"):
        warmup_cosine(10, 10)
