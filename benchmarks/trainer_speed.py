"""What `adabatch train` costs per step over a bare PyTorch loop, next to the loops of other libraries.

    python benchmarks/trainer_speed.py --output benchmarks/trainer_speed.txt
    python benchmarks/trainer_speed.py --sizes 134k --rounds 1 --seconds 2       # does it run?

The same Llama, tokens, micro-batches, AdamW, clipping, fp32 and one thread per process (trainer_loops.py). Every
loop is a process of its own that is timed as a whole, children included, for few steps and for more: the
difference, over the steps between, has everything a step costs (data, records, progress) and nothing of the
start, the end and their files. Loops take turns within a round, so that the machine's drift cancels; the table has
medians over rounds, and ratios to the bare loop of the same round with their 95% interval by order statistics.
Of a busy machine the CPU seconds are to be believed, the wall seconds are not.

litgpt pins a huggingface-hub that transformers 5 refuses: it gets an environment of its own, made here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, product
from pathlib import Path
from statistics import median
from typing import Any

from printing import interval, print_and_write
from trainer_loops import Job

from adabatch.data.local_files import stdlib_files

LOOPS = Path(__file__).with_name("trainer_loops.py")
MODEL = {"vocab_size": 264, "max_position_embeddings": 1024}
SIZES: dict[str, tuple[dict[str, int], int]] = {
    "134k": ({"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 4}, 8),
    "20m": ({"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6, "num_attention_heads": 8}, 4),
    "100m": (
        {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8, "num_attention_heads": 16},
        2,
    ),
}
"""Of each the architecture and the sequences of a micro-batch."""

LENGTH, MICRO_BATCHES = 128, 2
LARGE_ETA = 1000.0
LITGPT = ("torch==2.13.0", "litgpt==0.5.13")


@dataclass(frozen=True)
class Cost:
    """Of a process and its children: CPU and wall seconds, and the largest memory of one of them in MB."""

    cpu: float
    wall: float
    memory: float


def timed(words: Sequence[str], folder: Path) -> Cost:
    """Run to its end; what it prints goes to a file.

    Raises:
        RuntimeError: if it fails; the message ends with what it printed.
    """
    log, start = folder / "output.txt", time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, env=environment(), cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}:\n{log.read_text()[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024)


def environment() -> dict[str, str]:
    """One thread for every process."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def adabatch_words(job: Job, folder: Path, steps: int, schedule: str) -> list[str]:
    """`adabatch train` on the job; the test's eta is so large that the batch never has to grow."""
    batch = job.micro_batch * job.micro_batches * job.ranks
    settings: dict[str, Any] = {
        "model": folder / "config.json",
        "data": job.tokens,
        "tokenizer": "bytes",
        "sequence-length": job.length,
        "schedule": schedule,
        "eta": LARGE_ETA,
        "initial-batch": batch,
        "max-batch": batch if schedule == "constant" else 2 * batch,
        "micro-batch": job.micro_batch,
        "max-micro-batch": job.micro_batch,
        "parallel": "fsdp" if job.ranks > 1 else "single",
        "ranks": job.ranks,
        "threads": 1,
        "lr": 1e-3,
        "warmup-samples": 0,
        "samples": steps * batch,
        "validation-interval": 0,
        "output": folder / "run",
    }
    options = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "adabatch", "train", *options, "--no-figures", "--overwrite"]


def contenders(job: Job, folder: Path, litgpt: str) -> dict[str, Any]:
    """By name, the command for a number of steps."""
    file = str(folder / "job.json")

    def loop(name: str, python: str = sys.executable) -> Any:
        return lambda steps: [python, str(LOOPS), name, file, str(steps)]

    found = {
        "bare": loop("bare"),
        "adabatch, constant batch": lambda steps: adabatch_words(job, folder, steps, "constant"),
        "adabatch, norm test at every step": lambda steps: adabatch_words(job, folder, steps, "norm-test"),
    }
    if job.ranks == 1:
        found |= {"transformers Trainer": loop("trainer"), "accelerate": loop("accelerate")}
        if litgpt:
            found["litgpt"] = loop("litgpt", litgpt)
    return found


def job_of(size: str, ranks: int, parent: Path, tuned: bool = False) -> tuple[Job, Path]:
    """The job of this size, and the folder with its files."""
    architecture, micro_batch = SIZES[size]
    folder = parent / size
    folder.mkdir()
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(file.path.read_text(errors="ignore") for file in stdlib_files()))
    job = Job(architecture | MODEL, str(corpus), micro_batch, MICRO_BATCHES, LENGTH, ranks, tuned)
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    (folder / "config.json").write_text(json.dumps(job.config | {"model_type": "llama"}))
    return job, folder


def rows(size: str, ranks: int, rounds: int, seconds: float, litgpt: str) -> Iterator[str]:
    """The table's rows of one size."""
    with tempfile.TemporaryDirectory() as name:
        job, folder = job_of(size, ranks, Path(name))
        words = contenders(job, folder, litgpt)
        few, more = step_counts(words["bare"], folder, seconds)
        costs: dict[str, list[tuple[float, float, float]]] = {each: [] for each in words}
        for number in range(rounds):
            for each in sorted(words, reverse=bool(number % 2)):
                short, long = (timed(words[each](steps), folder) for steps in (few, more))
                between = more - few
                costs[each].append(
                    ((long.cpu - short.cpu) / between, (long.wall - short.wall) / between, long.memory)
                )
    tokens = job.micro_batch * job.micro_batches * job.length * ranks
    for each, taken in costs.items():
        ratios = sorted(own[0] / base[0] for own, base in zip(taken, costs["bare"], strict=True))
        low, high = interval(ratios)
        cpu, wall, memory = (median(column) for column in zip(*taken, strict=True))
        numbers = f"{1000 * cpu:9.1f} {1000 * wall:9.1f} {tokens / wall:9.0f} {memory:6.0f}"
        yield f"{size:6} {ranks:5} {each:34} {numbers} {median(ratios):7.3f} [{low:.3f}, {high:.3f}]"


def step_counts(bare: Any, folder: Path, seconds: float) -> tuple[int, int]:
    """A few steps, and as many more as the bare loop takes in about the given CPU seconds."""
    start, some = (timed(bare(steps), folder).cpu for steps in (2, 12))
    return 2, 2 + max(4, round(seconds / max((some - start) / 10, 1e-3)))


def litgpt_python(folder: str) -> str:
    """The Python of litgpt's environment, made if it is not there; empty without a folder."""
    if not folder:
        return ""
    python = Path(folder).absolute() / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *LITGPT], check=True)
    return str(python)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2], help="2: under FSDP2, with gloo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds of bare steps in a measurement")
    parser.add_argument("--litgpt", default="", help="folder of litgpt's environment; empty: leave it out")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(words)
    python = litgpt_python(options.litgpt)
    lines = [
        f"# python benchmarks/trainer_speed.py {' '.join(words if words is not None else sys.argv[1:])}",
        f"# {LENGTH} tokens per sequence, {MICRO_BATCHES} micro-batches per step; a thread per process",
        "size   ranks loop                               CPU ms   wall ms  tokens/s     MB   ratio [95% interval]",
    ]
    places = product(options.sizes, options.ranks)
    measured = (
        line for size, ranks in places for line in rows(size, ranks, options.rounds, options.seconds, python)
    )
    print_and_write(chain(lines, measured), options.output)


if __name__ == "__main__":
    main()
