"""Two revisions side by side in one run: start-up, a training run, and what a step sends and waits for.

    python benchmarks/revisions.py a44a03a HEAD --rounds 7 --output benchmarks/revisions.txt

Both revisions are checked out into a temporary folder and run by turns with this interpreter, one thread each.
CPU seconds are those of the whole process (ranks included); the table has each revision's median and the median of
the rounds' ratios. Collectives and host syncs per step are counted on two ranks under FSDP2 and DDP, and in one
process, on the trainer's own step: a dispatch mode sees the collectives, and a function mode each ``.item()``,
``float(tensor)``, ``tolist()`` and the like, which would wait for a device. AdamW is left out, since on a CPU it
reads its own counters. Some reads are the model's: ``transformers`` looks once per forward pass whether sequences
are packed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

DEMO = "train --preset demo --no-figures --validation-interval 0 --warmup-samples 16 --threads 1"
STEPS = """
import torch
from adabatch.statistics import {kind}
torch.set_num_threads(1)
model = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(8)])
statistics, x = {kind}(model), torch.randn(2, 64)
for _ in range(1500):
    for _ in range(2):
        model(x).sum().backward()
        statistics.end_microbatch(2, loss_scale=1.0)
    try:
        statistics.finish()
    finally:
        model.zero_grad()
"""
"""Measured steps of a small model, in which the statistics' own work counts."""

COMMANDS = {
    **{
        f"1500 steps, {kind}": ["-c", STEPS.replace("{kind}", kind)]
        for kind in ("GradientStatistics", "CoordinateStatistics")
    },
    "adabatch --help": ["-c", "from {main} import main; main()", "--help"],
    "import statistics, schedules": ["-c", "import adabatch.statistics, adabatch.schedules"],
    "train --dry-run": ["-c", "from {main} import main; main()", *shlex.split(f"{DEMO} --dry-run")],
    "train, 1 rank, 512 samples": ["-c", "from {main} import main; main()", *shlex.split(f"{DEMO} --samples 512")],
    "train, 2 ranks FSDP2, 256 samples": [
        *("-c", "from {main} import main; main()"),
        *shlex.split(f"{DEMO} --samples 256 --parallel fsdp --ranks 2"),
    ],
    "claims": ["-c", "from {main} import main; main()", "claims"],
}
"""What is timed; a run's folder is added to those that train."""

COUNT = """
import json, os, sys, tempfile
from importlib import import_module
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# An editable installation would answer for modules that only the other layout has: the old names are tried first.
def find(name, *modules):
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            pass
    raise ImportError(name)

READS = {"item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__"}

class Reads(TorchFunctionMode):
    syncs = 0
    def __torch_function__(self, func, types, args=(), kwargs=None):
        Reads.syncs += getattr(func, "__name__", "") in READS
        return func(*args, **(kwargs or {}))

class Count(TorchDispatchMode):
    collectives = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        small = [a for a in torch.utils._pytree.tree_leaves(args) if isinstance(a, torch.Tensor)]
        if func.namespace in ("c10d", "_c10d_functional") and small and max(a.numel() for a in small) < 100:
            Count.collectives += "allreduce" in func._opname.replace("_", "")
        return func(*args, **(kwargs or {}))

load_settings = find("load_settings", "adabatch.settings")
open_run = find("open_run", "adabatch.opening", "adabatch.training.opening")
training_step = find("training_step", "adabatch.training", "adabatch.training.loop")
process_group = find("process_group", "adabatch.parallel", "adabatch.distributed.parallel")
parallel, schedule, output = sys.argv[1:]
settings = load_settings("demo", None, {"parallel": parallel, "schedule": schedule, "output": output, "threads": 1,
                                       "ranks": int(os.environ.get("WORLD_SIZE", "1")), "initial_batch": 16})
with process_group(settings.parallel) as ranks:
    run = open_run(settings, ranks)
    training_step(run)
    torch.optim.AdamW.step = lambda self: None
    with Count(), Reads():
        for _ in range(4):
            training_step(run)
    if ranks.is_main:
        print(json.dumps([Reads.syncs / 4, Count.collectives / 4]))
"""
"""Counts host syncs and small all-reduces per step; the modules' names of both layouts are tried."""


def check_out(revision: str, folder: Path) -> Path:
    """The revision's files in a folder of their own."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", ".", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", revision], check=True)
    return folder


def main_module(checkout: Path) -> str:
    """Where the command line starts."""
    return "adabatch.commands" if "def main" in _read(checkout / "adabatch/commands/__init__.py") else "cli"


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def environment(checkout: Path, cache: Path) -> dict[str, str]:
    """The interpreter finds this checkout's packages first."""
    here = {"PYTHONPATH": str(checkout), "ADABATCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **here, "HF_HUB_OFFLINE": "1", "COLUMNS": "115"}


def cpu_seconds(arguments: list[str], checkout: Path, scratch: Path) -> float:
    """User and system time of a command and its children."""
    words = [word.replace("{main}", main_module(checkout)) for word in arguments]
    if "train" in words:
        words += ["--output", tempfile.mkdtemp(dir=scratch)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words],
        check=True,
        capture_output=True,
        cwd=scratch,
        env=environment(checkout, scratch / "cache"),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def per_step(parallel: str, schedule: str, checkout: Path, scratch: Path) -> tuple[float, float]:
    """Host syncs and small all-reduces per step of rank 0."""
    script = scratch / "count.py"
    script.write_text(COUNT)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    start = [] if parallel == "single" else [*launcher, "--rdzv-endpoint", "localhost:0"]
    done = subprocess.run(
        [sys.executable, *start, str(script), parallel, schedule, tempfile.mkdtemp(dir=scratch)],
        capture_output=True,
        text=True,
        cwd=scratch,
        env=environment(checkout, scratch / "cache"),
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    syncs, collectives = json.loads(done.stdout.strip().splitlines()[-1])
    return syncs, collectives


def timed(checkouts: list[Path], scratch: Path, rounds: int, only: str = "") -> Iterator[str]:
    """A line for each command: median CPU seconds of both revisions, and the median of the rounds' ratios."""
    for name, arguments in COMMANDS.items():
        if only not in name:
            continue
        for checkout in checkouts:  # fills caches
            cpu_seconds(arguments, checkout, scratch)
        pairs = []
        for index in range(rounds):
            order = checkouts if index % 2 else checkouts[::-1]
            measured = {checkout: cpu_seconds(arguments, checkout, scratch) for checkout in order}
            pairs.append([measured[checkout] for checkout in checkouts])
        before, after = (median(pair[i] for pair in pairs) for i in (0, 1))
        ratio = median(pair[1] / pair[0] for pair in pairs)
        yield f"{name:<36}{before:>10.2f}{after:>10.2f}{ratio:>8.3f}"


def counted(checkouts: list[Path], scratch: Path) -> Iterator[str]:
    """A line for each kind of step: host syncs and small all-reduces of both revisions."""
    for parallel in ("single", "ddp", "fsdp"):
        for schedule in ("norm-test", "constant"):
            found = [per_step(parallel, schedule, checkout, scratch) for checkout in checkouts]
            shown = [f"{syncs:g}, {collectives:g}" for syncs, collectives in found]
            yield f"{f'{parallel}, {schedule}':<36}{shown[0]:>10}{shown[1]:>10}"


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="a git revision")
    parser.add_argument("after", help="another one")
    parser.add_argument("--rounds", type=int, default=7, help="of each command; 0: only the counts per step")
    parser.add_argument("--only", default="", help="commands whose name contains this")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    given = parser.parse_args()
    revisions = [
        subprocess.run(
            ["git", "rev-parse", "--short", name], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in (given.before, given.after)
    ]
    heads = f"{revisions[0]:>10}{revisions[1]:>10}"
    lines = [f"python benchmarks/revisions.py {' '.join(revisions)} --rounds {given.rounds}"]
    lines[0] += f" --only '{given.only}'" if given.only else ""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        checkouts = [check_out(name, scratch / f"revision-{index}") for index, name in enumerate(revisions)]
        tables: dict[str, Iterator[str]] = {}
        if not given.only:
            tables[f"{'per step: host syncs, all-reduces':<36}{heads}"] = counted(checkouts, scratch)
        if given.rounds:
            tables[f"{'CPU seconds':<36}{heads}{'ratio':>8}"] = timed(checkouts, scratch, given.rounds, given.only)
        for head, table in tables.items():
            lines += ["", head]
            for line in table:
                lines.append(line)
                print(line, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if given.output:
        given.output.write_text(text)


if __name__ == "__main__":
    main()
