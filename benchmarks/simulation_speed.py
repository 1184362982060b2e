"""Seeds as one array against a Python loop over seeds, and how the cost grows with steps and seeds.

Run with ``python benchmarks/simulation_speed.py``; the table it printed last is ``simulation_speed.txt``.
Times are CPU time of one thread, each the least of several interleaved repeats (other work only adds to it).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import math
import platform
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from simulate.noise import NOISES, Noise
from simulate.objectives import OBJECTIVES, GemanMcClure, Objective
from simulate.optimizers import Adam
from simulate.trajectory import run

DIMENSION, STEPS, REPEATS, ETA = 10, 200, 15, 0.2
ADAM = Adam(step_size=0.01, beta1=0.9, beta2=0.95)


def plain_loop(steps: int, seed: int) -> tuple[float, ...]:
    """One seed as one would write it for one run: numpy on [d], random numbers step by step, the same sums."""
    generator, objective = np.random.default_rng(seed), GemanMcClure(DIMENSION)
    doubled = 2.0 * objective.scale * np.geomspace(1.0, 1.0 / objective.spread, DIMENSION)
    w = objective.start()
    m, v = np.zeros(DIMENSION), np.zeros(DIMENSION)
    l1_sum = l2_sum = squared_sum = 0.0
    l1_minimum = l2_minimum = math.inf
    for _ in range(steps):
        base = 1.0 + w * w
        gradient = doubled * w / (base * base)
        l1, squared = float(np.abs(gradient).sum()), float(gradient @ gradient)
        l2 = math.sqrt(squared)
        l1_sum, l2_sum, squared_sum = l1_sum + l1, l2_sum + l2, squared_sum + squared
        l1_minimum, l2_minimum = min(l1_minimum, l1), min(l2_minimum, l2)
        g = gradient * (1.0 + ETA * generator.standard_normal(DIMENSION))
        m = 0.9 * m + (1 - 0.9) * g
        v = 0.95 * v + (1 - 0.95) * g * g
        root = np.sqrt(v)
        w = w - 0.01 * np.divide(m, root, out=np.zeros(DIMENSION), where=root > 0)
    return l1_sum, l2_sum, squared_sum, l1_minimum, l2_minimum


def least(tasks: dict[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, float]:
    """Least CPU time of each task in seconds, the tasks taking turns."""
    best = dict.fromkeys(tasks, math.inf)
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            best[name] = min(best[name], time.process_time() - start)
    return best


def simulate(steps: int, seeds: int, objective: Objective | None = None, noise: Noise | None = None) -> None:
    run(objective or GemanMcClure(DIMENSION), noise or NOISES["gaussian"](eta=ETA), ADAM, steps, seeds, [steps])


def against_a_loop() -> None:
    print(
        f"\nGeman-McClure, d = {DIMENSION}, Gaussian noise, Adam, {STEPS} steps; microseconds per step, all seeds"
    )
    print(f"{'seeds':>6} {'one array':>10} {'loop: run() a seed':>19} {'loop: plain numpy':>18} {'speed-up':>17}")
    for seeds in (16, 64, 256, 1024):
        times = least(
            {
                "array": lambda seeds=seeds: simulate(STEPS, seeds),
                "run": lambda: simulate(STEPS, 1),
                "plain": lambda: plain_loop(STEPS, 0),
            }
        )
        array, each, plain = (1e6 / STEPS * times[name] for name in ("array", "run", "plain"))
        each, plain = each * seeds, plain * seeds  # the loop over seeds, from the time of one
        ratio = f"{each / array:.0f}x and {plain / array:.0f}x"
        print(f"{seeds:>6} {array:>10.0f} {each:>19.0f} {plain:>18.0f} {ratio:>17}")


def against_a_real_loop() -> None:
    """The row for 256 seeds with the loop really run over all of them, once."""
    start = time.process_time()
    for seed in range(256):
        run(GemanMcClure(DIMENSION), NOISES["gaussian"](eta=ETA), ADAM, STEPS, [seed], [STEPS])
    loop = time.process_time() - start
    array = least({"array": lambda: simulate(STEPS, 256)})["array"]
    print(
        f"256 seeds, the loop really run over all of them: {loop:.2f} s against {array:.3f} s, {loop / array:.0f}x"
    )


def growth_with_steps() -> None:
    print("\n256 seeds: time and peak memory of numpy's arrays against the number of steps")
    print(f"{'steps':>6} {'seconds':>8} {'us a step':>10} {'peak MiB':>9}")
    counts = (250, 500, 1000, 2000, 4000)
    times = least({str(steps): lambda steps=steps: simulate(steps, 256) for steps in counts}, repeats=5)
    for steps in counts:
        tracemalloc.start()
        simulate(steps, 256)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        seconds = times[str(steps)]
        print(f"{steps:>6} {seconds:>8.3f} {1e6 * seconds / steps:>10.0f} {peak:>9.2f}")


def growth_with_seeds() -> None:
    counts = (1, 64, 256, 1024, 4096)
    print(f"\n{STEPS} steps: time against the number of seeds, and the fixed part of a step")
    times = least({str(seeds): lambda seeds=seeds: simulate(STEPS, seeds) for seeds in counts}, repeats=5)
    fixed = 1e6 / STEPS * times["1"]
    print(f"{'seeds':>6} {'us a step':>10} {'ns a seed and step beyond the fixed part':>41}")
    for seeds in counts:
        step = 1e6 / STEPS * times[str(seeds)]
        marginal = f"{1e3 * (step - fixed) / (seeds - 1):.0f}" if seeds > 1 else "-"
        print(f"{seeds:>6} {step:>10.0f} {marginal:>41}")


def by_objective_and_noise() -> None:
    print(
        "\n256 seeds: microseconds per step by objective (Gaussian noise) and by noise (noisy regression, n = 128)"
    )
    gaussian, regression = NOISES["gaussian"](eta=ETA), OBJECTIVES["noisy-regression"](dimension=DIMENSION)
    tasks = {
        name: lambda factory=factory: simulate(200, 256, factory(dimension=DIMENSION), gaussian)
        for name, factory in OBJECTIVES.items()
    }
    settings = {"none": {}, "two-point": {"delta": 0.1, "probability": 0.35}}
    noises = {name: factory(**settings.get(name, {"eta": ETA})) for name, factory in NOISES.items()}
    tasks |= {
        f"  {name}": lambda noise=noise: simulate(200, 256, regression, noise) for name, noise in noises.items()
    }
    for name, seconds in least(tasks, repeats=3).items():
        print(f"{name:<20} {1e6 * seconds / 200:>6.0f}")


def main() -> None:
    print("$ python benchmarks/simulation_speed.py")
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, CPU time of one thread"
    )
    simulate(STEPS, 256)  # warm up
    against_a_loop()
    against_a_real_loop()
    growth_with_steps()
    growth_with_seeds()
    by_objective_and_noise()


if __name__ == "__main__":
    main()
