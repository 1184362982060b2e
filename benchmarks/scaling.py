"""What the norm test takes of a step as ranks are added: measured here, and beyond by the plan's model.

    python benchmarks/scaling.py --output benchmarks/scaling.txt
    python benchmarks/scaling.py --ranks 2 --blocks 2        # does it run?

Measured: what gloo sends for a collective, over the ring algorithm that plans count by. Then `adabatch train` in
FSDP2, with a constant batch and with the norm test at every step, in turns with a bare loop (trainer_steps.py);
and the bytes per step that the kernel counts on the loopback interface, over those that the plan foresees for all
ranks, by the ring and by what gloo sends. What other programs send there counts too; as root, a network namespace
of its own is free of them:

    unshare --net sh -c 'ip link set lo up; python benchmarks/scaling.py --output benchmarks/scaling.txt'

Modelled: the step of a plan (docs/plans.md) with its figures of the hardware, two micro-batches of 4 sequences of
4,096 tokens per rank; "test" is what the norm test reads, which has no collective of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from printing import print_and_write
from trainer_speed import LENGTH, MICRO_BATCHES, job_of
from trainer_steps import SCHEDULES, bytes_sent, pairs_of, ratio

from adabatch.distributed.communication import ring_share
from adabatch.planning.plan import make_plan
from adabatch.settings import CONFIG, load_settings

SIZE, CALLS = "134k", 5
MODELS, GPUS = ("llama2-7b", "llama2-70b"), (8, 64, 1024)


def rank_main(rank: int, ranks: int, folder: str) -> None:
    """Issue collectives of 4 MB; the first rank leaves what all ranks sent, over the ring's bytes, by kind."""
    store = dist.FileStore(f"{folder}/store", ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    whole, part = torch.ones(ranks << 20), torch.ones(1 << 20)
    all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    issue: dict[str, Callable[[], object]] = {
        "all-gather": lambda: all_gather(whole, part),
        "reduce-scatter": lambda: reduce_scatter(part, whole),
        "all-reduce": lambda: dist.all_reduce(whole),
    }
    factors = {}
    for kind, collective in issue.items():
        dist.barrier()
        before = bytes_sent()
        for _ in range(CALLS):
            collective()
        dist.barrier()
        ring = CALLS * ranks * whole.nbytes * ring_share(kind, ranks)
        factors[kind] = (bytes_sent() - before) / ring
    if rank == 0:
        Path(folder, "factors.json").write_text(json.dumps(factors))
    dist.barrier()
    dist.destroy_process_group()


def gloo_factors(ranks: int) -> dict[str, float]:
    """Bytes that gloo sends for each kind of collective, over the ring's."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(rank_main, (ranks, folder), nprocs=ranks)
        found: dict[str, float] = json.loads(Path(folder, "factors.json").read_text())
        return found


def measured(ranks: int, blocks: int) -> Iterator[str]:
    """What gloo sends, and a row for each schedule, on this many ranks."""
    factors = gloo_factors(ranks) if ranks > 1 else {}
    if factors:
        shown = ", ".join(f"{kind} {factor:.3f}" for kind, factor in factors.items())
        yield f"# {ranks} ranks: gloo sends over the ring: {shown}"
    with tempfile.TemporaryDirectory() as name:
        job, folder = job_of(SIZE, ranks, Path(name))
        for schedule in SCHEDULES:
            bare, own, sent = zip(*pairs_of(job, folder, schedule, blocks), strict=True)
            plan = make_plan(load_settings(None, folder / "run" / CONFIG), ranks)
            planned = {kind: ranks * each.sent for kind, each in plan.traffic(plan.course.first).items()}
            ring = sum(planned.values())
            gloo = sum(count * factors.get(kind, 1.0) for kind, count in planned.items())
            traffic = [median(sent) / 1e6, ring / 1e6, median(sent) / ring, median(sent) / gloo] if ring else []
            yield f"{ranks:5} {schedule:10} {ratio(bare, own)} {' '.join(f'{number:9.3f}' for number in traffic)}"


def modelled(model: str, ranks: int) -> str:
    """A row of the plan's model."""
    batch = 8 * ranks
    values = {
        "schedule": "norm-test",
        "initial_batch": batch,
        "max_batch": 8 * batch,
        "micro_batch": 4,
        "max_micro_batch": 4,
        "gpu": "h100",
        "parallel": "fsdp",
        "ranks": ranks,
        "activation_checkpointing": True,
    }
    plan = make_plan(load_settings(model, None, values))
    seconds = plan.seconds(plan.course.first)
    parts = (seconds.compute, seconds.communication, seconds.optimizer, seconds.test, seconds.all)
    return f"{model:10} {ranks:6} {' '.join(f'{part:9.4f}' for part in parts)} {seconds.test / seconds.all:9.2%}"


def main(words: Sequence[str] | None = None) -> None:
    """Measure, model, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--blocks", type=int, default=20, help="pairs of blocks")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(words)
    lines = [
        f"# python benchmarks/scaling.py {' '.join(words if words is not None else sys.argv[1:])}",
        f"# measured: {SIZE} parameters, {MICRO_BATCHES} micro-batches per rank, {LENGTH} tokens per sequence",
        "ranks schedule   CPU over a bare loop      sent MB   ring MB sent/ring sent/gloo",
    ]
    rows = chain.from_iterable(measured(ranks, options.blocks) for ranks in options.ranks)
    between = [
        "# modelled: H100, eight per node, seconds of a step",
        "model        GPUs   compute communic. optimizer      test   in all  test's share",
    ]
    print_and_write(
        chain(lines, rows, between, (modelled(model, ranks) for model in MODELS for ranks in GPUS)), options.output
    )


if __name__ == "__main__":
    main()
