"""Batch-size schedules: small state machines with one interface. None of them needs torch."""

from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.composition import Composed, NoiseLimit
from adabatch.schedules.constant import Constant
from adabatch.schedules.coordinate_tests import CoordinateTest, L1NormTest
from adabatch.schedules.exchange import Exchange, Seesaw
from adabatch.schedules.goodput import Goodput
from adabatch.schedules.late import Late
from adabatch.schedules.linear_ramp import LinearRamp
from adabatch.schedules.norm_tests import NormTest
from adabatch.schedules.replay import Replay
from adabatch.schedules.rounding import MicroBatching, MicroBatchPlan, Rounding
from adabatch.schedules.stagewise import Stagewise

__all__ = [
    "BatchSizeSchedule",
    "Composed",
    "Constant",
    "CoordinateTest",
    "Decision",
    "Exchange",
    "Goodput",
    "L1NormTest",
    "Late",
    "LinearRamp",
    "MicroBatchPlan",
    "MicroBatching",
    "NoiseLimit",
    "NormTest",
    "Replay",
    "Rounding",
    "Seesaw",
    "Stagewise",
]
