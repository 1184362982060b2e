"""Theorem 2 next to the theorem that it replaced: the largest eta, and the bound per step at each own best alpha.

    python benchmarks/sharp_eta.py > benchmarks/sharp_eta.txt

d = 10, L = Delta = 1, v_0 = 0, K = 1e6. The old theorem froze each gradient until it had changed by a factor of
zeta, with kappa_R / lambda for kappa and 1 + 1/zeta for the 1 in E; its figures were computed at commit ce27f53.
"""

from __future__ import annotations

from dataclasses import replace

from theory.adam_sharp.momentum_sums import momentum_sums
from theory.adam_sharp.parameters import best_bound, best_step_size
from theory.adam_sharp.theorem2 import largest_admissible_eta
from theory.problem import AdamParameters, Problem

PROBLEM = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
ETAS = (0.2, 0.5, 0.6, 0.9)
OLD = {
    (0.9, 0.95): (0.6844, (0.3854, 0.9600, 2.4749, None)),
    (0.9, 0.999): (0.6878, (2.0364, 4.4633, 10.2804, None)),
    (0.5, 0.9): (0.7501, (0.1329, 0.2811, 0.5183, None)),
}
"""Largest eta, and the bound per step at ETAS, of the theorem before; None where it did not apply."""


def main() -> None:
    """Print the table."""
    print("betas         eta<  before   | eta   alpha     kappa   M     N    bound/K  before   ratio")
    for (beta1, beta2), (largest, bounds) in OLD.items():
        for eta, old in zip(ETAS, bounds, strict=True):
            adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta)
            alpha = best_step_size(PROBLEM, adam)
            bound = best_bound(PROBLEM, replace(adam, step_size=alpha))
            kappa = momentum_sums(beta1, beta2, eta, bound.parameters["N"]).alignment
            value = bound.value / PROBLEM.steps
            print(
                f"({beta1}, {beta2})".ljust(13),
                f"{largest_admissible_eta(beta1, beta2):.4f}  {largest:.4f}  | {eta}   {alpha:.2e}  {kappa:.4f}",
                f"{bound.parameters['M']:5.0f} {bound.parameters['N']:4.0f}  {value:.4f}",
                f"  {old:7.4f}  {old / value:5.1f}" if old else "      -       -",
            )


if __name__ == "__main__":
    main()
