"""Ranks that follow the batch: the run saves, its ranks end, and more or fewer of them resume it.

The ranks decide (:meth:`adabatch.training.run.Run.next_ranks`), all alike and without a message, as each knows the
next batch. The process that started them reads the new number from the checkpoint, and starts that many itself, or
ends, if a scheduler is to give them: a job of that size then resumes the run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from adabatch.checkpoints.compatibility import saved_progress
from adabatch.checkpoints.folders import find_checkpoint
from adabatch.distributed.launcher import is_managed
from adabatch.distributed.rank_map import RankMap
from adabatch.distributed.signals import STOP_SIGNALS, StopRequest, listening
from adabatch.exit_codes import DIVERGED, OTHER_RANKS, TIME_LIMIT, code_of_signal, meaning, signal_of_code
from adabatch.files import write_text
from adabatch.reporting.metrics import METRICS, last_record
from adabatch.settings import Settings
from adabatch.training.checkpointing import checkpoints_folder
from adabatch.training.checks import Start
from adabatch.training.run_folder import WANTED_RANKS

__all__ = ["follow_batch"]

Launch = Callable[[Settings, Start, int], int]
"""Starts this many ranks; the exit code of all together."""


def follow_batch(settings: Settings, start: Start, launch: Launch) -> int:
    """Start as many ranks as the batch gets, again and again; the exit code of the last ones.

    A number of ranks that has not taken a step is given up: the run continues with as many as before, and does not
    ask for that number again. Where a scheduler gives the ranks (``start.allocated``), the run ends in place of
    starting others, and leaves the number in its folder.
    """
    request, folder = StopRequest(is_managed()), Path(settings.run.output)
    ranks, former = _ranks_to_start(settings, start), 0
    if start.allocated:
        if ranks not in (start.allocated, _asked_for(folder)):
            return _ask_for(ranks, start.allocated, folder)
        start, former = _with_allocated(settings, start, ranks)
        ranks = start.allocated
    else:  # what an earlier job asked for is not waited for any more
        (folder / WANTED_RANKS).unlink(missing_ok=True)
    with listening(request.note):
        while not request.number:
            done = _steps(folder)
            code = launch(settings, start, ranks)
            if code == OTHER_RANKS:
                settings = replace(settings, run=replace(settings.run, resume="auto", overwrite=False))
                start = replace(start, paused_at=_last_written(folder))
                former, ranks = ranks, _ranks_to_start(settings, start)
                if start.allocated:
                    return _ask_for(ranks, start.allocated, folder)
            elif former and _failed(code) and _steps(folder) == done:
                print(
                    f"{ranks} ranks took no step ({meaning(code)}): the run continues with {former}, as before",
                    file=sys.stderr,
                )
                start = replace(start, refused_ranks=(*start.refused_ranks, ranks))
                ranks, former = former, 0
            else:
                return code
    return code_of_signal(request.number)


def _failed(code: int) -> bool:
    """Whether the ranks ended by a fault that fewer of them may not have."""
    return code not in (0, DIVERGED, TIME_LIMIT) and signal_of_code(code) not in STOP_SIGNALS


def _with_allocated(settings: Settings, start: Start, wanted: int) -> tuple[Start, int]:
    """The start on the ranks of a job, and the ranks before, if these fit into the job too; 0 for none.

    A number that was asked for and is not there is not asked for again.
    """
    folder, (_, before) = Path(settings.run.output), _saved(settings) or (0, start.allocated)
    if wanted == start.allocated:
        (folder / WANTED_RANKS).unlink(missing_ok=True)
    else:
        print(
            f"{wanted} ranks were asked for, and {start.allocated} are allocated: the run continues with these",
            file=sys.stderr,
        )
        start = replace(start, refused_ranks=(wanted,))
    if before != start.allocated:  # the time in the queue was nobody's
        start = replace(start, paused_at=time.monotonic())
    return start, before if before < start.allocated else 0


def _asked_for(folder: Path) -> int:
    """The number of ranks that the run asked for last; 0 for none."""
    try:
        return int((folder / WANTED_RANKS).read_text())
    except (OSError, ValueError):
        return 0


def _ask_for(ranks: int, allocated: int, folder: Path) -> int:
    """Leave the number of ranks where the job's script looks for it; the exit code that sends it there."""
    write_text(folder / WANTED_RANKS, f"{ranks}\n")
    print(
        f"the next batch gets {ranks} ranks, and {allocated} are allocated: start the same command in a job with "
        f"{ranks} (--ranks-allocated {ranks}; {folder / WANTED_RANKS} has the number)",
        file=sys.stderr,
    )
    return OTHER_RANKS


def _ranks_to_start(settings: Settings, start: Start) -> int:
    """The ranks of the next batch, which the newest checkpoint knows if there is one."""
    ranks = RankMap.of(settings.parallel, settings.parallel.ranks)
    return ranks.at(*(_saved(settings) or (start.schedule.batch_size,)))


def _saved(settings: Settings) -> tuple[int, int] | None:
    """The next batch, and the ranks before, of the checkpoint to resume from; None if none tells them."""
    path = find_checkpoint(settings.run.resume, checkpoints_folder(settings.run.output))
    if path is not None:
        try:
            progress = saved_progress(path)
            return int(progress["schedule"]["batch_size"]), progress["world_size"]
        except (ValueError, LookupError, TypeError):  # the ranks report what it is, or resume from an earlier one
            pass
    return None


def _steps(folder: Path) -> int:
    """Steps that have a record."""
    record = last_record(folder)
    return 0 if record is None else int(record["step"])


def _last_written(folder: Path) -> float:
    """When the last record was written, on the clock of :func:`time.monotonic`."""
    return time.monotonic() - (time.time() - (folder / METRICS).stat().st_mtime)
