r"""SGD on smooth objectives along a path in samples: guarantees that the choice of the batches does not change.

Problem:
    Minimise f: R^d -> R, L-smooth, by w_{k+1} = w_k - a_k g_k with E[g_k | past] = grad f(w_k) and
    E[||g_k - grad f(w_k)||^2 | past] <= (sigma^2 + M ||grad f(w_k)||^2) / b_k: the gradient of b_k samples. The
    rates a_k come from the batches by rule (R) on a path r(S) of D samples, both fixed before the run
    (:mod:`theory.schedules.path`). b_k may depend on the past, but not on its own samples.

Guarantee (theta = max_k a_k L <= 1; T = int dS / r; integrals over the run's D samples):
    - any f bounded below, Delta = f(w_0) - inf f:

          (1/T) E sum_k a_k ||grad f(w_k)||^2 <= [Delta + (L sigma^2 / 2) int dS / r^2]
                                                 / (T (1 - theta / 2 - L M / (2 r_0)));

    - convex f with a minimiser w*, d_0 = ||w_0 - w*||, M = 0:

          (1/T) E sum_k a_k (f(w_k) - f*) <= [d_0^2 + sigma^2 int dS / r^2] / (2 T);

    - the last iterate, under the same hypotheses:

          E f(w_n) - f* <= d_0^2 / (2T) + (sigma^2 / 2) E sum_k (1 + a_k L) (a_k^2 / b_k) / (T - T_k)
                        <= d_0^2 / (2T) + (1 + theta) (sigma^2 / 2) int dS / (r^2 (T - T(S))).

    So all schedules on one path with theta <= 1 have the same guarantee up to the factor 1 + theta <= 2, also
    those that choose the batch while they run. For p = (1 - x)^m the last integral is (m + 1) / (m r_0), and
    with the best r_0 the guarantee is d_0 sigma sqrt((1 + theta) / D) (m + 1) / sqrt(m), least for linear
    decay, which gives 2 d_0 sigma sqrt((1 + theta) / D); for a constant path it is infinite. Of the two
    averages a constant path is best.

    What the hypotheses are needed for: the second fails for a_k L > 1 (on L w^2 / 2 at a constant rate the ratio
    to the bound tends to 1 / (2 - a L)), the third near 2. A batch that stops growing when its own samples look
    right breaks the second too, by little: on a constant path its noise still has mean 0 (Wald), but its size and
    its noise are correlated. Rates that depend on the past are not covered: on w^2 / 2 with rare spikes of the
    noise, rates that fall to 0 after the first spike end at 1.7, 2.8, 4.6 times the third bound of the planned
    10, 20, 40 steps.

References:
    The last iterate: Zamani and Glineur, arXiv 2307.11134; Liu and Zhou, arXiv 2312.08531. Linear decay:
    Defazio et al., arXiv 2310.07831; Schaipp et al., arXiv 2501.18965. Batches on a path, and that depend on
    the past: here.
    Proof: :mod:`proofs.schedules.convex_sgd`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> from theory.schedules.shapes import Power
    >>> problem = SmoothProblem(smoothness=1.0, variance=4.0, distance=6.0)
    >>> ratio = best_initial_ratio(problem, Power(1), samples=16384.0, largest_move=1.0)
    >>> path = LearningRatePath(shape=Power(1), samples=16384.0, initial_ratio=ratio)
    >>> bound = last_iterate_bound(problem, path, largest_move=1.0)
    >>> round(ratio, 2), round(bound.value, 6)                  # 2 * 6 * 2 * sqrt(2 / 16384)
    (60.34, 0.265165)
    >>> steps = PathSteps.from_batches(path, [16.0] * 1024)
    >>> round(last_iterate_bound_of_steps(problem, steps).value, 4)
    0.2072
    >>> last_iterate_bound(problem, path, largest_move=1.5)                          # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires max a_k L <= 1, but largest_move = 1.5; take ...
"""

from __future__ import annotations

from dataclasses import dataclass

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt, total
from theory.bound import Bound
from theory.schedules.path import ROUNDING, LearningRatePath, PathSteps
from theory.schedules.shapes import Shape

__all__ = [
    "SmoothProblem",
    "average_gap_bound",
    "average_squared_gradient_bound",
    "best_initial_ratio",
    "last_iterate_bound",
    "last_iterate_bound_of_steps",
]


@dataclass(frozen=True, kw_only=True)
class SmoothProblem:
    """An L-smooth objective and the variance of one sample's gradient."""

    smoothness: Value
    """L > 0."""
    variance: Value
    """sigma^2 >= 0: the largest E||g - grad f||^2 of one sample, less M ||grad f||^2."""
    relative_variance: Value = 0
    """M >= 0; the guarantees for convex f need 0."""
    initial_gap: Value | None = None
    """Delta = f(w_0) - inf f >= 0, for the guarantee without convexity."""
    distance: Value | None = None
    """d_0 = ||w_0 - w*||, for those of convex f."""

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless every value is in its range."""
        require(
            self.smoothness > 0, "smoothness > 0", describe("smoothness", self.smoothness), "give any bound L > 0"
        )
        for name in ("variance", "relative_variance", "initial_gap", "distance"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"{name} >= 0", describe(name, value), "take 0 or more")

    def known(self, name: str) -> Value:
        """The initial gap or the distance, for a bound that needs it.

        Raises:
            HypothesisError: if it is not known.
        """
        value = getattr(self, name)
        require(value is not None, f"the problem's {name}", f"{name} = None", "give it, or an upper bound")
        return value


def _require_move(largest_move: Value) -> None:
    given = describe("largest_move", largest_move)
    require(largest_move > 0, "max a_k L > 0", given, "take positive rates")
    require(largest_move <= 1 + ROUNDING, "max a_k L <= 1", given, "take smaller rates")


def _require_convex(problem: SmoothProblem, largest_move: Value) -> Value:
    """d_0, once the hypotheses hold."""
    _require_move(largest_move)
    given = describe("relative_variance", problem.relative_variance)
    require(problem.relative_variance == 0, "relative_variance = 0", given, "bound all of it by the variance")
    return problem.known("distance")


def average_squared_gradient_bound(problem: SmoothProblem, path: LearningRatePath, largest_move: Value) -> Bound:
    """(1/T) E sum_k a_k ||grad f(w_k)||^2, for any f that is bounded below.

    Args:
        problem: its ``initial_gap`` is needed.
        path: what the schedule follows.
        largest_move: theta, the largest a_k L.

    Raises:
        HypothesisError: unless 0 < theta <= 1 and theta + L M / r_0 < 2.
    """
    _require_move(largest_move)
    kept = 1 - largest_move / 2 - problem.smoothness * problem.relative_variance / (2 * path.initial_ratio)
    given = f"{describe('relative_variance', problem.relative_variance)}, {describe('largest_move', largest_move)}"
    require(kept > 0, "theta + L M / r_0 < 2", given, "take a larger initial_ratio")
    gap, noise = problem.known("initial_gap"), problem.smoothness * problem.variance * path.noise / 2
    return Bound(
        value=(gap + noise) / (path.time * kept),
        quantity="(1/T) E sum_k a_k ||grad f(w_k)||^2",
        theorem="SGD on a path: average squared gradient",
        terms={"gap": gap, "noise": noise},
        constants={"kept": kept},
    )


def average_gap_bound(problem: SmoothProblem, path: LearningRatePath, largest_move: Value) -> Bound:
    """(1/T) E sum_k a_k (f(w_k) - f*), for convex f: the batches do not occur at all.

    Args:
        problem: its ``distance`` is needed.
        path: what the schedule follows.
        largest_move: theta, the largest a_k L; only its hypothesis enters.

    Raises:
        HypothesisError: unless 0 < theta <= 1 and M = 0.
    """
    distance, noise = _require_convex(problem, largest_move) ** 2, problem.variance * path.noise
    return Bound(
        value=(distance + noise) / (2 * path.time),
        quantity="(1/T) E sum_k a_k (f(w_k) - f*)",
        theorem="SGD on a path: average of convex f",
        terms={"distance": distance, "noise": noise},
        tight=True,
    )


def last_iterate_bound(problem: SmoothProblem, path: LearningRatePath, largest_move: Value) -> Bound:
    """E f(w_n) - f* for convex f, whichever batches follow the path, chosen before the run or during it.

    Args:
        problem: its ``distance`` is needed.
        path: what the schedule follows; it must decay.
        largest_move: theta, the largest a_k L.

    Raises:
        HypothesisError: unless 0 < theta <= 1, M = 0 and the path decays.
    """
    distance = _require_convex(problem, largest_move) ** 2 / (2 * path.time)
    noise = (1 + largest_move) * problem.variance / 2 * path.last_iterate_noise
    return _last_iterate(distance, noise)


def last_iterate_bound_of_steps(problem: SmoothProblem, steps: PathSteps) -> Bound:
    """E f(w_n) - f* for convex f, by the sum over given steps; at most :func:`last_iterate_bound`.

    Raises:
        HypothesisError: unless max a_k L <= 1 and M = 0.
    """
    rates = steps.rates
    distance = _require_convex(problem, rates.max() * problem.smoothness) ** 2 / (2 * steps.path.time)
    left = steps.path.time_left(steps.ends[:-1])
    noise = problem.variance / 2 * total((1 + rates * problem.smoothness) * rates**2 / steps.batches / left)
    return _last_iterate(distance, noise)


def _last_iterate(distance: Value, noise: Value) -> Bound:
    return Bound(
        value=distance + noise,
        quantity="E f(w_n) - f*",
        theorem="SGD on a path: last iterate of convex f",
        terms={"distance": distance, "noise": noise},
    )


def best_initial_ratio(problem: SmoothProblem, shape: Shape, samples: Value, largest_move: Value) -> Value:
    """The r_0 = b / lr for which :func:`last_iterate_bound` is least: (sigma / d_0) sqrt((1 + theta) D A J).

    A = int p and J = int p^2 / int_x^1 p dx; for linear decay A J = 1. The largest a_k L must then be theta at
    most: no batch may exceed r_0 theta / L at the start. For linear decay with first batches of b that needs
    D >= (b L d_0)^2 / (theta^2 sigma^2 (1 + theta)).

    Args:
        problem: its ``distance`` > 0 and its variance > 0 are needed.
        shape: p.
        samples: D.
        largest_move: theta.
    """
    distance = _require_convex(problem, largest_move)
    require(
        distance > 0, "distance > 0", describe("distance", distance), "at a minimiser the smallest rate is best"
    )
    constant = (1 + largest_move) * samples * shape.remaining(0 * samples) * shape.last_iterate_integral()
    return sqrt(problem.variance * constant) / distance
