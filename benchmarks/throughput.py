"""Tokens per second of the trainer's own step, with model FLOP utilisation, and where the time goes.

    python benchmarks/throughput.py [--model microllama-300m] [--sequence-length 2048] [--micro-batch 8]
        [--accumulation 4] [--steps 20] [--peak-tflops 989] [--output FILE]

One process, random tokens, attention by SDPA, AdamW (fused on a GPU). The variants take steps in turn, round by
round, which cancels drift of the machine; medians are printed. Utilisation is 6 N + 12 L d T operations per token
over the peak of the device (dense bf16; found by the GPU's name, or given). The table of operations is of one step
of the last variant, by torch's profiler.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from adabatch.accelerators import accelerator_of
from adabatch.data.corpus import Corpus
from adabatch.distributed.parallel import DistributedContext, choose_device, parallelize
from adabatch.model.language_model import build_model, flops_per_token, model_config, parameter_count
from adabatch.settings import Settings, load_settings
from adabatch.training.building import build_micro_batching
from adabatch.training.checks import Start
from adabatch.training.loop import training_step
from adabatch.training.opening import assemble_run
from adabatch.training.run import Run

VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "schedule": "constant"},
    "bf16": {"precision": "bf16", "schedule": "constant"},
    "bf16, compiled": {"precision": "bf16", "compile": True, "schedule": "constant"},
    "bf16, compiled, norm test": {"precision": "bf16", "compile": True, "schedule": "norm-test"},
}


@dataclass(frozen=True)
class RandomTokens:
    """Samples of random tokens, made where they are used."""

    vocabulary_size: int
    sequence_length: int
    device: torch.device

    def take(self, positions: Sequence[int]) -> Tensor:
        """As :class:`adabatch.data.SampleSource`."""
        return torch.randint(self.vocabulary_size, (len(positions), self.sequence_length), device=self.device)

    def readers(self, positions: Sequence[int], ranks: int) -> None:
        """Every rank makes its own."""


@dataclass(frozen=True)
class RandomCorpus:
    """What a step asks of a corpus."""

    train: RandomTokens


def open_variant(arguments: argparse.Namespace, changes: dict[str, Any]) -> Run:
    """A run of one variant whose batch never changes."""
    batch = arguments.micro_batch * arguments.accumulation
    settings: Settings = load_settings(
        overrides={
            "model": arguments.model,
            "sequence_length": arguments.sequence_length,
            "initial_batch": batch,
            "max_batch": batch + 1,
            "micro_batch": arguments.micro_batch,
            "max_micro_batch": arguments.micro_batch,
            "estimator": "debiased",
            "eta": 1e6,  # every test passes
            "warmup_samples": 0,
            "samples": 10**9,
        }
        | changes
    )
    ranks = DistributedContext(0, 1, choose_device(settings.parallel))
    config = model_config(settings.model.model, 264, arguments.sequence_length)
    model = parallelize(build_model(config, 0), settings.parallel, ranks)
    tokens = RandomTokens(config.vocab_size, arguments.sequence_length, ranks.device)
    corpus = cast(Corpus, RandomCorpus(tokens))
    start = Start.of(settings)
    micro_batching = build_micro_batching(settings.schedule, start.schedule.batch_size, world_size=1)
    return assemble_run(settings, ranks, corpus, model, start, micro_batching)


def tokens_per_second(run: Run) -> float:
    """Of one step; reading the loss at its end waits for the device."""
    return float(training_step(run)["tokens_per_second"])


def peak_tflops(given: float | None) -> float | None:
    """The device's peak, given or by name."""
    if given is not None or not torch.cuda.is_available():
        return given
    known = accelerator_of(torch.cuda.get_device_name())
    return known and known.tflops


def where_the_time_goes(run: Run) -> str:
    """The operations that take most of a step."""
    on_gpu = run.ranks.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=activities) as profiled:
        training_step(run)
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    return str(profiled.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60))


def report(arguments: argparse.Namespace) -> str:
    """The table, and the operations of the last variant."""
    runs = {name: open_variant(arguments, VARIANTS[name]) for name in arguments.variants}
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for step in range(arguments.warm_up + arguments.steps):
        for name, run in runs.items():
            speed = tokens_per_second(run)
            if step >= arguments.warm_up:
                speeds[name].append(speed)
    last = list(runs.values())[-1]
    config = model_config(arguments.model, 264, arguments.sequence_length)
    parameters = parameter_count(last.model)
    operations = flops_per_token(config, parameters, arguments.sequence_length)
    peak = peak_tflops(arguments.peak_tflops)
    device = torch.cuda.get_device_name() if last.ranks.device.type == "cuda" else "CPU"
    lines = [
        f"{device}, torch {torch.__version__}: {arguments.model}, {parameters:,} parameters, "
        f"{arguments.accumulation} x {arguments.micro_batch} sequences of {arguments.sequence_length}; "
        f"{operations:.3g} operations per token; peak {peak or 'unknown'} Tflop/s",
        "",
        "| variant | tokens/s | Tflop/s | utilisation |",
        "|---|---|---|---|",
    ]
    for name, values in speeds.items():
        speed = median(values)
        achieved = speed * operations / 1e12
        share = f"{achieved / peak:.1%}" if peak else "-"
        lines.append(f"| {name} | {speed:,.0f} | {achieved:.3g} | {share} |")
    return "\n".join([*lines, "", where_the_time_goes(last)])


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write to a file if asked."""
    parser = argparse.ArgumentParser(description="Tokens per second and model FLOP utilisation.")
    parser.add_argument("--model", default="microllama-300m")
    parser.add_argument("--sequence-length", type=int, default=2048)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--accumulation", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--peak-tflops", type=float, default=None)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args(words)
    text = report(arguments)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
