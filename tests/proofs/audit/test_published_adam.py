from __future__ import annotations

import pytest
import sympy

from proofs.adam.symbols import BETA1
from proofs.audit.published_adam import inner_product, lemma_b1, lemma_b2, log_step, proposition_1
from tests.support.altered_proofs import altered
from theory.audit.corrected_adam import largest_root_bound
from theory.audit.published_adam import lemma_b1_bound, lemma_b2_first
from theory.estimators.exact_tests import inner_product_floor, second_moment_bound

PERTURBED = {
    "inner product, floor 5% higher": lambda: altered(
        inner_product, {"inner_product_floor": lambda q, eta: inner_product_floor(q, eta * 0.95)}
    ),
    "Prop. 1, 1% smaller": lambda: altered(
        proposition_1,
        {"second_moment_bound": lambda g, eta: second_moment_bound(g, eta) * sympy.Rational(99, 100)},
    ),
    "Prop. 1, 1 - eta^2": lambda: altered(
        proposition_1, {"second_moment_bound": lambda g, eta: (1 - eta**2) * g**2}
    ),
    "Prop. 1, 1% larger is not sharp": lambda: altered(
        proposition_1,
        {"second_moment_bound": lambda g, eta: second_moment_bound(g, eta) * sympy.Rational(101, 100)},
    ),
    "Lemma B.1, 1% smaller": lambda: altered(
        lemma_b1, {"lemma_b1_bound": lambda *a: lemma_b1_bound(*a) * sympy.Rational(99, 100)}
    ),
    "Lemma B.1, (1-r) unsquared": lambda: altered(
        lemma_b1, {"lemma_b1_bound": lambda b1, b2, k, g: lemma_b1_bound(b1, b2, k, g) * (1 - b1 / sympy.sqrt(b2))}
    ),
    "Lemma B.1, negative beta1": lambda: altered(lemma_b1, {"BETA1": -BETA1}),
    "Lemma B.2, first bound 5% smaller": lambda: altered(
        lemma_b2, {"lemma_b2_first": lambda *a: lemma_b2_first(*a) * sympy.Rational(95, 100)}, lemmas=True
    ),
    "Lemma B.2, second below the first": lambda: altered(
        lemma_b2,
        {
            "lemma_b2_second": lambda alpha, b1, b2, rooted=True: (
                lemma_b2_first(alpha, b1, b2) * sympy.Rational(99, 100)
            )
        },
    ),
    "log step as published": lambda: altered(
        log_step, {"largest_root_bound": lambda a, b: 2 * a + 2 * b * sympy.log(b / 12)}
    ),
    "log step, 1% smaller": lambda: altered(
        log_step, {"largest_root_bound": lambda a, b: largest_root_bound(a, b) - a / 100}
    ),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_statement_is_rejected(name: str) -> None:
    assert not PERTURBED[name]().holds


def test_negative_beta1_breaks_just_the_sum_of_weights() -> None:
    failures = altered(lemma_b1, {"BETA1": -BETA1}, whole=True).failures
    assert [r"|\beta_1|" in failure.step.statement for failure in failures] == [True]


def test_z3_agrees_on_the_order_of_the_bounds_of_lemma_b2() -> None:
    z3 = pytest.importorskip("z3")
    beta1, beta2, root = z3.Reals("beta1 beta2 root")
    admissible = z3.And(root > 0, root * root == beta2, beta2 < 1, beta1 >= 0, beta1 < root)
    # 1/(1 - beta1^2/beta2) > 1/(1-r)^2, cleared of denominators, r = beta1/root.
    corrected_fails = (root - beta1) ** 2 > beta2 - beta1 * beta1
    assert z3.Solver().check(admissible, corrected_fails) == z3.unsat
    # As published: fine for beta1 < beta2, without a value for some admissible betas.
    published_fails = (1 - beta1 / beta2) * beta2 > beta2 - beta1 * beta1
    assert z3.Solver().check(admissible, beta1 < beta2, published_fails) == z3.unsat
    assert z3.Solver().check(admissible, beta1 >= beta2) == z3.sat


def test_z3_agrees_on_proposition_1() -> None:
    z3 = pytest.importorskip("z3")
    p, x, y, gradient, eta = z3.Reals("p x y G eta")
    mean = p * x + (1 - p) * y
    law = z3.And(p > 0, p < 1, mean == gradient, eta >= 0)
    variance = p * (x - gradient) ** 2 + (1 - p) * (y - gradient) ** 2
    second_moment = p * x * x + (1 - p) * y * y
    solver = z3.Solver()
    solver.add(law, variance <= eta**2 * gradient**2, second_moment > (1 + eta**2) * gradient**2)
    solver.set("timeout", 20_000)
    assert solver.check() == z3.unsat
    solver = z3.Solver()
    solver.add(law, variance <= eta**2 * gradient**2, second_moment > (1 + eta**2) * gradient**2 * 0.95)
    solver.add(p == z3.Q(1, 2), eta == z3.Q(1, 2))
    assert solver.check() == z3.sat
