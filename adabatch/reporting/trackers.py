"""Where a run's numbers are shown while it trains, as its settings ask: TensorBoard, Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from adabatch.reporting.metrics import OpenTracker, TimedRecords, Tracker
from adabatch.reporting.tensorboard import TensorBoardWriter
from adabatch.reporting.wandb import WandbWriter
from adabatch.settings import RunSettings, Settings, to_saved

__all__ = ["require_trackers", "trackers_of"]


def require_trackers(settings: RunSettings) -> None:
    """Raise ValueError for a tracker that is asked for and not installed."""
    for package, wanted in (("tensorboard", settings.tensorboard), ("wandb", settings.wandb)):
        found = find_spec(package) if wanted else None
        if wanted and (found is None or found.origin is None):  # None: a folder of that name, which they write
            raise ValueError(f"--{package} needs the package {package}: pip install 'adabatch[{package}]'")


def trackers_of(settings: Settings, log: Callable[[str], None]) -> dict[str, OpenTracker]:
    """The trackers that the settings ask for, each after what is wrong where it fails.

    Args:
        settings: of the run.
        log: shows a line that tells where to look.
    """
    found: dict[str, OpenTracker] = {}
    if settings.run.tensorboard:
        found["the TensorBoard files are cut short"] = partial(_tensorboard, log)
    if settings.run.wandb:
        found["the run in Weights & Biases is cut short"] = partial(_wandb, log, settings)
    return found


def _tensorboard(log: Callable[[str], None], folder: Path, earlier: TimedRecords) -> Tracker:
    log(f"TensorBoard: tensorboard --logdir {folder / 'tensorboard'}")
    return TensorBoardWriter(folder / "tensorboard", earlier)


def _wandb(log: Callable[[str], None], settings: Settings, folder: Path, earlier: TimedRecords) -> Tracker:
    return WandbWriter(folder, earlier, to_saved(settings), log)
