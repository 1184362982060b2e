"""How many digits of tr Sigma are left where groups are nearly alike: as reported, and in truth.

    python benchmarks/trace_precision.py [--output benchmarks/trace_precision.txt]

Eight groups of one sample with the given correlation, through the hooks of a linear model; the reference sums the
squared deviations of the same gradients in fp64. ``error`` is the largest relative one of five draws,
``precision`` what the moments themselves report (``trace_precision``).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import nn

from adabatch.statistics import GradientStatistics

GROUPS, DRAWS = 8, 5
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}


def measured(kind: str, dimension: int, distance: float, seed: int) -> tuple[float, float]:
    """Error and precision of one draw."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(dimension, generator=generator, dtype=torch.float64)
    own = torch.randn(GROUPS, dimension, generator=generator, dtype=torch.float64)
    groups = (shared + math.sqrt(1 / (1 - distance) - 1) * own).to(TYPES[kind])
    model = nn.Linear(dimension, 1, bias=False).to(TYPES[kind])
    statistics = GradientStatistics(model)
    for group in groups:
        (model(group[None]).mean() / GROUPS).backward()
        statistics.end_microbatch(1)
    moments, exact = statistics.finish(), groups.double()
    trace = float((exact - exact.mean(0)).square().sum()) / (GROUPS - 1)
    return abs(moments.covariance_trace / trace - 1), moments.trace_precision


def table() -> str:
    lines = ["# python benchmarks/trace_precision.py"]
    lines.append(f"{'type':5s}{'coordinates':>12s}{'1 - correlation':>17s}{'error':>10s}{'precision':>11s}")
    for kind in TYPES:
        for dimension in (1000, 1_000_000):
            for distance in (0.5, 1e-2, 1e-4, 1e-7):
                draws = [measured(kind, dimension, distance, seed) for seed in range(DRAWS)]
                error, precision = max(draw[0] for draw in draws), max(draw[1] for draw in draws)
                lines.append(f"{kind:5s}{dimension:12d}{distance:17.0e}{error:10.1e}{precision:11.1e}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = table()
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
