"""How well t0 and t1 are found in the times of steps with jitter and outliers, on simulated clocks.

    python benchmarks/step_time_fit.py [--seeds 200] [--output benchmarks/step_time_fit.txt]

A step on b samples takes t0 + t1 b with log-normal jitter of .1; one in twenty takes 10 to 100 times as long, and
the first one 500 times. Batches lie within a factor 4 (1.2 in the last rows): two stages of equal length, three
stages, or a ramp in which no batch comes often. ``within 10%`` is the share of seeds in which both t0 and t1 are;
``resolved`` the share in which the fit's own standard errors are at most a tenth of both, and ``of these`` the
share of those within 10%. Least squares on the same times is the control.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from adabatch.schedules.step_times import StepTimes

PER_SAMPLE, SMALLEST = 0.001, 16
SATURATIONS = (4, 16, 32, 64, 256)
STEPS = (300, 1000, 4000)


def batches_of(kind: str, steps: int) -> list[int]:
    shares = [k / steps for k in range(steps)]
    if kind == "two stages":
        return [SMALLEST if share < 0.5 else 4 * SMALLEST for share in shares]
    if kind == "three stages":
        return [SMALLEST * 2 ** int(3 * share) for share in shares]
    return [round(SMALLEST * (4.0 if kind == "ramp" else 1.2) ** share) for share in shares]


def seconds_of(batches: list[int], saturation: float, seed: int) -> list[float]:
    random = np.random.default_rng(seed)
    exact = PER_SAMPLE * (saturation + np.array(batches))
    outliers = np.where(random.random(len(batches)) < 0.05, 10 ** random.uniform(1, 2, len(batches)), 1.0)
    outliers[0] = 500.0
    return [float(t) for t in exact * outliers * np.exp(0.1 * random.standard_normal(len(batches)))]


def row(kind: str, saturation: float, steps: int, seeds: int) -> str:
    batches = batches_of(kind, steps)
    exact = np.array([PER_SAMPLE * saturation, PER_SAMPLE])
    fits, resolved, plain = [], [], []
    for seed in range(seeds):
        seconds, times = seconds_of(batches, saturation, seed), StepTimes()
        for batch, second in zip(batches, seconds, strict=True):
            times.add(second, batch, 8)
        fit = times.fit(8)
        fits.append([np.inf, np.inf] if fit is None else [fit.fixed, fit.per_sample])
        resolved.append(fit is not None and fit.resolved)
        plain.append(np.polyfit(batches, seconds, 1)[::-1])
    good, control = (np.abs(np.array(lines) / exact - 1).max(axis=1) <= 0.1 for lines in (fits, plain))
    found = np.isfinite(np.array(fits)).all(axis=1)
    of_these = f"{good[resolved].mean():8.1%}" if any(resolved) else "       -"
    return (
        f"{kind:12} {saturation:6.0f} {steps:6d} {found.mean():7.1%} {good.mean():11.1%} {np.mean(resolved):9.1%} "
        f"{of_these:>8} {control.mean():14.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"# python benchmarks/step_time_fit.py --seeds {arguments.seeds}",
        "# batches from 16 to 64 (the last rows: 16 to 19); jitter .1, 5% of the times 10 to 100 times too long",
        "batches       B_sat  steps  fitted  within 10%  resolved of these  least squares",
    ]
    cases = [(kind, saturation) for kind in ("two stages", "three stages", "ramp") for saturation in SATURATIONS]
    for kind, saturation in [*cases, ("narrow", 32)]:
        for steps in STEPS:
            lines.append(row(kind, saturation, steps, arguments.seeds))
            print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
