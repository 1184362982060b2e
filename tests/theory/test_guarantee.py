from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import evaluate, parameters
from theory.adam import theorem1, variants
from theory.adam_sharp import theorem2
from theory.adam_sharp.parameters import best_bound
from theory.guarantee import (
    NormTestKind,
    adam_guarantee,
    applicable,
    largest_admissible_eta,
    recommended_step_size,
    standings,
)
from theory.l1.costs import Kind
from theory.l1.theorem import l1_test_bound
from theory.l1.theorem3 import (
    NAMES,
    NUMERICAL_SUPPORT,
    VERIFIED_SUPPORT,
    available_certificates,
    certificates_at,
    certificates_of,
    certified_bound,
)

PROBLEM = {"smoothness": 2.0, "dimension": 10, "initial_gap": 5.0, "steps": 10_000}
ADAM = {"step_size": 1e-3, "beta1": 0.9, "beta2": 0.95, "eta": 0.2}


NUMBERS = {"Theorem 1": 1, "Theorem 2": 2, NAMES[Kind.L1]: 3, NAMES[Kind.VARIANCE]: 4}
BETAS = st.one_of(
    st.tuples(st.floats(0, 0.999), st.floats(0.01, 0.9999)).map(lambda x: (float(x[0] * np.sqrt(x[1])), x[1])),
    st.sampled_from([(c.beta1, c.beta2) for c in available_certificates()]),
)


def bounds_one_by_one(arguments):
    """Every theorem's bound where it applies, each called by itself."""
    beta1, beta2, eta = (arguments[name] for name in ("beta1", "beta2", "eta"))
    first, second = applicable(beta1, beta2, eta)
    found = {}
    if first:
        found["Theorem 1"] = evaluate(variants.gradient_norm_sum_bound, **arguments).value
    if second:
        found["Theorem 2"] = evaluate(best_bound, **arguments).value
    for kind, name in NAMES.items():
        for certificate in certificates_of(kind):
            if bool(certificate.covers(parameters(**arguments)[1])):
                value = evaluate(partial(certified_bound, certificate), **arguments).value
                found[name] = min(value, found.get(name, np.inf))
    return found


@given(BETAS, st.floats(0, 0.999), st.sampled_from([10, 10**6]), st.sampled_from([0.0, 1e-6]))
@settings(deadline=None, max_examples=60)
def test_it_is_the_best_of_all_theorems_that_apply(betas, part, steps, epsilon):
    beta1, beta2 = betas
    eta = float(part * min(1.2, largest_admissible_eta(beta1, beta2)))
    arguments = {**PROBLEM, "steps": steps, "step_size": 1e-3, "beta1": beta1, "beta2": beta2, "eta": eta}
    arguments |= {"epsilon": epsilon, "sum_sqrt_v0": 0.1}
    expected = bounds_one_by_one(arguments)
    assume(expected)  # with epsilon, Theorem 3 covers less
    bound = evaluate(adam_guarantee, **arguments)
    finite = {name: value for name, value in bound.terms.items() if np.isfinite(value)}
    assert finite == pytest.approx(expected, rel=1e-12)
    best = min(expected, key=expected.__getitem__)
    assert bound.value == pytest.approx(expected[best], rel=1e-12)
    assert expected[list(NUMBERS)[bound.parameters["theorem"] - 1]] == pytest.approx(bound.value, rel=1e-12)
    assert bound.theorem.startswith(best)


def test_without_epsilon_it_is_theorem_1_itself_where_that_is_better():
    arguments = {**PROBLEM, "step_size": 1.0, "beta1": 1e-9, "beta2": 0.01, "eta": 0.9}
    bound = evaluate(adam_guarantee, **arguments)
    assert bound.parameters["theorem"] == 1
    assert bound.theorem == theorem1.NAME
    assert bound.value == pytest.approx(evaluate(theorem1.gradient_norm_sum_bound, **arguments).value, rel=1e-12)


def test_without_certificates_theorem_2_is_best_at_betas_like_those_in_use():
    for beta2, factor in ((0.98, 3), (0.9995, 3)):
        bound = evaluate(adam_guarantee, **PROBLEM, **{**ADAM, "beta2": beta2})
        assert bound.theorem == theorem2.NAME
        assert bound.terms["Theorem 1"] > factor * bound.terms["Theorem 2"]
        assert bound.parameters["M"] > 1
        assert np.isinf(bound.terms[NAMES[Kind.VARIANCE]])


def test_numerical_certificates_are_left_out_on_request():
    for certificate in available_certificates():
        betas = {"beta1": certificate.beta1, "beta2": certificate.beta2}
        eta = 0.99 * certificate.largest_eta
        try:
            proven = evaluate(adam_guarantee, **PROBLEM, **betas, eta=eta, step_size=1e-3, numerical=False)
        except HypothesisError:
            assert not certificate.proven
        else:
            same = [c for c in certificates_at(**betas, kind=certificate.kind) if c.proven and c.largest_eta > eta]
            assert np.isfinite(proven.terms[NAMES[certificate.kind]]) == bool(same)


@pytest.mark.parametrize("betas", sorted({(c.beta1, c.beta2) for c in available_certificates()}))
@pytest.mark.parametrize("kind", Kind)
def test_a_bound_says_how_far_the_certificate_that_gave_it_is_proven(kind, betas):
    arguments = {**PROBLEM, **ADAM, "beta1": betas[0], "beta2": betas[1]}
    adam = parameters(**arguments)[1]
    known = [c for c in certificates_of(kind) if c.covers(adam)]
    if not known:
        pytest.skip("no certificate of this kind at these betas and eta")
    best = min((evaluate(partial(certified_bound, c), **arguments) for c in known), key=lambda bound: bound.value)
    test = NormTestKind.L1 if kind is Kind.L1 else NormTestKind.COORDINATE
    bound = evaluate(adam_guarantee, **arguments, test=test)
    assert bound.terms[NAMES[kind]] == pytest.approx(best.value, rel=1e-12)
    assert (bound.theorem == best.theorem) == (bound.value == bound.terms[NAMES[kind]])
    (standing,) = [s for s in standings(*betas, 0.2, test) if s.name == NAMES[kind]]
    assert [support in standing.condition for support in (NUMERICAL_SUPPORT, VERIFIED_SUPPORT)].count(True) == 1


@pytest.mark.parametrize(("betas", "eta"), [((0.5, 0.9), 0.02), ((0.9, 0.95), 0.01), ((0.0, 0.9), 0.15)])
def test_certificates_of_the_variance_serve_the_l1_test_at_small_eta(betas, eta):
    own = [c for c in certificates_at(*betas, Kind.L1) if c.largest_eta > eta]
    arguments = {**PROBLEM, "beta1": betas[0], "beta2": betas[1], "eta": eta, "step_size": 1e-3}
    found = evaluate(adam_guarantee, **arguments, test=NormTestKind.L1, numerical=False)
    assert VERIFIED_SUPPORT in found.theorem
    assert all(found.value < evaluate(partial(certified_bound, c), **arguments).value for c in own)
    # and not at an eta that is not small
    beyond = [c for c in certificates_of(Kind.L1) if c.fits(*betas) and c.largest_eta > 0.2]
    assert len(beyond) == len(certificates_at(*betas, Kind.L1))


def test_under_the_l1_test_only_its_theorems_count():
    arguments = {**PROBLEM, **ADAM, "beta1": 0.5, "beta2": 0.9, "eta": 1e-4}
    bound = evaluate(adam_guarantee, **arguments, test=NormTestKind.L1)
    assert set(bound.terms) == {"theorem of the l1 norm test", NAMES[Kind.L1]}
    plain = evaluate(l1_test_bound, **arguments).value
    assert bound.terms["theorem of the l1 norm test"] == pytest.approx(plain, rel=1e-12)
    with_epsilon = evaluate(adam_guarantee, **arguments, epsilon=1e-8, test=NormTestKind.L1)
    assert np.isinf(with_epsilon.terms["theorem of the l1 norm test"])


def test_standings_are_the_bounds_at_their_own_step_sizes():
    eta, steps = 0.2, 10.0**14
    problem = {"smoothness": 3.0, "dimension": 7, "initial_gap": 2.0, "steps": steps}
    for standing in standings(0.9, 0.95, eta):
        names = {"beta1": 0.9, "beta2": 0.95, "eta": eta}
        alphas = np.geomspace(1e-3, 10, 129) * np.sqrt(2.0 / (3.0 * 7 * steps))
        terms = evaluate(adam_guarantee, **problem, **names, step_size=alphas).terms[standing.name]
        assert standing.constant == pytest.approx(terms.min() / np.sqrt(3.0 * 7 * 2 * steps), rel=1e-2)
        assert standing.largest_eta > eta
    beyond = {standing.name: standing.constant for standing in standings(0.9, 0.95, 0.96)}
    assert beyond["Theorem 1"] is None
    assert beyond["Theorem 2"] is None
    assert beyond[NAMES[Kind.VARIANCE]] is not None


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
    "changed",
    [{"eta": -0.1}, {"beta1": 0.99}, {"step_size": 0.0}, {"steps": 0}, {"epsilon": -1.0}, {"log_growth": np.nan}],
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
        evaluate(recommended_step_size, **PROBLEM, beta1=0.9, beta2=0.98, eta=0.97)
