"""Labelled images made on the spot: noisy gratings in eight directions. Stands in for your own data."""

import math

import torch
from torch import Tensor

CLASSES, SIZE = 8, 16


def gratings(count: int, generator: torch.Generator, noise: float = 0.5) -> tuple[Tensor, Tensor]:
    """Images [count, 1, 16, 16] and labels [count]; phase and pixel noise are random."""
    labels = torch.randint(CLASSES, (count,), generator=generator)
    phase = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    angle = (math.pi / CLASSES * labels)[:, None, None]
    pixels = torch.arange(SIZE, dtype=torch.float32)
    waves = torch.cos(pixels[None, :, None] * angle.cos() + pixels[None, None, :] * angle.sin() + phase)
    return (waves + noise * torch.randn(count, SIZE, SIZE, generator=generator))[:, None], labels
