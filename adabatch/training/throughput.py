"""What a step computes, and which share of the hardware's peak that is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from adabatch.distributed.parallel import DistributedContext
from adabatch.model.language_model import flops_per_token, parameter_count
from adabatch.settings import HardwareSettings

__all__ = ["Throughput"]


@dataclass(frozen=True)
class Throughput:
    """Operations of a run's steps.

    Attributes:
        model: that is trained, wrapped or not.
        parameters: of the whole model.
        peak: operations per second of all ranks' devices at most; None if that is not known.
    """

    model: nn.Module
    parameters: int
    peak: float | None

    @classmethod
    def of(cls, model: nn.Module, hardware: HardwareSettings, ranks: DistributedContext) -> Throughput:
        """Of a run; a GPU is known by its name, a CPU's peak only as ``--peak-tflops``."""
        on_gpu = ranks.device.type == "cuda"
        peak = hardware.peak(torch.cuda.get_device_name(ranks.device) if on_gpu else "")
        if not on_gpu and not hardware.peak_tflops:
            peak = None
        return cls(model, parameter_count(model), peak and peak * ranks.world_size)

    def flops(self, batch: int, length: int) -> float:
        """Operations of a step on this many sequences of this many tokens, forward and backward, by all ranks."""
        config = getattr(self.model, "module", self.model).config
        return flops_per_token(config, self.parameters, length) * batch * length

    def utilisation(self, flops: float, seconds: float) -> float | None:
        """MFU: the operations per second over the peak; None without a known peak."""
        return flops / seconds / self.peak if self.peak else None
