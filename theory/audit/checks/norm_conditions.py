"""Checks of Sec. 3.1, Proposition 1 and Sec. 4: which norm condition implies which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adabatch.moments.numeric import Value
from theory.audit.evidence import Assertion, ClaimEvidence
from theory.estimators.exact_tests import (
    coordinate_wise_test,
    exact_variance_test,
    inner_product,
    inner_product_floor,
    norm_condition,
    second_moment_bound,
)

__all__ = ["coordinate_wise_growth", "inner_product_equivalence", "scalar_implies_coordinate_wise"]


def inner_product_equivalence(scale: float = 10.0, eta: float = 0.5, draws: int = 20_000) -> ClaimEvidence:
    """Sec. 3.1: is <g, G> >= 0 equivalent to ||g - G|| <= eta ||G||? The example is g = ``scale`` G."""
    gradient = np.array([1.0, -2.0, 2.0])
    batch_gradient = scale * gradient
    norm = np.linalg.norm(gradient)
    error = float(np.linalg.norm(batch_gradient - gradient) / norm)
    generator = np.random.default_rng(11)
    lengths = generator.uniform(0.0, 1.5, (draws, 1))
    directions = generator.standard_normal((draws, 3))
    noise = lengths * eta * norm * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    within = norm_condition(gradient + noise, gradient, eta)
    smallest = float(np.min(inner_product(gradient + noise, gradient)[within]))
    floor = float(inner_product_floor(norm**2, eta))
    return ClaimEvidence(
        published=(Assertion(f"||g - G|| / ||G|| at g = {scale:g} G, <g, G> > 0", error, "<=", eta),),
        corrected=(
            Assertion("least <g, G> under the norm condition, at least (1-eta)||G||^2", smallest, ">=", floor),
        ),
        supporting=(
            Assertion("<g, G> of the example", float(inner_product(batch_gradient, gradient)), ">=", 0.0),
            Assertion("draws under the norm condition", float(within.sum()), ">=", draws / 4),
            Assertion("least <g, G> comes near its floor", smallest, "<=", 1.1 * floor),
        ),
        note="Only the norm condition implies the inner product, by <g, G> >= (1-eta)||G||^2.",
    )


def coordinate_wise_growth(
    bound: Callable[[Value, Value], Value] = second_moment_bound, draws: int = 2000
) -> ClaimEvidence:
    """Proposition 1: E g_i^2 <= (1 + eta^2) G_i^2 for random discrete laws at the edge of the test."""
    generator = np.random.default_rng(13)
    atoms = generator.standard_normal((draws, 4)) * generator.lognormal(0.0, 1.5, (draws, 4))
    weights = generator.dirichlet(np.ones(4), draws)
    eta = generator.uniform(0.05, 2.0, draws)
    gradient = generator.standard_normal(draws)
    mean = (weights * atoms).sum(axis=1)
    variance = (weights * (atoms - mean[:, None]) ** 2).sum(axis=1)
    # Shift to mean G and scale to variance eta^2 G^2: the test is an equality.
    law = gradient[:, None] + (atoms - mean[:, None]) * (eta * np.abs(gradient) / np.sqrt(variance))[:, None]
    second_moment = (weights * law**2).sum(axis=1)
    ratio = second_moment / bound(gradient, eta)
    centred = (weights * (law - gradient[:, None]) ** 2).sum(axis=1)
    return ClaimEvidence(
        published=(
            Assertion("largest E g^2 / ((1 + eta^2) G^2), up to rounding", float(ratio.max()), "<=", 1 + 1e-9),
        ),
        supporting=(
            Assertion(
                "laws that meet the test", float(np.mean(centred <= eta**2 * gradient**2 * (1 + 1e-9))), "==", 1.0
            ),
            Assertion("smallest ratio: the test is an equality", float(ratio.min()), ">=", 1 - 1e-9),
        ),
        note="E g^2 = G^2 + Var g: an equality where the test is one.",
    )


def scalar_implies_coordinate_wise(variance: tuple[float, float] | None = None, eta: float = 0.2) -> ClaimEvidence:
    """Sec. 4: does the exact-variance norm test (4) give the coordinate-wise test? G = (1, 0)."""
    gradient = np.array([1.0, 0.0])
    variances = np.array((0.0, eta**2) if variance is None else variance)
    excess = variances - eta**2 * gradient**2
    passes = exact_variance_test(variances.sum(), (gradient**2).sum(), eta)
    return ClaimEvidence(
        published=(
            Assertion("Var_2 against eta^2 G_2^2, where (4) passes", float(variances[1]), "<=", 0.0),
            Assertion("largest Var_i - eta^2 G_i^2", float(excess.max()), "<=", 0.0),
        ),
        supporting=(
            Assertion("(4) passes", float(passes), "==", 1.0),
            Assertion(
                "the coordinate-wise test passes exactly where no coordinate exceeds",
                float(coordinate_wise_test(variances, gradient, eta)),
                "==",
                float(excess.max() <= 0),
            ),
        ),
        note="(4) gives only Var_i <= eta^2 ||G||^2. No theorem of this kind can hold for it: see D1, on which "
        "Adam diverges under it.",
    )
