"""Any step's traffic and memory from two steps that were simulated: both are affine in the micro-batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from adabatch.distributed.communication import Collective, Traffic
from adabatch.planning.simulated import SimulatedStep

__all__ = ["StepModel"]


@dataclass(frozen=True)
class StepModel:
    """Two steps of M micro-batches, of m' and of m sequences.

    Attributes:
        accumulation: M.
        other: m'.
        micro_batch: m; memory is known by part for it.
        first: the step with m', which is the run's first: its memory lacks the optimizer's state.
        second: the step with m.
    """

    accumulation: int
    other: int
    micro_batch: int
    first: SimulatedStep
    second: SimulatedStep

    @property
    def memory(self) -> dict[str, int]:
        """Bytes by part when most is alive, in a step with micro-batches of m."""
        peaks: list[dict[str, int]] = [{}, *self.second.peaks.values()]
        return max(peaks, key=lambda parts: sum(parts.values()))

    def peak(self, micro_batch: int) -> float:
        """Bytes when most is alive, with micro-batches of this size."""
        return max((here + slope * (micro_batch - self.micro_batch) for here, slope in self._lines()), default=0.0)

    def largest_micro_batch(self, capacity: float) -> int:
        """The largest micro-batch whose peak is within the capacity; 0 if there is none."""
        least = math.inf
        for here, slope in self._lines():
            if slope > 0:
                least = min(least, self.micro_batch + (capacity - here) / slope)
            elif here > capacity:
                return 0
        return 2**24 if least == math.inf else max(0, math.floor(least))

    def traffic(self, accumulation: int, micro_batch: int) -> dict[Collective, Traffic]:
        """By collective and its ranks, of a step with this many micro-batches of this size."""
        whole = self._at(micro_batch, self.first.traffic, self.second.traffic)
        repeated = self._at(micro_batch, self.first.repeated, self.second.repeated)
        more = accumulation - self.accumulation
        return {kind: counted + repeated.get(kind, Traffic()) * more for kind, counted in whole.items()}

    def _lines(self) -> list[tuple[float, float]]:
        """Of each phase, bytes at m and bytes per sequence."""
        optimizer = self.memory.get("optimizer", 0)  # the first step is seen before its end makes that
        lines = []
        for phase, parts in self.second.peaks.items():
            here, there = sum(parts.values()), sum(self.first.peaks[phase].values()) + optimizer
            lines.append((float(here), (here - there) / (self.micro_batch - self.other)))
        return lines

    def _at(
        self, micro_batch: int, first: Mapping[Collective, Traffic], second: Mapping[Collective, Traffic]
    ) -> dict[Collective, Traffic]:
        times, per = micro_batch - self.micro_batch, self.micro_batch - self.other
        return {kind: _further(counted, first[kind], times, per) for kind, counted in second.items()}


def _further(counted: Traffic, other: Traffic, times: int, per: int) -> Traffic:
    """``counted`` and ``times / per`` of what it has more than the other."""
    payload = counted.payload + (counted.payload - other.payload) * times // per
    return Traffic(counted.calls, payload, counted.sent + (counted.sent - other.sent) * times / per)
