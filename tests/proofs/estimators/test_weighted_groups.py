from __future__ import annotations

import pytest

from adabatch.moments.gradient_moments import covariance_trace, debiased_squared_norm
from adabatch.moments.gradient_moments import weighted_sum_of_squares as weighted
from proofs.estimators.weighted_groups import weighted_groups
from tests.support.altered_proofs import altered
from theory.estimators.weighted_groups import unweighted_bias

PERTURBED = {
    "trace with n in place of n - 1": (
        {"covariance_trace": lambda n, m, s, q: covariance_trace(n, m, s, q) * (n - 1) / n},
        "covariance trace",
    ),
    "sum of squares with n in place of N": (
        {"weighted_sum_of_squares": lambda n, total, c, scaled: weighted(n, n, c, scaled)},
        "",
    ),
    "sum of squares without c": (
        {"weighted_sum_of_squares": lambda n, total, c, scaled: weighted(n, total, 1, scaled)},
        "",
    ),
    "sum of squares 1% larger": (
        {"weighted_sum_of_squares": lambda *sums: weighted(*sums) * 101 / 100},
        "",
    ),
    "squared norm not debiased": ({"debiased_squared_norm": lambda n, m, s, q: q}, "debiased"),
    "debiased with the wrong sign": (
        {"debiased_squared_norm": lambda n, m, s, q: 2 * q - debiased_squared_norm(n, m, s, q)},
        "debiased",
    ),
    "no bias without weights": ({"theory.unweighted_bias": lambda *given: 0}, "without weights"),
    "bias over n in place of n - 1": (
        {"theory.unweighted_bias": lambda n, *given: unweighted_bias(n, *given) * (n - 1) / n},
        "without weights",
    ),
    "variation without - 1": (
        {"theory.variation_of_sums": lambda groups, squares, total: groups * squares / total**2},
        r"V^2 =",
    ),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_statement_is_rejected(name: str) -> None:
    formulas, only = PERTURBED[name]
    assert not altered(weighted_groups, formulas, only).holds
