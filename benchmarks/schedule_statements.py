"""How near the statements of theory.schedules come to equality on random problems: a search for one that fails.

    python benchmarks/schedule_statements.py [--problems 1500] [--seed 7] [--output FILE]

Each row is the largest ratio of the two sides, which must be at most 1 (1e-7 is the solver's), and, in the last
column, the same with the statement made stronger as the row says: above 1 where that is too strong. Problems have
1 to 5 modes with spectra over 6 powers of e, noise from 0 to 100, steps that are equal, random, growing, shrinking
or end with a long one, and a_k times the largest curvature of up to 1. Rows of a ``worst rule`` take the maximum
over all rules by which the next batch (1, 2 or 4 of 5 samples) may depend on the past, with noise of two values.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np

from theory.schedules import adam_descent, convex_sgd, sandwich_adam, sandwich_sgd
from theory.schedules.path import LearningRatePath, PathSteps
from theory.schedules.second_moments import Regression
from theory.schedules.shapes import Cosine, OneMinusSqrt, Power, Shape, StableThenDecay

DECAYS = (Power(1), Power(2), Cosine(2), Cosine(1), OneMinusSqrt(), StableThenDecay(0.2, Power(1)))
MOVES = (0.02, 0.1, 0.3, 0.6, 0.9, 0.99)
Ratios = dict[str, list[tuple[float, float]]]


def random_steps(draws: np.random.Generator, most: int, move: float) -> PathSteps:
    n = int(np.exp(draws.uniform(0, np.log(most))))
    proportions = (
        np.ones(n),
        np.exp(draws.normal(0, 2, n)),
        np.exp(np.linspace(0, draws.uniform(-4, 4), n)),
        np.append(np.ones(n), np.exp(draws.uniform(0, 4))),
    )[draws.integers(4)]
    shapes: tuple[Shape, ...] = (*DECAYS, Power(0), Power(float(np.exp(draws.uniform(-3, 2)))))
    return PathSteps.from_proportions(shapes[draws.integers(8)], proportions, np.exp(draws.uniform(0, 10)), move)


def random_problem(draws: np.random.Generator) -> tuple[Regression, np.ndarray]:
    modes = draws.integers(1, 6)
    eigenvalues = np.exp(draws.uniform(-6, 0, modes))
    noise = float(draws.choice([0.0, 1e-3, 0.1, 1.0, 10.0, 100.0]))
    return Regression(eigenvalues / eigenvalues.max(), noise), np.exp(draws.normal(0, 3, modes))


def sandwiches(draws: np.random.Generator, found: Ratios) -> None:
    move = float(draws.choice(MOVES))
    steps, (problem, errors) = random_steps(draws, 25, move), random_problem(draws)
    end = sandwich_sgd.run(problem, steps, errors)
    upper = sandwich_sgd.upper_errors(problem, steps.path, errors, move)
    weaker = sandwich_sgd.path_solution(problem, steps.path, errors, noise=np.exp(move / 2))
    found["SGD, upper; e^{q/2}"].append((np.max(end / upper), np.max(end / weaker)))
    lower = sandwich_sgd.lower_errors(problem, steps, errors)
    plain = sandwich_sgd.path_solution(problem, steps.path, errors)
    found["SGD, lower; theta = nu = 1"].append((np.max(lower / end), np.max(plain / end)))
    problem = Regression(problem.eigenvalues, problem.noise + 1e-3)
    now = sandwich_adam.largest_move(problem, steps)
    path = LearningRatePath(
        shape=steps.path.shape, samples=steps.path.samples, initial_ratio=steps.path.initial_ratio * now / move
    )
    steps = PathSteps(path, steps.ends)
    end, kept = sandwich_adam.run(problem, steps, errors)
    upper = sandwich_adam.upper_errors(problem, path, errors, move, kept)
    weaker = sandwich_adam.upper_errors(problem, path, errors, move, 1.0)
    found["Adam-like, upper; kappa = 1"].append((np.max(end / upper), np.max(end / weaker)))
    lower = sandwich_adam.lower_errors(problem, steps, errors)
    plain = sandwich_adam.path_solution(problem, path, errors)
    found["Adam-like, lower; theta = nu = 1"].append((np.max(lower / end), np.max(plain / end)))


def guarantees(draws: np.random.Generator, found: Ratios) -> None:
    move = float(draws.choice([0.1, 0.5, 0.9, 1.0]))
    steps, modes = random_steps(draws, 200, move), draws.integers(1, 4)
    curvature, errors = np.append(np.exp(draws.uniform(-6, 0, modes)), 1.0), np.exp(draws.normal(0, 3, modes + 1))
    variances, squares, gaps = np.exp(draws.normal(0, 4, modes + 1)), 0.0, 0.0
    problem = convex_sgd.SmoothProblem(
        smoothness=1.0,
        variance=float(variances.sum()),
        initial_gap=float(curvature @ errors) / 2,
        distance=float(np.sqrt(errors.sum())),
    )
    for rate, batch in zip(steps.rates, steps.batches, strict=True):
        squares, gaps = squares + rate * curvature**2 @ errors, gaps + rate * curvature @ errors / 2
        errors = errors * (1 - rate * curvature) ** 2 + rate**2 / batch * variances
    path = steps.path
    ratio = squares / path.time / convex_sgd.average_squared_gradient_bound(problem, path, move).value
    found["average squared gradient; 4/5"].append((ratio, ratio * 1.25))
    ratio = gaps / path.time / convex_sgd.average_gap_bound(problem, path, move).value
    found["average of convex f; 4/5"].append((ratio, ratio * 1.25))
    of_steps = convex_sgd.last_iterate_bound_of_steps(problem, steps).value
    ratio = float(curvature @ errors) / 2 / of_steps
    found["last iterate, over steps; 2/5"].append((ratio, ratio * 2.5))
    if path.shape in DECAYS:
        ratio = of_steps / convex_sgd.last_iterate_bound(problem, path, move).value
        found["its sum over its integral; 4/5"].append((ratio, ratio * 1.25))


def descents(draws: np.random.Generator, found: Ratios) -> None:
    squares, variances = np.exp(draws.normal(0, 3, (2, draws.integers(1, 8))))
    batch, scales = np.exp(draws.normal(0, 4)), {}
    drift = adam_descent.drift(squares, variances, batch)
    for scale in adam_descent.NoiseScale:
        scales[scale] = scale.of(squares, variances)
        criterion, kept = scale.criterion(squares, variances), scale.kept(batch / scales[scale])
        found[f"drift, {scale}; nothing lost"].append((float(criterion * kept / drift), float(criterion / drift)))
    weighted, l1, trace = (scales[name] for name in ("weighted", "l1", "trace"))
    found["weighted scale over l1; over trace"].append((weighted / l1, weighted / trace))


def worst(
    weights: tuple[float, ...], path: LearningRatePath, chance: float, point: float, seen: float = 0.0
) -> float:
    """Of log cosh w, over all rules: sum a f, sum a^2 / b, sum (1 + a) (a^2 / b) / (T - T_k), f at the end."""
    if path.samples - seen < 0.5:
        return weights[3] * float(np.logaddexp(point, -point) - np.log(2))
    left, best = path.time_left(seen), -np.inf
    for batch in (1.0, 2.0, 4.0):
        if batch <= path.samples - seen:
            rate, odds = left - path.time_left(seen + batch), (1 / chance - 1) ** 0.5
            ends = (point - rate * (np.tanh(point) + noise / batch**0.5) for noise in (odds, -1 / odds))
            rest = (worst(weights, path, chance, end, seen + batch) for end in ends)
            value = sum(p * expected for p, expected in zip((chance, 1 - chance), rest, strict=True))
            value += weights[0] * rate * float(np.logaddexp(point, -point) - np.log(2))
            best = max(best, value + (weights[1] + weights[2] * (1 + rate) / left) * rate**2 / batch)
    return best


def rules(draws: np.random.Generator, found: Ratios) -> None:
    shape, point = DECAYS[draws.integers(6)], float(draws.normal(0, 3))
    chance = float(draws.choice([0.001, 0.03, 0.3, 0.5, 0.9]))
    ratio = 5 * (shape.remaining(0.0) - shape.remaining(0.8)) / draws.uniform(0.05, 1.0)
    path = LearningRatePath(shape=shape, samples=5.0, initial_ratio=ratio)
    value = worst((1, -0.5, 0, 0), path, chance, point) / (point**2 / 2)
    found["worst rule, average; 3/5 d^2"].append((value, value / 0.6))
    value = worst((0, 0, -0.5, 1), path, chance, point) / (point**2 / (2 * path.time))
    found["worst rule, last iterate; d^2/5"].append((value, value * 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # of problems that explode, which are left out
    draws, found = np.random.default_rng(arguments.seed), defaultdict(list)
    for _ in range(arguments.problems):
        for search in (sandwiches, guarantees, descents, rules):
            search(draws, found)
    lines = [
        f"# python benchmarks/schedule_statements.py --problems {arguments.problems} --seed {arguments.seed}",
        f"{'statement; made stronger':36} problems      largest     stronger",
    ]
    for name, pairs in found.items():
        finite = np.array([pair for pair in pairs if np.isfinite(pair).all()])
        stated, stronger = finite.max(axis=0)
        lines.append(f"{name:36} {len(finite):8d} {stated:12.9f} {stronger:12.4g}")
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
