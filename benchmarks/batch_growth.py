"""Why a batch does not grow, or jumps to the maximum: a small run for each cause, and what its records show.

    python benchmarks/batch_growth.py --output benchmarks/batch_growth.txt --figure docs/figures/batch_growth.png

It is what docs/batch_growth.md is about. The runs of ``adabatch train`` differ from the first of them in one
setting; the text that they train on is drawn here. The others are loops on a linear model that is not changed, so
that the noise scale stays what it is: per-sample gradients x y with y = x t + e have ||G||^2 = ||t||^2 = 0.64 and
tr Sigma = ||t||^2 (d + 1) + d = 105.6 for d = 64, so that B_noise is 165.

Columns: the first and the last batch; how the batch went (as ``adabatch ablate`` calls it); of the tested steps,
how many asked for more, passed, and could not resolve the gradient; how many were held back by the growth limit;
the median of T / b, and the largest.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from printing import print_and_write
from torch import Tensor, nn

from adabatch.distributed.parallel import DistributedContext
from adabatch.experiments.ablation.behaviour import behaviour
from adabatch.reporting.figures import panels, plot_batch_size, write_figures
from adabatch.reporting.metrics import Record, finite_or_null
from adabatch.schedules import NormTest
from adabatch.settings import load_settings
from adabatch.statistics import GradientStatistics
from adabatch.training.loop import train
from adabatch.training.opening import open_run

SEED = 0
BASE: Mapping[str, Any] = {
    "model": "tiny",
    "sequence_length": 32,
    "samples": 2048,
    "validation_interval": 0,
    "warmup_samples": 128,
    "initial_batch": 8,
    "micro_batch": 2,  # four groups
    "max_batch": 128,
    "estimator": "unbiased",
    "eta": 0.8,
    "ema": 0.0,
    "lr_path": "cosine",
    "min_lr": 3e-4,
    "threads": 1,
}
RUNS: dict[str, Mapping[str, Any]] = {
    "train": {},
    "train: warm-up 2048": {"warmup_samples": 2048},
    "train: no warm-up": {"warmup_samples": 0},
    "train: lr 0.1": {"lr": 0.1},
    "train: no clipping": {"clip": 0.0},
    "train: bf16": {"precision": "bf16"},
    "train: maximum 8": {"max_batch": 8},
}


def text(words: int = 60_000) -> str:
    """Words of a language of 300, each following from the one before with some chance."""
    generator = np.random.default_rng(SEED)
    letters = [chr(ord("a") + index) for index in range(26)]
    language = ["".join(generator.choice(letters, generator.integers(2, 8))) for _ in range(300)]
    weights = 1 / np.arange(1, 301)
    drawn = generator.choice(300, words, p=weights / weights.sum())
    following = generator.permutation(300)
    for index in range(1, words):
        if generator.random() < 0.5:
            drawn[index] = following[drawn[index - 1]]
    return " ".join(language[index] for index in drawn)


def trained(name: str, data: Path) -> list[Record]:
    """The records of a run of ``adabatch train``."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(overrides={**BASE, "data": str(data), "output": folder, **RUNS[name]})
        torch.set_num_threads(1)
        return [finite_or_null(record) for record in train(open_run(settings, DistributedContext()))]


Loss = Callable[[nn.Module, Tensor], Tensor]


def squared_error(model: nn.Module, samples: Tensor) -> Tensor:
    """Half the mean squared error."""
    prediction: Tensor = model(samples[:, :-1])[:, 0]
    return (prediction - samples[:, -1]).square().mean() / 2


def independent(generator: torch.Generator, count: int) -> Tensor:
    """Samples of 64 features, and a target: their sum / 10, and noise."""
    features = torch.randn(count, 64, generator=generator)
    target = features.sum(1, keepdim=True) / 10 + torch.randn(count, 1, generator=generator)
    return torch.cat([features, target], 1)


def copied(generator: torch.Generator, count: int) -> Tensor:
    """Each sample four times."""
    return independent(generator, -(-count // 4)).repeat_interleave(4, 0)[:count]


def looped(
    draw: Callable[[torch.Generator, int], Tensor] = independent,
    loss: Loss = squared_error,
    same: bool = False,
    dtype: torch.dtype = torch.float32,
    steps: int = 60,
    groups: int = 4,
    **schedule: Any,
) -> list[Record]:
    """Steps of a loop of one's own, on a model that stays as it is.

    Args:
        draw: the samples of a micro-batch.
        loss: of a micro-batch.
        same: whether all micro-batches of a step are the same samples.
        dtype: of the arithmetic.
        steps: their number.
        groups: micro-batches of a step.
        schedule: of the norm test.
    """
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = nn.Linear(64, 1, bias=False).to(dtype)
    nn.init.zeros_(model.weight)
    statistics = GradientStatistics(model)
    rule = NormTest(**{"eta": 0.8, "initial": 16, "maximum": 1024, "multiple_of": groups, **schedule})
    records = []
    for _ in range(steps):
        micro_batch, used = rule.batch_size // groups, rule.batch_size
        first = draw(generator, micro_batch).to(dtype)
        for index in range(groups):
            samples = first if same or index == 0 else draw(generator, micro_batch).to(dtype)
            (loss(model, samples) / groups).backward()
            statistics.end_microbatch(micro_batch)
        if not rule.needs_moments:
            statistics.finish()
            decision = rule.update()
        else:
            decision = rule.update(statistics.finish())
        model.zero_grad()
        records.append(
            {
                "step": rule.steps,
                "samples": rule.samples,
                "batch_size": used,
                "test_statistic": decision.statistic,
                "decision": decision.reason,
                "proposal": decision.proposal,
                "batch_limited": decision.limited,
            }
        )
    return records


def times(factor: float) -> Loss:
    """The loss, times a factor."""
    return lambda model, samples: factor * squared_error(model, samples)


LOOPS: dict[str, Mapping[str, Any]] = {
    "healthy": {},
    "eta 0.99": {"eta": 0.99, "initial": 128},
    "eta 0.2": {"eta": 0.2},
    "eta 0.2, growth limit 2": {"eta": 0.2, "max_growth": 2.0},
    "growth limit 1.05": {"max_growth": 1.05},
    "published estimator, eta 0.3": {"estimator": "paper", "eta": 0.3},
    "debiased": {"estimator": "debiased"},
    "debiased from 4": {"estimator": "debiased", "initial": 4},
    "debiased, average 0.9": {"estimator": "debiased", "ema": 0.9},
    "2 groups": {"groups": 2},
    "16 groups": {"groups": 16},
    "maximum 16": {"maximum": 16},
    "test interval 100": {"test_interval": 100},
    "multiples of 64": {"initial": 64, "multiple_of": 64},
    "the same samples on every rank": {"same": True},
    "every sample four times": {"draw": copied},
    "loss times 1000": {"loss": times(1000.0)},
    "bf16 arithmetic": {"dtype": torch.bfloat16},
}


def maximum(name: str) -> int:
    """The largest batch that the run allows."""
    if name in RUNS:
        return int({**BASE, **RUNS[name]}["max_batch"])
    return int(LOOPS[name].get("maximum", 1024))


def row(name: str, records: Sequence[Record]) -> str:
    """What the records of a run show."""
    reasons = Counter(record["decision"] for record in records)
    ratios = [
        record["test_statistic"] / record["batch_size"]
        for record in records
        if record["decision"] in ("grow", "passed")
    ]
    return (
        f"{name:31} {records[0]['batch_size']:5d} {records[-1]['batch_size']:5d}  "
        f"{behaviour(records, maximum(name)):11} {reasons['grow']:4d} {reasons['passed']:6d} "
        f"{reasons['unresolved']:10d} {sum(record['batch_limited'] for record in records):7d} "
        + (f"{median(ratios):10.2f} {max(ratios):11.2f}" if ratios else f"{'-':>10} {'-':>11}")
    )


HEAD = (
    f"{'run':31} {'first':>5} {'last':>5}  {'the batch':11} {'grow':>4} {'passed':>6} {'unresolved':>10} "
    f"{'limited':>7} {'T/b median':>10} {'largest':>10}"
)


def draw_figure(runs: Mapping[str, Sequence[Record]], path: Path) -> None:
    """Batch and statistic of a run that is healthy, one that never grows and one that jumps."""
    figure, axes = panels(1, 3, size=(11, 3.4), sharey=True)
    titles = {"healthy": "healthy: eta 0.8", "eta 0.99": "never grows: eta 0.99", "eta 0.2": "jumps: eta 0.2"}
    for place, (name, title) in zip(axes, titles.items(), strict=True):
        plot_batch_size(runs[name][:40], place, "step")
        for dots in place.lines[:1]:
            dots.set(markersize=6, alpha=0.9)
        place.set_title(title, fontsize=10)
        place.set_xlabel("steps")
    for place in axes[1:]:
        place.set_ylabel("")
    axes[0].legend(frameon=False, loc="lower right")
    for place in axes[1:]:
        legend = place.get_legend()
        if legend is not None:
            legend.remove()
    axes[0].set_ylim(8, 8192)
    with tempfile.TemporaryDirectory() as folder:
        png = write_figures({"figure": figure}, Path(folder))[0]
        path.write_bytes(png.read_bytes())


def all_runs() -> Iterator[tuple[str, list[Record]]]:
    """Every run by its name."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "text.txt"
        data.write_text(text())
        for name, options in LOOPS.items():
            yield name, looped(**options)
        for name in RUNS:
            yield name, trained(name, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    runs: dict[str, list[Record]] = {}

    def lines() -> Iterator[str]:
        yield from ("# python benchmarks/batch_growth.py", HEAD)
        for name, records in all_runs():
            runs[name] = records
            yield row(name, records)

    print_and_write(lines(), arguments.output)
    if arguments.figure:
        draw_figure(runs, arguments.figure)


if __name__ == "__main__":
    main()
