"""The mean step: its enclosures contain what enumeration gives, and its proof rejects smaller errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy
from flint import arb

from proofs.adam.normalized_step import MeanSteps, mean_step, mean_steps, within
from proofs.steps import run
from tests.support.altered_proofs import altered
from theory.adam import normalized_step as theory

R = sympy.Rational
VALUES, PROBABILITIES, BETA1, BETA2 = (R(-1, 2), R(2), R(3)), (R(2, 5), R(1, 2), R(1, 10)), R(1, 2), R(3, 5)


def enumerated(steps: int) -> arb:
    """u_k over all histories, in ball arithmetic."""
    total = arb(0)
    for history in itertools.product(range(3), repeat=steps):
        m, v, chance = R(0), R(0), R(1)
        for i in history:
            m, v = BETA1 * m + (1 - BETA1) * VALUES[i], BETA2 * v + (1 - BETA2) * VALUES[i] ** 2
            chance *= PROBABILITIES[i]
        exact = [arb(int(x.p)) / arb(int(x.q)) for x in (chance * m, v)]
        total += exact[0] / exact[1].sqrt()
    return total


def test_enclosures_contain_the_mean_over_all_histories():
    found = mean_steps(VALUES, PROBABILITIES, BETA1, BETA2, steps=5, log_step=R(1, 8))
    for k in range(1, 6):
        low, high = float(found.low[k - 1]), float(found.high[k - 1])
        assert arb(low) <= enumerated(k) <= arb(high)
        assert high - low < 1e-8


def test_all_mean_steps_and_their_limit_lie_where_the_quadrature_has_them():
    noisy = MeanSteps(VALUES, PROBABILITIES, BETA1, BETA2, steps=80, log_step=R(1, 8))
    law = theory.Law(tuple(map(float, VALUES)), tuple(map(float, PROBABILITIES)))
    low, high = noisy.stationary()
    assert low < theory.mean_normalized_step(law, 0.5, 0.6) < high < low + 1e-9
    least, largest = noisy.of_all()
    means = [theory.mean_normalized_step(law, 0.5, 0.6, steps=k) for k in (1, 2, 3, 10, 100)]
    assert least < min(means) < max(means) < largest
    # forgetting: the first K steps of few lags are off by less than the error, which is not tiny there
    few = MeanSteps(VALUES, PROBABILITIES, BETA1, BETA2, steps=8)
    assert 1e-4 < abs(float(few.first.low[-1]) - low) < few.forgetting_error < 0.5
    assert few.stationary()[0] < low < high < few.stationary()[1]


def test_a_coarse_rule_has_a_wide_enclosure():
    fine, coarse = (mean_steps(VALUES, PROBABILITIES, BETA1, BETA2, 3, log_step=h) for h in (R(1, 8), R(1)))
    assert np.all(coarse.low < fine.low)
    assert np.all(fine.high < coarse.high)
    assert coarse.high[0] - coarse.low[0] > 0.1


def test_an_interval_that_is_too_narrow_is_rejected():
    def found() -> tuple[float, float]:
        return 0.25, 0.75

    assert within("x", ("0.25", "0.75"), found, {}).check().holds
    for interval in (("0.2500001", "0.75"), ("0.25", "0.7499999")):
        step = within("x", interval, found, {sympy.Symbol("y"): R(1, 2)})
        assert not step.check().holds
        assert interval[0] in step.statement


REJECTED = {
    "theory.quadrature_error": lambda *given: theory.quadrature_error(*given) * R(99, 100),
    "theory.forgetting_error": lambda *given: theory.forgetting_error(*given) * R(99, 100),
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejects_an_error_one_percent_smaller(name):
    assert run(mean_step()).holds
    assert not altered(mean_step, {name: REJECTED[name]}).holds
