"""A trace of some steps by torch's profiler."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adabatch.training.step_clock import WARM_UP

__all__ = ["PROFILE", "TRACE", "tracing"]

PROFILE, TRACE = "profile", "trace.json"
"""The folder in a run's, and the file in it."""


@contextmanager
def tracing(steps: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Trace steps after the first ones, which compile and allocate; what is yielded is to be called after each
    step.

    Args:
        steps: how many; 0 traces nothing.
        folder: of the run.
    """
    if not steps:
        yield lambda: None
        return
    from torch.profiler import profile, schedule  # here, as few runs are traced

    path = folder / PROFILE / TRACE
    written = []

    def write(profiled: profile) -> None:
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(".tmp.json")
        profiled.export_chrome_trace(str(temporary))
        os.replace(temporary, path)
        written.append(path)

    phases = schedule(skip_first=WARM_UP, wait=0, warmup=1, active=steps, repeat=1)
    with profile(schedule=phases, on_trace_ready=write) as profiled:
        yield profiled.step
    if not written:
        warnings.warn(f"the run ended before step {WARM_UP + 2}, the first to be traced (--profile)", stacklevel=2)
