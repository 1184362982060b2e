"""What the norm test takes of a step as ranks are added: measured here, and beyond by the plan's model.

    python benchmarks/scaling.py --output benchmarks/scaling.txt
    python benchmarks/scaling.py --ranks 2 --blocks 2        # does it run?

Measured: `adabatch train` under FSDP2 (gloo) with a constant batch and with the norm test at every step, in turns
with a bare loop as in trainer_steps.py; and the bytes per step that the kernel counts on the loopback interface,
over those that the plan foresees for all ranks. What other programs send there counts too; as root, a network
namespace of its own is free of them:

    unshare --net sh -c 'ip link set lo up; python benchmarks/scaling.py --output benchmarks/scaling.txt'

Modelled: the step of a plan (docs/plans.md) with its figures of the hardware, two micro-batches of 4 sequences of
4,096 tokens per rank; "test" is what the norm test reads, which has no collective of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import median

from trainer_speed import LENGTH, MICRO_BATCHES, print_and_write
from trainer_steps import SCHEDULES, job_of, pairs_of, ratio

from adabatch.planning.plan import make_plan
from adabatch.settings import CONFIG, load_settings

SIZE = "134k"
MODELS, GPUS = ("llama2-7b", "llama2-70b"), (8, 64, 1024)


def measured(ranks: int, blocks: int) -> Iterator[str]:
    """A row for each schedule on this many ranks."""
    with tempfile.TemporaryDirectory() as name:
        job, folder = job_of(SIZE, ranks, Path(name))
        for schedule in SCHEDULES:
            bare, own, sent = zip(*pairs_of(job, folder, schedule, blocks), strict=True)
            plan = make_plan(load_settings(None, folder / "run" / CONFIG), ranks)
            planned = ranks * sum(each.sent for each in plan.traffic(plan.course.first).values())
            traffic = [median(sent) / 1e6, planned / 1e6, median(sent) / planned] if planned else []
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
        "ranks schedule   CPU over a bare loop    sent MB   plan MB   sent/plan",
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
