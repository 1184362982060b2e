"""Batch-size schedules: small state machines with one interface. None of them needs torch."""

from adabatch.schedules.base import BatchSizeSchedule
from adabatch.schedules.coordinate_tests import CoordinateTest, L1NormTest
from adabatch.schedules.fixed import Constant, LinearRamp, Stagewise
from adabatch.schedules.norm_tests import NormTest, TestRecord
from adabatch.schedules.replay import Replay
from adabatch.schedules.rounding import BatchPlan, MicroBatching, MultipleOf, Rounding
from adabatch.schedules.seesaw import Seesaw

__all__ = [
    "BatchPlan",
    "BatchSizeSchedule",
    "Constant",
    "CoordinateTest",
    "L1NormTest",
    "LinearRamp",
    "MicroBatching",
    "MultipleOf",
    "NormTest",
    "Replay",
    "Rounding",
    "Seesaw",
    "Stagewise",
    "TestRecord",
]
