r"""An idealised Adam on any smooth objective: what a batch keeps of the descent, by three noise scales.

Problem:
    Minimise f with f(w + d) <= f(w) + <grad f(w), d> + sum_i L_i d_i^2 / 2 (for f twice differentiable: the
    Hessian is at most diag(L_i)), bounded below, by w_i' = w_i - lr g_i / sqrt(E[g_i^2 | w]), with E[g | w] = G
    = grad f(w) and Var[g_i | w] = V_i / b, V_i > 0: any noise, no momentum, the exact second moment. With the
    effective rate a = lr sqrt(b) of rule (R) on a path r(S) = sqrt(b) / lr (:mod:`theory.schedules.path`):
    which batch keeps the descent?

Guarantee:
    For any lr, with drift = sum_i G_i^2 / sqrt(V_i + b G_i^2),

        E[f(w') | w] <= f(w) - a drift + (a^2 / b) sum_i L_i / 2,

    an equality on the recursion of Gaussian regression (:mod:`theory.schedules.second_moments`, f = R / 2,
    L_i = lambda_i), so that over a run of D samples whose b_k may depend on the past

        E sum_k a_k drift_k <= f(w_0) - inf f + (1/2) (sum_i L_i) int dS / r^2.

    The drift is at least a criterion that does not know the batch, times what b keeps of it:

    ============  ===============================  ==========================  ============================
    scale         criterion                        noise scale B               kept at b
    ============  ===============================  ==========================  ============================
    ``weighted``  sum_i G_i^2 / sqrt(V_i)          B_w                         1 / sqrt(1 + b / B)
    ``l1``        ||G||_1^2 / sum_i sqrt(V_i)      B_1                         1 / (1 + sqrt(b / B))
    ``trace``     ||G||_2^2 / sqrt(sum_i V_i)      B_tr                        1 / sqrt(1 + b / B)
    ============  ===============================  ==========================  ============================

    (B of :mod:`adabatch.moments.noise_scale`). So batches of at most B / eta^2 make the average of *that scale's*
    criterion over the path's time at most phi (Delta + (1/2) (sum L) int dS / r^2) / T, where phi =
    sqrt(1 + 1 / eta^2) for ``weighted`` and ``trace``, 1 + 1 / eta for ``l1``: at eta = 1 the ceiling costs at
    most sqrt(2) (l1: 2).

    B_w <= B_1 always, and the criteria ``l1`` and ``trace`` are at most ``weighted``. B_tr and B_w have no
    order, and batches at B_tr or B_1 do not protect the weighted criterion: one coordinate of noise without
    gradient makes B_tr large, and the drift at b = B_tr arbitrarily small. Averages do not see the last samples
    of a run.

References:
    Bernstein et al., arXiv 1802.04434 (sign descent and the l1 norm); arXiv 2602.03001 (the l1 noise scale).
    Proof: :mod:`proofs.schedules.adam_descent`.

Shapes:
    G_i^2 and V_i have the coordinates on the last axis; the rest broadcasts with the leading ones.

Example:
    Two coordinates that descend, and one of noise only:

    >>> from theory.schedules.shapes import Power
    >>> squares, variances = np.array([1.0, 4.0, 0.0]), np.array([10.0, 40.0, 1e6])
    >>> [round(NoiseScale(name).of(squares, variances)) for name in ("weighted", "l1", "trace")]
    [10, 113229, 200010]
    >>> most = drift(squares, variances, 0.0)
    >>> [round(drift(squares, variances, batch) / most, 3) for batch in (10.0, 113229.0, 200010.0)]
    [0.707, 0.009, 0.007]
    >>> problem = CoordinateProblem(initial_gap=2.0, coordinate_smoothness=3.0)
    >>> path = LearningRatePath(shape=Power(1), samples=3e6, initial_ratio=1e3)
    >>> round(criterion_bound(problem, path, eta=1.0, scale="weighted").value, 6)    # sqrt(2) (2 + 1.5) / 1500
    0.0033
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.noise_scale import l1_noise_scale, noise_scale, weighted_noise_scale
from adabatch.moments.numeric import Value, sqrt, total
from theory.bound import Bound
from theory.schedules.path import LearningRatePath

__all__ = [
    "CoordinateProblem",
    "NoiseScale",
    "criterion_bound",
    "descent_sum_bound",
    "drift",
    "expected_change",
]


class NoiseScale(StrEnum):
    """Which noise scale a ceiling on the batch uses."""

    TRACE = "trace"
    L1 = "l1"
    WEIGHTED = "weighted"

    def of(self, squared_gradients: Value, variances: Value) -> Value:
        """B of G_i^2 and V_i, shape [..., d] -> [...]."""
        if self is NoiseScale.TRACE:
            return noise_scale(total(variances), total(squared_gradients))
        function = l1_noise_scale if self is NoiseScale.L1 else weighted_noise_scale
        return function(squared_gradients, variances)

    def criterion(self, squared_gradients: Value, variances: Value) -> Value:
        """What the guarantee averages, in units of a change of f per unit of a; shape [..., d] -> [...]."""
        if self is NoiseScale.TRACE:
            return total(squared_gradients) / sqrt(total(variances))
        if self is NoiseScale.L1:
            return total(sqrt(squared_gradients)) ** 2 / total(sqrt(variances))
        return drift(squared_gradients, variances, 0)

    def kept(self, ratio: Value) -> Value:
        """The share of the criterion that the drift is at least, at b / B = ``ratio``.

        >>> NoiseScale.TRACE.kept(3.0), NoiseScale.L1.kept(9.0)
        (0.5, 0.25)
        """
        return 1 / (1 + sqrt(ratio)) if self is NoiseScale.L1 else 1 / sqrt(1 + ratio)


@dataclass(frozen=True, kw_only=True)
class CoordinateProblem:
    """An objective that is smooth in each coordinate and bounded below."""

    initial_gap: Value
    """Delta = f(w_0) - inf f >= 0."""
    coordinate_smoothness: Value
    """sum_i L_i >= 0, for a Hessian of at most diag(L_i)."""

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless every value is in its range."""
        for name in ("initial_gap", "coordinate_smoothness"):
            value = getattr(self, name)
            require(value >= 0, f"{name} >= 0", describe(name, value), "take 0 or more")


def drift(squared_gradients: Value, variances: Value, batch: Value) -> Value:
    """sum_i G_i^2 / sqrt(V_i + b G_i^2), what f falls by per unit of a before curvature.

    Args:
        squared_gradients: G_i^2, shape [..., d].
        variances: V_i > 0 of one sample's gradient, shape [..., d].
        batch: b, in samples, shape [...].

    >>> drift(np.array([1.0, 4.0]), np.array([3.0, 12.0]), batch=6.0)
    1.0
    """
    own = np.asarray(batch)[..., None] * squared_gradients
    return total(squared_gradients / sqrt(variances + own))


def expected_change(drift: Value, rate: Value, batch: Value, coordinate_smoothness: Value) -> Value:
    """-a drift + (a^2 / b) sum_i L_i / 2, at least E f(w') - f(w).

    >>> expected_change(drift=1.0, rate=0.5, batch=4.0, coordinate_smoothness=8.0)
    -0.25
    """
    return -rate * drift + rate**2 / batch * coordinate_smoothness / 2


def descent_sum_bound(problem: CoordinateProblem, path: LearningRatePath) -> Bound:
    """E sum_k a_k drift_k over a run on the path, whichever its batches are."""
    noise = problem.coordinate_smoothness * path.noise / 2
    return Bound(
        value=problem.initial_gap + noise,
        quantity="E sum_k a_k sum_i G_i^2 / sqrt(V_i + b_k G_i^2)",
        theorem="descent of an idealised Adam on a path",
        terms={"gap": problem.initial_gap, "noise": noise},
    )


def criterion_bound(
    problem: CoordinateProblem, path: LearningRatePath, *, eta: Value, scale: NoiseScale | str
) -> Bound:
    """(1/T) E sum_k a_k criterion_k for batches b_k <= B_k / eta^2, with the criterion and the B of one scale.

    Args:
        problem: what is minimised.
        path: what the schedule follows, r = sqrt(b) / lr.
        eta: > 0, of the ceiling.
        scale: ``trace``, ``l1`` or ``weighted``.

    Raises:
        HypothesisError: unless eta > 0.
    """
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta = 1 (a batch of the noise scale)")
    scale = NoiseScale(scale)
    price = 1 / scale.kept(1 / eta**2)
    whole = descent_sum_bound(problem, path)
    return Bound(
        value=price * whole.value / path.time,
        quantity=f"(1/T) E sum_k a_k criterion_k ({scale})",
        theorem=f"descent of an idealised Adam below the {scale} noise scale",
        constants={"phi": price},
        terms=whole.terms,
    )
