"""Batch-size schedules: small state machines with one interface. None of them needs torch."""

from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.constant import Constant
from adabatch.schedules.coordinate_tests import CoordinateTest, L1NormTest
from adabatch.schedules.exchange import Exchange, Seesaw
from adabatch.schedules.linear_ramp import LinearRamp
from adabatch.schedules.norm_tests import NormTest
from adabatch.schedules.replay import Replay
from adabatch.schedules.rounding import MicroBatching, MicroBatchPlan, Rounding
from adabatch.schedules.stagewise import Stagewise

__all__ = [
    "BatchSizeSchedule",
    "Constant",
    "CoordinateTest",
    "Decision",
    "Exchange",
    "L1NormTest",
    "LinearRamp",
    "MicroBatchPlan",
    "MicroBatching",
    "NormTest",
    "Replay",
    "Rounding",
    "Seesaw",
    "Stagewise",
]
