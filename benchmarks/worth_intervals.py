"""How often the 90% interval of ``adabatch worth`` holds the true saving, on simulated runs whose B is known.

    python benchmarks/worth_intervals.py [--seeds 100] [--output benchmarks/worth_intervals.txt]

Constant batches of 16, B_sat 32. The noise scale is 128 throughout, or grows from 8 to 128 in proportion to the
samples or exponentially, or falls from 128 to 8 and returns. The squared norm has the noise of a chi-squared
with 50 degrees of freedom and the trace 10%; ``correlated``: both also drift by an autoregressive noise (.8 from
step to step; 30% of ||G||^2). ``plain`` is the mean saving without the correction for noise, ``corrected`` the
one reported, both in per cent of the time, over the seeds whose noise scale was resolved.
"""

from __future__ import annotations

import argparse
from itertools import chain, product
from pathlib import Path

import numpy as np
from printing import print_and_write

from adabatch.moments.worth import evenness, mean_noise_scale, progress, schedule_over_constant
from adabatch.schedules.step_times import StepTime
from adabatch.worth.assessment import assess
from adabatch.worth.course import NoiseCourse, noise_course
from adabatch.worth.evidence import Evidence

BATCH, SATURATION, FREEDOM = 16.0, 32.0, 50
COURSES = {
    "constant": lambda share: np.full_like(share, 128.0),
    "linear": lambda share: 8 + 120 * share,
    "exponential": lambda share: 8 * 16**share,
    "valley": lambda share: 8 + 240 * np.abs(share - 0.5),
}


def drifting(random: np.random.Generator, steps: int, correlation: float) -> np.ndarray:
    noise = random.standard_normal(steps)
    for step in range(1, steps):
        noise[step] = correlation * noise[step - 1] + np.sqrt(1 - correlation**2) * noise[step]
    return noise


def simulated(scales: np.ndarray, correlation: float, seed: int) -> Evidence:
    random, steps = np.random.default_rng(seed), len(scales)
    squared = 1 / (1 + 5 * np.arange(steps) / steps)
    trace = scales * squared
    noise = trace / BATCH * random.chisquare(FREEDOM, steps) / FREEDOM
    noise += 2 * np.sqrt(squared * trace / BATCH / FREEDOM) * random.standard_normal(steps)
    if correlation:
        noise += 0.3 * squared * drifting(random, steps, correlation)
    measured = trace * (1 + 0.1 * drifting(random, steps, correlation))
    batches, unknown = np.full(steps, BATCH), np.full(steps, np.nan)
    debiased = squared + noise - measured / BATCH
    return Evidence(
        "", np.cumsum(batches), batches, np.zeros(steps), np.zeros(steps), unknown, measured, debiased, 0
    )


def row(name: str, correlation: float, steps: int, seeds: int) -> str:
    scales = COURSES[name]((np.arange(steps) + 0.5) / steps)
    made = progress(BATCH, scales)
    rho, s = mean_noise_scale(scales, made) / SATURATION, evenness(scales, made)
    truth = 1 - schedule_over_constant(rho, s)
    time, found = StepTime(SATURATION, 1.0), []
    for seed in range(seeds):
        evidence = simulated(scales, correlation, seed)
        try:
            course = noise_course(evidence)
        except ValueError:
            continue
        saving = assess(evidence, course, time, "").saving
        plain = assess(evidence, NoiseCourse(course.edges, course.scales[[0, 0]]), time, "").saving
        covers = saving.low <= truth <= saving.high
        found.append([len(course.middles), plain.value, saving.value, saving.high - saving.low, covers])
    if not found:
        return f"{name:12} {correlation > 0!s:>10} {steps:6d} {0:9.0%}"
    parts, plain, corrected, width, covered = np.mean(found, axis=0)
    return (
        f"{name:12} {correlation > 0!s:>10} {steps:6d} {len(found) / seeds:9.0%} {parts:6.1f} {100 * truth:7.2f} "
        f"{100 * plain:7.2f} {100 * corrected:10.2f} {100 * width:6.2f} {covered:8.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"# python benchmarks/worth_intervals.py --seeds {arguments.seeds}",
        "noise scale  correlated  steps  resolved  parts    true   plain  corrected  width  covered",
    ]
    cases = product(COURSES, (0.0, 0.8), (100, 400, 1500, 6000))
    print_and_write(chain(lines, (row(*case, arguments.seeds) for case in cases)), arguments.output)


if __name__ == "__main__":
    main()
