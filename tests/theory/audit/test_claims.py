from __future__ import annotations

import json
from functools import cache

import pytest

from theory.audit.checks import (
    adam_lemmas,
    adam_theorem,
    algorithm,
    norm_conditions,
    scalar_divergence,
    sharpness,
    training_extras,
)
from theory.audit.checks import variance_estimators as estimators
from theory.audit.claims import CLAIMS, find_claim
from theory.audit.corrected_adam import corrected_bound
from theory.audit.evidence import Assertion, ClaimEvidence, Verdict
from theory.audit.published_adam import lemma_b1_bound
from theory.estimators.finite_population import sample_variance_factor


@cache
def checked(place: str) -> ClaimEvidence:
    return find_claim(place).check()


def numbers(evidence: ClaimEvidence, words: str) -> list[tuple[float, float]]:
    """(left, right) of the comparisons whose description contains the words."""
    groups = (evidence.published, evidence.corrected, evidence.content, evidence.supporting)
    return [(c.left, c.right) for group in groups for c in group if words in c.what]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.place)
def test_every_check_comes_to_the_verdict_on_record(claim) -> None:
    evidence = checked(claim.place)
    assert evidence.verdict is claim.verdict, [str(c) for c in evidence.supporting if not c.holds]
    assert evidence.note
    assert claim.methods
    assert bool(claim.correction) is (claim.verdict is not Verdict.HOLDS)
    json.dumps(evidence.as_dict())


def test_every_check_belongs_to_one_claim() -> None:
    modules = (adam_lemmas, adam_theorem, algorithm, norm_conditions, scalar_divergence, sharpness)
    checks = {getattr(m, name) for m in (*modules, training_extras, estimators) for name in m.__all__}
    assert {claim.check for claim in CLAIMS} == checks
    assert len(CLAIMS) == len(checks)


PERTURBED = {
    "Eq. 2": (lambda: estimators.finite_population_factor(sample_variance_factor), Verdict.HOLDS),
    "Eq. 2, wrong correction": (
        lambda: estimators.finite_population_factor(corrected=lambda b, n: (n - b) / (n + 1)),
        Verdict.FAILS,
    ),
    "Sec. 3.1": (lambda: norm_conditions.inner_product_equivalence(scale=1.2), Verdict.HOLDS),
    "Eq. 3": (lambda: estimators.plug_in_denominator(estimators.eta_to_enforce, 500), Verdict.HOLDS),
    "Eq. 5": (lambda: estimators.variance_of_workers(published="covariance_trace"), Verdict.HOLDS),
    "Eq. 5, wrong correction": (
        lambda: estimators.variance_of_workers(corrected="debiased_squared_norm"),
        Verdict.FAILS,
    ),
    "Alg. 1, growth": (lambda: estimators.saturation("unbiased"), Verdict.HOLDS),
    "Prop. 1, .1% smaller": (
        lambda: norm_conditions.coordinate_wise_growth(lambda G, eta: 0.999 * (1 + eta**2) * G**2),
        Verdict.FAILS,
    ),
    "Lemma B.1": (lambda: adam_lemmas.momentum_sum(beta1=0.9), Verdict.HOLDS),
    "Lemma B.1, half the bound": (
        lambda: adam_lemmas.momentum_sum(bound=lambda *a: 0.5 * lemma_b1_bound(*a)),
        Verdict.FAILS,
    ),
    "Lemma B.2": (lambda: adam_lemmas.step_bounds(rooted=False), Verdict.HOLDS),
    "Lemma B.2, beta1 < beta2": (lambda: adam_lemmas.step_bounds(0.8, 0.85), Verdict.HOLDS),
    "Lemma B.3": (lambda: adam_lemmas.descent_leading_term(1.0, 0, 1), Verdict.HOLDS),
    "Thm B.1": (lambda: adam_theorem.theorem_bound(corrected_bound), Verdict.HOLDS),
    "Thm 1, rate": (lambda: adam_theorem.rate(scaled=True), Verdict.HOLDS),
    "Thm 1, betas": (lambda: adam_theorem.beta_condition(0.5, 0.99), Verdict.HOLDS),
    "Thm 1, eta": (lambda: sharpness.any_eta_below_one(eta=0.85), Verdict.HOLDS),
    "Sec. 4, test": (lambda: norm_conditions.scalar_implies_coordinate_wise((0.03, 0.0)), Verdict.HOLDS),
    "Sec. 4, test, (4) violated": (
        lambda: norm_conditions.scalar_implies_coordinate_wise((0.0, 1.0)),
        Verdict.OPEN,
    ),
    "Sec. 4, Adam, few dimensions": (lambda: scalar_divergence.descent_under_scalar_test(5000), Verdict.HOLDS),
    "Alg. 1, test": (lambda: algorithm.enforced_at_the_step(lag=0), Verdict.HOLDS),
    "Alg. 1, counter": (lambda: algorithm.sample_counter(False), Verdict.HOLDS),
    "Exp., clipping, milder": (lambda: training_extras.descent_under_clipping(size_ratio=5.0), Verdict.HOLDS),
    "Exp., weight decay, hardly any noise": (
        lambda: training_extras.stationarity_under_weight_decay(eta=1e-4),
        Verdict.HOLDS,
    ),
    "Alg. 1, start": (lambda: algorithm.started_from_zero(1.0), Verdict.HOLDS),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_statement_changes_the_verdict(name: str) -> None:
    check, expected = PERTURBED[name]
    assert check().verdict is expected
    assert expected is not find_claim(_place(name)).verdict


def _place(name: str) -> str:
    return max((c.place for c in CLAIMS if name.startswith(c.place)), key=len)


def test_perturbations_cover_every_claim_that_has_a_parameter() -> None:
    # Lemma B.4's counterexample is one point: it has a control of its own. An open claim asserts nothing.
    exempt = {"Lemma B.4", "Thm 1, eta in use"}
    assert {_place(name) for name in PERTURBED} | exempt >= {claim.place for claim in CLAIMS}


def test_each_misprint_of_lemma_b3_is_seen_on_its_own() -> None:
    for arguments in ((-1.0, 0, 1), (1.0, 1, 1), (1.0, 0)):
        evidence = adam_lemmas.descent_leading_term(*arguments)
        assert [c.holds for c in evidence.published].count(False) == 1


def test_lemma_b4_needs_the_negative_logarithm() -> None:
    fails = adam_lemmas.preconditioner_sum().published[0]
    holds = adam_lemmas.preconditioner_sum(sigma=1.0).published[0]
    assert not fails.holds
    assert holds.holds


def test_numbers_of_the_counterexamples() -> None:
    theorem = checked("Thm B.1")
    sums = [(round(left), round(right)) for left, right in numbers(theorem, "sqrt(D^2+w^2)-D")]
    assert sums == [(995, 761), (9950, 1876), (99499, 8064)]
    ((ratio, _),) = numbers(theorem, "at its best sigma")
    assert 5 < ratio < 6
    assert [round(x) for x in numbers(checked("Lemma B.1"), "a_k = (-1)^k")[0]] == [67241, 200]
    left, right = numbers(checked("Lemma B.4"), "sum of sqrt(vt_k)")[0]
    assert round(left, 4) == 1.9985
    assert right < 0
    assert numbers(checked("Eq. 2"), "n=4, b=2")[0][0] == 0.75
    for left, right in numbers(checked("Eq. 5"), "against (J-1)/b"):
        assert left == pytest.approx(right)
    for left, right in numbers(checked("Alg. 1, growth"), "mean published T near (J-1)/eta^2, b"):
        assert right == pytest.approx(75)
        assert abs(left - 75) < 2.5
    assert numbers(checked("Sec. 3.1"), "at g = 10 G")[0][0] == pytest.approx(9)
    assert numbers(checked("Thm 1, rate"), "at alpha = K^-1/2")[0][0] == pytest.approx(-0.5, abs=1e-3)


def test_verdicts_follow_from_the_comparisons() -> None:
    true, false = Assertion("a", 1.0, "<=", 2.0), Assertion("b", 3.0, "<=", 2.0)
    assert ClaimEvidence((true,)).verdict is Verdict.HOLDS
    assert ClaimEvidence((true,), content=(false,)).verdict is Verdict.VACUOUS
    assert ClaimEvidence((false,), corrected=(true,)).verdict is Verdict.CORRECTED
    assert ClaimEvidence((false,), corrected=(false,)).verdict is Verdict.FAILS
    assert ClaimEvidence((true, false)).verdict is Verdict.FAILS
    assert ClaimEvidence((true,), supporting=(false,)).verdict is Verdict.OPEN
    assert ClaimEvidence(()).verdict is Verdict.OPEN
    assert ClaimEvidence((true, false)).headline == "b: 3 > 2"


def test_comparisons_show_the_relation_that_is_true() -> None:
    assert str(Assertion("x", 995.04, "<=", 760.99)) == "x: 995.04 > 760.99"
    assert str(Assertion("x", 1.0, "==", 1.0 + 1e-12)) == "x: 1 = 1"
    assert str(Assertion("x", 1.0, "~", 1.1, 0.2)) == "x: 1 = 1.1 +- 0.2"
    assert not Assertion("x", 1.0, "~", 1.3, 0.2).holds
    for relation in ("==", "<=", ">=", "<", ">", "~"):
        assert not Assertion("x", float("nan"), relation, 1.0).holds


def test_unknown_claims_list_the_known_ones() -> None:
    assert find_claim("  LEMMA b.2 ").place == "Lemma B.2"
    with pytest.raises(ValueError, match=r"unknown claim 'Thm 9'; known are: Eq. 2; Sec. 3.1;"):
        find_claim("Thm 9")
    assert len({claim.place for claim in CLAIMS}) == len(CLAIMS)
