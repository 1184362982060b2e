"""A ``GradScaler`` in a loop that did not say by how much it scales the losses."""

from __future__ import annotations

import gc

from torch.amp import GradScaler

__all__ = ["require_no_scaler"]


def require_no_scaler() -> None:
    """Raise if a ``GradScaler`` of this process has scaled a loss: for loops that did not say by how much.

    It looks through the process's objects, some tenths of a second where there are millions: once is enough.

    Raises:
        ValueError: if there is one whose scale is not 1.

    >>> require_no_scaler()
    """
    if _scale_in_use() is None:
        return
    gc.collect()  # one that nobody holds any more has nothing to say
    scale = _scale_in_use()
    if scale is not None:
        raise ValueError(
            f"a GradScaler multiplies losses by {scale:g}, but end_microbatch() was not told, so that the moments "
            f"would be {scale:g}^2 times too large: pass loss_scale=scaler.get_scale() and call "
            "scaler.unscale_(optimizer) before finish(); pass loss_scale=1.0 if the scaler is another model's"
        )


def _scale_in_use() -> float | None:
    """Other than 1, of any of the process's gradient scalers that has been used."""
    kinds = [GradScaler]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for found in gc.get_referrers(*kinds):
        # The scale's tensor is made when a first loss is scaled; no public method tells.
        if type(found) in kinds and found.is_enabled() and getattr(found, "_scale", None) is not None:
            scale: float = found.get_scale()
            if scale != 1:
                return scale
    return None
