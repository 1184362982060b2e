"""What a step of `adabatch train` costs over a bare loop's: both in one process, in turns.

    python benchmarks/trainer_steps.py --output benchmarks/trainer_steps.txt
    python benchmarks/trainer_steps.py --sizes 134k --ranks 1 --blocks 4        # does it run?
    python benchmarks/trainer_steps.py --sizes 134k --ranks 1 --profile         # where a step's time goes
    python benchmarks/trainer_steps.py --tuned                                  # next to the fastest bare loop

The models, tokens and bare loop of trainer_speed.py. `adabatch train` runs as the command does, with its records,
progress and files; between its steps the bare loop takes as many of its own, on a model of its own. CPU seconds of
the main rank's process with all of its threads; the ratio is the median over pairs of blocks, with its 95%
interval by order statistics. The start, validation, checkpoints and the end are not in it.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain, product
from pathlib import Path
from statistics import median

from faults import environments_of
from printing import interval, print_and_write
from trainer_loops import Job, bare_steps
from trainer_speed import LENGTH, MICRO_BATCHES, SIZES, adabatch_words, environment, job_of

FIRST = 5
"""Steps of both that do not count."""

BLOCKS = {"134k": 10, "20m": 2, "100m": 1}
"""Steps of a block."""

SCHEDULES = ("constant", "norm-test")


def bytes_sent() -> int:
    """By all processes of this network namespace to each other, as the kernel counts them."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return int(next(line for line in lines if line.lstrip().startswith("lo:")).split()[9])


def on_rank(file: str, schedule: str, blocks: int, profiled: bool) -> None:
    """Train in turns; the main rank leaves CPU milliseconds of each pair of blocks, and the trainer's bytes."""
    from adabatch.commands import main as adabatch
    from adabatch.reporting.metrics import Record
    from adabatch.training import launch, loop
    from adabatch.training.run import Run

    folder, train = Path(file).parent, loop.train
    job, block = Job(**json.loads(Path(file).read_text())), BLOCKS[folder.name]
    steps = FIRST + blocks * block

    def in_turns(run: Run) -> Iterator[Record]:
        bare, own = bare_steps(job, steps, run.ranks.rank), train(run)
        for _ in range(FIRST):
            next(bare)
            yield next(own)
        pairs, profiler = [], cProfile.Profile()
        for _ in range(blocks):
            start = time.process_time()
            for _ in range(block):
                next(bare)
            between, sent = time.process_time(), bytes_sent()
            with profiler if profiled else nullcontext():
                for _ in range(block):
                    yield next(own)
            end = time.process_time()
            milliseconds = [1000 * seconds / block for seconds in (between - start, end - between)]
            pairs.append([*milliseconds, (bytes_sent() - sent) / block])
        yield from own
        if run.ranks.is_main:
            (folder / "pairs.json").write_text(json.dumps(pairs))
            if profiled:
                pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(40)

    vars(launch)["train"] = in_turns
    sys.argv = ["adabatch", *adabatch_words(job, folder, steps, schedule)[3:]]
    adabatch()


def pairs_of(
    job: Job, folder: Path, schedule: str, blocks: int, profiled: bool = False
) -> list[tuple[float, float, float]]:
    """Run all ranks; the main rank's pairs, each with the bytes that all ranks sent in a step of the trainer."""
    file = folder / "job.json"
    words = [sys.executable, __file__, "--on-rank", str(file), schedule, str(blocks), str(int(profiled))]
    processes = []
    for rank, own in enumerate(environments_of(job.ranks) if job.ranks > 1 else [{}]):
        output = None if profiled and rank == 0 else subprocess.DEVNULL
        processes.append(subprocess.Popen(words, env=environment() | own, stdout=output))
    ends = [process.wait() for process in processes]
    if any(ends):
        raise RuntimeError(f"a rank of {' '.join(words)} failed")
    return [tuple(pair) for pair in json.loads((folder / "pairs.json").read_text())]


def ratio(bare: Sequence[float], own: Sequence[float]) -> str:
    """Median over pairs, and its interval."""
    ratios = sorted(mine / base for base, mine in zip(bare, own, strict=True))
    low, high = interval(ratios)
    return f"{median(ratios):7.3f} [{low:.3f}, {high:.3f}]"


def rows(size: str, ranks: int, blocks: int, profiled: bool, tuned: bool) -> Iterator[str]:
    """The rows of one size."""
    with tempfile.TemporaryDirectory() as name:
        job, folder = job_of(size, ranks, Path(name), tuned)
        for schedule in SCHEDULES:
            bare, own, _ = zip(*pairs_of(job, folder, schedule, blocks, profiled), strict=True)
            yield f"{size:6} {ranks:5} {schedule:10} {median(bare):8.1f} {median(own):9.1f} {ratio(bare, own)}"


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["134k", "20m"], choices=SIZES)
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2], help="2: under FSDP2, with gloo")
    parser.add_argument("--blocks", type=int, default=40, help="pairs of blocks")
    parser.add_argument("--profile", action="store_true", help="print where the trainer's time goes; no table")
    parser.add_argument("--tuned", action="store_true", help="the bare loop's AdamW fused, one reduction a step")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(words)
    lines = [
        f"# python benchmarks/trainer_steps.py {' '.join(words if words is not None else sys.argv[1:])}",
        f"# {LENGTH} tokens per sequence, {MICRO_BATCHES} micro-batches per step; a thread per process",
        "size   ranks schedule    bare ms    own ms   ratio [95% interval]",
    ]
    places = product(options.sizes, options.ranks)
    chosen = (options.blocks, options.profile, options.tuned)
    measured = (line for size, ranks in places for line in rows(size, ranks, *chosen))
    print_and_write(chain(lines, measured), options.output)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--on-rank"]:
        on_rank(sys.argv[2], sys.argv[3], int(sys.argv[4]), bool(int(sys.argv[5])))
    else:
        main()
