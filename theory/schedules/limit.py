r"""What a batch schedule can save at most: half of the unevenness of the noise scale, and only on one machine.

Problem:
    In the model of :mod:`adabatch.moments.worth`, whose formulas these are (a step on b samples makes 1 / (1 +
    B / b) of the progress of a step without noise and takes t0 + t1 b, B a function of the progress made),
    choose batches along the progress. How much time does the best choice save against the best constant batch?

Guarantee:
    For any batches, at every progress,

        time >= (sqrt t0 + sqrt(t1 B))^2,    with equality iff b = sqrt(B B_sat), B_sat = t0 / t1;

    and with rho = mean B / B_sat, s = mean sqrt(B) / sqrt(mean B), means over progress: the best schedule takes
    (1 + rho + 2 s sqrt rho) / (1 + sqrt rho)^2 >= (1 + s) / 2 of the best constant batch's time. So the share
    of the time that a schedule saves is at most

        (1 - s) / 2 * (1 - ((1 - sqrt rho) / (1 + sqrt rho))^2)  <=  (1 - s) / 2,

    and 0 where B never changes. On a roofline, max(t0, t1 b), B_sat is best at every B, and nothing is saved. At
    equal samples nothing is: progress per sample, 1 / (b + B), falls in b. A batch that is off by a factor c costs
    (c + 1/c + r) / (2 + r), r = sqrt(rho) + 1 / sqrt(rho) >= 2 at that B.

    The hypotheses leave out that a run's loss depends on its learning rates too, and that B depends on the
    batches.

References:
    McCandlish et al., arXiv 1812.06162, section 2.2 (the model).
    Proof: :mod:`proofs.schedules.limit`.

Shapes:
    Noise scales and progress are vectors; B_sat broadcasts.

Example:
    >>> scales, progress = np.array([4.0, 64.0]), np.array([1.0, 1.0])
    >>> bound = saving_bound(scales, progress, saturation=16.0)
    >>> round(bound.value, 4), round(bound.constants["at any B_sat"], 4)
    (0.0688, 0.0713)
    >>> round(saving_bound(scales, progress, saturation=1e4).value, 4)
    0.0148
"""

from __future__ import annotations

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value
from adabatch.moments.worth import evenness, lowest_ratio, mean_noise_scale, schedule_over_constant
from theory.bound import Bound

__all__ = ["saving_bound"]


def saving_bound(scales: Value, progress: Value, saturation: Value) -> Bound:
    """The share of the best constant batch's time that any batch schedule saves, at most; the best one attains it.

    Args:
        scales: B > 0 along the run, in samples, a vector.
        progress: the progress made at each, >= 0.
        saturation: B_sat = t0 / t1 > 0, in samples.

    Raises:
        HypothesisError: unless B and B_sat are positive.
    """
    require(np.all(np.asarray(scales) > 0), "B > 0", describe("scales", scales), "leave out where B is not known")
    require(
        saturation > 0, "B_sat > 0", describe("saturation", saturation), "without t0 the smallest batch is best"
    )
    rho, s = mean_noise_scale(scales, progress) / saturation, evenness(scales, progress)
    return Bound(
        value=1 - schedule_over_constant(rho, s),
        quantity="1 - time of a batch schedule / time of the best constant batch",
        theorem="limit of batch schedules",
        constants={"rho": rho, "s": s, "at any B_sat": 1 - lowest_ratio(s)},
        tight=True,
    )
