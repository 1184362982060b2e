"""Exchange of learning-rate decay for batch growth in the exact dynamics: price and steps, with each noise limit.

``python benchmarks/exchange.py`` prints the table of exchange.txt: linear decay over 2^15 samples from a batch of
32, at the rate that is best for decay alone. The price is the excess loss at the end relative to that.
"""

from __future__ import annotations

import sys
import time

from simulate.exact.dynamics import Dynamics
from simulate.exact.exchange import EXAMPLES, best_rate, example_task, run_exchange

BATCH = 32.0
SCALES = ("trace", "weighted", "l1")


def main() -> None:
    started = time.process_time()
    print("python", *sys.argv, "\n")
    for method in Dynamics:
        print(f"{method}: price (steps relative to decay alone)")
        limits = [(scale, eta) for scale in SCALES for eta in (0.5, 1.0, 2.0)]
        for share in (0.5, 1.0):
            print(f"share {share:g}")
            print(f"  {'limit':<18}" + "".join(f"{name:>18}" for name in EXAMPLES))
            rows: dict[str, list[str]] = {}
            for name in EXAMPLES:
                task = example_task(name)
                rate = best_rate(method, task, BATCH)
                decay = run_exchange(method, task, BATCH, rate, 0.0)
                for scale, eta in [("none", None), *limits]:
                    run = run_exchange(method, task, BATCH, rate, share, eta, scale)
                    price = f"{100 * (run.risk / decay.risk - 1):+.1f}% ({run.steps / decay.steps:.3f})"
                    rows.setdefault("none" if eta is None else f"{scale}, eta {eta:g}", []).append(price)
            for label, prices in rows.items():
                print(f"  {label:<18}" + "".join(f"{price:>18}" for price in prices))
        print()
    print(f"{time.process_time() - started:.0f} s of CPU", file=sys.stderr)


if __name__ == "__main__":
    main()
