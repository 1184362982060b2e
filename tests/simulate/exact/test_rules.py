"""The trainer's rules in the exact dynamics: what they are told, what they do, one setting on many tasks."""

from __future__ import annotations

import numpy as np
import pytest

from adabatch.schedules import Constant, NormTest
from adabatch.schedules.exchange import Exchange
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.paths import Linear
from simulate.exact.contest import RULES, contest, run_contest
from simulate.exact.dynamics import Dynamics, Steps, final_risk
from simulate.exact.exchange import example_task, run_exchange
from simulate.exact.rules import budget_in_samples, exact_moments, fixed_rate, run_rules
from simulate.exact.sampled import group_moments, sampled_gradients
from simulate.exact.tasks import Resource, Tasks, power_law_tasks, sobol_tasks

ONE = np.ones(1)


def short_tasks(count: int, resource: Resource = Resource.TIME) -> Tasks:
    tasks = sobol_tasks(count, seed=4)
    return Tasks(tasks.problem, tasks.errors, np.full(count, 50.0), np.full(count, 16.0), resource)


@pytest.mark.parametrize("method", list(Dynamics))
def test_constant_rules_make_the_steps_of_constant_batches(method: Dynamics) -> None:
    tasks = short_tasks(2)
    run = run_rules(method, tasks, [Constant(16), Constant(48)], [fixed_rate(0.05)] * 2)
    assert run.steps.tolist() == [25, 13]  # 50 / 2, 50 / 4 rounded up
    fraction = np.ones((25, 2))
    fraction[12, 1], fraction[13:, 1] = 0.5, 0.0
    steps = Steps(np.tile([16.0, 48.0], (25, 1)), np.full((25, 2), 0.05), fraction)
    assert run.risk == pytest.approx(final_risk(method, tasks, steps), rel=1e-12)


def test_at_equal_samples_the_last_batch_is_cut() -> None:
    tasks = power_law_tasks(1.5 * ONE, 1.5 * ONE, ONE, 25 * ONE, 8 * ONE, 20, Resource.SAMPLES)
    run = run_rules(Dynamics.SGD, tasks, [Constant(30)], [fixed_rate(0.05)])
    assert run.batch == [[30, 30, 30, 10]]


def test_expected_moments_are_exact() -> None:
    tasks = sobol_tasks(2)
    moments = exact_moments(tasks.problem, tasks.errors, np.array([4.0, 40.0]))
    for row in range(2):
        told = moments(row)
        assert told.covariance_trace == pytest.approx(float(tasks.problem.trace(tasks.errors)[row]))
        assert told.debiased_squared_norm == pytest.approx(float(tasks.problem.squared_norm(tasks.errors)[row]))
        assert told.batch_size == (4, 40)[row]


def test_noisy_moments_spread_as_those_of_sampled_groups() -> None:
    """Means and standard deviations of both estimates, next to gradients that were drawn."""
    task = power_law_tasks(1.2 * ONE, 1.6 * ONE, 0.5 * ONE, ONE, ONE, dimension=30)
    replicas, batch = 3000, 16.0
    many = task.at([0] * replicas)
    rng = np.random.default_rng(3)
    told = exact_moments(many.problem, many.errors, np.full(replicas, batch), rng)
    modelled = [told(row) for row in range(replicas)]
    counts = np.asarray(task.problem.multiplicities)
    signs = np.sqrt(np.repeat(task.errors[0], counts))
    gradients = sampled_gradients(
        rng,
        np.repeat(task.problem.eigenvalues[0], counts),
        np.tile(signs, (replicas, 1)),
        np.full(replicas, 0.5),
        np.full(replicas, batch),
        groups=8,
    )
    drawn = [group_moments(gradient, batch) for gradient in gradients]
    for name in ("covariance_trace", "squared_norm"):
        a, b = (np.array([getattr(moments, name) for moments in both]) for both in (modelled, drawn))
        assert a.mean() == pytest.approx(b.mean(), abs=4 * np.hypot(a.std(), b.std()) / np.sqrt(replicas))
        assert a.std() == pytest.approx(b.std(), rel=0.25)


def test_the_norm_test_reaches_the_noise_scale_that_it_is_told() -> None:
    """debiased at eta stops at B_noise / eta^2: on a task at a standstill that is a number."""
    tasks = power_law_tasks(1.5 * ONE, 1.5 * ONE, ONE, 20 * ONE, 8 * ONE, dimension=50)
    scale = float(tasks.problem.noise_scales(tasks.errors)["trace"][0])
    rule = NormTest(eta=0.5, initial=2, maximum=10**6, estimator="debiased")
    run_rules(Dynamics.SGD, tasks, [rule], [fixed_rate(1e-12)])
    assert rule.batch_size == np.ceil(scale / 0.25)


def test_the_exchange_rule_does_what_its_formula_does() -> None:
    """The trainer's object, with whole batches and the path's mean, next to b = b0 p^(-2s) on real batches."""
    task = example_task("mid", samples=2.0**12)
    rates = LearningRate(0.03, 0.0, 0, 2**12, BatchScaling("sqrt", 16), Linear())
    rule = Exchange(16, 2**12, rates, share=0.5)
    run = run_rules(Dynamics.ADAM_LIKE, task, [rule], [rates])
    formula = run_exchange(Dynamics.ADAM_LIKE, task, 16.0, 0.03, share=0.5)
    assert int(run.steps[0]) == pytest.approx(formula.steps, rel=0.03)
    assert float(run.risk[0]) == pytest.approx(formula.risk, rel=0.05)
    decay = run_exchange(Dynamics.ADAM_LIKE, task, 16.0, 0.03, share=0.0)
    assert formula.steps < 0.52 * decay.steps


def test_a_ceiling_lowers_the_price_where_the_batch_outgrows_the_noise_scale() -> None:
    task = example_task("low noise", samples=2.0**13)
    decay, free, held = (
        run_exchange(Dynamics.ADAM_LIKE, task, 32.0, 2.0**-5, share, eta, "weighted")
        for share, eta in ((0.0, None), (1.0, None), (1.0, 2.0))
    )
    assert free.risk > 1.1 * decay.risk
    assert held.risk < (free.risk + decay.risk) / 2
    assert free.steps <= held.steps < decay.steps
    assert held.held > 0


def test_budgets_in_samples_fill_the_time() -> None:
    tasks = short_tasks(1)
    samples = budget_in_samples(tasks, 0, lambda budget: Exchange(16, 32, _rates(budget), 1.0))
    rule = Exchange(16, 32, _rates(samples), 1.0)
    used = 0.0
    while rule.samples < samples:
        used += 1 + rule.batch_size / 16
        rule.update()
    assert used == pytest.approx(50, rel=0.1)


def _rates(samples: int) -> LearningRate:
    return LearningRate(1.0, 0.0, 0, max(1, samples), BatchScaling("sqrt", 16), Linear())


def test_a_contest_takes_the_best_rate_for_every_rule_and_task() -> None:
    tasks = short_tasks(2)
    chosen = {name: RULES[name] for name in ("constant 1", "seesaw", "norm test 1")}
    rates = [0.4, 0.1]
    best = contest(Dynamics.SGD, tasks, chosen, rates)
    risks = run_contest(Dynamics.SGD, tasks, chosen, rates).risk.reshape(3, 2, 2)
    for i, name in enumerate(chosen):
        assert best[name] == pytest.approx(risks[i].min(axis=1))
    alone = run_contest(Dynamics.SGD, tasks.at([1]), {"seesaw": RULES["seesaw"]}, [0.1]).risk
    assert alone == pytest.approx(risks[1, 1, 1:])
