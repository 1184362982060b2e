"""The figures of a run against those computed from its true noise scale, and the model by another route."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from adabatch.schedules.step_times import StepTime
from adabatch.worth.assessment import assess
from adabatch.worth.course import NoiseCourse, noise_course
from adabatch.worth.evidence import Evidence, read_evidence
from tests.support.noisy_runs import noisy_steps, write_lines

SATURATION = 25.0


def evidence_of(path, scale, batches, seed=0) -> Evidence:
    return read_evidence(write_lines(path / f"loop-{seed}.jsonl", noisy_steps(scale, batches, seed)))


def true_saving(scale, batches) -> float:
    """1 - best schedule / best constant by minimisation, from the noise scale at every step."""
    seen = np.cumsum(batches)
    scales = np.array([scale(x / seen[-1]) for x in seen])
    progress = 1 / (1 + scales / np.array(batches))
    best = float(progress @ (np.sqrt(scales) + math.sqrt(SATURATION)) ** 2)
    constant = minimize_scalar(
        lambda b: float(progress @ ((1 + scales / b) * (SATURATION + b))), bounds=(1, 1000), method="bounded"
    )
    return 1 - best / constant.fun


def exponential(share):
    return 8.0 * 16.0**share


def constant(share):
    del share
    return 64.0


@pytest.mark.slow
@pytest.mark.parametrize("scale", [exponential, constant])
def test_savings_of_noisy_runs_are_unbiased_and_their_intervals_cover(tmp_path, scale):
    batches = [16] * 800
    savings = []
    for seed in range(24):
        evidence = evidence_of(tmp_path, scale, batches, seed)
        savings.append(assess(evidence, noise_course(evidence), StepTime(SATURATION, 1.0), "x").saving)
    truth = true_saving(scale, batches)
    assert sum(saving.low <= truth <= saving.high for saving in savings) >= 18  # of 24; 21.6 nominally
    assert np.mean([saving.value for saving in savings]) == pytest.approx(truth, abs=0.003)


def test_a_steep_fall_on_small_batches_is_not_taken_for_noise(tmp_path):
    """As at the start of a run: the squared gradient falls hundredfold in the first per cent of the samples."""

    def scale(share):
        return 2 + 400 * share

    batches = [4] * 60 + [16] * 60 + [64] * 60 + [128] * 150
    steps = noisy_steps(scale, batches, squared_gradient=lambda share: 0.1 + 40 * math.exp(-share / 0.001))
    course = noise_course(read_evidence(write_lines(tmp_path / "steep.jsonl", steps)))
    shares = course.middles / course.edges[-1]
    later = shares > 0.05
    assert later.sum() >= 3
    np.testing.assert_allclose(course.scales[0, later], [scale(share) for share in shares[later]], rtol=0.4)
    low, high = np.quantile(course.scales[1:], [0.005, 0.995], axis=0)[:, later]
    assert all(low[i] <= scale(share) <= high[i] for i, share in enumerate(shares[later]))


def test_noise_alone_would_look_like_something_to_save(tmp_path):
    """The control: without the correction a constant noise scale has a saving in every run."""
    evidence = evidence_of(tmp_path, constant, [16] * 800)
    course = noise_course(evidence)
    plain = assess(evidence, NoiseCourse(course.edges, course.scales[[0, 0]]), StepTime(SATURATION, 1.0), "x")
    corrected = assess(evidence, course, StepTime(SATURATION, 1.0), "x")
    assert corrected.saving.value < 0.5 * plain.saving.value


def test_noise_scale_and_best_batches_of_a_run(tmp_path):
    evidence = evidence_of(tmp_path, exponential, [16] * 4000)
    found = assess(evidence, noise_course(evidence), StepTime(SATURATION, 1.0), "x")
    shares = np.array(found.samples) / evidence.samples[-1]
    assert len(shares) >= 20
    truths = [exponential(share) for share in shares]
    covered = [scale.low <= truth <= scale.high for truth, scale in zip(truths, found.noise_scale, strict=True)]
    assert np.mean(covered) >= 0.75
    shifted = [
        scale.low <= 1.5 * truth <= scale.high for truth, scale in zip(truths, found.noise_scale, strict=True)
    ]
    assert np.mean(shifted) <= 0.25  # the control
    for scale, best in zip(found.noise_scale, found.best_batch, strict=True):
        assert best.value == pytest.approx(math.sqrt(scale.value * SATURATION))


def test_rules_against_sums_over_steps():
    """Exact moments, two parts: every figure from a plain loop over the run's steps."""
    batches, scales = np.repeat([8.0, 32.0], 400), np.repeat([16.0, 144.0], 400)
    samples = np.cumsum(batches)
    none = np.full(800, np.nan)
    evidence = Evidence("x", samples, batches, np.zeros(800), np.zeros(800), none, scales, np.ones(800), 0)
    edges = np.array([0.0, 3200.0, 16000.0])
    found = assess(evidence, NoiseCourse(edges, np.array([[16.0, 144.0]] * 3)), StepTime(36.0, 1.0), "x")
    progress = sum(b / (b + B) for b, B in zip(batches, scales, strict=True))
    assert progress == pytest.approx(400 * (1 / 3 + 2 / 11))

    def totals(batch_of):
        steps = [400 / 3 * (1 + 16 / batch_of(16.0)), 800 / 11 * (1 + 144 / batch_of(144.0))]
        sizes = [batch_of(16.0), batch_of(144.0)]
        samples = sum(k * b for k, b in zip(steps, sizes, strict=True))
        return sum(steps), samples, 36 * sum(steps) + samples

    mean = (16 / 3 + 144 * 2 / 11) / (1 / 3 + 2 / 11)
    best_constant = math.sqrt(mean * 36)
    rules = [
        lambda B: best_constant,
        lambda B: math.sqrt(36 * B),
        lambda B: 1.4 * math.sqrt(36 * B),
        lambda B: B,
        lambda B: min(B, best_constant),
    ]
    time_of_constant = totals(rules[0])[2]
    own, *others = found.rules
    assert (own.steps, own.samples) == (800, 16000)
    assert own.time.value == pytest.approx((36 * 800 + 16000) / time_of_constant)
    for rule, batch_of in zip(others, rules, strict=True):
        steps, seen, time = totals(batch_of)
        assert (rule.steps, rule.samples) == (pytest.approx(steps), pytest.approx(seen)), rule.name
        assert rule.time.value == pytest.approx(time / time_of_constant), rule.name
    assert found.saving.value == pytest.approx(1 - found.rules[2].time.value)
    assert found.lost.value == pytest.approx(own.time.value / found.rules[2].time.value - 1)
    assert found.constant.value == pytest.approx(best_constant)
    assert found.saving.low == found.saving.high == pytest.approx(found.saving.value)


def test_an_uncertain_saturation_widens_the_intervals(tmp_path):
    evidence = evidence_of(tmp_path, exponential, [16] * 800)
    course = noise_course(evidence)
    sure = assess(evidence, course, StepTime(25.0, 1.0), "x").constant
    unsure = assess(evidence, course, StepTime(25.0, 1.0, 7.0, 0.1), "x").constant
    assert unsure.value == sure.value
    assert unsure.high - unsure.low > 2 * (sure.high - sure.low)


def test_a_noise_scale_that_is_not_resolved_is_refused(tmp_path):
    evidence = evidence_of(tmp_path, lambda share: 1e5, [4] * 400)
    with pytest.raises(ValueError, match=r"never resolved: on batches of 4 the .* measure on larger batches"):
        noise_course(evidence)
    noise_course(evidence_of(tmp_path, lambda share: 1e5, [100_000] * 400))


@pytest.mark.parametrize("unit", [1e-200, 1e80])
def test_neither_the_unit_of_the_gradient_nor_a_late_beginning_matters(tmp_path, unit):
    steps = noisy_steps(exponential, [16] * 400)
    plain = noise_course(read_evidence(write_lines(tmp_path / "plain.jsonl", steps)))
    other = [
        {
            **step,
            "samples": step["samples"] + 10**6,  # the records of a loop that was resumed
            "trace": unit * step["trace"],
            "squared_norm": unit * step["squared_norm"],
        }
        for step in steps
    ]
    course = noise_course(read_evidence(write_lines(tmp_path / "other.jsonl", other)))
    assert course.edges == pytest.approx(plain.edges + 10**6)
    np.testing.assert_allclose(course.scales, plain.scales, rtol=1e-6)


def test_moments_without_noise(tmp_path):
    steps = [{**step, "trace": 48.0, "squared_norm": 5.0} for step in noisy_steps(constant, [16] * 400)]
    found = noise_course(read_evidence(write_lines(tmp_path / "exact.jsonl", steps)))
    np.testing.assert_allclose(found.scales, 24.0, rtol=1e-4)


def test_no_batch_is_below_one_sample(tmp_path):
    evidence = evidence_of(tmp_path, lambda share: 0.2, [16] * 400)
    found = assess(evidence, noise_course(evidence), StepTime(1e-6, 1.0), "x")
    assert [rule.smallest for rule in found.rules] == [16, 1, 1, 1, 1, 1]
    assert found.rules[1].samples == pytest.approx(found.rules[1].steps)


def without_statistics(steps, begin, end):
    silent = {"trace": None, "squared_norm": None}
    return [{**step, **(silent if begin < step["step"] <= end else {})} for step in steps]


def test_times_are_those_of_the_last_number_of_ranks(tmp_path):
    step = {"batch_size": 8, "micro_batch": 1, "seconds": 1.0, "noise_trace": 2.0, "grad_sq_norm": 1.0}
    steps = [step | {"step": k, "samples": 8 * k, "ranks": 1 + k // 50, "loss": 1.0} for k in range(1, 61)]
    evidence = read_evidence(write_lines(tmp_path / "metrics.jsonl", steps))
    assert np.isfinite(evidence.seconds).tolist() == [False] * 49 + [True] * 11


def test_gaps_between_measurements(tmp_path):
    """The first step after a gap must not stand for all of it; a quarter without statistics is named."""
    steps = noisy_steps(exponential, [16] * 800)
    whole = noise_course(read_evidence(write_lines(tmp_path / "whole.jsonl", steps)))
    gap = noise_course(read_evidence(write_lines(tmp_path / "gap.jsonl", without_statistics(steps, 380, 520))))
    means = [np.average(course.scales[0], weights=np.diff(course.edges)) for course in (whole, gap)]
    assert means[1] == pytest.approx(means[0], rel=0.1)
    silent = read_evidence(write_lines(tmp_path / "silent.jsonl", without_statistics(steps, 604, 800)))
    with pytest.raises(
        ValueError, match=r"statistics of 4 steps from 9600 to 12800 samples, and at least 8 in each"
    ):
        noise_course(silent)
