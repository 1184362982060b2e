"""A batch depends on the steps before it only: on no moments of its own samples, nor of later ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.coordinate_moments import CoordinateMoments, RatioHistogram
from adabatch.schedules import (
    BatchSizeSchedule,
    Composed,
    Constant,
    CoordinateTest,
    Decision,
    Exchange,
    Goodput,
    L1NormTest,
    Late,
    LinearRamp,
    NoiseLimit,
    NormTest,
    Replay,
    Seesaw,
    Stagewise,
)
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.registry import batch_rules
from adabatch.schedules.step_times import StepTime

Step = tuple[float, float, float]
"""tr Sigma, ||g||^2 and the seconds of a step."""

RATES = LearningRate(1.0, 0.0, 100, 2000)
RULES: dict[str, Callable[[], BatchSizeSchedule]] = {
    "constant": lambda: Constant(16),
    "stagewise": lambda: Stagewise([8, 16], [0.1, 0.9], 2000),
    "linear-ramp": lambda: LinearRamp(8, 128, 500),
    "late": lambda: Late(8, 16, 0.1, 2000),
    "exchange": lambda: Exchange(8, 128, RATES),
    "seesaw": lambda: Seesaw(8, 128, RATES),
    "replay": lambda: Replay([8, 9, 10, 30]),
    "goodput": lambda: Goodput(8, 128, StepTime(0.2, 0.01)),
    "norm-test": lambda: NormTest(0.8, 8, 128),
    "norm-test l1": lambda: L1NormTest(0.8, 8, 128),
    "norm-test coordinate": lambda: CoordinateTest(0.8, 8, 128, ema=0.5),
    "goodput with its own times": lambda: Goodput(8, 128),
    "exchange, limited": lambda: Composed(RULES["exchange"](), None, NoiseLimit(1.0)),
    "exchange, limited by l1, on a norm test": lambda: Composed(
        RULES["exchange"](), RULES["norm-test"](), NoiseLimit(1.0, "l1")
    ),
    "ramp, limited by the weighted scale, on goodput": lambda: Composed(
        RULES["linear-ramp"](), RULES["goodput with its own times"](), NoiseLimit(2.0, "weighted")
    ),
}
steps = st.tuples(st.floats(0.01, 300), st.floats(0.01, 10), st.floats(0.01, 10))


def moments(step: Step, batch: int) -> CoordinateMoments:
    trace, norm, _ = step
    return CoordinateMoments(
        groups=8,
        group_size=batch / 8,
        sum_of_squares=8 * norm + 7 * trace / (batch / 8),
        squared_norm=norm,
        sum_of_standard_deviations=10 * trace**0.5,
        plug_in_l1_norm=10 * norm**0.5,
        conservative_l1_norm=8 * norm**0.5,
        ratios=RatioHistogram.of([trace / norm]),
        weighted_sums=(norm / trace**0.5, norm**2 / trace**1.5),
    )


def decided(schedule: BatchSizeSchedule, stream: list[Step]) -> list[tuple[int, float]]:
    """Batch and learning rate of each step; both are fixed before the step's moments exist."""
    found, last = [], None
    for step in stream:
        batch, rate = schedule.batch_size, schedule.learning_rate(RATES)
        found.append((batch, rate))
        own = moments(step, batch)
        if last is not None:
            schedule.observe_seconds(*last)
        assert (schedule.batch_size, schedule.learning_rate(RATES)) == (batch, rate)
        schedule.update(own)
        last = step[2], batch
    return found


def looks_ahead(build: Callable[[list[Step]], BatchSizeSchedule], stream: list[Step], later: list[Step]) -> bool:
    """Whether a batch, or its rate, changes when only its own samples and later ones do."""
    changed = [*stream, *later]
    return any(
        decided(build(changed[:cut] + later), changed[:cut] + later)[: cut + 1]
        != decided(build(changed), changed)[: cut + 1]
        for cut in (len(stream) // 2, len(stream))
    )


def test_every_registered_rule_is_among_them() -> None:
    assert set(batch_rules()) <= set(RULES)


@pytest.mark.parametrize("name", RULES)
@given(stream=st.lists(steps, min_size=4, max_size=14), later=st.lists(steps, min_size=1, max_size=3))
@settings(max_examples=6, deadline=None)
def test_no_batch_knows_its_own_samples(name: str, stream: list[Step], later: list[Step]) -> None:
    assert not looks_ahead(lambda _: RULES[name](), stream, later)


class Peeking(BatchSizeSchedule):
    """Takes twice the batch on samples that will turn out noisy."""

    def __init__(self, stream: list[Step]) -> None:
        super().__init__(8, 16)
        self.stream = stream

    def _decide(self, _: object) -> Decision:
        step = self.stream[min(self.steps + 1, len(self.stream) - 1)]
        return Decision(16 if step[0] > 10 else 8, 8)


def test_one_that_does_is_found() -> None:
    assert looks_ahead(Peeking, [(1.0, 1.0, 1.0)] * 4, [(100.0, 1.0, 1.0)])
    assert not looks_ahead(Peeking, [(1.0, 1.0, 1.0)] * 4, [(1.0, 1.0, 1.0)])
