"""Starting ranks: in this process, under torchrun, or through torch's own launcher."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
import uuid
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from adabatch.checkpoints.errors import AgreedError, CheckpointError
from adabatch.checkpoints.folders import find_checkpoint
from adabatch.checkpoints.random_states import seed_generators
from adabatch.data.preparation import save_tokenizer
from adabatch.distributed.parallel import DistributedContext, lost_peer, process_group
from adabatch.distributed.signals import children_hear_later, interrupts
from adabatch.reporting.console import ProgressReport, summary_table
from adabatch.reporting.metrics import MetricsWriter, read_metrics
from adabatch.settings import Settings, write_config
from adabatch.training.checkpointing import checkpoints_folder
from adabatch.training.checks import Start, check_settings, check_start
from adabatch.training.divergence import TrainingDivergedError
from adabatch.training.loop import train
from adabatch.training.memory_guard import is_out_of_memory
from adabatch.training.opening import open_run
from adabatch.training.run import Run
from adabatch.training.run_folder import known_launch, run_folder, run_folder_of_ranks

__all__ = ["DIVERGED", "INTERRUPTED", "OUT_OF_MEMORY", "USER_ERROR", "launch"]

USER_ERROR = 2
DIVERGED = 3
OUT_OF_MEMORY = 4
INTERRUPTED = 130

CAUSE_FIRST = 5.0
"""Seconds for which a rank that lost a peer stays: the launcher ends it before, having seen how the peer ended."""


def launch(settings: Settings, corpus: Path | None = None) -> int:
    """Train with these settings; the exit code.

    Under torchrun (``RANK`` is set) this process is one rank. Otherwise it checks the settings, prepares the data
    and the output folder, and starts the ranks itself.

    Args:
        settings: of the run.
        corpus: the folder of its prepared corpus; None: prepare it.

    Raises:
        ValueError: for anything that the settings get wrong, before any rank starts.
    """
    if "RANK" in os.environ:
        settings = _as_restarted(settings)
        schedule = check_settings(settings, int(os.environ["WORLD_SIZE"]), resumed=_resumes(settings))
        return _rank(settings, Start(schedule), run_folder_of_ranks)
    start = check_start(settings, corpus, resumed=_resumes(settings))
    with run_folder(settings):
        code = _rank(settings, start) if settings.parallel.ranks == 1 else _launch_ranks(settings, start)
    if code == INTERRUPTED:
        print(f"interrupted; the metrics so far are in {settings.run.output}/metrics.jsonl", file=sys.stderr)
    return code


def _resumes(settings: Settings) -> bool:
    return find_checkpoint(settings.run.resume, checkpoints_folder(settings.run.output)) is not None


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


def restarts() -> int:
    """How often the launcher has started this rank again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _launch_ranks(settings: Settings, start: Start) -> int:
    """Start the ranks on this machine through torch's elastic launcher, and wait for them."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # A failing rank prints its own message; the launcher's report of it would bury that.
    for name in logging.root.manager.loggerDict:
        if name.startswith(("torch.distributed.elastic", "torch.multiprocessing")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        run_id=uuid.uuid4().hex,
        nproc_per_node=settings.parallel.ranks,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=settings.parallel.max_restarts,
        monitor_interval=0.1,
        start_method="spawn",
    )
    try:
        with children_hear_later():
            elastic_launch(config, _spawned_rank)(settings, start)
    except (KeyboardInterrupt, SignalException):
        return INTERRUPTED
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode not in (USER_ERROR, DIVERGED, OUT_OF_MEMORY, INTERRUPTED):
            name = f" ({failure.signal_name()})" if failure.exitcode < 0 else ""
            print(f"rank {rank} ended with exit code {failure.exitcode}{name}", file=sys.stderr)
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    return 0


def _spawned_rank(settings: Settings, start: Start) -> None:
    code = _rank(_as_restarted(settings), start)
    if code:
        # Peers of a failed rank may wait in a collective: leave at once, without tearing anything down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


OutputOfRanks = Callable[[Settings, DistributedContext], AbstractContextManager[None]]


def _output_is_held(settings: Settings, ranks: DistributedContext) -> AbstractContextManager[None]:
    """The process that started the ranks has the folder."""
    return nullcontext()


def _rank(settings: Settings, start: Start, output: OutputOfRanks = _output_is_held) -> int:
    """One rank's work; errors become one message and an exit code."""
    try:
        with interrupts() as interrupted:
            return _rank_until(settings, start, interrupted, output)
    except KeyboardInterrupt:  # a second one, while the first one or another error was dealt with
        return INTERRUPTED


def _rank_until(settings: Settings, start: Start, interrupted: list[int], output: OutputOfRanks) -> int:
    try:
        with process_group(settings.parallel) as ranks, output(settings, ranks):
            _train(settings, ranks, start)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, CheckpointError, OSError) as error:
        _log(error)
        return USER_ERROR if isinstance(error, ValueError) else 1
    except TrainingDivergedError as error:
        _log(error)
        return DIVERGED
    except RuntimeError as error:
        if interrupted:  # a collective that lost its peer
            return INTERRUPTED
        if is_out_of_memory(error):
            _log_out_of_memory(error)
            return OUT_OF_MEMORY
        if lost_peer(error):
            # The launcher reports and returns the first end that it sees: that of the peer, whose reason counts.
            time.sleep(CAUSE_FIRST)
            print(f"rank {os.environ.get('RANK', '0')} lost its connection to another rank", file=sys.stderr)
        else:
            traceback.print_exc()
        return 1
    return 0


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


def _train(settings: Settings, ranks: DistributedContext, start: Start) -> None:
    """Train, and on the main rank write metrics, figures and the summary."""
    console = Console(stderr=True)
    warnings.showwarning = lambda text, *_, **__: console.print(f"[yellow]warning:[/] {text}", soft_wrap=True)
    seed_generators(settings.data.seed)
    run = open_run(settings, ranks, start)
    if not ranks.is_main:
        for _ in train(run):
            pass
        return
    folder = Path(settings.run.output)
    folder.mkdir(parents=True, exist_ok=True)
    write_config(settings, folder)
    save_tokenizer(run.corpus.tokenizer, folder)
    _report(run, folder, console)


def _report(run: Run, folder: Path, console: Console) -> None:
    again = f" (restart {restarts()} after a rank was lost)" if restarts() else ""
    if run.resumed_from is not None:
        console.print(f"resumed from {run.resumed_from} at {run.samples} samples{again}", soft_wrap=True)
    elif again:
        console.print(f"starting again, as there is no checkpoint yet{again}")
    with (
        MetricsWriter(folder, run.schedule.steps, run.settings.run.tensorboard) as metrics,
        ProgressReport(run.settings.run.samples, run.samples, console) as progress,
    ):
        for record in train(run):
            metrics.write(record)
            progress.show(record)
    records, paths = read_metrics(folder), []
    if run.settings.run.figures:
        from adabatch.reporting.figures import (
            save_figures,  # here, as matplotlib takes every rank a second to import
        )

        paths = save_figures(records, folder / "figures")
    Console().print(summary_table(records, run.saver.costs))
    figure = f"figure: {paths[0]}   " if paths else ""
    Console().print(f"{figure}metrics: {folder / 'metrics.jsonl'}", soft_wrap=True)
