r"""How many steps a schedule on a path needs, and the fewest that keep its guarantee.

Problem:
    A path p(x) of D samples with first batch b_0. If the batch grows where the rate would decay, b = b_0 p^{-e}
    (e = s for SGD, e = 2 s for an Adam-like optimizer with the share s of the decay), how many steps are left
    of D / b_0? And how few can there be?

Guarantee:
    - in the limit of small batches, n = (D / b_0) int_0^1 p^e: linear decay 1/2 (e = 1), 1/3 (e = 2); the usual
      cosine 1/2, 3/8; 1 - sqrt 1/3, 1/6; of a path that decays over the last share f only, 1 - f + f int J^e.
      With a ceiling b <= b_0 / g, p^e is replaced by max(p^e, g): for linear decay 1 / (1 + e) + g^{(1+e)/e} e
      / (1 + e);
    - for steps of b_k = b(S_k) samples, b never falling, the last one cut,

          0 <= n - int_0^D dS / b(S) <= 1 + ln(b(S_{n-1}) / b_0),

      where b is the law in use: for rounded batches the rounded law, not the one before rounding;
    - (fewest steps) a_k L <= theta on a path with T = int dS / r needs n >= T L / theta, with equality iff every
      a_k L = theta (if T L / theta is an integer): a constant rate, and batches of (theta / L) r, r averaged over
      the step. With the last-iterate guarantee of :mod:`theory.schedules.convex_sgd`, to go from theta = 1/2 to
      1 halves the steps and costs (1 + 1) / (1 + 1/2) = 4/3 in its noise term.

References:
    Seesaw, arXiv 2510.14717: e = 1 on a quarter cosine takes 2 / pi of the steps.
    Proof: :mod:`proofs.schedules.step_counts`.

Shapes:
    Floats, numpy arrays (broadcast together) or, of :class:`~theory.schedules.shapes.Power`, SymPy expressions.

Example:
    >>> import math
    >>> from theory.schedules.shapes import Cosine, Power, StableThenDecay
    >>> step_share(Power(1), 1), round(step_share(Cosine(), 2), 12), round(step_share(Cosine(1), 1) * math.pi, 12)
    (0.5, 0.375, 2.0)
    >>> round(step_share(StableThenDecay(0.2, Power(1)), 2), 12)       # 1 - f + f / 3
    0.866666666667
    >>> step_share(Power(1), 1, ceiling=4.0)                           # 1/2 + (1/16)/2
    0.53125
    >>> path = LearningRatePath(shape=Power(1), samples=1200.0, initial_ratio=20.0)
    >>> fewest_steps(path, smoothness=1.0, largest_move=0.5)
    60.0
    >>> round(step_count_bound(60.0, first_batch=10.0, last_batch=10 * math.e).value, 12)
    62.0
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, log
from theory.bound import Bound
from theory.schedules.path import LearningRatePath
from theory.schedules.shapes import Shape

__all__ = ["fewest_steps", "step_count_bound", "step_share"]


def step_share(shape: Shape, exponent: Value, ceiling: Value | None = None) -> Value:
    """int_0^1 p^e, the steps over D / b_0 of batches b_0 p^{-e}.

    Args:
        shape: p.
        exponent: e > 0.
        ceiling: 1 / g, the largest batch over the first, > 1; None: no ceiling.
    """
    whole = shape.remaining(0 * exponent, exponent)
    if ceiling is None:
        return whole
    require(ceiling > 1, "ceiling > 1", describe("ceiling", ceiling), "give the largest batch over the first")
    reached = shape.reach(ceiling ** (-1 / exponent))
    return whole - shape.remaining(reached, exponent) + (1 - reached) / ceiling


def step_count_bound(integral: Value, first_batch: Value, last_batch: Value) -> Bound:
    """The number n of steps of batches that never fall; it is at least ``integral`` too.

    Args:
        integral: int_0^D dS / b(S) of the law in use, rounding and ceiling included.
        first_batch: b_0.
        last_batch: b(S_{n-1}), before the last batch is cut; or any larger one.

    Raises:
        HypothesisError: unless 0 < b_0 <= b(S_{n-1}).
    """
    given = f"{describe('first_batch', first_batch)}, {describe('last_batch', last_batch)}"
    require(first_batch > 0, "0 < first_batch <= last_batch", given, "give positive batches")
    require(last_batch >= first_batch, "0 < first_batch <= last_batch", given, "for batches that never fall only")
    growth = log(last_batch / first_batch)
    return Bound(
        value=integral + 1 + growth,
        quantity="n, the number of steps",
        theorem="steps of a growing batch",
        terms={"integral": integral, "growth": growth},
    )


def fewest_steps(path: LearningRatePath, smoothness: Value, largest_move: Value) -> Value:
    """T L / theta, which the number of steps of a schedule on the path with a_k L <= theta is at least.

    Args:
        path: its T counts.
        smoothness: L.
        largest_move: theta > 0.
    """
    require(
        largest_move > 0, "theta > 0", describe("largest_move", largest_move), "take the largest a_k L allowed"
    )
    return path.time * smoothness / largest_move
