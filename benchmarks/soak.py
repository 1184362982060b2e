"""Memory and open files of a long run: 20,000 steps of a tiny model, with checkpoints and validation.

    python benchmarks/soak.py [--steps 20000] [--parallel fsdp] [--ranks 2] [--output FIGURE]

Each rank notes its resident memory, open file descriptors and threads every hundred steps. The figure and the
table show them; the exit code is 1 if a rank holds more files or threads in the last tenth than in the second one,
or if its memory has grown by more than 2% between them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from faults import MODEL
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.metrics import MetricsWriter
from adabatch.settings import Settings, load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run

BATCH, EVERY = 4, 100
GROWTH = 1.02
"""Memory at the end over memory after the first tenth, at most."""


def settings_for(folder: Path, steps: int, parallel: str, ranks: int) -> Settings:
    """A checkpoint in the background every 100 steps, validation every 200, a test at every step."""
    return load_settings(
        overrides={
            "model": str(folder / "model.json"),
            "parallel": parallel,
            "ranks": ranks,
            "sequence_length": 16,
            "samples": steps * BATCH,
            "initial_batch": BATCH,
            "max_batch": 2 * BATCH,  # below the maximum the norm test runs at every step
            "estimator": "debiased",
            "eta": 1e6,  # and always passes
            "micro_batch": BATCH // max(2, ranks),  # two groups
            "warmup_samples": 100,
            "validation_interval": 200 * BATCH,
            "validation_samples": 4,
            "checkpoint_interval": 100 * BATCH,
            "async_checkpoints": True,
            "output": str(folder / "run"),
        }
    )


def rank_main(rank: int, folder: str, steps: int, parallel: str, ranks: int) -> None:
    """Train, and note every hundred steps what this process holds."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    run = open_run(settings_for(Path(folder), steps, parallel, ranks), DistributedContext(rank, ranks))
    process, started = psutil.Process(), time.monotonic()
    notes = []
    output = Path(folder) / ("run" if rank == 0 else f"other-{rank}")
    output.mkdir(exist_ok=True)
    with MetricsWriter(output) as metrics:
        for record in train(run):
            metrics.write(record)
            if record["step"] % EVERY == EVERY // 2:  # halfway between two checkpoints
                held = {"memory": process.memory_info().rss / 1e6, "files": process.num_fds()}
                seconds = time.monotonic() - started
                notes.append(
                    {"step": record["step"], "seconds": seconds, "threads": process.num_threads(), **held}
                )
    Path(folder, f"notes-{rank}.json").write_text(json.dumps(notes))
    dist.barrier()
    dist.destroy_process_group()


def flat(notes: list[dict[str, Any]]) -> bool:
    """Whether the last tenth holds no more than the second tenth."""
    tenth = max(1, len(notes) // 10)
    first, last = notes[tenth : 2 * tenth], notes[-tenth:]
    middle = {name: (median(n[name] for n in first), median(n[name] for n in last)) for name in notes[0]}
    same = all(middle[name][1] <= middle[name][0] for name in ("files", "threads"))
    return same and middle["memory"][1] <= GROWTH * middle["memory"][0]


def draw(notes: list[list[dict[str, Any]]], path: Path) -> None:
    """Memory, and files and threads, against steps."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    memory, counts = figure.subplots(1, 2)
    for rank, of_rank in enumerate(notes):
        steps = [note["step"] for note in of_rank]
        memory.plot(steps, [note["memory"] for note in of_rank], label=f"rank {rank}")
        counts.plot(steps, [note["files"] for note in of_rank], label=f"files, rank {rank}")
        counts.plot(steps, [note["threads"] for note in of_rank], "--", label=f"threads, rank {rank}")
    memory.set(xlabel="step", ylabel="resident memory (MB)", ylim=(0, None))
    counts.set(xlabel="step", ylabel="open files, threads", ylim=(0, None))
    memory.legend()
    counts.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def table(notes: list[list[dict[str, Any]]], title: str) -> Table:
    """A few moments of each rank."""
    seconds = notes[0][-1]["seconds"]
    made = Table(title=f"{title}, torch {torch.__version__}, {seconds / 60:.0f} minutes")
    for name in ("rank", "step", "memory (MB)", "files", "threads"):
        made.add_column(name, justify="right")
    for rank, of_rank in enumerate(notes):
        for index in sorted({len(of_rank) // 10, len(of_rank) // 2, len(of_rank) - 1}):
            note = of_rank[index]
            cells = [rank, note["step"], f"{note['memory']:.1f}", note["files"], note["threads"]]
            made.add_row(*map(str, cells))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--parallel", default="fsdp", choices=["single", "ddp", "fsdp"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--output", type=Path, help="draw the figure here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.json").write_text(json.dumps(MODEL))
        arguments = (folder, options.steps, options.parallel, options.ranks)
        multiprocessing.start_processes(rank_main, arguments, nprocs=options.ranks, start_method="spawn")
        notes = [json.loads(Path(folder, f"notes-{rank}.json").read_text()) for rank in range(options.ranks)]
    title = f"python benchmarks/soak.py --parallel {options.parallel} --ranks {options.ranks}"
    Console(width=100).print(table(notes, title))
    if options.output:
        draw(notes, options.output)
    raise SystemExit(not all(flat(of_rank) for of_rank in notes))


if __name__ == "__main__":
    main()
