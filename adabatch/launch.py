"""Starting ranks: in this process, under torchrun, or through torch's own launcher."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import traceback
import uuid
import warnings
from pathlib import Path

from rich.console import Console

from adabatch.building import check_settings
from adabatch.checkpoints import find_checkpoint
from adabatch.data import open_corpus
from adabatch.figures import save_figures
from adabatch.guards import TrainingDivergedError
from adabatch.metrics import MetricsWriter, read_metrics
from adabatch.model import model_config
from adabatch.parallel import Ranks, choose_device, process_group
from adabatch.reporting import ProgressReport, summary_table
from adabatch.settings import Settings, to_toml
from adabatch.tensor_parallel import check_tensor_parallel
from adabatch.training import Run, open_run, train

__all__ = ["DIVERGED", "INTERRUPTED", "USER_ERROR", "check", "launch"]

USER_ERROR = 2
DIVERGED = 3
INTERRUPTED = 130


def launch(settings: Settings) -> int:
    """Train with these settings; the exit code.

    Under torchrun (``RANK`` is set) this process is one rank. Otherwise it checks the settings, prepares the data
    and the output folder, and starts the ranks itself.

    Raises:
        ValueError: for whatever the settings get wrong, before any rank starts.
    """
    if "RANK" in os.environ:
        check_settings(settings, int(os.environ["WORLD_SIZE"]))
        if os.environ["RANK"] == "0":
            _prepare_output(settings)
        return _rank(settings)
    check(settings)
    _prepare_output(settings)
    code = _rank(settings) if settings.parallel.ranks == 1 else _launch_ranks(settings)
    if code == INTERRUPTED:
        print(f"interrupted; the metrics so far are in {settings.run.output}/metrics.jsonl", file=sys.stderr)
    return code


def check(settings: Settings) -> None:
    """Refuse what cannot work: settings, device, data (prepared here), model."""
    check_settings(settings, settings.parallel.ranks)
    choose_device(settings.parallel, settings.parallel.ranks - 1)
    find_checkpoint(settings.run.resume, Path(settings.run.output) / "checkpoints")
    model_config(settings.model.model, None, settings.data.sequence_length)  # before preparing a large corpus
    corpus = open_corpus(settings.data)
    config = model_config(settings.model.model, corpus.vocabulary_size, settings.data.sequence_length)
    parallel, length = settings.parallel, settings.data.sequence_length
    check_tensor_parallel(config, parallel.tensor_parallel, length, parallel.sequence_parallel)


def _prepare_output(settings: Settings) -> None:
    """Make the run's folder; an earlier run in it is neither overwritten nor mixed up unasked."""
    folder = Path(settings.run.output)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the output {folder} is a file: name a folder (--output)")
    if (folder / "metrics.jsonl").exists() and settings.run.resume == "never":
        if not settings.run.overwrite:
            raise ValueError(
                f"the folder {folder} holds an earlier run: take another --output, --overwrite to delete it, or "
                "--resume auto to go on with it"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _launch_ranks(settings: Settings) -> int:
    """Start the ranks on this machine through torch's elastic launcher, and wait for them."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # A failing rank prints its own message; the launcher's report of it would bury that.
    for name in logging.root.manager.loggerDict:
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        run_id=uuid.uuid4().hex,
        nproc_per_node=settings.parallel.ranks,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        start_method="spawn",
    )
    try:
        elastic_launch(config, _spawned_rank)(settings)
    except (KeyboardInterrupt, SignalException):
        return INTERRUPTED
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode not in (USER_ERROR, DIVERGED, INTERRUPTED):
            name = f" ({failure.signal_name()})" if failure.exitcode < 0 else ""
            print(f"rank {rank} ended with exit code {failure.exitcode}{name}", file=sys.stderr)
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    return 0


def _spawned_rank(settings: Settings) -> None:
    code = _rank(settings)
    if code:
        # Peers of a failed rank may wait in a collective: leave at once, without tearing anything down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _rank(settings: Settings) -> int:
    """One rank's work; errors become one message and an exit code."""
    interrupted = []

    def interrupt(number: int, frame: object) -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        with process_group(settings.parallel) as ranks:
            _train(settings, ranks)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ValueError as error:
        rank = os.environ.get("RANK", "0")
        print(f"Error{'' if rank == '0' else f' on rank {rank}'}: {error}", file=sys.stderr)
        return USER_ERROR
    except TrainingDivergedError as error:
        if os.environ.get("RANK", "0") == "0":  # all ranks see the same
            print(f"Error: {error}", file=sys.stderr)
        return DIVERGED
    except RuntimeError:
        if interrupted:  # a collective that lost its peer
            return INTERRUPTED
        traceback.print_exc()
        return 1
    finally:
        signal.signal(signal.SIGINT, previous)
    return 0


def _train(settings: Settings, ranks: Ranks) -> None:
    """Train, and on the main rank write metrics, figures and the summary."""
    run = open_run(settings, ranks)
    if not ranks.is_main:
        for _ in train(run):
            pass
        return
    folder = Path(settings.run.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(to_toml(settings), encoding="utf-8")
    _report(run, folder)


def _report(run: Run, folder: Path) -> None:
    console = Console(stderr=True)
    warnings.showwarning = lambda message, *_, **__: console.print(f"[yellow]warning:[/] {message}")
    if run.resumed_from is not None:
        console.print(f"resumed from {run.resumed_from} at {run.samples} samples")
    with (
        MetricsWriter(folder, run.schedule.steps, run.settings.run.tensorboard) as metrics,
        ProgressReport(run.settings.run.samples, run.samples, console) as progress,
    ):
        for record in train(run):
            metrics.write(record)
            progress.show(record)
    records = read_metrics(folder)
    paths = save_figures(records, folder / "figures")
    Console().print(summary_table(records))
    Console().print(f"figure: {paths[0]}   metrics: {folder / 'metrics.jsonl'}", soft_wrap=True)
