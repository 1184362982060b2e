"""The GPUs that a plan is for, and that utilisation is measured against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from adabatch.accelerators import ACCELERATORS, AUTO, Accelerator, accelerator_named, accelerator_of
from adabatch.ranges import Range
from adabatch.settings.section import Section

__all__ = ["HardwareSettings"]

Figure = Annotated[float, Range(1e-6, 1e9, zero="that of --gpu")]


@dataclass(frozen=True)
class HardwareSettings(Section):
    """For plans, and for the model FLOP utilisation (MFU) of a run; nothing in it changes what is trained.

    Raises:
        ValueError: for a GPU that is not known.
    """

    gpu: str = AUTO
    """a100, h100, h200 or b200, with the figures of the vendor's data sheets. auto: the GPU that is there if it is
    one of these; a plan made without one is for h100."""
    peak_tflops: Figure = 0.0
    """Dense BF16 operations per second of a GPU, in 10^12; 0: that of --gpu."""
    gpu_memory: Figure = 0.0
    """Memory of a GPU, in 10^9 bytes; 0: that of --gpu."""
    memory_bandwidth: Figure = 0.0
    """Of a GPU's memory, in 10^9 bytes per second; 0: that of --gpu."""
    link_bandwidth: Figure = 0.0
    """From a GPU to those of its node, in one direction, in 10^9 bytes per second; 0: that of --gpu."""
    network_bandwidth: Figure = 0.0
    """From a GPU to other nodes, in one direction, in 10^9 bytes per second; 0: that of --gpu."""
    gpus_per_node: Annotated[int, Range(1, 65_536)] = 8
    """GPUs that are linked to each other directly."""
    utilisation: Annotated[float, Range(0, 1, above=True)] = 0.4
    """Plans: the share of its peak that a GPU reaches while it computes; --profile and the records tell your
    own."""
    gpu_hour_price: Annotated[float, Range(0, 1e6)] = 0.0
    """Plans: the price of a GPU for an hour, in any currency; 0 prices nothing."""

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        if self.gpu.lower() != AUTO:
            accelerator_named(self.gpu)

    def known(self, device_name: str = "") -> Accelerator | None:
        """The figures of the GPU that is named here, or else of the one that a driver calls so, where known."""
        return accelerator_of(device_name) if self.gpu.lower() == AUTO else accelerator_named(self.gpu)

    def peak(self, device_name: str = "") -> float | None:
        """Operations per second of the GPU at most; None if that is not known.

        >>> HardwareSettings(gpu="B200").peak(), HardwareSettings().peak("a CPU")
        (2250000000000000.0, None)
        """
        known = self.known(device_name)
        tflops = self.peak_tflops or (known.tflops if known else 0.0)
        return tflops * 1e12 or None

    def planned(self, device_name: str = "") -> Accelerator:
        """What a plan reckons with: the figures given here, and for the others those of :meth:`known`, or an
        H100's.

        >>> HardwareSettings(gpu_memory=96.0).planned()    # doctest: +ELLIPSIS
        Accelerator(name='H100 with other figures', tflops=989.0, memory=96.0, memory_bandwidth=3350.0, ...)
        """
        known = self.known(device_name) or ACCELERATORS["h100"]
        given = {
            "tflops": self.peak_tflops,
            "memory": self.gpu_memory,
            "memory_bandwidth": self.memory_bandwidth,
            "link": self.link_bandwidth,
            "network": self.network_bandwidth,
        }
        changes = {name: value for name, value in given.items() if value}
        return replace(known, name=f"{known.name} with other figures", **changes) if changes else known
