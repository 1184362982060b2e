"""Checks of the parameters of objectives."""

from __future__ import annotations

__all__ = ["require_dimension", "require_positive"]


def require_dimension(dimension: int, smallest: int = 1) -> None:
    """Raise ValueError unless the dimension is an integer of at least ``smallest``."""
    if int(dimension) != dimension or dimension < smallest:
        raise ValueError(f"dimension must be an integer of at least {smallest}, not {dimension}")


def require_positive(**parameters: float) -> None:
    """Raise ValueError unless every parameter is positive.

    >>> require_positive(scale=0.0)
    Traceback (most recent call last):
    ...
    ValueError: scale must be positive, not 0.0
    """
    for name, value in parameters.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, not {value}")
