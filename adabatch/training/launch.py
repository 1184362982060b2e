"""Training with settings: in this process, as a rank under torchrun, or on ranks that are started here."""

from __future__ import annotations

import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from adabatch.checkpoints.errors import AgreedError, CheckpointError
from adabatch.checkpoints.folders import BEST, best_checkpoint, find_checkpoint
from adabatch.checkpoints.random_states import seed_generators
from adabatch.data.preparation import save_tokenizer
from adabatch.distributed.environment import world_size_of_launcher
from adabatch.distributed.launcher import is_managed, launch_ranks, restarts
from adabatch.distributed.parallel import DistributedContext, lost_peer, process_group
from adabatch.distributed.signals import StopRequest, die_with_parent, listening
from adabatch.exit_codes import DIVERGED, FAILED, OTHER_RANKS, OUT_OF_MEMORY, USER_ERROR, code_of_signal
from adabatch.reporting.console import ProgressReport, summary_table
from adabatch.reporting.metrics import MetricsWriter, read_metrics
from adabatch.reporting.streams import tolerant_streams
from adabatch.reporting.trackers import trackers_of
from adabatch.schedules.composition import FIRST_BATCH
from adabatch.settings import CONFIG, Settings, write_config
from adabatch.terminal import console as new_console
from adabatch.training.checkpointing import checkpoints_folder
from adabatch.training.checks import Start, check_settings, check_start, resumes
from adabatch.training.divergence import TrainingDivergedError
from adabatch.training.growth import follow_batch
from adabatch.training.loop import train
from adabatch.training.memory_guard import is_out_of_memory
from adabatch.training.opening import open_run
from adabatch.training.profiling import tracing
from adabatch.training.run import Run
from adabatch.training.run_folder import known_launch, run_folder, run_folder_of_ranks
from adabatch.training.stopping import resuming_command, seconds_of

__all__ = ["launch"]

CAUSE_FIRST = 5.0
"""Seconds for which a rank that lost a peer stays: the launcher ends it before, having seen how the peer ended."""


def launch(settings: Settings, corpus: Path | None = None, allocated: int = 0) -> int:
    """Train with these settings; the exit code.

    Under torchrun (``RANK`` is set) this process is one rank. Otherwise it checks the settings, prepares the data
    and the output folder, and starts the ranks itself.

    Args:
        settings: of the run.
        corpus: the folder of its prepared corpus; None: prepare it.
        allocated: ranks that a scheduler has given, of those of ``--ranks-at``; 0: all can be started here.

    Raises:
        ValueError: for anything that the settings get wrong, before any rank starts.
    """
    deadline = time.monotonic() + seconds_of(settings.run.time_limit)
    with tolerant_streams():
        if "RANK" in os.environ:
            if is_managed():  # else ranks would be left where torchrun itself is killed
                die_with_parent(os.getppid())
            if settings.parallel.ranks_at or allocated:
                raise ValueError(
                    "--ranks-at is for ranks that adabatch starts itself, and under torchrun ranks follow the "
                    "nodes that join: leave it out, or start one process without torchrun"
                )
            world_size = world_size_of_launcher()
            settings = _as_restarted(settings)
            start = check_settings(settings, world_size, resumed=resumes(settings))
            return _rank(settings, start, deadline, run_folder_of_ranks)
        start = check_start(settings, corpus, resumes(settings), allocated)
        with run_folder(settings):
            if settings.parallel.ranks_at:
                return follow_batch(settings, start, partial(_start_ranks, deadline))
            if settings.parallel.ranks == 1:
                return _rank(settings, start, deadline)
            return _start_ranks(deadline, settings, start, settings.parallel.ranks)


def _start_ranks(deadline: float, settings: Settings, start: Start, ranks: int) -> int:
    """This many ranks, until they end."""
    return launch_ranks(
        _spawned_rank,
        (settings, start, deadline),
        ranks,
        settings.parallel.max_restarts,
        patience=2 * settings.parallel.timeout,  # a step and a checkpoint, each may take that long
    )


def _as_restarted(settings: Settings) -> Settings:
    """The settings, with ``--resume auto`` if a launcher starts this rank again after one has died.

    torchrun counts restarts on each node for itself, so that a node that joins or has lost no rank counts none;
    but the main rank has left the launch's name in the output folder.
    """
    if restarts() == 0 and not known_launch(settings.run.output):
        return settings
    own = find_checkpoint("auto", checkpoints_folder(settings.run.output))
    resume = "auto" if own is not None or settings.run.resume == "never" else settings.run.resume
    return replace(settings, run=replace(settings.run, resume=resume, overwrite=False))


def _spawned_rank(settings: Settings, start: Start, deadline: float) -> int:
    with tolerant_streams():
        return _rank(_as_restarted(settings), start, deadline)


OutputOfRanks = Callable[[Settings, DistributedContext], AbstractContextManager[None]]


def _output_is_held(settings: Settings, ranks: DistributedContext) -> AbstractContextManager[None]:
    """The process that started the ranks has the folder."""
    return nullcontext()


def _rank(settings: Settings, start: Start, deadline: float, output: OutputOfRanks = _output_is_held) -> int:
    """One rank's work; errors become one message and an exit code."""
    request = StopRequest(is_managed())
    try:
        # A notebook's warnings are shown as before when this has ended.
        with warnings.catch_warnings(), process_group(settings.parallel) as ranks, output(settings, ranks):
            return _train(settings, ranks, start, request, deadline)
    except (ValueError, CheckpointError, OSError) as error:
        _log(error)
        return USER_ERROR if isinstance(error, ValueError) else FAILED
    except TrainingDivergedError as error:
        _log(error)
        return DIVERGED
    except RuntimeError as error:
        if is_out_of_memory(error):
            _log_out_of_memory(error)
            return OUT_OF_MEMORY
        if lost_peer(error):
            # The launcher reports and returns the first end that it sees: that of the peer, whose reason counts.
            time.sleep(CAUSE_FIRST)
            if request.number:  # a peer may have ended at once
                return code_of_signal(request.number)
            print(f"rank {os.environ.get('RANK', '0')} lost its connection to another rank", file=sys.stderr)
        else:
            traceback.print_exc()
        return FAILED


def _log_out_of_memory(error: RuntimeError) -> None:
    """Which rank it was, what torch says in one line, and what to do."""
    print(
        f"Error: rank {os.environ.get('RANK', '0')} ran out of memory ({str(error).splitlines()[0]}): lower "
        "--micro-batch or --max-micro-batch, or take --activation-checkpointing; --dry-run estimates what a rank "
        "needs; --resume auto resumes from the newest checkpoint",
        file=sys.stderr,
    )


def _log(error: Exception) -> None:
    """Print an error as one message; of what every rank finds, only the main rank's."""
    rank = os.environ.get("RANK", "0")
    if rank != "0" and isinstance(error, AgreedError | CheckpointError | TrainingDivergedError):
        time.sleep(1.0)  # the launcher ends all ranks when the first one ends: the main rank is to speak before
        return
    print(f"Error{'' if rank == '0' else f' on rank {rank}'}: {error}", file=sys.stderr)


def _train(
    settings: Settings, ranks: DistributedContext, start: Start, request: StopRequest, deadline: float
) -> int:
    """Train, and on the main rank write metrics, figures and the summary; the exit code."""
    console = new_console(stderr=True)
    warnings.showwarning = lambda text, *_, **__: console.print(
        Text.assemble(("warning:", "yellow"), f" {text}"), soft_wrap=True
    )
    seed_generators(settings.data.seed)
    run = open_run(settings, ranks, start)
    run.stopping.request, run.stopping.deadline = request, deadline
    if not ranks.is_main:
        with listening(request.note):
            for _ in train(run):
                pass
        return _code(run)
    folder = Path(settings.run.output)
    _describe(run, folder)
    _report_steps(run, folder, console, start.paused_at)
    if not (folder / CONFIG).is_file():  # the folder was deleted or moved meanwhile
        with suppress(OSError):
            _describe(run, folder)
    if _code(run):
        _report_stop(run, folder)
    else:
        _report_end(run, folder)
    return _code(run)


def _describe(run: Run, folder: Path) -> None:
    """Write what a run resumes with, next to its checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(run.settings, folder)
    save_tokenizer(run.corpus.tokenizer, folder)


def _code(run: Run) -> int:
    """0 also for a run that was to stop, or to have other ranks, when it had just finished."""
    if run.finished():
        return 0
    resized = OTHER_RANKS if run.next_ranks() != run.ranks.world_size else 0
    return run.stopping.code or resized


def _report_steps(run: Run, folder: Path, console: Console, paused_at: float | None) -> None:
    low_limit, log = False, partial(console.print, soft_wrap=True, highlight=False, markup=False)
    again = f" (restart {restarts()} after a rank was lost)" if restarts() else ""
    if run.resumed_from is not None:
        console.print(f"resumed from {run.resumed_from} at {run.samples} samples{again}", soft_wrap=True)
    elif again:
        console.print(f"starting again, as there is no checkpoint yet{again}")
    with (
        MetricsWriter(folder, run.schedule.steps, trackers_of(run.settings, log)) as metrics,
        ProgressReport(run.settings.run.end, run.samples, console) as progress,
        listening(run.stopping.request.note),
        tracing(run.settings.run.profile, folder) as trace,
    ):
        for record in train(run):
            trace()
            if paused_at is not None:
                record["pause_seconds"] = time.monotonic() - paused_at - record["seconds"]
                paused_at = None
            metrics.write(record)
            progress.show(record)
            if record["decided_by"] == FIRST_BATCH and not low_limit:
                low_limit = True
                warnings.warn(_of_low_limit(run, record["samples"]), stacklevel=1)
    for problem in metrics.problems:
        print(f"warning: {problem}", file=sys.stderr)


def _of_low_limit(run: Run, samples: int) -> str:
    """A warning, of a noise limit that would not let even the first batch."""
    limit = run.settings.schedule
    return (
        f"the noise limit B/{limit.noise_limit:g}^2 ({limit.noise_limit_scale}) is below the first batch of "
        f"{run.schedule.initial} after {samples} samples; the batch does not go below it: lower --noise-limit or "
        "--initial-batch"
    )


def _report_stop(run: Run, folder: Path) -> None:
    """Where the run stopped, and the command that resumes it; other ranks resume it by themselves."""
    if _code(run) == OTHER_RANKS:
        print(
            f"{run.next_ranks()} ranks in place of {run.ranks.world_size} from step {run.schedule.steps + 1} on, "
            f"whose batch is {run.schedule.batch_size} (--ranks-at)",
            file=sys.stderr,
        )
        return
    command = resuming_command(folder, torchrun="TORCHELASTIC_RUN_ID" in os.environ)
    print(
        f"{run.stopping.cause} after step {run.schedule.steps} ({run.samples} of {run.settings.run.end} "
        f"samples); to resume: {command}",
        file=sys.stderr,
    )


def _report_end(run: Run, folder: Path) -> None:
    """The summary and the figures, of the records that are there."""
    try:
        records, paths = read_metrics(folder), []
    except (ValueError, OSError) as error:
        print(f"warning: no summary and no figures: {error}", file=sys.stderr)
        return
    if not records:
        return
    if run.settings.run.figures:
        from adabatch.reporting.figures import (
            save_figures,  # here, as matplotlib takes every rank a second to import
        )

        paths = save_figures(records, folder / "figures")
    output = new_console()
    output.print(summary_table(records, run.saver.costs))
    figure = f"figure: {paths[0]}   " if paths else ""
    output.print(f"{figure}metrics: {folder / 'metrics.jsonl'}", soft_wrap=True)
    best = best_checkpoint(run.saver.folder) if run.settings.run.keep_best else None
    if best is not None:
        output.print(f"best checkpoint: {best} ({run.saver.folder / BEST})", soft_wrap=True)
