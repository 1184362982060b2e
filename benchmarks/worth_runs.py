"""``adabatch worth`` on five runs of different kinds, each really trained.

    python benchmarks/worth_runs.py [--samples 24576] [--output benchmarks/worth_runs.txt]

Four runs of the trainer: ``tiny`` Llama, source text of the Python standard library in bytes, 64 per sequence, one
process, micro-batches of 8; and one loop of plain PyTorch (a small network that learns another one) that writes
its own JSON lines. A constant batch does not tell t0 from t1, and on a busy machine no other run may either: where
the command asks for it, it is given ``--saturation 16``, and the table says so. ``--keep FOLDER`` keeps the runs,
and does not train again what is there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adabatch.schedules import Stagewise
from adabatch.settings import load_settings
from adabatch.statistics import GradientStatistics
from adabatch.training.launch import launch
from adabatch.worth.assessment import Assessment, Estimate, assess
from adabatch.worth.course import noise_course
from adabatch.worth.evidence import read_evidence, step_time_of

MICRO_BATCH = 8
RUNS: dict[str, dict[str, Any]] = {
    "norm test, eta 0.8": {"schedule": "norm-test", "eta": 0.8, "ema": 0.9, "initial_batch": 32},
    "constant 64, monitored": {"schedule": "constant", "initial_batch": 64, "monitor_interval": 2},
    "linear ramp 16 to 128": {
        "schedule": "linear-ramp",
        "initial_batch": 16,
        "monitor_interval": 1,
        "lr_scaling": "sqrt",
        "lr_reference_batch": 32,
    },
    "seesaw from 32": {"schedule": "seesaw", "initial_batch": 32, "monitor_interval": 1, "min_lr": 1e-4},
}


SATURATION = 16.0


def train_run(chosen: dict[str, Any], samples: int, folder: Path) -> Path:
    if (folder / "metrics.jsonl").is_file():
        return folder
    settings = load_settings(
        "demo",
        overrides={
            "model": "tiny",
            "samples": samples,
            "ramp_samples": samples,
            "max_batch": 128,
            "micro_batch": MICRO_BATCH,
            "max_micro_batch": MICRO_BATCH,
            "validation_interval": 0,
            "figures": False,
            "threads": 1,
            "output": str(folder),
            **chosen,
        },
    )
    launch(settings)
    return folder


def train_own_loop(samples: int, path: Path) -> Path:
    """A network that learns another one's outputs with noise, on stages of 16, 32 and 64; writes JSON lines."""
    torch.manual_seed(0)
    teacher, model = (nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 1)) for _ in range(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    statistics = GradientStatistics(model)
    schedule = Stagewise([16, 32, 64], [0.3, 0.3, 0.4], total_samples=samples, multiple_of=MICRO_BATCH)
    with path.open("w") as file:
        while schedule.samples < samples:
            start, batch = time.perf_counter(), schedule.batch_size
            for _ in range(batch // MICRO_BATCH):
                inputs = torch.randn(MICRO_BATCH, 32)
                with torch.no_grad():
                    targets = 4 * teacher(inputs) + 0.3 * torch.randn(MICRO_BATCH, 1)
                loss = (model(inputs) - targets).square().mean()
                (loss / (batch // MICRO_BATCH)).backward()
                statistics.end_microbatch(MICRO_BATCH)
            moments = statistics.finish()
            optimizer.step()
            optimizer.zero_grad()
            schedule.update()
            record = {
                "step": schedule.steps,
                "samples": schedule.samples,
                "batch_size": batch,
                "trace": moments.covariance_trace,
                "squared_norm": moments.squared_norm,
                "seconds": time.perf_counter() - start,
            }
            file.write(json.dumps(record) + "\n")
    return path


def assessed(path: Path) -> Assessment:
    evidence = read_evidence(path)
    try:
        time = step_time_of(evidence, None, None)
    except ValueError as refusal:
        print(f"# {refusal}", flush=True)
        time = step_time_of(evidence, SATURATION, None)
    return assess(evidence, noise_course(evidence), *time)


def row(name: str, found: Assessment) -> str:
    own, constant, *_ = found.rules
    source = "fitted" if found.source == "fitted" else "given"
    scale = f"{found.noise_scale[0].value:.1f} to {found.noise_scale[-1].value:.0f}"
    best = f"{found.best_batch[0].value:.0f} to {found.best_batch[-1].value:.0f}"
    batches = f"{own.smallest:.0f} to {own.largest:.0f}"
    return (
        f"{name:24} {found.steps:5d} {found.measured:8d} {len(found.samples):5d} {batches:>10} {scale:>12} "
        f"{found.saturation.value:6.1f} {source:6} {best:>9} {constant.smallest:8.0f} {_percent(found.lost):>18} "
        f"{_percent(found.saving):>18}"
    )


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:5.1f} ({100 * estimate.low:4.1f}..{100 * estimate.high:4.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=24576)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for the runs themselves")
    chosen = parser.parse_args(arguments)
    lines = [
        f"# python benchmarks/worth_runs.py --samples {chosen.samples}",
        "# lost: by the run's own batches against b*; saves: at most, by a schedule; in brackets: 90%",
        f"{'run':24} steps measured parts {'batches':>10} {'B':>12}  B_sat {'':6} {'b*':>9} constant "
        f"{'lost %':>18} {'saves %':>18}",
    ]
    print(*lines, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for number, (name, options) in enumerate(RUNS.items()):
            run = train_run(options, chosen.samples, folder / f"run-{number}")
            lines.append(row(name, assessed(run)))
            print(lines[-1], flush=True)
        own = assessed(train_own_loop(chosen.samples, folder / "own-loop.jsonl"))
        lines.append(row("own loop, 3 stages", own))
        print(lines[-1])
    if chosen.output:
        chosen.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
