"""Adaptive batch sizes by the norm test: gradient statistics, batch-size schedules and an FSDP trainer.

The public names load their room when they are first used, so that a schedule needs only numpy, and the statistics
need only torch and numpy:

>>> from adabatch import NormTest
>>> NormTest(eta=0.8, initial=64, maximum=2048, multiple_of=64).batch_size
64
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adabatch.export import export_run
    from adabatch.integrations.noise_scale import NoiseScaleMonitor
    from adabatch.moments.coordinate_moments import CoordinateMoments
    from adabatch.moments.gradient_moments import GradientMoments
    from adabatch.schedules import (
        BatchSizeSchedule,
        Composed,
        Constant,
        CoordinateTest,
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
    from adabatch.settings import Settings, load_settings
    from adabatch.statistics import CoordinateStatistics, GradientStatistics, per_sample_moments
    from adabatch.statistics.clipping import clip_gradients
    from adabatch.training.train import TrainingFailedError, TrainingResult, train

__version__ = "0.1.0"

__all__ = [
    "BatchSizeSchedule",
    "Composed",
    "Constant",
    "CoordinateMoments",
    "CoordinateStatistics",
    "CoordinateTest",
    "Exchange",
    "Goodput",
    "GradientMoments",
    "GradientStatistics",
    "L1NormTest",
    "Late",
    "LinearRamp",
    "NoiseLimit",
    "NoiseScaleMonitor",
    "NormTest",
    "Replay",
    "Seesaw",
    "Settings",
    "Stagewise",
    "TrainingFailedError",
    "TrainingResult",
    "__version__",
    "clip_gradients",
    "export_run",
    "load_settings",
    "per_sample_moments",
    "train",
]

_OTHER_HOMES = {
    "CoordinateMoments": "moments.coordinate_moments",
    "CoordinateStatistics": "statistics",
    "GradientMoments": "moments.gradient_moments",
    "GradientStatistics": "statistics",
    "NoiseScaleMonitor": "integrations.noise_scale",
    "Settings": "settings",
    "TrainingFailedError": "training.train",
    "TrainingResult": "training.train",
    "clip_gradients": "statistics.clipping",
    "export_run": "export",
    "load_settings": "settings",
    "per_sample_moments": "statistics",
    "train": "training.train",
}
"""Where a public name is defined, if not in ``adabatch.schedules``."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OTHER_HOMES.get(name, 'schedules')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
