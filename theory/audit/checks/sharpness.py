"""Checks on how large eta may be: with momentum, eta < 1 does not suffice for every pair of betas."""

from __future__ import annotations

import numpy as np

from theory.adam.constants import second_moment_weight
from theory.adam_sharp.sharpness_example import (
    BETA1,
    BETA2,
    RunLengthNoise,
    critical_eta,
    expected_direction,
    limiting_eta,
)
from theory.adam_sharp.theorem2 import largest_admissible_eta
from theory.audit.evidence import Assertion, ClaimEvidence
from theory.l1.costs import Kind
from theory.l1.theorem3 import certificates_at

__all__ = ["any_eta_below_one", "eta_at_the_usual_betas"]

UNIVERSAL_ETA = 0.7071


def any_eta_below_one(eta: float = 0.9) -> ClaimEvidence:
    """Does Adam, on average, move downhill under the coordinate-wise test with ``eta`` < 1 at every pair of betas?

    Tried on the run-length noise at betas (.99e-4, 1e-8), by enumeration, and on one long run at eta = .95.
    """
    pairs = [
        (b1, b2) for b2 in (1e-8, 1e-4, 0.1, 0.5, 0.9, 0.95, 0.999) for b1 in np.linspace(0, 0.9999, 8) * b2**0.5
    ]
    admitted = min(float(largest_admissible_eta(float(b1), b2)) for b1, b2 in pairs)
    run = _mean_direction(0.95, repetitions=2000, steps=300)
    return ClaimEvidence(
        published=(Assertion(f"mean of m/sqrt(v) at eta = {eta}, descent", expected_direction(eta), ">=", 0.0),),
        corrected=(
            Assertion("least eta that Theorem 2 admits, over a grid of betas", admitted, ">=", UNIVERSAL_ETA),
            Assertion(f"mean of m/sqrt(v) at eta = {UNIVERSAL_ETA}", expected_direction(UNIVERSAL_ETA), ">=", 0.0),
        ),
        supporting=(
            Assertion("eta at which this noise turns Adam around", critical_eta(), "<", 1.0),
            Assertion("the least such eta, as r -> 1 and beta2 -> 0", limiting_eta(), "<", 0.8839),
            Assertion(
                "and it is approached from above", critical_eta(0.99999e-7, 1e-14, 1000.0), "~", 0.884, 1e-3
            ),
            Assertion("the enumerated mean at eta = .95", expected_direction(0.95), "~", *run),
        ),
        note="The noise has mean 1 and variance eta^2 at every step; its low values decay as fast as sqrt(v) "
        "forgets the last high one, and the momentum adds them up.",
    )


def _mean_direction(eta: float, repetitions: int, steps: int) -> tuple[float, float]:
    """Mean of m/sqrt(v) over simulated runs at a constant gradient, and five standard errors."""
    generator = np.random.default_rng(23)
    noise = RunLengthNoise(eta, (repetitions,))
    momentum, second = np.zeros(repetitions), np.zeros(repetitions)
    total = np.zeros(repetitions)
    for step in range(steps):
        gradient = noise(generator.random(repetitions))
        momentum = BETA1 * momentum + (1 - BETA1) * gradient
        second = BETA2 * second + second_moment_weight(BETA2) * gradient**2
        if step >= 20:
            total += momentum / np.sqrt(second)
    means = total / (steps - 20)
    return float(means.mean()), float(5 * means.std(ddof=1) / np.sqrt(repetitions))


def eta_at_the_usual_betas(beta1: float = 0.9, beta2: float = 0.95) -> ClaimEvidence:
    """Are larger eta than Theorem 2 admits safe at betas in use? The adversary above is harmless there."""
    strengths = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
    least = min(expected_direction(1.0, beta1, beta2, strength) for strength in strengths)
    admitted = float(largest_admissible_eta(beta1, beta2))
    found = [certificate for kind in Kind for certificate in certificates_at(beta1, beta2, kind)]
    certificate = max(found, key=lambda one: (one.proven, one.largest_eta))
    how = "verified" if certificate.proven else "numerical"
    return ClaimEvidence(
        published=(),
        supporting=(
            Assertion(
                f"least mean of m/sqrt(v) of run-length noise at eta = 1, ({beta1}, {beta2})", least, ">", 0.0
            ),
            Assertion("largest eta that Theorem 2 admits there", admitted, "<", 1.0),
            Assertion(
                f"largest eta of Theorem 3 there, on a {how} certificate",
                certificate.largest_eta,
                ">",
                admitted,
            ),
        ),
        note=f"No noise tried turns Adam around at these betas; Theorem 3, on a {how} certificate, excludes it.",
    )
