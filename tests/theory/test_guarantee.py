import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import evaluate
from theory.adam import theorem1, variants
from theory.adam_sharp import theorem2
from theory.adam_sharp.parameters import best_bound
from theory.guarantee import adam_guarantee, applicable, largest_admissible_eta, recommended_step_size

PROBLEM = {"smoothness": 2.0, "dimension": 10, "initial_gap": 5.0, "steps": 10_000}
ADAM = {"step_size": 1e-3, "beta1": 0.9, "beta2": 0.95, "eta": 0.2}


@given(
    st.floats(0, 0.999),
    st.floats(0.01, 0.9999),
    st.floats(0, 0.999),
    st.sampled_from([10, 10**6]),
    st.sampled_from([0.0, 1e-6]),
)
@settings(deadline=None, max_examples=60)
def test_it_is_the_better_of_the_two(ratio, beta2, part, steps, epsilon):
    beta1 = float(ratio * np.sqrt(beta2))
    eta = float(part * largest_admissible_eta(beta1, beta2))
    arguments = {**PROBLEM, "steps": steps, "step_size": 1e-3, "beta1": beta1, "beta2": beta2, "eta": eta}
    arguments |= {"epsilon": epsilon, "sum_sqrt_v0": 0.1}
    bound = evaluate(adam_guarantee, **arguments)
    candidates = []
    if applicable(beta1, beta2, eta)[0]:
        candidates.append(evaluate(variants.gradient_norm_sum_bound, **arguments).value)
        assert bound.terms["Theorem 1"] == pytest.approx(candidates[-1], rel=1e-12)
    if applicable(beta1, beta2, eta)[1]:
        candidates.append(evaluate(best_bound, **arguments).value)
        assert bound.terms["Theorem 2"] == pytest.approx(candidates[-1], rel=1e-12)
    assert bound.value == pytest.approx(min(candidates), rel=1e-12)
    assert bound.theorem == (theorem1.NAME if bound.parameters["theorem"] == 1 else theorem2.NAME)


def test_without_epsilon_it_is_theorem_1_itself_where_that_is_better():
    arguments = {**PROBLEM, "step_size": 1.0, "beta1": 1e-9, "beta2": 0.01, "eta": 0.9}
    bound = evaluate(adam_guarantee, **arguments)
    assert bound.parameters["theorem"] == 1
    assert bound.value == pytest.approx(evaluate(theorem1.gradient_norm_sum_bound, **arguments).value, rel=1e-12)


def test_theorem_2_is_better_at_the_betas_in_use():
    for beta2, factor in ((0.95, 3), (0.999, 3)):
        bound = evaluate(adam_guarantee, **PROBLEM, **{**ADAM, "beta2": beta2})
        assert bound.theorem == theorem2.NAME
        assert bound.terms["Theorem 1"] > factor * bound.terms["Theorem 2"]
        assert bound.parameters["M"] > 1


def test_arrays_element_by_element_with_one_theorem_or_the_other():
    eta = np.array([[0.1], [0.5]])
    beta1 = np.array([0.0, 0.5, 0.9])
    table = evaluate(adam_guarantee, **PROBLEM, step_size=1e-3, beta1=beta1, beta2=0.95, eta=eta)
    assert table.value.shape == (2, 3)
    assert np.isinf(table.terms["Theorem 1"][1, 2])
    for i in range(2):
        for j in range(3):
            arguments = {"step_size": 1e-3, "beta1": float(beta1[j]), "beta2": 0.95, "eta": float(eta[i, 0])}
            one = evaluate(adam_guarantee, **PROBLEM, **arguments)
            assert table.value[i, j] == pytest.approx(one.value, rel=1e-12)
            assert table.parameters["theorem"][i, j] == one.parameters["theorem"]


@given(st.floats(0, 0.99), st.floats(0.01, 0.999))
@settings(deadline=None, max_examples=40)
def test_the_error_names_the_nearest_admissible_eta(ratio, beta2):
    beta1 = float(ratio * np.sqrt(beta2))
    largest = float(largest_admissible_eta(beta1, beta2))
    with pytest.raises(HypothesisError, match="supremum of the admissible values") as caught:
        evaluate(adam_guarantee, **PROBLEM, step_size=1e-3, beta1=beta1, beta2=beta2, eta=largest * 1.001)
    named = float(str(caught.value).rsplit("=", 1)[1])
    assert named == pytest.approx(largest, rel=1e-5)
    assert (
        evaluate(adam_guarantee, **PROBLEM, step_size=1e-3, beta1=beta1, beta2=beta2, eta=named * 0.999).value > 0
    )


@pytest.mark.parametrize(
    "changed", [{"eta": -0.1}, {"beta1": 0.99}, {"step_size": 0.0}, {"steps": 0}, {"epsilon": -1.0}]
)
def test_other_violations_raise(changed):
    with pytest.raises(HypothesisError):
        evaluate(adam_guarantee, **{**PROBLEM, **ADAM, **changed})


@pytest.mark.parametrize(
    ("beta1", "beta2", "eta"), [(0.9, 0.95, 0.2), (0.0, 0.9, 0.5), (1e-6, 0.5, 0.9), (0.9, 0.999, 0.6)]
)
def test_no_step_size_is_better_than_the_recommended_one(beta1, beta2, eta):
    arguments = {**PROBLEM, "beta1": beta1, "beta2": beta2, "eta": eta, "sum_sqrt_v0": 0.1}
    alpha = evaluate(recommended_step_size, **arguments)
    value = evaluate(adam_guarantee, **arguments, step_size=alpha).value
    others = evaluate(adam_guarantee, **arguments, step_size=alpha * 10.0 ** np.linspace(-4, 4, 41)).value
    assert value <= others.min() * (1 + 1e-6)


def test_the_recommended_step_size_needs_a_gap_and_applicable():
    with pytest.raises(HypothesisError, match="initial_gap > 0"):
        evaluate(recommended_step_size, **{**PROBLEM, "initial_gap": 0.0}, beta1=0.9, beta2=0.95, eta=0.2)
    with pytest.raises(HypothesisError, match="supremum"):
        evaluate(recommended_step_size, **PROBLEM, beta1=0.9, beta2=0.95, eta=0.97)
