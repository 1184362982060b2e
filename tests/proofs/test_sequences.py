"""Functions of theory on sequences of any length."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from proofs.sequences import Terms
from theory.schedules.adam_descent import drift
from theory.schedules.best_path import noise_cost

w, u, total = sympy.symbols("w u W", positive=True)


def test_a_sum_is_known_by_its_name() -> None:
    weights, lengths = Terms(w, {w * u: total}), Terms(u, {w * u: total})
    assert noise_cost(weights, 3 / total, lengths) == total**2 / 3
    assert drift(weights**2 * lengths**2, np.float64(0) + 0 * weights, 1) == total
    with pytest.raises(ValueError, match="has no name"):
        noise_cost(weights**2, 3, lengths)
    with pytest.raises(TypeError):
        np.exp(weights)
