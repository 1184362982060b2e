"""The proofs of Adam's variants, SGD, relative errors and AdaGrad hold; perturbed statements are rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sympy

from proofs.adam.l5_epsilon import lemma_l5_epsilon
from proofs.adam.variants import bias_correction_proof, multiplier_proof
from proofs.other_optimizers.adagrad import adagrad_theorem
from proofs.other_optimizers.sgd import relative_error_theorem, sgd_theorem
from proofs.steps import CheckedProof
from tests.support.altered_proofs import altered
from theory.adam import variants
from theory.adam.constants import alignment_at
from theory.bound import Bound
from theory.other_optimizers import adagrad, sgd

ONE_PERCENT = sympy.Rational(101, 100)


def smaller(function: Callable[..., Bound]) -> Callable[..., Bound]:
    def bound(*arguments: object, **own: object) -> Bound:
        found = function(*arguments, **own)
        return replace(found, value=found.value / ONE_PERCENT)

    return bound


def without_drift(*arguments: object, **own: object) -> Bound:
    found = adagrad.preconditioned_sum_bound(*arguments, **own)
    return replace(found, value=found.terms["gap"])


def lowest_forgotten(problem, adam, multipliers) -> Bound:
    return variants.preconditioned_sum_bound(problem, adam, replace(multipliers, lowest=1))


def highest_forgotten(problem, adam, multipliers) -> Bound:
    return variants.preconditioned_sum_bound(problem, adam, replace(multipliers, highest=1))


def forward_recursion(multipliers, ratio, after=0):
    return variants.amplifications(list(multipliers)[::-1], ratio, after)[::-1]


PERTURBED: dict[str, Callable[[], CheckedProof]] = {
    "SGD with a descent 1% larger": lambda: altered(
        sgd_theorem, {"theory.descent_per_step": lambda *a: ONE_PERCENT * sgd.descent_per_step(*a)}
    ),
    "SGD without eta": lambda: altered(
        sgd_theorem, {"theory.descent_per_step": lambda lips, step, eta: sgd.descent_per_step(lips, step, 0 * eta)}
    ),
    "SGD with a bound 1% smaller": lambda: altered(
        sgd_theorem, {"theory.average_squared_norm_bound": smaller(sgd.average_squared_norm_bound)}
    ),
    "relative errors with 1 - eta for 1 - eta^2": lambda: altered(
        relative_error_theorem, {"theory.relative_error_descent": lambda lips, eta: (1 - eta) / (2 * lips)}
    ),
    "relative errors with the descent of exact gradients": lambda: altered(
        relative_error_theorem, {"theory.relative_error_descent": lambda lips, eta: 1 / (2 * lips)}
    ),
    "relative errors with a bound 1% smaller": lambda: altered(
        relative_error_theorem, {"theory.relative_error_bound": smaller(sgd.relative_error_bound)}
    ),
    "AdaGrad with a bound 1% smaller": lambda: altered(
        adagrad_theorem, {"preconditioned_sum_bound": smaller(adagrad.preconditioned_sum_bound)}
    ),
    "AdaGrad without the logarithm": lambda: altered(adagrad_theorem, {"preconditioned_sum_bound": without_drift}),
    "AdaGrad with kappa 1% larger": lambda: altered(
        adagrad_theorem, {"alignment_at": lambda rho, eta: ONE_PERCENT * alignment_at(rho, eta)}
    ),
    "epsilon with S = s + e": lambda: altered(lemma_l5_epsilon, {"effective_history": lambda s, e: s + e}),
    "epsilon with S = s": lambda: altered(lemma_l5_epsilon, {"effective_history": lambda s, e: s}),
    "epsilon with S = s + 2 e sqrt(s + 1)": lambda: altered(
        lemma_l5_epsilon, {"effective_history": lambda s, e: s + 2 * e * sympy.sqrt(s + 1)}
    ),
    "multipliers without lo": lambda: altered(
        multiplier_proof, {"theory.preconditioned_sum_bound": lowest_forgotten}
    ),
    "multipliers without hi": lambda: altered(
        multiplier_proof, {"theory.preconditioned_sum_bound": highest_forgotten}
    ),
    "multipliers summed forwards": lambda: altered(multiplier_proof, {"theory.amplifications": forward_recursion}),
    "bias correction without the root": lambda: altered(
        bias_correction_proof, {"theory.bias_correction_multiplier": lambda k, b1, b2: (1 - b2**k) / (1 - b1**k)}
    ),
    "bias correction upside down": lambda: altered(
        bias_correction_proof,
        {"theory.bias_correction_multiplier": lambda k, b1, b2: (1 - b1**k) / sympy.sqrt(1 - b2**k)},
    ),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_statement_is_rejected(name: str) -> None:
    assert not PERTURBED[name]().holds
