"""The trainer on several GPUs with NCCL: all layouts train alike, and a run outlives a kill and a change of ranks.

    python benchmarks/several_gpus.py [--ranks 8] [--device cuda|cpu] [--samples 4096] [--output FILE]

A small model is trained on one rank, then from the same seed on all ranks under DDP, FSDP2, hybrid sharding and
FSDP2 with tensor parallelism (as far as the ranks allow). Each step's batch must be that of the one rank, and its
loss and trace of the noise, relative to theirs, within the tolerance. Then a rank of the run under FSDP2 is
killed, and the run resumed on all ranks and on half of them. The exit code is 1 if anything differs. With --device
cpu the ranks are gloo's.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import faults
import torch
from rich.console import Console
from rich.table import Table

from adabatch.reporting.metrics import Record, read_metrics
from adabatch.settings import Settings, load_settings

TOLERANCES = {"cpu": 1e-5, "cuda": 1e-3}
"""Relative. Sums are taken in another order, on a GPU also by other kernels."""

SHARDED = "FSDP2"


def layouts(ranks: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each by its name, the one that all are compared with first."""
    yield "one rank", {"parallel": "single", "ranks": 1}
    yield "DDP", {"parallel": "ddp", "ranks": ranks}
    yield SHARDED, {"parallel": "fsdp", "ranks": ranks}
    if ranks % 2 == 0:
        yield "FSDP2 x tensor parallel 2", {"parallel": "fsdp", "ranks": ranks, "tensor_parallel": 2}
    if ranks % 2 == 0 and ranks > 2:
        yield "hybrid, 2 replicas", {"parallel": "hsdp", "ranks": ranks, "replicas": 2}


def settings_of(folder: Path, options: argparse.Namespace, name: str, **changes: Any) -> Settings:
    """Of a run whose batches all layouts make: two groups per rank at the start, one sequence in each."""
    ranks = options.ranks
    batches = {"initial_batch": 2 * ranks, "max_batch": 8 * ranks, "micro_batch": 1, "max_micro_batch": 4}
    length = {"samples": options.samples, "checkpoint_interval": options.samples // 4, "keep": 0}
    computed = {"device": options.device, "threads": 1, "monitor_interval": 1, "figures": False}
    given = faults.overrides(folder, name) | batches | length | computed | {"validation_interval": 0}
    return load_settings(overrides=given | changes)


def kill_a_rank(settings: Settings, log: Path) -> None:
    """Start the ranks, kill the last one after the first checkpoint, and end the others, as a launcher does."""
    processes = faults.start_ranks(settings, log, {})
    while not faults.samples_saved(settings):
        if ended := faults.wait(processes, 0.05):
            raise RuntimeError(f"the run ended before it was killed, with {ended}:\n{log.read_text()[-4000:]}")
    os.kill(processes[-1], signal.SIGKILL)
    faults.end(processes, faults.wait(processes[-1:], 30))


def largest_difference(name: str, records: list[Record], expected: list[Record]) -> float:
    """Of a number of each step, relative; infinite where the steps' batches differ or it is not finite."""
    if not records or [record["batch_size"] for record in records] != [
        record["batch_size"] for record in expected
    ]:
        return math.inf
    pairs = zip(records, expected, strict=True)
    found = [abs(mine[name] - other[name]) / abs(other[name]) for mine, other in pairs]
    return max(found) if all(map(math.isfinite, found)) else math.inf


def row(name: str, settings: Settings, expected: list[Record], tolerance: float) -> tuple[list[str], bool]:
    """A run against the one on one rank, and whether it is alike."""
    records = read_metrics(settings.run.output)
    found = [largest_difference(what, records, expected) for what in ("loss", "noise_trace")]
    speed = median(record["tokens_per_second"] for record in records)
    alike = max(found) <= tolerance
    cells = [name, str(settings.parallel.ranks), str(len(records)), f"{speed:,.0f}", *(f"{v:.1e}" for v in found)]
    return [*cells, "yes" if alike else "NO"], alike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, help="without it, as many as there are GPUs")
    parser.add_argument("--device", choices=TOLERANCES, default="cuda")
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--output", type=Path, help="write the table here too")
    options = parser.parse_args()
    # The ranks are forked: to look for GPUs in this process must not begin to use them.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    options.ranks = options.ranks or torch.cuda.device_count()
    if options.ranks < 2:
        parser.error(
            f"{options.ranks} ranks are not several: --ranks 2 or more, and a GPU for each or --device cpu"
        )
    tolerance, begun = TOLERANCES[options.device], time.monotonic()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch), Path(scratch) / "log.txt"
        faults.write_inputs(folder)
        runs = [(name, settings_of(folder, options, name, **given)) for name, given in layouts(options.ranks)]
        for _, settings in runs:
            faults.run_to_end(settings, log)
        for ranks in {options.ranks, max(1, options.ranks // 2)}:
            name = f"{SHARDED}, a rank killed, resumed on {ranks}"
            kill_a_rank(settings_of(folder, options, name, parallel="fsdp", ranks=options.ranks), log)
            runs.append((name, settings_of(folder, options, name, parallel="fsdp", ranks=ranks)))
            faults.run_to_end(runs[-1][1], log)
        expected = read_metrics(runs[0][1].run.output)
        rows = [row(name, settings, expected, tolerance) for name, settings in runs]
    title = f"python {' '.join(sys.argv)}: torch {torch.__version__}, {time.monotonic() - begun:.0f} s"
    table = Table(title=title)
    for column in ("run", "ranks", "steps", "tokens/s, median", "loss differs by", "noise trace by", "alike"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for cells, _ in rows:
        table.add_row(*cells)
    Console().print(table)
    if options.output is not None:
        with options.output.open("w") as file:
            Console(file=file, width=140).print(table)
    sys.exit(not all(alike for _, alike in rows))


if __name__ == "__main__":
    main()
