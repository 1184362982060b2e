"""How often ``adabatch branch`` is right: its 90% intervals and verdicts on losses whose critical batch is known.

    python benchmarks/critical_coverage.py [--experiments 1000] [--output benchmarks/critical_coverage.txt]

Factors 0.5, 1, 2, 4, 8 and true differences D_k in units of the tolerance. A seed moves the losses of all
factors alike, by ten tolerances; each branch has noise of its own, ``noise`` tolerances over the last quarter of
its steps. The three windows share it as overlapping means of white noise do. ``unequal``: the noise of k = 8 is
four times that of k = 0.5, its mean square as before.

``wrong``: of all experiments, those resolved where no true D_k passes the tolerance, and at least where one does.
``line`` and ``curve``: of the resolved ones, those whose interval holds the k at which the line through the true
D_k passes, which is what is asked for, and the k at which the curve itself does (not where none does).
``factors``: of all verdicts on a factor that say within or beyond, those that are wrong.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adabatch.experiments.branching.critical import critical_batch, first_crossing

FACTORS = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
SEED_NOISE = 10.0

Curve = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Truth:
    """True differences over k, and where they pass the tolerance, 1."""

    curve: Curve

    @property
    def differences(self) -> np.ndarray:
        """D_k of the factors."""
        return self.curve(FACTORS)

    @property
    def line(self) -> float:
        """Where the line through these passes."""
        return float(first_crossing(FACTORS.tolist(), self.differences, 1.0))

    @property
    def crossing(self) -> float:
        """Where the curve itself passes."""
        k = np.geomspace(FACTORS[0], FACTORS[-1], 100_001)
        beyond = self.curve(k) > 1
        return float(k[beyond.argmax()]) if beyond.any() else math.inf


TRUTHS = {
    "bends at 2.4": Truth(lambda k: np.maximum(0.0, 3 * np.log2(k / 2.4))),
    "linear in k": Truth(lambda k: (k - 0.5) / 2.5),
    "linear in log k": Truth(lambda k: (np.log2(k) + 1) / 2.585),
    "at 8 barely": Truth(lambda k: 1.1 * (k - 0.5) / 7.5),
    "nowhere, flat": Truth(lambda k: 0.0 * k),
    "nowhere, at the limit": Truth(lambda k: np.where(k > 0.5, 0.9, 0.0)),
}


def drawn(truth: Truth, noise: np.ndarray, seeds: int, random: np.random.Generator) -> np.ndarray:
    """Losses in tolerances, shape [windows, factors, seeds]."""
    deviation = noise[:, None] * np.ones(seeds)
    eighths = math.sqrt(2) * deviation * random.standard_normal((4, len(FACTORS), seeds))
    windows = np.stack([eighths[:1].mean(axis=0), eighths[:2].mean(axis=0), eighths.mean(axis=0)])
    losses: np.ndarray = windows + truth.differences[:, None] + SEED_NOISE * random.standard_normal(seeds)
    return losses


def row(name: str, noise: float, unequal: bool, seeds: int, experiments: int) -> str:
    truth, random = TRUTHS[name], np.random.default_rng(seeds)
    growth = FACTORS**0.5 if unequal else np.ones(len(FACTORS))
    deviation = noise * growth / math.sqrt(np.mean(growth**2))
    beyond = truth.differences > 1
    kinds, wrong, line, curve = dict.fromkeys(("resolved", "at least", "unresolved"), 0), 0, 0, 0
    said = mistaken = 0
    for number in range(experiments):
        found = critical_batch(drawn(truth, deviation, seeds, random), FACTORS.tolist(), 1, 1.0, number)
        kinds[found.kind] += 1
        wrong += found.kind == ("at least" if beyond.any() else "resolved")
        if found.kind == "resolved":
            line += found.low <= truth.line <= found.high
            curve += found.low <= truth.crossing <= found.high
        for factor in range(1, len(FACTORS)):
            verdict = found.verdict(factor)
            said += verdict != "unresolved"
            mistaken += verdict == ("within" if beyond[factor] else "beyond")
    shares = " ".join(f"{count / experiments:9.1%}" for count in kinds.values())
    resolved = kinds["resolved"]
    covered = " ".join(f"{each / resolved:7.1%}" if resolved >= 30 else f"{'-':>7}" for each in (line, curve))
    return (
        f"{name:22} {noise:5g} {unequal!s:>7} {seeds:5d} {shares} {wrong / experiments:6.1%} {covered} "
        f"{mistaken / max(said, 1):7.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"# python benchmarks/critical_coverage.py --experiments {arguments.experiments}",
        f"{'true D_k':22} noise unequal seeds  resolved  at least unresolv.  wrong    line   curve factors",
    ]
    for name in TRUTHS:
        for noise, unequal in ((0.1, False), (0.3, False), (1.0, False), (0.3, True)):
            for seeds in (2, 3, 5):
                lines.append(row(name, noise, unequal, seeds, arguments.experiments))
                print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
