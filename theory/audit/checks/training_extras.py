"""Checks of what training adds to Adam: clipping and decoupled weight decay."""

from __future__ import annotations

from theory.adam.normalized_step import two_point_law
from theory.audit.evidence import Assertion, ClaimEvidence
from theory.training.clipping import ClippingDivergence, simulate
from theory.training.weight_decay import limiting_gap, simulate_box_gap

__all__ = ["descent_under_clipping", "stationarity_under_weight_decay"]


def descent_under_clipping(size_ratio: float = 200.0, alpha: float = 1e-11, steps: int = 3000) -> ClaimEvidence:
    """Experiments: does Adam on clipped gradients descend while the coordinate-wise test holds at every step?

    Betas (.9, .999), eta = .3, n = 4e8 coordinates that move together, L = Huber(a.w) from a.w = 3.
    """
    instance = ClippingDivergence(beta1=0.9, beta2=0.999, eta=0.3, delta=0.1, size_ratio=size_ratio, count=4e8)
    clipped = float(simulate(instance, alpha, steps)[-1])
    unclipped = float(simulate(instance, alpha, steps, clip=False)[-1])
    return ClaimEvidence(
        published=(
            Assertion("mean change of a.w per step, clipped", instance.drift(alpha), "<=", 0.0),
            Assertion(f"a.w after {steps} steps, clipped, from 3", clipped, "<=", 3.0),
        ),
        supporting=(Assertion(f"|a.w| after {steps} steps, not clipped", abs(unclipped), "<", 1e-3),),
        note="Clipping spares the rare, wrong gradients and cuts the common, right ones. With a floor phi0 on the "
        "clipping factor the theorem holds for eta^2 < phi0 (1 - r).",
    )


def stationarity_under_weight_decay(eta: float = 0.2, steps: int = 8000) -> ClaimEvidence:
    """Experiments: does the stationarity measure of AdamW, the Frank-Wolfe gap of its box, vanish under the test?

    Betas (.9, .95), weight decay .1, |w - 100| - 1/2 (Huber) from w = 0: the minimiser lies outside the box.
    """
    delta = 1e-3
    noise = two_point_law(delta, (1 + delta) ** 2 / ((1 + delta) ** 2 + eta**2))
    limit = limiting_gap(noise, 0.9, 0.95)
    seen = float(simulate_box_gap(noise, 0.9, 0.95, step_size=0.02, steps=steps).mean())
    return ClaimEvidence(
        published=(Assertion(f"lambda times the mean gap, eta = {eta:g}", limit, "<=", 1e-6),),
        supporting=(
            Assertion(f"the gap of a run of {steps} steps against it", seen, "~", limit, 0.15 * limit + 2e-3),
        ),
        note="Where G keeps its sign, lambda w tends in the mean to E m/sqrt(v) < 1, not the corner of the box.",
    )
