"""Run functions on several gloo ranks and bring back what each returned."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import pickle
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

TIMEOUT = 120
"""Seconds within which a collective must end."""

MOST_THREADS = 40
"""Ranks with more threads are started again: each process group keeps three, one of which wakes a hundred times a
second, and models, meshes and caches of torch keep the group. They took half a core while all ranks were idle."""

PRELOADED = ["adabatch.training.launch", "adabatch.statistics", "transformers.models.llama.modeling_llama"]
"""What the ranks' common ancestor imports: to import it took a rank some ten seconds."""


def run_ranks(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
    """``function(rank, world_size, *arguments)`` on each rank; a list of results by rank.

    The function must be importable (defined at the top of a module). A rank's exception is raised here. The ranks
    are those of :func:`shared_pool`: what changes a process for good belongs on :func:`run_fresh_ranks`.
    """
    return shared_pool(world_size).run(function, *arguments)


def run_fresh_ranks(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
    """:func:`run_ranks` in processes of its own, for what sets environment variables or others' singletons.

    They are spawned as a launcher does it: each has its own hash seed, and the environment of this moment.
    """
    with RankPool(world_size, method="spawn") as pool:
        return pool.run(function, *arguments)


@functools.cache
def shared_pool(world_size: int) -> RankPool:
    """This many ranks, started once and kept for all tests of this process."""
    pool = RankPool(world_size)
    atexit.register(pool.stop)
    return pool


class RankPool:
    """Ranks that stay up between calls, so that hundreds of examples cost one start.

    After a failure the ranks are started again with the next call: one may have left the others waiting. So are
    ranks that have gathered more than ``MOST_THREADS``.

    Forked from one server, they share its hash seed and the environment of its start: that the order of a set
    decides nothing is seen with ``method="spawn"`` only.
    """

    def __init__(self, world_size: int, method: str = "forkserver") -> None:
        self.world_size, self._method = world_size, method
        self._ranks: list[tuple[Any, Connection]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> RankPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``function(rank, world_size, *arguments)`` on each rank; see :func:`run_ranks`.

        gloo's own thread dies of a segmentation fault once in many hundred calls (torch 2.13, pt_gloo_runloop):
        after one such death the call is tried once more, with a warning.
        """
        call = pickle.dumps((function, arguments))
        try:
            return self._run_or_stop(call)
        except _Crash as crash:
            warnings.warn(f"{crash}; tried once more", RuntimeWarning, stacklevel=2)
            return self._run_or_stop(call)

    def _run_or_stop(self, call: bytes) -> list[Any]:
        try:
            return self._run(call)
        except BaseException:  # a time-out too: what ranks still send would be taken for the next call's results
            self._kill()
            raise

    def _run(self, call: bytes) -> list[Any]:
        if not self._ranks:
            self._start()
        for _, connection in self._ranks:
            connection.send_bytes(call)
        waiting = {connection: rank for rank, (_, connection) in enumerate(self._ranks)}
        results: list[Any] = [None] * self.world_size
        while waiting:
            for connection in wait(list(waiting)):
                rank = waiting.pop(connection)
                results[rank] = self._receive(rank)
        if psutil.Process(self._ranks[0][0].pid).num_threads() > MOST_THREADS:
            self._kill()  # there is nothing left to lose: each has sent its result
        return results

    def _receive(self, rank: int) -> Any:
        process, connection = self._ranks[rank]
        try:
            result = pickle.loads(connection.recv_bytes())
        except EOFError:
            process.join()
            if process.exitcode == -signal.SIGSEGV:
                raise _Crash(f"rank {rank} died of a segmentation fault") from None
            result = _Failure(f"the process ended with exit code {process.exitcode}")
        if isinstance(result, _Failure):
            raise AssertionError(f"rank {rank} failed:\n{result.trace}")
        return result

    def _start(self) -> None:
        context = multiprocessing.get_context(self._method)
        if self._method == "forkserver":
            context.set_forkserver_preload(PRELOADED)
        self._folder = tempfile.TemporaryDirectory()
        for rank in range(self.world_size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, self.world_size, self._folder.name, theirs))
            process.start()
            theirs.close()
            self._ranks.append((process, ours))

    def stop(self) -> None:
        """End the ranks in an orderly way."""
        with contextlib.suppress(OSError):  # a rank that has died
            for _, connection in self._ranks:
                connection.send_bytes(pickle.dumps(None))
            for process, _ in self._ranks:
                process.join(timeout=TIMEOUT)
        self._kill()

    def _kill(self) -> None:
        for process, connection in self._ranks:
            process.kill()
            process.join()
            connection.close()
        self._ranks = []
        if self._folder is not None:
            self._folder.cleanup()


class _Crash(AssertionError):
    """A rank's process ended by a segmentation fault."""


class _Failure:
    def __init__(self, trace: str) -> None:
        self.trace = trace


def _serve(rank: int, world_size: int, folder: str, connection: Connection) -> None:
    """A rank: run what the test process sends, until it sends None."""
    torch.set_num_threads(1)
    gc.freeze()  # what the ancestor imported is not looked through again and again
    store = dist.FileStore(os.path.join(folder, "store"), world_size)
    timeout = timedelta(seconds=TIMEOUT)
    backend = "cpu:gloo,cuda:nccl" if world_size <= torch.cuda.device_count() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    while (command := pickle.loads(connection.recv_bytes())) is not None:
        function, arguments = command
        try:
            result = function(rank, world_size, *arguments)
        except BaseException:
            result = _Failure(traceback.format_exc())
        connection.send_bytes(pickle.dumps(result))
    gc.collect()  # a DDP model that outlives its process group may hang in gloo
    dist.barrier()
    dist.destroy_process_group()
