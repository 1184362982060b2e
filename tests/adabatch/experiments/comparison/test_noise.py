"""The noise scale measured in a run, and the batch that eta makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from adabatch.experiments.comparison.noise import equilibrium
from adabatch.settings import load_settings


def steps(batch, trace, squared, count, **more):
    step = {"batch_size": batch, "noise_trace": trace, "grad_sq_norm": squared, "accumulation": 4}
    return [step | more for _ in range(count)]


def settings(**overrides):
    return load_settings(overrides=overrides)


def test_only_the_later_half_of_the_tested_steps_counts():
    early, late = steps(4, 1e6, 9e9, 10), steps(10, 50.0, 7.0, 10)
    untested = steps(64, None, None, 20)
    found = equilibrium([*early, *late, *untested], settings(eta=0.5, estimator="unbiased"))
    assert found.tests == 10
    assert found.batch == 10
    assert found.noise_scale == pytest.approx(50 / (7 - 5))
    assert found.predicted == pytest.approx(25 * (1 / 0.25 - 1))


def test_the_ratio_is_of_means():
    records = steps(10, 10.0, 2.0, 4) + steps(10, 10.0, 2.0, 2) + steps(10, 30.0, 4.0, 2)
    assert equilibrium(records, settings()).noise_scale == pytest.approx(20 / (0.5 * (1 + 1)))


def test_the_printed_estimator_is_predicted_with_its_groups():
    found = equilibrium(steps(10, 1e6, 1e5 + 1.0, 8), settings(eta=0.3, estimator="paper"))
    assert found.predicted == pytest.approx(3 / 0.09, rel=0.01)  # noise dominates: (n - 1) / eta^2


def test_nothing_is_said_without_tests_or_without_a_gradient():
    assert equilibrium(steps(10, None, None, 50), settings()) is None
    assert equilibrium(steps(10, 50.0, 7.0, 3), settings()) is None
    assert equilibrium(steps(10, 50.0, 4.0, 8), settings()) is None
    assert equilibrium(steps(10, 50.0, 7.0, 8), settings(test="l1")).predicted is None


def test_it_recovers_the_noise_scale_of_simulated_groups():
    """Group gradients with ||G||^2 = 4 and tr Sigma = 200 (B_noise 50), through the project's own moments."""
    from adabatch.moments.gradient_moments import GradientMoments

    generator, groups, size, dimension = np.random.default_rng(0), 4, 5, 400
    mean, deviation = np.full(dimension, np.sqrt(4 / dimension)), np.sqrt(200 / dimension)
    records = []
    for _ in range(400):
        gradients = mean + deviation / np.sqrt(size) * generator.standard_normal((groups, dimension))
        moments = GradientMoments(groups, size, float((gradients**2).sum()), float((gradients.mean(0) ** 2).sum()))
        records += steps(groups * size, moments.covariance_trace, moments.squared_norm, 1)
    assert equilibrium(records, settings()).noise_scale == pytest.approx(50, rel=0.05)
