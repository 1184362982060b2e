"""Where the runs of an experiment compute: which share of the visible GPUs, or of the cores, each of them gets."""

from __future__ import annotations

import os
from dataclasses import dataclass

from adabatch.cores import visible_cores
from adabatch.settings import ParallelSettings

__all__ = ["Placement", "place_runs", "visible_gpus"]


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that ``CUDA_VISIBLE_DEVICES`` takes."""
    import torch

    count = torch.cuda.device_count()  # does not begin to use them
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(map(str, range(count)))
    return tuple(name.strip() for name in named.split(","))[:count]


@dataclass(frozen=True)
class Placement:
    """How many runs go at once, and where.

    Attributes:
        shares: the GPUs of each of the runs that go at once; empty ones on the CPU.
        text: a line that says so.
    """

    shares: tuple[tuple[str, ...], ...]
    text: str


def place_runs(settings: ParallelSettings, runs: int, processes: int = 0) -> Placement:
    """Give each rank of a run a GPU of its own where there are some, else its threads.

    Args:
        settings: of a run; all have as many ranks.
        runs: their number.
        processes: runs at once that were asked for; 0: as many as there is room for. More than the GPUs have room
            for are cut to that; more than the cores have room for are not. The line says either.

    Raises:
        ValueError: for runs of more ranks than there are GPUs.
    """
    gpus = () if settings.device == "cpu" else visible_gpus()
    if gpus:
        return _on_gpus(gpus, settings.ranks, runs, processes)
    return _on_cores(settings, runs, processes)


def _on_gpus(gpus: tuple[str, ...], ranks: int, runs: int, processes: int) -> Placement:
    room = len(gpus) // ranks
    if not room:
        raise ValueError(
            f"a run of {ranks} ranks needs {ranks} GPUs, but {len(gpus)} are visible ({', '.join(gpus)}): lower "
            "--ranks, change CUDA_VISIBLE_DEVICES or take --device cpu"
        )
    count = min(processes or room, room, runs)
    shares = tuple(gpus[run * ranks : (run + 1) * ranks] for run in range(count))
    each = "a GPU" if ranks == 1 else f"{ranks} GPUs"
    text = f"{count} at once, {each} each: " + ", ".join("+".join(share) for share in shares)
    text += f" of {len(gpus)} visible" if count * ranks < len(gpus) else ""
    if processes > room:
        text += f"; {processes} were asked for, but the GPUs are enough for {room}"
    return Placement(shares, text)


def _on_cores(settings: ParallelSettings, runs: int, processes: int) -> Placement:
    cores, ranks, threads = visible_cores(), settings.ranks, settings.threads or 1
    room = max(1, cores // (ranks * threads))
    count = min(processes or room, runs)
    each = f"{ranks} ranks of " if ranks > 1 else ""
    text = f"{count} at once, {each}{threads} thread{'s' if threads > 1 else ''} each, on {cores} CPU cores"
    if count * ranks * threads > cores:
        text += f": {count * ranks * threads} threads share them"
    return Placement(((),) * count, text)
