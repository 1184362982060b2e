"""Settings of a training run: sections, reading, writing, presets."""

from adabatch.settings.data import DataSettings
from adabatch.settings.loading import field_docs, load_settings, options, overlay, preset_names, to_toml
from adabatch.settings.sections import (
    SECTIONS,
    ModelSettings,
    OptimizerSettings,
    ParallelSettings,
    RunSettings,
    ScheduleSettings,
    Settings,
)

__all__ = [
    "SECTIONS",
    "DataSettings",
    "ModelSettings",
    "OptimizerSettings",
    "ParallelSettings",
    "RunSettings",
    "ScheduleSettings",
    "Settings",
    "field_docs",
    "load_settings",
    "options",
    "overlay",
    "preset_names",
    "to_toml",
]
