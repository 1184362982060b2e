r"""How sharp the theorems on Adam are: bound over a bad instance, at small and at best step sizes.

**Small steps.** One coordinate, L alpha negligible: the gradient stays at 1 for K steps under independent
two-point noise of mean 1 and deviation eta, so that the sum is K and Delta = alpha K u, u = E m/sqrt(v) in the
stationary state, by quadrature (:mod:`theory.adam.normalized_step`). Of these laws the one with the least u is
taken, by a search over how skewed they are. Laws that depend on the state may be worse: the printed ratios are
upper bounds on how far a bound is from the truth.

**Best step sizes.** An instance on which every step size costs: a slope of constant gradient, down which the same
noise makes the sum Delta/(alpha u), then a quadratic bottom, where noiseless Adam never settles: its mean |G| is
a alpha L on every coordinate, a measured here. The average is 2 sqrt(a/u) sqrt(L d Delta/K) at the best alpha, to
first order as K grows. It is a lower bound on what a theorem can promise, and probably not the largest.

    $ python benchmarks/certificate_sharpness.py > benchmarks/certificate_sharpness.txt
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from theory.adam.normalized_step import Law, mean_normalized_step
from theory.guarantee import adam_guarantee, standings, theorems
from theory.l1.costs import Kind
from theory.l1.theorem3 import available_certificates
from theory.problem import AdamParameters, Problem

ETAS = (0.2, 0.5, 0.8)
STEPS, STEP_SIZE, SMOOTHNESS = 10**9, 1e-3, 1e-30


def least_mean_step(beta1: float, beta2: float, eta: float) -> float:
    """The least E m/sqrt(v) over two-point laws 1 - eta e^t, 1 + eta e^-t."""

    def mean_step(t: float) -> float:
        lower, upper = 1 - eta * np.exp(t), 1 + eta * np.exp(-t)
        lower = lower if abs(lower) > 1e-6 else 1e-6  # the mean step is continuous at 0
        chance = (upper - 1) / (upper - lower)
        return mean_normalized_step(Law((lower, upper), (chance, 1 - chance)), beta1, beta2)

    grid = np.linspace(-2, 4, 25)
    coarse = [mean_step(t) for t in grid]
    k = int(np.clip(np.argmin(coarse), 1, len(grid) - 2))
    fine = minimize_scalar(mean_step, bounds=(grid[k - 1], grid[k + 1]), method="bounded", options={"xatol": 1e-3})
    return float(min(fine.fun, *coarse))


def oscillation(beta1: float, beta2: float, steps: int = 20_000) -> float:
    """a: the mean |G| of noiseless Adam on w^2/2 at alpha = 1 in the second half, the largest over some starts."""
    w = np.geomspace(0.1, 100, 25)
    m, v, total = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for k in range(steps):
        m, v = beta1 * m + (1 - beta1) * w, beta2 * v + (1 - beta2) * w**2
        total += np.abs(w) * (k >= steps // 2)
        w = w - m / np.sqrt(v)
    return float(total.max() / (steps - steps // 2))


def ratios(beta1: float, beta2: float, eta: float, mean_step: float) -> list[float]:
    """Every theorem's bound over the sum of the constant gradient; infinite where it does not apply."""
    gap = STEPS * STEP_SIZE * mean_step
    problem = Problem(smoothness=SMOOTHNESS, dimension=1, initial_gap=gap, steps=STEPS, initial_gradient_norm=1.0)
    adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta, step_size=STEP_SIZE)
    return [bound / STEPS for bound in adam_guarantee(problem, adam).terms.values()]


def line(*cells: object) -> str:
    """A row of a table."""
    return "| " + " | ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in cells) + " |"


def main() -> None:
    """Print both tables."""
    names = [theorem.name for theorem in theorems()]
    betas = sorted({(c.beta1, c.beta2) for c in available_certificates() if c.kind is Kind.VARIANCE})
    print("Small steps: bound over the sum of a constant gradient (inf: the theorem does not apply)")
    print(line("betas", "eta", "least u", *names))
    print(line(*["---"] * (3 + len(names))))
    steps = {(b, eta): least_mean_step(*b, eta) for b in betas for eta in ETAS}
    for (b, eta), u in steps.items():
        print(line(b, eta, u, *ratios(*b, eta, u)), flush=True)
    print("\nBest step sizes: A in (1/K) sum E||G||_1 <= A sqrt(L d Delta / K); least A over the instance's")
    print(line("betas", "eta", "2 sqrt(a/u)", *names, "ratio"))
    print(line(*["---"] * (4 + len(names))))
    for b in betas:
        a = oscillation(*b)
        for eta in ETAS:
            possible = 2 * np.sqrt(a / steps[b, eta])
            constants = [standing.constant or np.inf for standing in standings(*b, eta)]
            print(line(b, eta, possible, *constants, min(constants) / possible), flush=True)


if __name__ == "__main__":
    main()
