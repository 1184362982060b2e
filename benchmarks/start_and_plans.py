"""CPU seconds (user and system, children included) of starting and of planning, and fast plans against whole ones.

    python benchmarks/start_and_plans.py [--whole paper-tinyllama ...] [--rounds 3] [--output FILE]

Starts: least of the rounds, each in a process of its own. Plans: after imports, each preset once after a plan
of the demo. Whole: the same steps simulated on all layers, whose peak and traffic the plan's are divided by.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from adabatch.distributed.communication import by_kind
from adabatch.planning.plan import STANDING_IN, make_plan
from adabatch.planning.simulated import SimulatedStep, simulate_steps
from adabatch.schedules import MicroBatching
from adabatch.settings import load_settings, overlay

PRESETS = ("paper-microllama", "paper-tinyllama", "paper-openllama", "llama2-7b", "llama2-13b", "llama2-70b")

FIRST_STEP = """
import os, sys
from adabatch.commands import main, train
def stop(run):
    os._exit(0)
def imported(collect=train.collect_as_usual):
    collect()
    from adabatch.training import loop
    loop.training_step = stop
train.collect_as_usual = imported
sys.argv = ["adabatch", "train", "--preset", "demo", "--output", sys.argv[1], "--overwrite"]
main()
"""
"""Ends where the first step would begin, the corpus being prepared; the training's imports are the command's."""

STARTS = {
    "import torch, transformers": ["-c", "import torch, transformers"],
    "and the Llama of transformers": ["-c", "import torch, transformers; transformers.LlamaForCausalLM"],
    "adabatch train, up to its first step": ["-c", FIRST_STEP, "{folder}/run"],
    "adabatch --help": ["-m", "adabatch", "--help"],
    "adabatch runs, of that run": ["-m", "adabatch", "runs", "{folder}/run"],
    "adabatch verify-bounds --quick": [
        "-m", "adabatch", "verify-bounds", "--quick", "--overwrite", "--output", "{folder}/verify",
    ],
}  # fmt: skip


def cpu_seconds(words: Sequence[str], folder: str) -> float:
    """Of a Python process with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *(word.replace("{folder}", folder) for word in words)]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, env=compiled)  # as an installed package is
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starts(rounds: int) -> list[str]:
    """A table of CPU seconds of starts, least of the rounds; the first round prepares the corpus."""
    with tempfile.TemporaryDirectory() as folder:
        times = {name: [cpu_seconds(words, folder) for _ in range(rounds)] for name, words in STARTS.items()}
    base = min(times["import torch, transformers"])
    lines = ["| start | CPU s | over importing torch and transformers |", "|---|---|---|"]
    return lines + [f"| {name} | {min(values):.2f} | {min(values) / base:.2f} |" for name, values in times.items()]


def whole_step(preset: str, accumulation: int, micro_batches: tuple[int, int]) -> tuple[SimulatedStep, float]:
    """The second of two steps on all layers of a preset's model, and the CPU seconds of both."""
    settings = load_settings(preset)
    plan = make_plan(settings)
    ranks = plan.course.largest.world_size
    layouts = [MicroBatching(ranks, accumulation, size) for size in micro_batches]
    start = time.process_time()
    steps = simulate_steps(overlay(settings, STANDING_IN | {"schedule": "norm-test"}), plan.config, layouts)
    return steps[-1], time.process_time() - start


def plans(whole: Sequence[str]) -> list[str]:
    """A table of CPU seconds of plans, and how those named compare with whole ones."""
    lines = [
        "| preset | parameters | ranks | GB per rank | plan, CPU s | whole, CPU s | peak / whole | sent / whole |",
        "|---|---|---|---|---|---|---|---|",
    ]
    make_plan(load_settings("demo"))
    for preset in PRESETS:
        start = time.process_time()
        plan = make_plan(load_settings(preset))
        seconds, size = time.process_time() - start, sum(plan.memory.values())
        ranks = plan.settings.parallel.ranks
        row = f"| {preset} | {plan.parameters:,} | {ranks} | {size / 1e9:.1f} | {seconds:.2f} |"
        if preset in whole:
            model = plan.step
            step, slow = whole_step(preset, model.accumulation, (model.other, model.micro_batch))
            peak = max(sum(parts.values()) for parts in step.peaks.values())
            sent = sum(counted.sent for counted in by_kind(step.traffic).values())
            planned = plan.step.traffic(model.accumulation, model.micro_batch)
            shares = size / peak, sum(counted.sent for counted in planned.values()) / sent
            row += f" {slow:.1f} | {shares[0]:.4f} | {shares[1]:.4f} |"
        else:
            row += " | | |"
        lines.append(row)
    return lines


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write to a file if asked."""
    parser = argparse.ArgumentParser(description="CPU seconds of starting and of planning.")
    parser.add_argument("--whole", nargs="*", default=["paper-tinyllama"], choices=PRESETS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args(words)
    warnings.simplefilter("ignore")
    command = f"python benchmarks/start_and_plans.py --whole {' '.join(given.whole)} --rounds {given.rounds}"
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    text = "\n".join([command, machine, "", *starts(given.rounds), "", *plans(given.whole)])
    print(text)
    if given.output:
        given.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
