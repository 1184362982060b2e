"""Settings of a training run: sections, reading, writing, presets."""

from adabatch.settings.data import DataSettings
from adabatch.settings.hardware import HardwareSettings
from adabatch.settings.loading import RENAMED, field_docs, load_settings, options, overlay, preset_summaries
from adabatch.settings.saving import CONFIG, from_saved, to_saved, to_toml, write_config
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
    "CONFIG",
    "RENAMED",
    "SECTIONS",
    "DataSettings",
    "HardwareSettings",
    "ModelSettings",
    "OptimizerSettings",
    "ParallelSettings",
    "RunSettings",
    "ScheduleSettings",
    "Settings",
    "field_docs",
    "from_saved",
    "load_settings",
    "options",
    "overlay",
    "preset_summaries",
    "to_saved",
    "to_toml",
    "write_config",
]
