from __future__ import annotations

import pytest
import sympy

from adabatch.moments.gradient_moments import covariance_trace, debiased_squared_norm, paper_variance
from adabatch.moments.noise_scale import stationary_batch_size
from proofs.estimators.expectations import (
    finite_population,
    fixed_points,
    plug_in_denominator,
    variance_of_groups,
)
from tests.support.altered_proofs import altered
from theory.estimators.finite_population import published_factor, sample_variance_factor

PERTURBED = {
    "Eq. 2 as published": lambda: altered(finite_population, {"sample_variance_factor": published_factor}),
    "Eq. 2, 1% larger": lambda: altered(
        finite_population,
        {"sample_variance_factor": lambda b, n: sample_variance_factor(b, n) * sympy.Rational(101, 100)},
    ),
    "trace with n in place of n - 1": lambda: altered(
        variance_of_groups, {"covariance_trace": lambda n, m, s, q: covariance_trace(n, m, s, q) * (n - 1) / n}
    ),
    "published variance as the trace": lambda: altered(
        variance_of_groups, {"covariance_trace": lambda n, m, s, q: paper_variance(n, s, q)}
    ),
    "published variance 1% larger": lambda: altered(
        variance_of_groups, {"paper_variance": lambda n, s, q: paper_variance(n, s, q) * sympy.Rational(101, 100)}
    ),
    "squared norm not debiased": lambda: altered(
        variance_of_groups, {"debiased_squared_norm": lambda n, m, s, q: q}
    ),
    "debiased with the wrong sign": lambda: altered(
        variance_of_groups, {"debiased_squared_norm": lambda n, m, s, q: 2 * q - debiased_squared_norm(n, m, s, q)}
    ),
    "plug-in test enforces eta": lambda: altered(
        plug_in_denominator, {"theory.effective_eta": lambda eta, estimator: eta}
    ),
    "plug-in test given eta": lambda: altered(plug_in_denominator, {"theory.eta_to_enforce": lambda eta: eta}),
    "published estimator stops at B/eta^2": lambda: altered(
        fixed_points,
        {"stationary_batch_size": lambda scale, eta, estimator, n: stationary_batch_size(scale, eta, "debiased")},
    ),
    "debiased fixed point 1% larger": lambda: altered(
        fixed_points,
        {
            "stationary_batch_size": lambda scale, eta, estimator, n: (
                stationary_batch_size(scale, eta, estimator, n)
                * (sympy.Rational(101, 100) if estimator == "debiased" else 1)
            )
        },
    ),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_statement_is_rejected(name: str) -> None:
    assert not PERTURBED[name]().holds
