"""What ranks that follow the batch take: a run on 1, 2 and 4 ranks as it grows, and on each number throughout.

    python benchmarks/growing_ranks.py --output benchmarks/growing_ranks.txt
    python benchmarks/growing_ranks.py --samples 512 --rounds 1        # does it run?

`adabatch train` on the demo's model under FSDP2, with a batch that grows linearly from 16 to 128; ranks, with one
thread each, share the machine's cores. Runs take turns within a round, and the table has medians over rounds. The
whole command counts: wall time, CPU time of all ranks, and rank-hours, which are GPU-hours where each rank has a
GPU: each step and pause times its ranks, and all else, most of which is the start, times the first ranks. A loss
is that of the last step; the differences are the largest, of the first 50 steps and of all, from the run on
the most ranks: roundings differ, and training amplifies them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from printing import print_and_write
from trainer_speed import timed

from adabatch.reporting.metrics import Record, read_metrics, step_seconds

MOST = 4
LAYOUTS = {"1, 2, 4": ["--ranks", "1", "--ranks-at", "32:2,64:4"]} | {
    str(ranks): ["--ranks", str(ranks)] for ranks in (1, 2, MOST)
}
OPTIONS = (
    "--preset demo --parallel fsdp --threads 1 --device cpu --schedule linear-ramp --initial-batch 16 "
    "--max-batch 128 --micro-batch 4 --validation-interval 0 --no-figures --overwrite"
)


@dataclass(frozen=True)
class Taken:
    """By a run.

    Attributes:
        wall: seconds of the whole command.
        cpu: seconds of all its processes.
        rank_hours: see the module.
        pauses: seconds from the last step of some ranks to the first of the next.
        records: of the steps.
    """

    wall: float
    cpu: float
    rank_hours: float
    pauses: float
    records: list[Record]


def taken(layout: Sequence[str], samples: int, folder: Path) -> Taken:
    """Train on these ranks."""
    output = folder / "run"
    counts = {"samples": samples, "ramp-samples": samples, "warmup-samples": samples // 8}
    sizes = [f"--{name}={count}" for name, count in counts.items()]
    words = [sys.executable, "-m", "adabatch", "train", *OPTIONS.split(), *sizes, *layout, "--output", str(output)]
    cost, records = timed(words, folder), read_metrics(output)
    pauses = [float(record.get("pause_seconds") or 0) for record in records]
    spans = [step_seconds(record) + pause for record, pause in zip(records, pauses, strict=True)]
    in_steps = sum(span * record["ranks"] for span, record in zip(spans, records, strict=True))
    rest = (cost.wall - sum(spans)) * records[0]["ranks"]
    return Taken(cost.wall, cost.cpu, (in_steps + rest) / 3600, sum(pauses), records)


def table(samples: int, rounds: int) -> Iterator[str]:
    """A row for each number of ranks."""
    found: dict[str, list[Taken]] = {name: [] for name in LAYOUTS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, layout in LAYOUTS.items():
                found[name].append(taken(layout, samples, Path(folder)))
    reference = found[str(MOST)][0].records
    yield "ranks      wall s pauses s    CPU s rank-hours of fixed     loss   first 50 differences"
    for name, runs in found.items():
        ratio = median(run.rank_hours / most.rank_hours for run, most in zip(runs, found[str(MOST)], strict=True))
        wall, pauses, cpu, hours = (
            median(getattr(run, part) for run in runs) for part in ("wall", "pauses", "cpu", "rank_hours")
        )
        loss, early, apart = (
            runs[0].records[-1]["loss"],
            *(max(_apart(run.records[:steps], reference) for run in runs) for steps in (50, None)),
        )
        times = f"{wall:8.1f} {pauses:8.1f} {cpu:8.1f} {hours:10.4f} {ratio:8.3f}"
        yield f"{name:8} {times} {loss:8.4f} {early:10.1e} {apart:11.1e}"


def _apart(records: Sequence[Record], reference: Sequence[Record]) -> float:
    """The largest difference of two losses of a step."""
    return max(abs(ours["loss"] - theirs["loss"]) for ours, theirs in zip(records, reference, strict=False))


def main(words: Sequence[str] | None = None) -> None:
    """Train, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=12288)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(words)
    command = f"# python benchmarks/growing_ranks.py {' '.join(words if words is not None else sys.argv[1:])}"
    print_and_write([command, *table(options.samples, options.rounds)], options.output)


if __name__ == "__main__":
    main()
