r"""Steps that both sandwiches share: the variance of a sample's gradient is monotone in the errors of all modes.

A mode i has the error c_i, its curvature lambda_i <= lambda_max and V_i = lambda_i^2 c_i + lambda_i (R + sigma^2),
R = sum_j lambda_j c_j. Names: ``below`` c_i of the smaller state, ``above`` u_i of the larger one, of any mode.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.composition import Ground, composed, from_step, granted, summed
from proofs.relations import Relation, named
from proofs.steps import Step
from theory.schedules.second_moments import gradient_variance

__all__ = ["ABOVE", "BELOW", "State", "curvature", "in_order", "label_noise", "largest", "variances"]

curvature = named("lambda_i", r"\lambda_i", positive=True)
largest = named("lambda_max", r"\lambda_{\max}", positive=True)
label_noise = named("sigma_2", r"\sigma^{2}", nonnegative=True)


class State:
    """One state of all modes: the names of a mode's error and variance, and of R."""

    def __init__(self, letter: str, time: str = "") -> None:
        at = f"({time})" if time else ""
        self.error = named(f"{letter}_i{at}", f"{letter}_i{at}", nonnegative=True)
        self.variance = named(f"V_i({letter}{at})", f"V_i({letter}{at})", nonnegative=True)
        self.risk = named(f"R({letter}{at})", f"R({letter}{at})", nonnegative=True)
        self.term = named(f"lambda {letter}_i{at}", rf"\lambda_i{letter}_i{at}", nonnegative=True)

    @property
    def definition(self) -> Relation:
        """V_i in the mode's error and R."""
        return Relation(
            self.variance, "=", sympy.expand(gradient_variance(curvature, self.error, self.risk + label_noise))
        )


BELOW, ABOVE = State("c"), State("u")


def variances(each: Step, above: State, below: State, share: Step | None = None) -> Iterator[Step]:
    """V_i(above) >= share V_i(below), from the same of every error and a share of at most 1: the last step.

    Args:
        each: above.error >= share * below.error, for every mode.
        above: the larger state.
        below: the smaller one.
        share: the step that bounds the share by 1; None: it is 1.
    """
    kept = share.relation.left if share else sympy.Integer(1)
    ranges = each.relation.ranges
    known = tuple(r.symbol for r in ranges)
    term = composed(
        Relation(above.term, ">=", kept * below.term, ranges=ranges),
        (
            from_step(each, known=known),
            granted(Relation(above.term, "=", curvature * above.error), Ground.DEFINITION),
            granted(Relation(below.term, "=", curvature * below.error), Ground.DEFINITION),
        ),
        (above.error, below.error, above.term, below.term),
    )
    yield term
    total = summed(term, {above.term: above.risk, below.term: below.risk}, reason="summed over the modes")
    yield total
    facts = [
        granted(above.definition, Ground.DEFINITION),
        granted(below.definition, Ground.DEFINITION),
        from_step(each, known=known),
        from_step(total, known=known),
    ]
    if share:
        less = Relation(label_noise, ">=", kept * label_noise, ranges=ranges)
        noise = composed(less, (from_step(share, known=known),), (kept,))
        yield noise
        facts.append(from_step(noise, known=known))
    sums = (above.variance, below.variance, above.error, below.error, above.risk, below.risk, label_noise)
    yield composed(Relation(above.variance, ">=", kept * below.variance, ranges=ranges), facts, sums)


def in_order(small: State, large: State) -> Iterator[Step]:
    """The induction hypothesis, first, and what it says of the variances, last."""
    start = Relation(large.error, ">=", small.error)
    hypothesis = composed(start, (granted(start, Ground.INDUCTION),), (large.error, small.error))
    yield hypothesis
    yield from variances(hypothesis, large, small)
