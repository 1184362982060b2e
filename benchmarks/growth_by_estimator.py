"""How the batch grows under each estimator and eta: a short table, from real training runs of the demo model.

    python benchmarks/growth_by_estimator.py [--samples 8192] [--output benchmarks/growth_by_estimator.txt]

One process with four groups per step. ``distinct`` counts the batch sizes a run used, ``first jump`` is the ratio
of the second one to the first, ``at cap`` is the sample count at which the maximum was reached.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run

GROUPS, INITIAL, MAXIMUM = 4, 4, 256
CASES = [
    ("unbiased", 0.8, 0.0),
    ("unbiased", 0.9, 0.0),
    ("unbiased", 0.4, 0.0),
    ("unbiased", 0.2, 0.0),
    ("debiased", 0.9, 0.9),
    ("paper", 0.2, 0.0),
    ("paper", 0.4, 0.0),
]


def row(estimator: str, eta: float, ema: float, samples: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            "demo",
            overrides={
                "estimator": estimator,
                "eta": eta,
                "ema": ema,
                "samples": samples,
                "initial_batch": INITIAL,
                "max_batch": MAXIMUM,
                "max_micro_batch": MAXIMUM // GROUPS,
                "validation_interval": samples,
                "output": folder,
            },
        )
        records = list(train(open_run(settings, DistributedContext())))
    sizes = sorted({record["batch_size"] for record in records})
    jump = sizes[1] / sizes[0] if len(sizes) > 1 else 1.0
    at_cap = next((r["samples"] for r in records if r["batch_size"] >= MAXIMUM), None)
    limit = f"{(GROUPS - 1) / eta**2:.0f}" if estimator == "paper" else ""
    return (
        f"{estimator:9} {eta:4.2f} {ema:4.1f} {len(records):6d} {len(sizes):9d} {jump:11.1f} {sizes[-1]:8d} "
        f"{at_cap if at_cap is not None else 'never':>8} {limit:>10} {records[-1]['val_loss']:10.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"# python benchmarks/growth_by_estimator.py --samples {arguments.samples}",
        f"# {GROUPS} groups, initial batch {INITIAL}, maximum {MAXIMUM}; published T: saturates near (n-1)/eta^2",
        "estimator  eta  ema  steps  distinct  first jump  largest   at cap (n-1)/eta^2  val. loss",
    ]
    print("\n".join(lines))
    for case in CASES:
        lines.append(row(*case, arguments.samples))
        print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
