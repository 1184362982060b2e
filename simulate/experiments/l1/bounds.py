"""The theorems under the l1 test, and under the scalar test at an eta of the order of 1/sqrt(d)."""

from __future__ import annotations

from collections.abc import Callable

from simulate.experiments.checks import Case, Check, seed_mean
from simulate.noise import NOISES
from theory.bound import Bound
from theory.l1 import theorem, theorem3
from theory.l1.costs import Kind

__all__ = ["CHECKS"]


def _l1_test(case: Case) -> tuple[float, Bound]:
    eta = 0.9 * theorem.largest_admissible_eta(0.0, 0.5)
    adam = case.adam(0.0, 0.5, eta)
    trajectory = case.run_adam(NOISES["additive"](eta=eta, sigma=0.1, test="l1"), adam)
    return seed_mean(trajectory.l1_sum), theorem.l1_test_bound(case.given, adam)


def _scalar_test(case: Case) -> tuple[float, Bound]:
    eta = 0.9 * theorem.largest_admissible_eta(0.0, 0.5, dimension=float(case.objective.dimension))
    adam = case.adam(0.0, 0.5, eta)
    trajectory = case.run_adam(NOISES["isotropic"](eta=eta), adam)
    return seed_mean(trajectory.l2_sum), theorem.scalar_test_bound(case.given, adam)


def _certified(kind: Kind) -> Callable[[Case], tuple[float, Bound]]:
    """Theorem 3 under the test of a kind, met with equality."""

    def check(case: Case) -> tuple[float, Bound]:
        beta1, beta2, eta = 0.9, 0.95, 0.2 if kind is Kind.L1 else 0.8
        certificate = theorem3.find_certificate(beta1, beta2, eta, kind)
        adam = case.adam(beta1, beta2, eta)
        noise = (
            NOISES["additive"](eta=eta, sigma=0.1, test="l1") if kind is Kind.L1 else NOISES["gaussian"](eta=eta)
        )
        trajectory = case.run_adam(noise, adam)
        bound = theorem3.certified_bound(certificate, case.given, adam, trajectory.first_gradient[0], v0=0.0)
        return seed_mean(trajectory.l1_sum), bound

    return check


CHECKS = (
    Check(
        "l1 norm test",
        "Σ ‖G‖₁ where the l1 test holds at the eta of its theorem",
        "rmsprop",
        theorem.__name__,
        _l1_test,
    ),
    Check(
        "Scalar test, small eta",
        "Σ ‖G‖₂ at an eta of the order of 1/sqrt(d)",
        "rmsprop",
        theorem.__name__,
        _scalar_test,
    ),
    Check(
        "Theorem 3, l1",
        "Given a certificate, Σ ‖G‖₁ under the l1 test at eta .2",
        "adam",
        theorem3.__name__,
        _certified(Kind.L1),
    ),
    Check(
        "Theorem 3, coordinate-wise",
        "Given a certificate, Σ ‖G‖₁ under the coordinate-wise test at eta .8",
        "adam",
        theorem3.__name__,
        _certified(Kind.VARIANCE),
    ),
)
