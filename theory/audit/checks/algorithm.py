"""Checks of Algorithm 1 as a procedure: when the test is made, what it counts, what Theorem 1 assumes of it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.statistic import next_batch_size, statistic_from_estimates
from theory.audit.evidence import Assertion, ClaimEvidence
from theory.audit.published_adam import PublishedProblem, published_bound
from theory.estimators.exact_tests import relative_error
from theory.problem import AdamParameters, Problem

__all__ = ["enforced_at_the_step", "sample_counter", "started_from_zero"]


def enforced_at_the_step(lag: int = 1, decay: float = 0.95, eta: float = 0.2, steps: int = 60) -> ClaimEvidence:
    """Algorithm 1: does the batch of step k meet the test at step k?

    The gradient shrinks by ``decay`` per step, the noise does not, and the test sees exact variances: the best
    case for the algorithm. The batch of step k is chosen by the test at step k - ``lag`` (1 is Algorithm 1).
    """
    gradients = decay ** np.arange(steps + 1)
    batch_sizes = [100.0]
    for k in range(1, steps + 1):
        statistic = statistic_from_estimates(1.0, gradients[max(k - lag, 0)] ** 2, eta)
        batch_sizes.append(next_batch_size(statistic, batch_sizes[-1]))
    errors = relative_error(1.0 / np.array(batch_sizes[1:]), gradients[1:] ** 2)
    passing = float(np.mean(errors <= eta))
    biased = _mean_of_enlarged_batches()
    return ClaimEvidence(
        published=(Assertion("share of steps whose own batch meets the test (4)", passing, "==", 1.0),),
        supporting=(
            Assertion(
                "E g, by hand, with G = 1 where the batch is enlarged until its own samples pass",
                float(biased),
                "==",
                13 / 16,
            ),
            Assertion(
                "E_k g_k of the rest of an epoch over (0,1,3,7) after (0,1), with G = 11/4",
                (3 + 7) / 2,
                ">",
                2.75,
            ),
        ),
        note="Batch k is tested only to choose b_{k+1}. Enlarging the current batch until it passes, or drawing "
        "without replacement across steps, would break E_k g_k = G_k instead.",
    )


def _mean_of_enlarged_batches(eta: Fraction = Fraction(1, 2)) -> Fraction:
    """E g when two samples of {0, 4} with P(4) = 1/4 (mean 1) are joined by two more if Eq. (3) fails on them."""
    law = {Fraction(0): Fraction(3, 4), Fraction(4): Fraction(1, 4)}
    mean = sum((x * p for x, p in law.items()), Fraction(0))
    total = Fraction(0)
    for first, p in law.items():
        for second, q in law.items():
            average = (first + second) / 2
            sample_variance = (first - second) ** 2 / 2
            passes = sample_variance / 2 <= eta**2 * average**2
            total += p * q * (average if passes else (first + second + 2 * mean) / 4)
    return total


def sample_counter(counted_after_step: bool = True, budget: int = 2_000_000) -> ClaimEvidence:
    """Algorithm 1's counter: k <- k + 1 comes before i <- i + b_k, so that b_{k+1} is counted for step k.

    Args:
        counted_after_step: as published; False counts b_k first.
        budget: N, in samples.
    """

    def run(late: bool) -> tuple[int, int]:
        batch_sizes = [min(256 * 2 ** (k // 20), 8192) for k in range(10_000)]
        counted = processed = k = 0
        while counted < budget:
            processed += batch_sizes[k]
            counted += batch_sizes[k + 1] if late else batch_sizes[k]
            k += 1
        return counted, processed

    def assertions(late: bool) -> tuple[Assertion, ...]:
        counted, processed = run(late)
        return (
            Assertion("samples counted against samples processed, b from 256 to 8192", counted, "==", processed),
            Assertion("samples processed against N", processed, ">=", budget),
        )

    return ClaimEvidence(
        published=assertions(counted_after_step),
        corrected=assertions(late=False),
        note="The counter adds the next batch: it ends b_{K+1} - b_1 samples ahead of what was processed.",
    )


def started_from_zero(v0: float = 0.0) -> ClaimEvidence:
    """Algorithm 1 starts AdamW from v_0 = 0; Theorem B.1 has log(1 / sqrt(beta2 v_0)) in c2."""
    problem = Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=100)
    adam = AdamParameters(beta1=0.5, beta2=0.99, eta=0.5, step_size=1e-3)
    run = PublishedProblem(problem, adam, np.array([v0]), np.ones(1))
    try:
        defined = float(np.isfinite(published_bound(run, 1e-3).value))
    except HypothesisError:
        defined = 0.0
    return ClaimEvidence(
        published=(
            Assertion("v_0 that Algorithm 1 starts from, against the theorem's v_0 > 0", v0, ">", 0.0),
            Assertion("whether (B.2) has a value there", defined, "==", 1.0),
        ),
        note="So does b_1, which no test has chosen, and the cap, at which the test is no longer made: the "
        "theorem's hypotheses are not those of the algorithm.",
    )
