"""The noise scale measured in runs, against their batches, and the batch that eta makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adabatch.experiments.comparison.noise import NoiseRange, equilibrium, noise_scales
from adabatch.experiments.comparison.results import Comparison, RunResult
from adabatch.experiments.comparison.schedules import Schedule
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


@dataclass(frozen=True)
class Simulated:
    """Group gradients of known ||G||^2 and tr Sigma, through the project's own moments."""

    squared_norm: float = 4.0
    trace: float = 200.0
    dimension: int = 400

    def steps(self, count: int, size: int = 5, groups: int = 4, seed: int = 0) -> list[dict[str, Any]]:
        from adabatch.moments.gradient_moments import GradientMoments

        generator = np.random.default_rng(seed)
        mean = np.full(self.dimension, np.sqrt(self.squared_norm / self.dimension))
        deviation = np.sqrt(self.trace / self.dimension / size)
        records = []
        for _ in range(count):
            gradients = mean + deviation * generator.standard_normal((groups, self.dimension))
            norms = float((gradients**2).sum()), float((gradients.mean(0) ** 2).sum())
            moments = GradientMoments(groups, size, *norms)
            records += steps(groups * size, moments.covariance_trace, moments.squared_norm, 1)
        return records


def test_it_recovers_the_noise_scale_of_simulated_groups():
    assert equilibrium(Simulated().steps(400), settings()).noise_scale == pytest.approx(50, rel=0.05)


def counted(records):
    """With the samples up to each step."""
    totals = accumulate(record["batch_size"] for record in records)
    return [record | {"samples": total} for record, total in zip(records, totals, strict=True)]


def test_quarters_are_of_the_samples():
    """Forty steps on 10, then ten on 40: the second half is one of samples, not of steps."""
    first, second = steps(10, 10.0, 2.0, 40), steps(40, 160.0, 6.0, 10)
    assert noise_scales(counted(first + second)) == pytest.approx([10.0, 10.0, 80.0, 80.0])


def test_trace_and_gradient_are_averaged_apart():
    """Debiased squared norms of 1 and 3 in turn, traces of 10 and 30."""
    records = [*steps(10, 10.0, 2.0, 1), *steps(10, 30.0, 6.0, 1)] * 40
    assert noise_scales(counted(records)) == pytest.approx([20 / 2] * 4)
    uneven = [*steps(10, 40.0, 5.0, 1), *steps(10, 20.0, 5.0, 1)] * 40
    assert noise_scales(counted(uneven)) == pytest.approx([30 / 2] * 4)  # the mean of ratios would be 23.3


def test_a_noise_scale_that_grows_is_followed():
    records = [
        record
        for number, norm in enumerate((16.0, 8.0, 4.0, 2.0))
        for record in Simulated(norm).steps(300, seed=number)
    ]
    assert noise_scales(counted(records)) == pytest.approx([12.5, 25, 50, 100], rel=0.1)


def test_noise_alone_is_not_resolved():
    scales = [scale for seed in range(20) for scale in noise_scales(counted(Simulated(0.0).steps(80, seed=seed)))]
    assert sum(map(math.isinf, scales)) >= 0.9 * len(scales)


def test_quarters_with_few_measured_steps_are_left_open():
    measured, not_measured = steps(10, 10.0, 2.0, 10), steps(10, None, None, 10)
    few = [*steps(10, 10.0, 2.0, 3), *steps(10, None, None, 7)]
    found = noise_scales(counted([*measured, *not_measured, *few, *measured]))
    assert found[::3] == pytest.approx([10.0, 10.0])
    assert all(map(math.isnan, found[1:3]))
    assert all(map(math.isnan, noise_scales(counted(not_measured))))
    assert all(map(math.isnan, noise_scales([])))


CONSTANTS = [Schedule(f"constant-{b}", "", "constant", {"initial_batch": b}) for b in (8, 64)]
ADAPTIVE = [Schedule("norm-test", "", "adaptive"), Schedule("l1", "", "adaptive")]


def result(records, **overrides):
    chosen, records = settings(**overrides), counted(records)
    run = SimpleNamespace(settings=lambda: chosen, records=lambda: records)
    return RunResult(np.array([record["batch_size"] for record in records]), 2.0, run)


def comparison(*runs, l1=(), constants=CONSTANTS):
    results = {"norm-test": dict(enumerate(runs)), "l1": dict(enumerate(l1))}
    results |= {each.name: {0: result(steps(8, 1e9, 1e9, 40))} for each in constants}
    return Comparison(settings(), [*constants, *ADAPTIVE], constants, {}, {}, results)


def test_medians_of_the_quarters_of_all_runs():
    grows = steps(10, 10.0, 2.0, 20) + steps(10, 50.0, 6.0, 20)
    found = NoiseRange.of(comparison(result(grows), result(steps(10, 60.0, 7.0, 40)), result(grows)))
    assert found.quarters == pytest.approx((10, 10, 50, 50))
    assert (found.smallest_batch, found.largest_batch) == (8, 64)
    assert (found.lowest, found.highest) == (min(found.quarters), max(found.quarters))
    assert found.within


@pytest.mark.parametrize("trace", [7.0, 65.0])
def test_a_noise_scale_outside_of_the_batches_is_not_within(trace):
    inside, outside = steps(10, 20.0, 3.0, 40), steps(10, trace, 1 + trace / 10, 40)
    assert NoiseRange.of(comparison(result(inside))).within
    assert not NoiseRange.of(comparison(result(outside))).within


def test_what_is_not_resolved_is_not_within():
    hidden = steps(10, 20.0, 2.0, 10)  # a debiased squared norm of 0
    found = NoiseRange.of(comparison(result(steps(10, 20.0, 3.0, 30) + hidden)))
    assert found.quarters[:3] == pytest.approx((20, 20, 20))
    assert math.isinf(found.highest)
    assert not found.within


def test_tests_on_coordinates_and_runs_without_measurements_do_not_count():
    measured, none = steps(10, 20.0, 3.0, 40), steps(10, None, None, 40)
    found = NoiseRange.of(
        comparison(result(measured), result(none), l1=[result(steps(10, 1e3, 1e3, 40), test="l1")])
    )
    assert found.quarters == pytest.approx((20, 20, 20, 20))
    assert NoiseRange.of(comparison(result(none))) is None
    assert NoiseRange.of(comparison()) is None
    assert NoiseRange.of(comparison(result(measured), constants=[])) is None
