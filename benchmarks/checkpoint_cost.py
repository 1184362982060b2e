"""What a checkpoint costs: saves in the foreground and in the background, alternating in one run.

    python benchmarks/checkpoint_cost.py [--saves 5]

Two ranks under FSDP2 (gloo), a Llama of 20M parameters with AdamW's state. For each kind of save: how long
training stood still, how long the save took in all, its bytes; medians. Nothing is trained between saves.

Then one rank, one thread, trains while it saves in the background: the wall time of the steps that lie within a
save over that of as many steps after it; a second core should be free. The step that begins a save stands still
for the copy of the state on top of that.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from rich.console import Console
from rich.table import Table
from statistics_cost import configuration

from adabatch.checkpoints.saving import CheckpointSaver
from adabatch.distributed.parallel import DistributedContext, parallelize
from adabatch.model.language_model import build_model, language_model_loss, parameter_count
from adabatch.settings import OptimizerSettings, ParallelSettings
from adabatch.training.optimizers import build_optimizer

RANKS = 2


def rank_main(rank: int, folder: str, saves: int) -> None:
    """Alternate the two kinds of saves of one model."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", RANKS), rank=rank, world_size=RANKS)
    ranks = DistributedContext(rank, RANKS)
    config = configuration("20m", 64)
    model = parallelize(build_model(config, 0), ParallelSettings(parallel="fsdp"), ranks)
    parameters = parameter_count(model)
    optimizer = build_optimizer(model, OptimizerSettings())
    language_model_loss(model, torch.randint(config.vocab_size, (1, 32))).backward()
    optimizer.step()
    savers = {
        kind: CheckpointSaver(Path(folder, kind), ranks, keep=1, asynchronous=kind == "background")
        for kind in ("foreground", "background")
    }
    for step in range(1, saves + 1):
        for saver in savers.values():
            saver.save(step, model, optimizer, {})
            saver.wait()
    if rank == 0:
        costs = {kind: [vars(cost) for cost in saver.costs] for kind, saver in savers.items()}
        Path(folder, "costs.json").write_text(json.dumps({"parameters": parameters, "costs": costs}))
    dist.barrier()
    dist.destroy_process_group()


def steps_while_saving(folder: str, saves: int) -> list[tuple[float, float, float]]:
    """By save: seconds of a step within it, of one after it, and those for which training stood still."""
    torch.set_num_threads(1)
    config = configuration("20m", 64)
    model = build_model(config, 0)
    optimizer = build_optimizer(model, OptimizerSettings())
    tokens = torch.randint(config.vocab_size, (4, 64))
    saver = CheckpointSaver(Path(folder, "training"), DistributedContext(), keep=1, asynchronous=True)

    def step() -> float:
        start = time.perf_counter()
        language_model_loss(model, tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    found = []
    for number in range(saves + 1):
        step()
        saver.save(number, model, optimizer, {})
        within = []
        while saver._thread is not None and saver._thread.is_alive():
            within.append(step())
        saver.wait()
        after = [step() for _ in within]
        if number:  # the first save allocates the copy
            found.append((median(within), median(after), saver.costs[-1].blocked))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saves", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.start_processes(rank_main, (folder, options.saves), nprocs=RANKS, start_method="spawn")
        measured = json.loads(Path(folder, "costs.json").read_text())
        trained = steps_while_saving(folder, options.saves)
    command = f"python benchmarks/checkpoint_cost.py --saves {options.saves}"
    table = Table(title=f"{command}: {measured['parameters'] / 1e6:.1f}M parameters")
    for name in ("save", "training stood still (s)", "in all (s)", "MB"):
        table.add_column(name)
    for kind, costs in measured["costs"].items():
        middle = {name: median(cost[name] for cost in costs) for name in ("blocked", "seconds", "bytes")}
        seconds = [f"{middle[name]:.2f}" for name in ("blocked", "seconds")]
        table.add_row(kind, *seconds, f"{middle['bytes'] / 1e6:.0f}")
    Console(width=110).print(table)
    ratios = sorted(within / after for within, after, _ in trained)
    usual, still = (median(column) for column in list(zip(*trained, strict=True))[1:])
    print(
        f"training while saving in the background: a step takes {median(ratios):.2f} "
        f"[{ratios[0]:.2f}, {ratios[-1]:.2f}] of the usual {usual:.2f} s; "
        f"the step that begins the save {still:.2f} s more"
    )


if __name__ == "__main__":
    main()
