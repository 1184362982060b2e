"""Figures of accelerators: what they compute, hold and move at most. One place for all that is reckoned with them.

From the vendor's data sheets, each for the SXM module in a server of eight: dense BF16 (half of what is stated
with sparsity), memory in GB of 10^9 bytes and its bandwidth, NVLink in one direction (half of the stated
total), and one network adapter for each GPU.

References:
    NVIDIA A100 80GB data sheet (2021): 312 Tflop/s, 2,039 GB/s, NVLink 600 GB/s; DGX A100: 8 x 200 Gb/s.
    NVIDIA H100 data sheet (2023): 1,979 Tflop/s with sparsity, 3.35 TB/s, NVLink 900 GB/s; DGX H100: 8 x 400 Gb/s.
    NVIDIA H200 data sheet (2024): as H100, with 141 GB at 4.8 TB/s.
    NVIDIA HGX B200 data sheet (2024): 4.5 Pflop/s with sparsity, 180 GB at 8 TB/s, NVLink 1.8 TB/s; DGX B200: 8 x
    400 Gb/s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adabatch.refusals import did_you_mean

__all__ = ["ACCELERATORS", "AUTO", "Accelerator", "accelerator_named", "accelerator_of"]

AUTO = "auto"
"""In place of a name: the GPU that is there."""


@dataclass(frozen=True)
class Accelerator:
    """One GPU, and how it is connected.

    Attributes:
        name: as people call it.
        tflops: dense BF16, 10^12 operations per second.
        memory: 10^9 bytes.
        memory_bandwidth: 10^9 bytes per second.
        link: 10^9 bytes per second to the GPUs of its node, in one direction.
        network: 10^9 bytes per second to other nodes, in one direction.
    """

    name: str
    tflops: float
    memory: float
    memory_bandwidth: float
    link: float
    network: float


ACCELERATORS = {
    gpu.name.lower(): gpu
    for gpu in (
        Accelerator("A100", 312.0, 80.0, 2039.0, 300.0, 25.0),
        Accelerator("H100", 989.0, 80.0, 3350.0, 450.0, 50.0),
        Accelerator("H200", 989.0, 141.0, 4800.0, 450.0, 50.0),
        Accelerator("B200", 2250.0, 180.0, 8000.0, 900.0, 50.0),
    )
}
"""By the name that ``--gpu`` takes."""


def accelerator_named(name: str) -> Accelerator:
    """The figures of a GPU that is named, in capitals or not.

    Raises:
        ValueError: for a GPU that is not in the table.

    >>> accelerator_named("H100").tflops
    989.0
    """
    found = ACCELERATORS.get(name.lower())
    if found is None:
        known = ", ".join(ACCELERATORS)
        raise ValueError(
            f"the GPU {name!r} is not known: take --gpu {known}, and for another one its own figures in place of "
            f"theirs (--peak-tflops, --gpu-memory){did_you_mean(name.lower(), ACCELERATORS)}"
        )
    return found


def accelerator_of(device_name: str) -> Accelerator | None:
    """The figures of the GPU that a driver calls so; None if they are not known.

    >>> accelerator_of("NVIDIA H100 80GB HBM3"), accelerator_of("NVIDIA H100 PCIe")
    (Accelerator(name='H100', tflops=989.0, memory=80.0, memory_bandwidth=3350.0, link=450.0, network=50.0), None)
    """
    if re.search(r"PCIe|NVL|MIG|40GB", device_name):  # slower ones of the same name, and parts of one
        return None
    return next((gpu for name, gpu in ACCELERATORS.items() if re.search(rf"\b{name}\b", device_name, re.I)), None)
