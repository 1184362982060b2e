"""What looking at one coordinate in N costs in precision: sums and ratios next to those of all coordinates.

    python benchmarks/coordinate_sampling.py > benchmarks/coordinate_sampling.txt
    python benchmarks/coordinate_sampling.py --steps 1 --hidden-size 256         # does it run?

A Llama of some 20M parameters learns bytes of the Python standard library in one process, with eight groups of
two sequences per step. At some steps the same gradients are measured with every stride before the optimizer steps.
A row has, over the measured steps, the largest deviation from the sums over all coordinates in percent (quantiles
and the share, which are read to 0.8%, come from a sample either way). To compare, the last line has the change of
the exact ratio from batch to batch at the same weights.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from statistics import stdev

import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from adabatch.data.local_files import stdlib_files
from adabatch.model.language_model import build_model, language_model_loss, parameter_count
from adabatch.moments.coordinate_moments import CoordinateMoments
from adabatch.moments.l1 import l1_statistic
from adabatch.statistics import CoordinateStatistics

STRIDES = (4, 16, 64, 256)
GROUPS, SAMPLES, LENGTH, ETA = 8, 2, 128, 0.8
BATCHES = 8
"""Of which the exact ratio's own spread is taken."""


NAMES = ("sum of sd", "l1 norm", "l1 test", "median", "90%", "share")


def batches(seed: int) -> Iterator[list[Tensor]]:
    """Groups of byte sequences, drawn again for each step."""
    contents = b"".join(file.path.read_bytes() for file in stdlib_files())
    text = torch.frombuffer(bytearray(contents), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(text) - LENGTH, (GROUPS * SAMPLES,), generator=generator)
        sequences = torch.stack([text[start : start + LENGTH] for start in starts.tolist()]).long()
        yield list(sequences.split(SAMPLES))


def figures(model: nn.Module, statistics: CoordinateStatistics, groups: list[Tensor]) -> dict[str, float]:
    """What the tests read of the gradient of one batch."""
    model.zero_grad()
    statistics.enable()
    for tokens in groups:
        (language_model_loss(model, tokens) / len(groups)).backward()
        statistics.end_microbatch(len(tokens))
    moments = statistics.finish()
    statistics.enable(False)
    assert isinstance(moments, CoordinateMoments)
    deviations, norm = moments.sum_of_standard_deviations, moments.plug_in_l1_norm
    quantiles = [moments.ratios.quantile(share) for share in (0.5, 0.9)]
    test = float(l1_statistic(deviations, norm, ETA))
    return dict(zip(NAMES, (deviations, norm, test, *quantiles, moments.coordinate_share(ETA)), strict=True))


def attached(model: nn.Module, stride: int) -> CoordinateStatistics:
    statistics = CoordinateStatistics(model, stride=stride)
    statistics.enable(False)
    return statistics


def measure(model: nn.Module, steps: list[int]) -> tuple[dict[int, dict[str, float]], float]:
    """The largest deviations at these steps, by stride; and the spread of the exact l1 statistic after them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    exact, sampled = attached(model, 1), {stride: attached(model, stride) for stride in STRIDES}
    worst = {stride: dict.fromkeys(NAMES, 0.0) for stride in STRIDES}
    data = batches(seed=0)
    for step in range(1, max(steps) + 1):
        groups = next(data)
        expected = figures(model, exact, groups)
        for stride, statistics in sampled.items() if step in steps else ():
            for name, value in figures(model, statistics, groups).items():
                worst[stride][name] = max(worst[stride][name], abs(value / expected[name] - 1))
        optimizer.step()
    ratios = [figures(model, exact, next(data))["l1 test"] for _ in range(BATCHES)]
    return worst, stdev(map(math.log, ratios))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 10, 40, 80])
    parser.add_argument("--hidden-size", type=int, default=512)
    arguments = parser.parse_args(words)
    config = LlamaConfig(
        hidden_size=arguments.hidden_size,
        intermediate_size=11 * arguments.hidden_size // 4,
        num_hidden_layers=6,
        num_attention_heads=8,
        vocab_size=256,
        use_cache=False,
        attn_implementation="sdpa",
    )
    model = build_model(config, seed=0)
    worst, spread = measure(model, arguments.steps)
    print(" ".join(["# python benchmarks/coordinate_sampling.py", *sys.argv[1:]]))
    size = parameter_count(model) / 1e6
    print(f"# {size:.1f}M parameters, {GROUPS} groups of {SAMPLES} sequences of {LENGTH} bytes")
    print(f"# largest deviation from all coordinates at steps {arguments.steps}, in percent")
    print("stride " + " ".join(f"{name:>10}" for name in NAMES))
    for stride, errors in worst.items():
        print(f"{stride:6d} " + " ".join(f"{100 * errors[name]:10.2f}" for name in NAMES))
    print(f"# between batches the l1 statistic itself varies by {100 * spread:.1f}% (standard deviation)")


if __name__ == "__main__":
    main()
