"""Where a run's numbers are shown while it trains, as its settings ask: TensorBoard, Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from adabatch.reporting.metrics import OpenTracker, TimedRecords, Tracker
from adabatch.reporting.tensorboard import TensorBoardWriter, require_tensorboard
from adabatch.reporting.wandb import WandbWriter, require_wandb
from adabatch.settings import RunSettings, Settings, to_saved

__all__ = ["require_trackers", "trackers_of"]


def require_trackers(settings: RunSettings) -> None:
    """Raise ValueError for a tracker that is asked for and not installed."""
    if settings.tensorboard:
        require_tensorboard()
    if settings.wandb:
        require_wandb()


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
