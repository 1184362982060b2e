"""Bounds on samples against independent computations, and on everything that their hypotheses allow."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi, norm

from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.l1 import deviation_correction
from theory.l1.theorem3 import certified_bound, find_certificate
from theory.problem import AdamParameters, Problem
from theory.samples import a_posteriori, adam, contraction, growth, relaxed_smoothness, sgd, tails
from theory.samples.goal import Goal, largest_batch

PROBLEM = Problem(smoothness=2.0, dimension=3, initial_gap=1.5, steps=100)
CERTIFICATE = find_certificate(0.5, 0.9)
positive = st.floats(0.01, 100)


def test_bounds_by_hand():
    goal = Goal(level=0.5, noise=10.0)
    assert sgd.steps_to_goal(PROBLEM, goal, eta=2.0).value == 5 * 2 * 2 * 1.5 / 0.5
    assert sgd.samples_to_goal(PROBLEM, goal, eta=2.0).value == 60 * 5  # ceil(10 / (4 * .5)) = 5 a step
    found = sgd.floored_bound(PROBLEM, step_size=0.25, eta=1.0, floor=2.0)
    # descent .25 (1 - .25) / ... : alpha (1 - alpha L) = .125; (1.5 / 100 + 2 * .0625 * 4 / 2) / .125
    assert found.value == pytest.approx((0.015 + 0.25) / 0.125)
    assert sgd.floored_bound(PROBLEM, step_size=0.25, eta=1.0, floor=0.0).value == pytest.approx(0.12)
    assert growth.least_samples(noise=3.0, eta=0.5, steps=4, gradient_sum=8.0) == 36 * 64 / 64


@given(eta=positive, noise=positive, level=positive, latency=st.floats(0, 1e3))
@settings(max_examples=30)
def test_the_bounds_lie_on_the_hyperbola_and_the_best_eta_is_best(eta, noise, level, latency):
    goal = Goal(level=level, noise=noise)
    units = sgd.exact_gradient_steps(PROBLEM, goal), sgd.least_noisy_samples(PROBLEM, goal)

    def costs(eta):
        return sgd.steps_to_goal(PROBLEM, goal, eta=eta).value, sgd.samples_to_goal(PROBLEM, goal, eta=eta).terms

    steps, terms = costs(eta)
    assert sgd.hyperbola(steps / units[0], terms["noise"] / units[1]) == pytest.approx(1, rel=1e-6)

    def time(eta):
        steps, terms = costs(eta)
        return (1 + latency) * steps + terms["noise"]

    assert time(sgd.best_eta(goal, latency)) <= time(eta) * (1 + 1e-9)


@given(squared=st.floats(0, 1e6), level=positive, eta=positive)
def test_the_largest_batch_meets_the_test_and_one_fewer_does_not(squared, level, eta):
    batch = float(largest_batch(squared, level, eta))
    assert squared / batch <= eta**2 * level * (1 + 1e-9)
    assert batch == 1 or squared / (batch - 1) > eta**2 * level * (1 - 1e-9)


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
def test_contraction_against_a_chain_that_is_worst(eta):
    """mu = L = 1, X in {0, 1 + eta^2}, from the goal itself: both sums by the geometric law."""
    stays = eta**2 / (1 + eta**2)
    problem = Problem(smoothness=1.0, dimension=1, initial_gap=0.01, steps=1)
    bound = contraction.samples_to_gap(
        problem, Goal(level=0.01, noise=3.0), curvature=1.0, step_size=1 / (1 + eta**2), eta=eta
    )
    steps = 1 / (1 - stays)
    assert bound.terms["one sample a step"] == pytest.approx(steps)
    assert bound.terms["noise"] == pytest.approx(steps * 3.0 / (eta**2 * 0.02))


@given(a=st.floats(0.01, 0.9), ratio=st.floats(1.01, 1e6), batch=st.integers(1, 10_000))
def test_no_constant_batch_beats_its_bound(a, ratio, batch):
    """The exact recursion of E[gap], step by step in closed form, for the batch that was drawn."""
    level, noise, curvature = 1e-3, 1.0, 0.5
    stationary = a * noise / (2 * curvature * batch * (2 - a))
    if stationary >= level:
        return
    start = ratio * level
    steps = math.log((level - stationary) / (start - stationary)) / (2 * math.log(1 - a)) if start > level else 0
    problem = Problem(smoothness=1.0, dimension=1, initial_gap=start, steps=1)
    least = contraction.constant_batch_samples(
        problem, Goal(level=level, noise=noise), curvature=curvature, step_size=a / curvature
    )
    assert math.ceil(steps - 1e-9) * batch >= least * (1 - 1e-9)


def test_phi_falls():
    values = contraction.constant_batch_factor(np.linspace(0.001, 0.999, 400))
    assert np.all(np.diff(values) < 0)
    assert values.max() < 0.5


def test_adam_to_a_goal_against_a_search_over_step_sizes():
    goal = Goal(level=0.3, noise=5.0)

    def steps(eta, alpha=None):
        return adam.steps_to_goal(CERTIFICATE, PROBLEM, goal, eta=eta, initial_potential=0.0, step_size=alpha)

    best = steps(0.6)
    factors = np.linspace(0.05, 1.95, 77)
    assert best.value <= min(steps(0.6, best.parameters["alpha"] * f).value for f in factors) * (1 + 1e-12)
    etas = np.linspace(0.05, 1.15, 400)
    noisy = Goal(level=0.3, noise=5e4)
    costs = [
        adam.samples_to_goal(CERTIFICATE, PROBLEM, noisy, eta=eta, initial_potential=0.0).value for eta in etas
    ]
    best_eta = adam.best_eta(CERTIFICATE.gain, CERTIFICATE.noise_weight)
    assert etas[np.argmin(costs)] == pytest.approx(best_eta, abs=0.004)
    with pytest.raises(HypothesisError, match="take eta below J / lambda"):
        steps(1.3)
    with pytest.raises(HypothesisError, match="alpha L d M <"):
        steps(0.6, best.parameters["alpha"] * 2)


@given(values=st.lists(st.floats(0.01, 100), min_size=1, max_size=30), noise=positive, eta=positive)
def test_least_samples_is_least(values, noise, eta):
    x = np.array(values)
    paid = float(((noise / (eta * x)) ** 2).sum())
    least = growth.least_samples(noise=noise, eta=eta, steps=len(x), gradient_sum=float(x.sum()))
    assert paid >= least * (1 - 1e-12)


@given(batch=st.floats(1, 1e8), mean=st.floats(-3, 3), deviation=st.floats(0.05, 3), noise=positive, eta=positive)
def test_the_tail_lies_between_its_bounds(batch, mean, deviation, noise, eta):
    t = noise / (eta * math.sqrt(batch))
    exact = norm.cdf((t - mean) / deviation) - norm.cdf((-t - mean) / deviation)
    low, high = tails.tail_probability(batch, mean=mean, deviation=deviation, noise=noise, eta=eta)
    assert low * (1 - 1e-6) - 1e-15 <= exact <= high * (1 + 1e-6) + 1e-15


def test_how_many_coordinates_must_be_small():
    """By counting: the test of a share fails once fewer than ceil(share d) coordinates are large."""
    for dimension in range(1, 12):
        for share in (0.3, 0.5, 0.9, 1.0):
            needed = math.ceil(share * dimension - 1e-9)
            small = next(j for j in range(dimension + 1) if dimension - j < needed)
            assert tails.coordinates_at_once(dimension, share) == small
    assert tails.tail_index(tails.coordinates_at_once(100, 0.97)) == 2  # finite


def test_relaxed_smoothness_is_theorem_3_without_growth():
    problem = Problem(smoothness=1.0, dimension=3, initial_gap=2.0, steps=500)
    parameters = AdamParameters(beta1=0.5, beta2=0.9, eta=0.4, step_size=1e-3)
    third = certified_bound(CERTIFICATE, problem, parameters, first_gradient=[1.0, 2.0, 0.5], v0=[0.0] * 3)
    given_ = {
        "alpha": 1e-3,
        "step": third.constants["s_t"],
        "lipschitz_constant": third.constants["Lambda"],
        "kept": third.constants["J'"],
        "initial_potential": CERTIFICATE.initial_potential([1.0, 2.0, 0.5], [0.0] * 3),
    }
    assert relaxed_smoothness.relaxed_sum(problem, 0.0, **given_) == pytest.approx(third.value, rel=1e-9)
    assert relaxed_smoothness.relaxed_sum(problem, 1.0, **given_) > third.value
    with pytest.raises(HypothesisError, match="lambda eta \\+ alpha L1 d M < J"):
        relaxed_smoothness.relaxed_sum(problem, 10.0, **given_)
    with pytest.raises(HypothesisError, match="L1 alpha sqrt"):
        relaxed_smoothness.relaxed_sum(problem, 1e4, **given_)


RUN = a_posteriori.RecordedRun(
    beta1=0.5,
    beta2=0.9,
    epsilon=0.0,
    bias_correction=False,
    weight_decay=0.0,
    clip=0.0,
    warmup=0,
    learning_rates=[1e-3] * 40,
    constant_beta2=True,
    skipped=0,
    repeated=False,
    fewest_groups=4,
    every_coordinate=True,
    dimension=3,
    deviations=[1.0, 1.2] * 20,
    l1_norms=[2.0, 2.2] * 20,
    first_gradient=2.0,
    first_loss=2.0,
)


def test_a_run_that_meets_everything_is_certified_with_theorem_3s_bound():
    lines = a_posteriori.a_posteriori_report(RUN)
    assert not any("NOT MET" in line for line in lines)
    ratio = a_posteriori.effective_eta(RUN.deviations, RUN.l1_norms)
    assert ratio.value == pytest.approx(44 / 84)
    parts = [
        certified_bound(
            find_certificate(0.5, 0.9, ratio.high),
            Problem(smoothness=smoothness, dimension=3, initial_gap=2.0, steps=40),
            AdamParameters(beta1=0.5, beta2=0.9, eta=ratio.high, step_size=1e-3),
            first_gradient=[2.0, 0.0, 0.0],
            v0=[0.0] * 3,
        ).value
        / 40
        for smoothness in (1.0, 2.0)
    ]
    growing = parts[1] - parts[0]
    assert f"  certified: mean of E||G_k||_1 <= {parts[0] - growing:.4g} + {growing:.4g} L" in lines[-1]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"clip": 1.0}, "no clipping"),
        ({"weight_decay": 0.1}, "no weight decay"),
        ({"epsilon": 1e-8}, "epsilon 0"),
        ({"bias_correction": True}, "no bias correction"),
        ({"warmup": 8}, "no warm-up"),
        ({"learning_rates": [1e-3] * 39 + [2e-3]}, "one step size"),
        ({"constant_beta2": False}, "one beta2"),
        ({"skipped": 1}, "no step left out"),
        ({"repeated": True}, "fresh samples"),
        ({"learning_rates": [1e-3] * 41}, "variances estimated at every step"),
        ({"fewest_groups": 1}, "variances estimated"),
        ({"every_coordinate": False}, "variances estimated"),
        ({"deviations": [3.0] * 40}, "eta_eff below J / lambda"),
    ],
)
def test_each_hypothesis_can_fail(change, name):
    lines = a_posteriori.a_posteriori_report(replace(RUN, **change))
    assert next(line for line in lines if "NOT MET" in line).strip().startswith(f"NOT MET: {name}")
    assert sum("NOT MET" in line for line in lines) == 1
    assert not any(line.strip().startswith("certified") for line in lines)


def test_the_interval_of_the_ratio_covers_it():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        gradient = 2 + 0.5 * generator.standard_normal(200)
        noise = 0.5 * gradient + 0.3 * generator.standard_normal(200)
        found = a_posteriori.effective_eta(noise, gradient)
        covered += found.low <= 0.5 <= found.high
    assert 270 <= covered <= 299  # nominally 285
    ratio = a_posteriori.effective_eta([1.0, 2.0, 0.0], [2.0, 2.0, 2.0], sections=3)  # residuals 0, 1, -1
    assert ratio.high - ratio.value == pytest.approx(4.302652730 * math.sqrt(3.0) / 6)  # t of 2 at 97.5%
    assert a_posteriori.effective_eta([1.0], [2.0]).high == math.inf
    assert a_posteriori.effective_eta([1.0, 1.0], [1.0, -2.0]).value == math.inf


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Goal(level=0.0, noise=1.0),
        lambda: Goal(level=1.0, noise=-1.0),
        lambda: sgd.samples_to_goal(PROBLEM, Goal(level=1.0, noise=1.0), eta=0.0),
        lambda: sgd.steps_to_goal(PROBLEM, Goal(level=1.0, noise=1.0), eta=-0.1),
        lambda: sgd.floored_bound(PROBLEM, step_size=0.1, eta=0.5, floor=-1.0),
        lambda: contraction.contraction(PROBLEM, 1.0, 0.6, 1.0),
        lambda: contraction.steps_to_gap(
            PROBLEM, Goal(level=2.0, noise=1.0), curvature=1.0, step_size=0.1, eta=1.0
        ),
        lambda: contraction.constant_batch_samples(
            PROBLEM, Goal(level=0.1, noise=1.0), curvature=1.0, step_size=1.0
        ),
        lambda: growth.with_probability(1.0, 1.5),
        lambda: growth.least_samples(noise=1.0, eta=0.0, steps=2, gradient_sum=1.0),
        lambda: a_posteriori.effective_eta([1.0], []),
    ],
)
def test_what_is_refused(refused):
    with pytest.raises(HypothesisError):
        refused()


@pytest.mark.parametrize("groups", [2, 3, 4, 7, 30])
def test_the_correction_of_a_deviation_is_the_mean_of_chi(groups):
    """c4(J) = E chi / sqrt(J - 1), chi with J - 1 degrees of freedom: in numbers and in symbols."""
    mean = chi(groups - 1).mean() / math.sqrt(groups - 1)
    assert deviation_correction(groups) == pytest.approx(mean, rel=1e-12)
    assert float(deviation_correction(sympy.Integer(groups))) == pytest.approx(mean, rel=1e-12)
