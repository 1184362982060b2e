"""Whether the model is wrapped as it was asked for: libraries fall back to another wrapping without a word."""

from __future__ import annotations

import os
import warnings

from torch import nn
from torch.distributed.fsdp import FSDPModule

__all__ = ["check_wrapping"]


def check_wrapping(model: nn.Module) -> None:
    """Look at the model as it is wrapped; call it before attaching the statistics.

    accelerate and the Trainer use DDP on CPU when FSDP was asked for. The statistics follow the wrapping that is
    there, so they are right in both cases, but memory is not what was asked for.

    Warns:
        UserWarning: if ``ACCELERATE_USE_FSDP`` (which accelerate sets) asks for FSDP and no module is sharded.

    >>> check_wrapping(nn.Linear(2, 2))
    """
    asked = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if asked and not any(isinstance(module, FSDPModule) for module in model.modules()):
        warnings.warn(
            "FSDP was asked for, but no module is sharded: accelerate falls back to DDP or to no wrapping at all "
            "on a CPU. The statistics are right all the same; every rank holds the whole model",
            stacklevel=2,
        )
