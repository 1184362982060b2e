"""Synthetic smooth objectives, one file each, batched over seeds: gradients, L and infimum are proven, not fitted.

Example:
    >>> objective = OBJECTIVES["geman-mcclure"](dimension=3)
    >>> objective.gradient(objective.start()[None]).shape
    (1, 3)
    >>> OBJECTIVES["parabola"]
    Traceback (most recent call last):
    ...
    ValueError: unknown objective 'parabola'; known: geman-mcclure, network, noisy-regression, ...
"""

from __future__ import annotations
