"""What the tables of several benchmarks share: lines that are printed as they come, and intervals of medians."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path


def print_and_write(lines: Iterable[str], output: Path | None) -> None:
    """Each line once it is there, and all of them in a file."""
    shown = []
    for line in lines:
        print(line, flush=True)
        shown.append(line)
    if output:
        output.write_text("\n".join(shown) + "\n")


def interval(ratios: list[float]) -> tuple[float, float]:
    """A 95% interval of the median, from its order statistics (with few rounds, all that was seen)."""
    count = len(ratios)
    skip = max(0, math.floor((count - 1.96 * math.sqrt(count)) / 2))
    return ratios[skip], ratios[count - 1 - skip]
