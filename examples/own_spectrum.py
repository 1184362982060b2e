"""A regression task of your own for the exact dynamics: two clusters of eigenvalues, more error in the small ones.

From the command line: ``adabatch optimum --task examples/own_spectrum.py:two_clusters --rule ramp``.
"""

from __future__ import annotations

import numpy as np

from simulate.exact.tasks import Tasks, spectrum_task


def two_clusters() -> Tasks:
    """10 modes of eigenvalue 1, 90 of 0.01 with ten times the error; B_sat is 32, the budget 300 step times."""
    eigenvalues = np.repeat([1.0, 0.01], [10, 90])
    errors = np.repeat([0.1, 1.0], [10, 90])
    return spectrum_task(eigenvalues, errors, noise=0.1, duration=300, saturation=32)


if __name__ == "__main__":
    from simulate.exact.dynamics import Dynamics
    from simulate.exact.plane import chosen_rules, over_optimum

    rules = chosen_rules(("constant 1", "ramp"))
    found = over_optimum(Dynamics.SGD, two_clusters(), rules, iterations=10)
    for name, ratio in zip(rules, found.rules, strict=True):
        print(f"{name}: risk over the optimum's {ratio[0]:.2f}")
