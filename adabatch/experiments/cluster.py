"""Runs of an experiment as jobs of a cluster, through the package ``submitit``.

run -> a job that trains it, with its output in the run's own log -> its exit code; a job that ended early is
submitted again, and its run resumes -> the runner, as if it were a process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from adabatch.exit_codes import USER_ERROR
from adabatch.experiments.devices import Placement
from adabatch.experiments.run import ExperimentRun
from adabatch.experiments.runner import log
from adabatch.experiments.worker import train_logged
from adabatch.locks import is_occupied
from adabatch.settings import Settings

__all__ = ["AT_ONCE", "Cluster", "ClusterJob", "parse_options"]

AT_ONCE = 16
"""Jobs at once, where nothing else is asked for."""

MINUTES = 24 * 60
"""Of a job, where nothing else is asked for; a run that needs more resumes in the next job."""

POLLING_SECONDS = 1.0


def parse_options(text: str) -> dict[str, Any]:
    """``name=value`` pairs, separated by commas, as submitit's ``update_parameters`` takes them.

    Raises:
        ValueError: for what is not such a pair.

    >>> parse_options("timeout_min=600,slurm_partition=gpu")
    {'timeout_min': 600, 'slurm_partition': 'gpu'}
    """
    options: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise ValueError(
                f"{pair!r} is not name=value: write --cluster-options timeout_min=600,slurm_partition=gpu"
            )
        options[name] = int(value) if value.isdecimal() else value
    return options


class _Job(Protocol):
    """Of submitit."""

    job_id: str

    def done(self) -> bool: ...
    def result(self) -> Any: ...
    def cancel(self) -> None: ...


class _Executor(Protocol):
    def submit(self, fn: Any, *args: Any, **kwargs: Any) -> Any: ...


@dataclass(frozen=True)
class Cluster:
    """Where jobs go.

    Attributes:
        name: ``slurm``, or ``local`` for processes of this machine.
        folder: of the experiment, on a file system that jobs see; submitit's own files go to ``jobs`` in it.
        options: of submitit.
        at_once: jobs at once.
        retries: of a run whose job ended early (time limit, preemption, a node that died).
    """

    name: str
    folder: Path
    options: Mapping[str, Any]
    at_once: int = AT_ONCE
    retries: int = 2

    def place(self, first: Settings, count: int) -> Placement:
        """As many shares as jobs go at once; what each computes on is the cluster's matter."""
        del first
        jobs = min(self.at_once, count)
        return Placement(((),) * jobs, f"{jobs} job{'s' if jobs > 1 else ''} at once on the cluster {self.name!r}")

    @contextmanager
    def opened(self) -> Iterator[_Starter]:
        """The executor.

        Raises:
            ValueError: without the package, without the cluster, or for an option that it does not have.
        """
        try:
            import submitit
        except ImportError:
            raise ValueError("--cluster needs the package submitit: pip install 'adabatch[cluster]'") from None
        try:
            executor = submitit.AutoExecutor(self.folder / "jobs", cluster=self.name)
            executor.update_parameters(**{"name": "adabatch", "timeout_min": MINUTES, **self.options})
        except (RuntimeError, NameError, KeyError, TypeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"submitit refuses the cluster {self.name!r} ({reason}): see --cluster and --cluster-options"
            ) from None
        yield _Starter(executor, self.retries)


@dataclass(frozen=True)
class _Starter:
    executor: _Executor
    retries: int

    def start(self, run: ExperimentRun, corpus: Path, gpus: Sequence[str]) -> ClusterJob:
        """Submit a run, or wait for a job of an earlier start that is still at work in its folder."""
        del gpus
        return ClusterJob(run, corpus, self.executor, self.retries)

    def wait(self, active: Sequence[ClusterJob]) -> None:
        """For a moment."""
        time.sleep(POLLING_SECONDS if active else 0.0)


@dataclass
class ClusterJob:
    """A run on the cluster, with what the runner asks of a process."""

    run: ExperimentRun
    corpus: Path
    executor: _Executor
    retries: int
    started: float = field(default_factory=time.monotonic)
    exitcode: int | None = None
    job: _Job | None = None

    def __post_init__(self) -> None:
        if not is_occupied(self.run.folder):
            self._submit()

    def _submit(self) -> None:
        self.job = self.executor.submit(train_logged, self.run.resolved(), self.run.log, self.corpus)

    def is_alive(self) -> bool:
        """Whether the run is under way; one whose job has ended early is submitted again."""
        if self.exitcode is not None:
            return False
        if is_occupied(self.run.folder) if self.job is None else not self.job.done():
            return True
        code = 0 if self.run.finished() else self._code()
        if code in (0, USER_ERROR) or self.retries < 1:
            self.exitcode = code
            return False
        self.retries -= 1
        log(f"{self.run.name}: its job ended early (exit code {code}); submitted again")
        self._submit()
        return True

    def _code(self) -> int:
        try:
            return 1 if self.job is None else int(self.job.result()) or 1
        except Exception:  # submitit's own, of many kinds: a job that was killed, or whose result is lost
            return 1

    def terminate(self) -> None:
        """Cancel the job; one of an earlier start continues."""
        if self.job is not None and self.exitcode is None:
            self.job.cancel()

    kill = terminate

    def join(self, timeout: float | None = None) -> None:
        """Wait until the job has ended."""
        end = time.monotonic() + (0.0 if timeout is None else timeout)
        while self.job is not None and self.exitcode is None and not self.job.done() and time.monotonic() < end:
            time.sleep(0.1)
