"""Coverage: the theorem that is named applies, and what is said not to be covered is refused by the bounds."""

import dataclasses
import itertools
import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import evaluate
from theory.adam import theorem1
from theory.adam.constants import momentum_amplification
from theory.adam_sharp import theorem2
from theory.coverage import Configuration, NormTestKind, coverage
from theory.l1 import theorem
from theory.l1.costs import Kind
from theory.l1.theorem3 import NAMES, NUMERICAL_SUPPORT, VERIFIED_SUPPORT, available_certificates
from theory.training import clipping, weight_decay
from theory.training.scalar_divergence import ScalarTestDivergence
from theory.training.step_schedules import bias_correction, schedule_amplification, warmup_cosine

COORDINATE = {"test": NormTestKind.COORDINATE}
PROBLEM = {"smoothness": 1.0, "dimension": 4, "initial_gap": 2.0, "steps": 100, "step_size": 0.01}


def accepts(bound, *arguments, **keywords):
    try:
        bound(*arguments, **keywords)
    except HypothesisError:
        return False
    return True


def coverage_alone(run):
    """Coverage without the theorems on plain Adam that are shown next to it, which take most of the time."""
    with patch("theory.coverage.standings", return_value=()):
        return coverage(run)


@settings(deadline=None, max_examples=20)
@given(r=st.floats(0.01, 0.95), beta2=st.floats(0.05, 0.999), eta=st.floats(0.001, 1.2))
@example(r=0.75, beta2=0.375, eta=0.5)  # on the boundary, where roundings decide
def test_plain_adam_agrees_with_the_theorems(r, beta2, eta):
    """At betas without a certificate."""
    beta1 = r * beta2**0.5
    found = coverage(Configuration(beta1, beta2, eta, **COORDINATE))
    first, second = (
        accepts(theorem1.require_condition, beta1, beta2, eta),
        accepts(theorem2.require_condition, beta1, beta2, eta),
    )
    assert found.covered == (first or second)
    if found.covered:
        assert found.theorem in [name for name, met in (("Theorem 1", first), ("Theorem 2", second)) if met]
        assert found.constants["largest eta"] > eta * (1 - 1e-12)


@settings(deadline=None, max_examples=20)
@given(
    betas=st.sampled_from([(0.3, 0.8), *((c.beta1, c.beta2) for c in available_certificates())]),
    eta=st.floats(0, 2),
    epsilon=st.sampled_from([0.0, 1e-8]),
    changes=st.dictionaries(
        st.sampled_from(["decays", "bias_correction", "clips", "warmup_steps"]), st.just(1), max_size=2
    ),
)
@example(betas=(0.9, 0.95), eta=0.8, epsilon=0.0, changes={})  # was called not covered
def test_the_coordinate_wise_test_is_covered_where_the_weaker_l1_test_is(betas, eta, epsilon, changes):
    run = Configuration(*betas, eta, NormTestKind.L1, epsilon=epsilon, **changes)
    if coverage(run).covered:
        assert coverage(dataclasses.replace(run, test=NormTestKind.COORDINATE)).covered


def test_step_sizes_that_only_fall_are_covered_by_a_certificate():
    for test in (NormTestKind.L1, NormTestKind.COORDINATE):
        run = Configuration(0.9, 0.95, 0.5, test, decays=True)
        assert coverage(run).covered
        assert "step sizes that fall" in coverage(run).theorem
        for rises in ({"warmup_steps": 10}, {"bias_correction": True}):
            assert not coverage(dataclasses.replace(run, **rises)).covered


ADDITIONS = {"decays": True}, {"weight_decay": 0.01, "largest_weight": 1.0}, {"clips": True, "clip_floor": 0.9}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(ADDITIONS, 2)))
def test_two_additions_at_once_are_not_covered(one, other):
    run = Configuration(0.5, 0.9, 1e-3, **COORDINATE)
    assert all(coverage(dataclasses.replace(run, **alone)).covered for alone in (one, other))
    both = coverage(dataclasses.replace(run, **one, **other))
    assert [departure.hypothesis for departure in both.departures] == ["one addition at a time"]


def test_all_theorems_stand_side_by_side():
    found = coverage(Configuration(0.9, 0.95, 0.5, **COORDINATE))
    names = [standing.name for standing in found.alternatives]
    assert names == ["Theorem 1", "Theorem 2", NAMES[Kind.L1], NAMES[Kind.VARIANCE]]
    table = found.table().splitlines()
    assert len(table) == 1 + len(names)
    assert table[1].endswith("does not apply")
    constants = [standing.constant for standing in found.alternatives if standing.constant is not None]
    assert found.constants["rate constant"] == min(constants)
    assert coverage(Configuration(0.9, 0.95, 1e-9, dimension=9)).table() == ""


@settings(deadline=None, max_examples=60)
@given(r=st.floats(0, 0.95), beta2=st.floats(0.05, 0.999), eta=st.floats(0.001, 1), floor=st.floats(0.05, 1))
@example(r=0.5, beta2=0.375, eta=0.5, floor=0.5)  # on the boundary, where roundings decide
def test_clipping_agrees_with_its_bound(r, beta2, eta, floor):
    beta1 = r * beta2**0.5
    found = coverage_alone(Configuration(beta1, beta2, eta, **COORDINATE, clips=True, clip_floor=floor))
    assert found.covered == accepts(
        evaluate, clipping.clipped_bound, **PROBLEM, beta1=beta1, beta2=beta2, eta=eta, floor=floor
    )


@settings(deadline=None, max_examples=60)
@given(eta=st.floats(0.001, 1), decay=st.floats(1e-6, 1), width=st.floats(1e-3, 100))
def test_weight_decay_agrees_with_its_bound(eta, decay, width):
    found = coverage_alone(Configuration(0.5, 0.9, eta, **COORDINATE, weight_decay=decay, largest_weight=width))
    adam_arguments = {"beta1": 0.5, "beta2": 0.9, "eta": eta, "weight_decay": decay, "largest_weight": width}
    assert found.covered == accepts(evaluate, weight_decay.weight_decay_bound, **PROBLEM, **adam_arguments)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("warmup", [0, 20, 400])
@pytest.mark.parametrize("betas", [(0.9, 0.96), (0.9, 0.998), (0.5, 0.8)])  # without certificates
def test_the_schedules_amplification_is_an_upper_bound(betas, warmup, corrected):
    configuration = Configuration(
        *betas, 0.1, **COORDINATE, warmup_steps=warmup, bias_correction=corrected, decays=True
    )
    constants = coverage(configuration).constants
    s = warmup_cosine(5000, warmup) * (bias_correction(5000, *betas) if corrected else 1)
    exact = schedule_amplification(s, *betas, first=int(constants["k0"]))
    assert exact <= constants["rho_s"] * (1 + 1e-9)
    if warmup and corrected:
        alone = coverage(dataclasses.replace(configuration, bias_correction=False)).constants["rho_s"]
        last, first = (1 - betas[1] ** np.array([1e6, constants["k0"]])) ** 0.5
        assert constants["rho_s"] == pytest.approx(alone * last / first, rel=1e-12)
    if warmup != 20:  # near the start of v, bias correction itself rises
        assert constants["rho_s"] < 2.5 * float(momentum_amplification(*betas))


def test_a_committed_certificate_covers_its_test():
    for certificate in available_certificates():
        test = NormTestKind.L1 if certificate.kind is Kind.L1 else NormTestKind.COORDINATE
        run = Configuration(certificate.beta1, certificate.beta2, certificate.largest_eta * 0.999, test)
        found = coverage(run)
        assert found.covered
        said = [support in found.summary() for support in (NUMERICAL_SUPPORT, VERIFIED_SUPPORT)]
        assert sum(said) == ("Theorem 3" in found.theorem)
        assert certificate.support in found.summary() or certificate.kind is Kind.VARIANCE
        assert not coverage(dataclasses.replace(run, eta=100.0)).covered


def test_the_l1_test_without_a_certificate():
    without = coverage(Configuration(0.3, 0.8, 1e-4, NormTestKind.L1))
    assert without.covered
    assert without.constants["largest eta"] == pytest.approx(theorem.largest_admissible_eta(0.3, 0.8))
    assert not coverage(Configuration(0.3, 0.8, 0.2, NormTestKind.L1)).covered
    assert not coverage(Configuration(0.3, 0.8, 1e-4, NormTestKind.L1, epsilon=1e-8)).covered


def test_at_the_largest_eta_coverage_and_the_l1_theorem_agree():
    largest = theorem.largest_admissible_eta(0.3, 0.8)
    for eta in (largest, math.nextafter(largest, 1)):
        found = coverage(Configuration(0.3, 0.8, eta, NormTestKind.L1))
        assert found.covered == accepts(evaluate, theorem.l1_test_bound, **PROBLEM, beta1=0.3, beta2=0.8, eta=eta)
    assert coverage(Configuration(0.3, 0.8, largest, NormTestKind.L1)).covered


def test_the_scalar_test():
    small = coverage(Configuration(0.9, 0.95, 1e-5, NormTestKind.SCALAR, dimension=100))
    assert small.covered
    threshold = ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=0.2, dimension=2).threshold
    large = coverage(Configuration(0.9, 0.95, 0.2, NormTestKind.SCALAR, dimension=math.ceil(threshold) + 1))
    assert not large.covered
    assert "diverges" in large.summary()
    assert str(math.ceil(threshold)) in large.summary()
    between = coverage(Configuration(0.9, 0.95, 0.2, NormTestKind.SCALAR, dimension=math.floor(threshold) - 1))
    assert not between.covered
    assert "diverges" not in between.summary()
    assert f"{math.ceil(threshold)} or more" in between.summary()


def test_departures_are_listed_together():
    run = Configuration(
        0.9,
        0.95,
        0.2,
        **COORDINATE,
        epsilon=1e-8,
        bias_correction=True,
        weight_decay=0.1,
        largest_weight=1e-3,
        clips=True,
        clip_floor=0.9,
        groups=4,
        enforced=False,
    )
    hypotheses = [departure.hypothesis for departure in coverage(run).departures]
    assert hypotheses == ["one addition at a time", "exact variances", "a test that holds at every step"]
    assert "0.59" in coverage(run).summary()
    alone = Configuration(0.9, 0.95, 0.2, **COORDINATE, clips=True, clip_floor=0.9)
    assert coverage(alone).covered
    assert not coverage(Configuration(0.9, 0.95, 0.2, **COORDINATE, clips=True)).covered
    assert not coverage(Configuration(0.9, 0.95, 0.2, **COORDINATE, groups=4)).covered
    assert not coverage(Configuration(0.9, 0.95, 0.2, **COORDINATE, enforced=False)).covered


def test_what_no_run_can_have():
    for arguments, message in [
        ((0.99, 0.95, 0.2, NormTestKind.COORDINATE), "beta1"),
        ((0.9, 0.95, -0.2, NormTestKind.COORDINATE), "eta >= 0"),
        ((0.9, 0.95, 0.2, NormTestKind.SCALAR), "dimension"),
    ]:
        with pytest.raises(HypothesisError, match=message):
            coverage(Configuration(*arguments))
    with pytest.raises(HypothesisError, match="bound on the weights"):
        coverage(Configuration(0.9, 0.95, 0.2, **COORDINATE, weight_decay=0.1))
    with pytest.raises(HypothesisError, match="clip_floor"):
        coverage(Configuration(0.9, 0.95, 0.2, **COORDINATE, clips=True, clip_floor=1.5))


def test_constants_are_numbers():
    found = coverage(Configuration(0.9, 0.95, 0.2, **COORDINATE))
    assert all(np.isfinite(value) for value in found.constants.values())
    assert "rate constant" in found.summary()
