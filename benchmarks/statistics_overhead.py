"""What the gradient statistics cost: the same training step with and without them, interleaved in one run.

    python benchmarks/statistics_overhead.py [--steps 40] [--statistics scalar|coordinate] [--output FILE]

Two ranks with one thread each (gloo), a Llama of 20M parameters, accumulation over two micro-batches, clipping and
AdamW. Steps with and without statistics alternate; CPU time is summed over the ranks, and ratios are taken between
neighbouring steps, so that the machine's drift cancels. Both kinds of step compute the gradient norm for clipping.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from transformers import LlamaConfig

from adabatch.building import build_optimizer
from adabatch.clipping import clip_gradients
from adabatch.coordinate_statistics import CoordinateStatistics
from adabatch.model import build_model, language_model_loss, parameter_count
from adabatch.parallel import Ranks, parallelize, set_gradient_sync
from adabatch.settings import OptimizerSettings, ParallelSettings
from adabatch.statistics import GradientStatistics
from adabatch.training import optimizer_step

WORLD_SIZE, MICRO_BATCHES, LENGTH = 2, 2, 64
CONFIG = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "vocab_size": 1024,
    "use_cache": False,
    "attn_implementation": "sdpa",
}


def measure(
    rank: int, parallel: str, micro_batch: int, steps: int, kind: str
) -> tuple[int, list[tuple[float, float]]]:
    """(CPU, wall) seconds of each step on this rank; even steps with statistics, odd ones without."""
    ranks = Ranks(rank, WORLD_SIZE, torch.device("cpu"))
    model = build_model(LlamaConfig(**CONFIG), seed=0)
    parameters = parameter_count(model)
    model = parallelize(model, ParallelSettings(parallel=parallel), ranks)
    optimizer = build_optimizer(model, OptimizerSettings())
    statistics = GradientStatistics(model) if kind == "scalar" else CoordinateStatistics(model)
    generator = torch.Generator().manual_seed(rank)
    seconds = []
    for step in range(steps + 4):
        tokens = torch.randint(CONFIG["vocab_size"], (MICRO_BATCHES, micro_batch, LENGTH), generator=generator)
        ranks.barrier()
        start = time.process_time(), time.perf_counter()
        one_step(model, optimizer, statistics, tokens, measuring=step % 2 == 0)
        seconds.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return parameters, seconds[4:]


def one_step(model, optimizer, statistics, tokens, measuring):
    statistics.enable(measuring)
    for index, micro_batch in enumerate(tokens):
        set_gradient_sync(model, index == MICRO_BATCHES - 1)
        (language_model_loss(model, micro_batch) / MICRO_BATCHES).backward()
        statistics.end_microbatch(len(micro_batch))
    squared_norm = statistics.finish().squared_norm if measuring else statistics.gradient_squared_norm()
    clip_gradients(model, math.sqrt(squared_norm), 1.0)
    optimizer_step(optimizer, 1e-3)
    optimizer.zero_grad(set_to_none=True)


def rank_main(rank: int, folder: str, parallel: str, micro_batch: int, steps: int, kind: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", WORLD_SIZE)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD_SIZE)
    torch.save(measure(rank, parallel, micro_batch, steps, kind), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def row(parallel: str, micro_batch: int, steps: int, kind: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(rank_main, (folder, parallel, micro_batch, steps, kind), nprocs=WORLD_SIZE)
        by_rank = [torch.load(f"{folder}/{rank}.pt") for rank in range(WORLD_SIZE)]
    cpu = [sum(rank[1][step][0] for rank in by_rank) for step in range(steps)]
    wall = [max(rank[1][step][1] for rank in by_rank) for step in range(steps)]
    ratios = sorted(cpu[i] / cpu[i + 1] for i in range(0, steps - 1, 2))
    walls = sorted(wall[i] / wall[i + 1] for i in range(0, steps - 1, 2))
    low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
    return (
        f"{parallel:5} {by_rank[0][0] / 1e6:5.1f}M {micro_batch * LENGTH:6d} {1e3 * median(cpu[1::2]):9.0f} ms "
        f"{median(ratios):7.3f} [{low:.3f}, {high:.3f}] {median(walls):7.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--statistics", choices=["scalar", "coordinate"], default="scalar")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    lines = [
        "# python benchmarks/statistics_overhead.py "
        f"--steps {arguments.steps} --statistics {arguments.statistics}",
        f"# torch {torch.__version__}, {os.cpu_count()} cores, {WORLD_SIZE} ranks; medians of neighbouring steps",
        "mode  params tokens/group  CPU without   CPU with / without [quartiles]  wall ratio",
    ]
    for parallel, micro_batch in itertools.product(("fsdp", "ddp"), (1, 8)):
        lines.append(row(parallel, micro_batch, arguments.steps, arguments.statistics))
        print(lines[-1], file=sys.stderr)
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
