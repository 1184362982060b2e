"""What a record keeps of a step: per sample, in whichever unit the moments are."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adabatch.moments.coordinate_moments import CoordinateMoments, RatioHistogram
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import Constant, Decision, MicroBatchPlan, NormTest
from adabatch.schedules.coupling import Coupling, SecondMomentDecay
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.length_stages import LengthStages
from adabatch.statistics import ReducedStep
from adabatch.training import launch, loop, records, validation
from adabatch.training.records import step_record
from tests.support.repository import ROOT

TOKENS = 50
"""Of each sample."""


def record(moments: GradientMoments, schedule: Any, estimator: str) -> dict[str, Any]:
    """Of a step on 8 samples in 4 groups that was not tested."""
    settings = SimpleNamespace(schedule=SimpleNamespace(eta=0.5, estimator=estimator))
    coupling = Coupling(
        LearningRate(1e-3, 0.0, 0, 8), SecondMomentDecay(0.95), 0.1, BatchScaling(), LengthStages.always(TOKENS)
    )
    step = coupling.next_step(schedule)
    run: Any = SimpleNamespace(
        settings=settings,
        schedule=schedule,
        coupling=coupling,
        samples=8,
        corpus=SimpleNamespace(train=None),
        ranks=SimpleNamespace(world_size=2),
        memory=SimpleNamespace(limit=None),
        guard=SimpleNamespace(skipped=0),
        throughput=SimpleNamespace(flops=lambda batch, length: 6.0 * batch * length, utilisation=lambda *_: None),
    )
    reduced = ReducedStep(moments, 2.0, [])
    return step_record(run, MicroBatchPlan(2, 2, 2), 1.0, step, reduced, Decision(8, 8, "not tested"), 1.0)


@pytest.mark.parametrize("schedule", [Constant(8), NormTest(0.5, 8, 8)], ids=["constant", "norm test"])
@pytest.mark.parametrize("estimator", ["paper", "unbiased", "debiased"])
def test_records_count_samples_where_the_moments_count_tokens(schedule, estimator):
    parts = {"a": GradientMoments(4, 2, 5.0, 1.0), "b": GradientMoments(4, 2, 5.0, 1.0)}
    of_samples = GradientMoments(4, 2, 10.0, 2.0, parts=parts)
    in_tokens = {name: GradientMoments(4, 2 * TOKENS, 5.0, 1.0) for name in parts}
    of_tokens = GradientMoments(4, 2 * TOKENS, 10.0, 2.0, samples=8, parts=in_tokens)
    expected, found = record(of_samples, schedule, estimator), record(of_tokens, schedule, estimator)
    one = [pytest.approx(2 / 3, rel=1e-5), 1.0]
    assert found.pop("parts") == expected.pop("parts") == {"a": one, "b": one}
    assert found == pytest.approx(expected)
    assert found["noise_trace"] == pytest.approx(2 * (10 - 4 * 2) / 3)  # m (S - n ||g||^2) / (n - 1)


def test_deviations_are_of_one_sample():
    """The variance of the mean of 50 tokens is a 50th of one token's, whose deviations sum up to 7."""
    common = {"plug_in_l1_norm": 1.0, "conservative_l1_norm": None, "ratios": RatioHistogram.of(np.array([1.0]))}
    of_tokens = CoordinateMoments(4, 2 * TOKENS, 10.0, 2.0, samples=8, sum_of_standard_deviations=7.0, **common)
    found = record(of_tokens, Constant(8), "unbiased")
    assert found["sum_of_deviations"] == pytest.approx(7.0 / TOKENS**0.5)


def test_the_page_on_records_lists_every_field():
    """As the sources name them: as a key of a dictionary, or where a record takes a value."""
    page = (ROOT / "docs" / "evaluation.md").read_text()
    table = page[page.index("\n## The records") : page.index("\n## While a run trains")]
    source = "".join(map(inspect.getsource, (records, launch, loop)))
    fields = set(re.findall(r'"(\w+)": |record\["(\w+)"\] = ', source))
    fields = {name for pair in fields for name in pair if name}
    fields |= set(re.findall(r'f"(val_\w+)\{', inspect.getsource(validation)))
    assert {"loss", "beta2", "parts", "coordinate_share", "pause_seconds", "val_loss"} <= fields
    assert {name for name in fields if f"`{name}`" not in table} == set()
