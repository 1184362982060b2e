"""Run a function on several gloo ranks and bring back what each returned."""

from __future__ import annotations

import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing


def run_ranks(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
    """``function(rank, world_size, *arguments)`` on each rank; a list of results by rank.

    The function must be importable (defined at the top of a module). A rank's exception is raised here.
    """
    with tempfile.TemporaryDirectory() as folder:
        processes = multiprocessing.start_processes(
            _rank, (world_size, folder, function, arguments), nprocs=world_size, join=False, start_method="spawn"
        )
        while not processes.join(timeout=10):
            pass
        results = [pickle.loads((Path(folder) / f"{rank}.pickle").read_bytes()) for rank in range(world_size)]
    for result in results:
        if isinstance(result, _Failure):
            raise AssertionError(f"a rank failed:\n{result.trace}")
    return results


class _Failure:
    def __init__(self, trace: str) -> None:
        self.trace = trace


def _rank(
    rank: int, world_size: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=timedelta(seconds=120))
    try:
        result = function(rank, world_size, *arguments)
    except BaseException:
        result = _Failure(traceback.format_exc())
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    if not isinstance(result, _Failure):
        dist.barrier()
        dist.destroy_process_group()
