"""``adabatch worth`` as text."""

from __future__ import annotations

from collections.abc import Sequence

from adabatch.worth.assessment import Assessment, Estimate, RuleInModel
from adabatch.worth.optimum import OptimumNearby

__all__ = ["report"]

WORTH_A_SCHEDULE = 0.05
"""Below this share of the time, the advice is a constant batch."""

FEW_PARTS = 10
"""With fewer, simulated savings were too small: what B does within a part is lost."""


def report(found: Assessment, optimum: Sequence[OptimumNearby]) -> str:
    """The text that ``adabatch worth`` prints.

    Args:
        found: the figures.
        optimum: of similar tasks in the exact dynamics, as :func:`adabatch.worth.optimum.optimum_nearby` returns.
    """
    parts = [
        _evidence(found),
        _batches(found),
        _saving(found),
        _other_models(found),
        _optimum(optimum),
        _rules(found),
    ]
    return "\n\n".join(parts)


def _evidence(found: Assessment) -> str:
    values = "1 value that is" if found.left_out == 1 else f"{found.left_out} values that are"
    left_out = f", {values} not finite left out" if found.left_out else ""
    first, last = found.noise_scale[0], found.noise_scale[-1]
    time, source = found.step_time, found.source
    if source == "--saturation":
        cost = f"B_sat = {_number(found.saturation.value)} (given by --saturation)"
    else:
        given = "fitted to its own steps" if source == "fitted" else f"given by {source}"
        cost = (
            f"a step takes {time.fixed:.3g} s and {time.per_sample:.3g} s per sample ({given}): B_sat = t0 / t1 = "
            f"{_with_interval(found.saturation) if source == 'fitted' else _number(found.saturation.value)}"
        )
    return (
        f"{found.run}: {found.steps} steps, {found.measured} with gradient statistics{left_out}\n"
        f"noise scale B: {_with_interval(first)} in the first of {len(found.samples)} parts of the run, "
        f"{_with_interval(last)} in the last (in brackets: 90%, from the noise between blocks of the run)\n{cost}"
    )


def _batches(found: Assessment) -> str:
    first, last = found.best_batch[0], found.best_batch[-1]
    own = found.rules[0]
    return (
        f"best batch b* = sqrt(B B_sat): {_with_interval(first)} at first, {_with_interval(last)} in the end\n"
        f"the run's own batches of {_span(own)} took {_percent(found.lost)} more time than b* in this model"
    )


def _saving(found: Assessment) -> str:
    constant = max(1, round(found.constant.value))
    advice = f"Use a constant batch of {constant}."
    if found.saving.low > WORTH_A_SCHEDULE:
        batches = [estimate.value for estimate in found.best_batch]
        span = f"{_number(min(batches))} to {_number(max(batches))}"
        advice = f"Let the batch follow b*, {span}, or use a constant batch of {constant}."
    if len(found.samples) < FEW_PARTS:
        advice += (
            f" The run is long enough for {len(found.samples)} parts only: what B does within a part is not seen, "
            "and a schedule may save more."
        )
    return (
        f"In this model a batch schedule saves at most {_percent(found.saving)} of the time. {advice}\n"
        "(1 - (1 + rho + 2 s sqrt(rho)) / (1 + sqrt(rho))^2 of the best constant batch's time, with rho = mean B "
        f"/ B_sat = {found.rho.value:.3g} and s = mean sqrt(B) / sqrt(mean B) = {found.s.value:.3f}, means over "
        "progress. The model: a step on b samples takes t0 + t1 b and makes 1 / (1 + B / b) of the progress of a "
        "step without noise, each batch at its own best learning rate, and B depends on the progress made, not on "
        "the batches that made it.)"
    )


def _other_models(found: Assessment) -> str:
    return (
        f"on a roofline, max(t0, t1 b): the best batch is B_sat = {_number(found.saturation.value)} throughout, "
        "and a schedule saves nothing\n"
        "at equal samples: the smallest batch makes most progress, and a schedule saves nothing"
    )


def _optimum(optimum: Sequence[OptimumNearby]) -> str:
    if not optimum:
        return (
            "the optimum in exact dynamics: not shown, as this installation has no table of it (adabatch optimum)"
        )
    lines = [
        f"  {near.optimizer}: {near.median:.1%} (median), {near.ninety:.1%} (90%) of {near.tasks} tasks"
        for near in optimum
    ]
    return "\n".join(["saved by the optimum in exact dynamics, on the tasks nearest in rho and s:", *lines])


def _rules(found: Assessment) -> str:
    rows = [
        (rule.name, _span(rule), f"{rule.steps:,.0f}", f"{rule.samples:,.0f}", _relative(rule.time))
        for rule in found.rules
    ]
    heads = ("rule, in this run's place", "batch", "steps", "samples", "time")
    first, *others = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    form = "  ".join([f"{{:{first}}}", *(f"{{:>{width}}}" for width in others)])
    return "\n".join(
        ["the same progress by other rules, in time relative to the best constant batch:"]
        + [form.format(*row) for row in (heads, *rows)]
    )


def _span(rule: RuleInModel) -> str:
    smallest, largest = _number(rule.smallest), _number(rule.largest)
    return smallest if smallest == largest else f"{smallest} to {largest}"


def _number(value: float) -> str:
    """Whole from 10 on, else two digits.

    >>> _number(1234.5), _number(48.3), _number(4.26)
    ('1,234', '48', '4.3')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _with_interval(estimate: Estimate) -> str:
    return f"{_number(estimate.value)} ({_number(estimate.low)} to {_number(estimate.high)})"


def _percent(estimate: Estimate) -> str:
    """A share with its interval.

    >>> _percent(Estimate(0.0312, 0.02, 0.041))
    '3.1% (2.0 to 4.1)'
    """
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def _relative(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
