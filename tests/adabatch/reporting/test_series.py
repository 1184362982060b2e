"""The running mean: what it promises for any steps, against a mean that integrates over every sample."""

from __future__ import annotations

import io
import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console

from adabatch.reporting.console import ProgressReport, summary
from adabatch.reporting.figures import plot_loss, plot_moments
from adabatch.reporting.overlays import overlay_figure
from adabatch.reporting.series import RunningMean, series, smoothed, smoothed_series

STEPS = st.lists(st.tuples(st.integers(1, 500), st.floats(-1e3, 1e3)), min_size=1, max_size=30)
WIDTHS = st.floats(0.5, 1e5)


def ends(steps):
    return list(accumulate(batch for batch, _ in steps))


def losses(steps):
    return [loss for _, loss in steps]


def direct(steps, width):
    """At the end: each sample weighs exp(-age / width), a step's weight being the integral over its samples."""
    seen = ends(steps)
    weights = [
        math.exp(-(seen[-1] - end) / width) - math.exp(-(seen[-1] - end + batch) / width)
        for (batch, _), end in zip(steps, seen, strict=True)
    ]
    return sum(w * loss for w, loss in zip(weights, losses(steps), strict=True)) / sum(weights)


@given(STEPS, WIDTHS)
def test_it_is_the_mean_over_samples_weighted_by_their_age(steps, width):
    assert smoothed(losses(steps), ends(steps), width)[-1] == pytest.approx(direct(steps, width), abs=1e-6)


@given(STEPS, WIDTHS, st.data())
def test_steps_that_are_split_change_nothing(steps, width, data):
    """Each batch of b samples as two of any sizes that make b, with the loss of the whole."""
    doubled = [(2 * batch, loss) for batch, loss in steps]
    parts = []
    for batch, loss in doubled:
        cut = data.draw(st.integers(1, batch - 1))
        parts += [(cut, loss), (batch - cut, loss)]
    halves = [(batch, loss) for batch, loss in steps for _ in range(2)]
    whole = smoothed(losses(doubled), ends(doubled), width)
    for split in (halves, parts):
        assert smoothed(losses(split), ends(split), width)[1::2] == pytest.approx(whole, abs=1e-7)


@given(STEPS, WIDTHS)
def test_it_stays_within_what_it_averages(steps, width):
    means, values = smoothed(losses(steps), ends(steps), width), losses(steps)
    assert means[0] == pytest.approx(values[0])
    for count, mean in enumerate(means, start=1):
        assert min(values[:count]) - 1e-6 <= mean <= max(values[:count]) + 1e-6


def test_a_decay_per_step_would_fail_here():
    """The negative control of the property above: steps of half the size then weigh twice as much."""

    def per_step(values, decay=0.9):
        total = weight = 0.0
        for value in values:
            total, weight = decay * total + value, decay * weight + 1
        return total / weight

    assert per_step([4.0, 2.0]) != pytest.approx(per_step([4.0, 4.0, 2.0, 2.0]), rel=1e-3)


def test_runs_with_different_batches_show_the_same_loss():
    """A loss that falls with the samples, seen by batches of 10 and of 40: one curve where both have a point."""
    curves = []
    for batch in (10, 40):
        seen = list(range(batch, 4001, batch))
        curves.append(dict(zip(seen, smoothed([8 - each / 1000 for each in seen], seen, width=400), strict=True)))
    small, large = curves
    for samples, loss in large.items():
        # A batch's loss stands for all of its samples; the larger batch's is measured 30 samples later at most.
        assert small[samples] == pytest.approx(loss, abs=40 / 1000)
    assert large[4000] == pytest.approx(8 - (4000 - 400) / 1000, abs=0.04)  # 400 samples behind, with both batches


def test_values_that_are_not_finite_are_no_part_of_it():
    records = [{"samples": 4, "loss": 3.0}, {"samples": 8, "loss": None}, {"samples": 12, "loss": 3.0}]
    assert smoothed_series(records, "loss", 8.0)[1] == pytest.approx([3.0, math.nan, 3.0], nan_ok=True)


def test_what_null_means():
    """A loss that is null was not finite; moments and tests are also null where a step leaves them out."""
    step = {"samples": 4, "loss": None, "noise_trace": None, "test_statistic": None, "decision": "not tested"}
    assert series([step], "loss")[0] == [4]
    assert series([step], "val_loss")[0] == []
    assert series([step | {"val_loss": None}], "val_loss")[0] == [4]
    assert series([step], "noise_trace")[0] == []
    assert series([step], "test_statistic")[0] == []
    assert series([step | {"decision": "unresolved"}], "test_statistic")[0] == [4]


def test_before_the_first_value():
    assert math.isnan(RunningMean(10).value)


def halves(records):
    """The same run in twice as many steps, each of half the batch."""
    for record in records:
        half = record | {"batch_size": record["batch_size"] // 2}
        yield half | {"samples": record["samples"] - half["batch_size"], "tokens": None}
        yield half


RECORDS = [
    {
        "step": step,
        "samples": 40 * step,
        "tokens": 640 * step,
        "loss": 5 + (-1) ** step / step,
        "batch_size": 40,
        "noise_trace": 2.0 ** (step % 5),
        "tokens_per_second": 100.0,
        "skipped": 0,
    }
    for step in range(1, 101)
]


def drawn(axes):
    return [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if line.get_linewidth() > 1]


def shown_on_the_terminal(records):
    text = io.StringIO()
    with ProgressReport(4000, console=Console(file=text)) as progress:
        for record in records:
            progress.show(record | {"val_loss": 1.0})  # so that each step is a line
    return [float(line.split("loss ")[1].split()[0]) for line in text.getvalue().splitlines()]


def test_every_place_that_shows_a_smoothed_loss_shows_the_same_for_half_the_batches():
    split = [
        record | {"step": step, "tokens": 16 * record["samples"]} for step, record in enumerate(halves(RECORDS), 1)
    ]
    places = {
        "figure": lambda records: drawn(plot_loss(records, Figure().subplots()))[0],
        "moments": lambda records: drawn(plot_moments(records, Figure().subplots()))[0],
        "overlay": lambda records: drawn(overlay_figure({"run": records}).axes[0])[0],
        "terminal": shown_on_the_terminal,
    }
    for place, values in places.items():
        assert len(values(RECORDS)) == 100, place
        assert values(split)[1::2] == pytest.approx(values(RECORDS), rel=1e-9), place
    (name,) = [name for name in summary(RECORDS) if name.startswith("training loss")]
    assert name == "training loss (smoothed over 40 samples)"  # a hundredth of 4000
    assert summary(split)[name] == pytest.approx(summary(RECORDS)[name])


def test_captions_say_the_width_in_samples():
    axes = plot_loss(RECORDS, Figure().subplots())
    assert "training, smoothed over 40 samples" in [line.get_label() for line in axes.lines]
    shorter = [record for record in RECORDS if record["step"] <= 10]
    figure = overlay_figure({"a": shorter, "b": RECORDS})
    assert figure.axes[0].get_title(loc="right") == "training loss smoothed over 40 samples"
