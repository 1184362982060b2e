from __future__ import annotations

import pytest
import sympy

from proofs.adam.symbols import BETA1
from proofs.printed import inner_product, lemma_b1, lemma_b2, log_step, proposition_1
from proofs.steps import Method, run
from theory.norm_tests import inner_product_floor, second_moment_bound
from theory.printed_adam import lemma_b1_bound, lemma_b2_first
from theory.repaired_adam import largest_root_bound

PROOFS = (inner_product, proposition_1, lemma_b1, lemma_b2, log_step)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__)
def test_holds(proof) -> None:
    result = run(proof())
    assert result.holds, [(f.step.statement, f.evidence.detail) for f in result.failures]
    assert sum(step.step.method is not Method.PROSE for step in result.steps) >= 3


PERTURBED = {
    "inner product, floor 5% higher": lambda: inner_product(lambda q, eta: inner_product_floor(q, eta * 0.95)),
    "Prop. 1, 1% smaller": lambda: proposition_1(
        lambda g, eta: second_moment_bound(g, eta) * sympy.Rational(99, 100)
    ),
    "Prop. 1, 1 - eta^2": lambda: proposition_1(lambda g, eta: (1 - eta**2) * g**2),
    "Prop. 1, 1% larger is not sharp": lambda: proposition_1(
        lambda g, eta: second_moment_bound(g, eta) * sympy.Rational(101, 100)
    ),
    "Lemma B.1, 1% smaller": lambda: lemma_b1(lambda *a: lemma_b1_bound(*a) * sympy.Rational(99, 100)),
    "Lemma B.1, (1-r) unsquared": lambda: lemma_b1(
        lambda b1, b2, k, g: lemma_b1_bound(b1, b2, k, g) * (1 - b1 / sympy.sqrt(b2))
    ),
    "Lemma B.1, negative beta1": lambda: lemma_b1(beta1=-BETA1),
    "Lemma B.2, first bound 5% smaller": lambda: lemma_b2(
        first=lambda *a: lemma_b2_first(*a) * sympy.Rational(95, 100)
    ),
    "Lemma B.2, second below the first": lambda: lemma_b2(
        second=lambda alpha, b1, b2, rooted=True: lemma_b2_first(alpha, b1, b2) * sympy.Rational(99, 100)
    ),
    "log step as printed": lambda: log_step(lambda a, b: 2 * a + 2 * b * sympy.log(b / 12)),
    "log step, 1% smaller": lambda: log_step(lambda a, b: largest_root_bound(a, b) - a / 100),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_statement_is_rejected(name: str) -> None:
    assert not run(PERTURBED[name]()).holds


def test_negative_beta1_breaks_just_the_sum_of_weights() -> None:
    failures = run(lemma_b1(beta1=-BETA1)).failures
    assert [r"|\beta_1|" in failure.step.statement for failure in failures] == [True]
