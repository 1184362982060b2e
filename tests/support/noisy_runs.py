"""Records of runs whose noise scale and step times are known, with the noise that real ones have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIMENSIONS = 50
"""Of the gradient: its squared norm has the noise of a chi-squared of as many."""


def noisy_steps(
    scale: Callable[[float], float],
    batches: Sequence[int],
    seed: int = 0,
    fixed: float = 0.05,
    per_sample: float = 0.002,
    squared_gradient: Callable[[float], float] = lambda share: 1 / (1 + 5 * share),
) -> list[dict[str, Any]]:
    """Steps as another loop would record them.

    Args:
        scale: B_noise by the share of the samples seen.
        batches: of the steps.
        seed: of the noise.
        fixed: t0, in seconds.
        per_sample: t1, in seconds.
        squared_gradient: ||G||^2 by the share of the samples seen.
    """
    random = np.random.default_rng(seed)
    seen = np.cumsum(batches)
    steps = []
    for step, (batch, samples) in enumerate(zip(batches, seen, strict=True), start=1):
        share = float(samples / seen[-1])
        squared = squared_gradient(share)
        trace = scale(share) * squared
        noise = random.standard_normal(DIMENSIONS) * np.sqrt(trace / batch / DIMENSIONS)
        noise[0] += np.sqrt(squared)
        outlier = 30 if random.random() < 0.05 else 1
        steps.append(
            {
                "step": step,
                "samples": int(samples),
                "batch_size": int(batch),
                "trace": float(trace * random.chisquare(4 * DIMENSIONS) / (4 * DIMENSIONS)),
                "squared_norm": float(noise @ noise),
                "seconds": float((fixed + per_sample * batch) * np.exp(0.1 * random.standard_normal()) * outlier),
            }
        )
    return steps


def as_trainer_records(steps: Sequence[dict[str, Any]], length: int = 64) -> list[dict[str, Any]]:
    """The same steps as the trainer records them."""
    return [
        {
            "step": step["step"],
            "samples": step["samples"],
            "tokens": step["samples"] * length,
            "loss": 2.0,
            "batch_size": step["batch_size"],
            "micro_batch": 8,
            "noise_trace": step["trace"],
            "grad_sq_norm": step["squared_norm"],
            "tokens_per_second": step["batch_size"] * length / step["seconds"],
        }
        for step in steps
    ]


def write_lines(path: Path, steps: Sequence[dict[str, Any]]) -> Path:
    """One JSON line per step; NaN and infinities as Python writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(step) + "\n" for step in steps))
    return path
