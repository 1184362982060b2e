"""When a run stops before its budget is spent, or saves by the clock; all ranks agree at the end of each step."""

from __future__ import annotations

import math
import re
import shlex
import signal
import time
from pathlib import Path

import torch
from torch import Tensor

from adabatch.distributed.parallel import DistributedContext
from adabatch.distributed.signals import StopRequest
from adabatch.exit_codes import TIME_LIMIT, code_of_signal, signal_of_code
from adabatch.settings import RunSettings

__all__ = ["Stopping", "resuming_command", "seconds_of"]

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds_of(limit: str | None) -> float:
    """Seconds of a time limit such as ``3h50m``; infinity for None.

    Raises:
        ValueError: for text that is not a time, and for no time at all.

    >>> seconds_of("3h50m"), seconds_of("90s"), seconds_of(None)
    (13800.0, 90.0, inf)
    """
    if limit is None:
        return math.inf
    parts = re.fullmatch(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", limit, re.ASCII)
    seconds = (
        sum(int(n or 0) * unit for n, unit in zip(parts.groups(), UNITS.values(), strict=True)) if parts else 0
    )
    if seconds == 0:
        raise ValueError(
            f"--time-limit takes days, hours, minutes and seconds, such as 3h50m, 1d12h or 90s, not {limit!r}"
        )
    return float(seconds)


class Stopping:
    """What asks a run to stop or to save, and what all ranks agreed on after the last step.

    Any rank's stop signal stops all; of the clocks only the main rank's count.

    Args:
        settings: the time limit and the minutes between checkpoints.
        ranks: this process among the others.

    Attributes:
        request: the stop signal of this rank.
        deadline: of the time limit, on the clock of :func:`time.monotonic`; the launch sets it.
        agreed: whether the run stops after this step, on all ranks alike.
        checkpoint_due: whether it saves by the clock after this step, on all ranks alike.
        code: the exit code of the stop, alike on all ranks; 0 before.
    """

    def __init__(self, settings: RunSettings, ranks: DistributedContext) -> None:
        self._interval = 60 * settings.checkpoint_minutes or math.inf
        self._ranks, self._saved = ranks, time.monotonic()
        self.request, self.deadline = StopRequest(), math.inf
        self.agreed = self.checkpoint_due = False
        self.code = 0

    def wishes(self) -> tuple[Tensor, Tensor]:
        """Whether this rank wants to stop and to save: scalars to be summed over ranks with those of the step."""
        save = self._ranks.is_main and time.monotonic() - self._saved >= self._interval
        return self._scalar(self._own_code() != 0), self._scalar(save)

    def agree(self, stop: float, save: float) -> None:
        """Take the sums of the wishes for what all ranks do."""
        self.agreed, self.checkpoint_due = stop > 0, save > 0
        if self.agreed:  # the one further message of a run
            self.code = max(self._ranks.gather(self._own_code()))

    def saved(self) -> None:
        """A checkpoint was saved: the interval begins again."""
        self._saved = time.monotonic()

    def _own_code(self) -> int:
        if self.request.number:
            return code_of_signal(self.request.number)
        return TIME_LIMIT if self._ranks.is_main and time.monotonic() >= self.deadline else 0

    def _scalar(self, value: bool) -> Tensor:
        return torch.full((), float(value), dtype=torch.float64, device=self._ranks.device)

    @property
    def cause(self) -> str:
        """What stopped the run, in words."""
        number: signal.Signals | None = signal_of_code(self.code)
        return f"stopped by {number.name}" if number else "the time limit was reached"


def resuming_command(output: Path, torchrun: bool) -> str:
    """What to type to resume the run of this folder.

    >>> resuming_command(Path("runs/a b"), torchrun=False)
    "adabatch train --config 'runs/a b/config.toml' --resume auto"
    """
    command = ["adabatch", "train", "--config", str(output / "config.toml"), "--resume", "auto"]
    return shlex.join([*(["torchrun", "...", "-m"] if torchrun else []), *command])
