"""What numbers a setting may have, of a part that may be given by hand; settings of several runs are arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["require"]

ALLOWED = {
    "positive": lambda numbers: numbers > 0,
    "0 or more": lambda numbers: numbers >= 0,
    "1 or more": lambda numbers: numbers >= 1,
    "in [0, 1)": lambda numbers: (numbers >= 0) & (numbers < 1),
    "in (0, 1)": lambda numbers: (numbers > 0) & (numbers < 1),
}


def require(allowed: str, **settings: Any) -> None:
    """Raise ValueError for the first setting with a number that is not allowed, or without numbers.

    Args:
        allowed: of :data:`ALLOWED`.
        settings: by name; numbers or arrays.

    >>> require("in [0, 1)", beta1=0.9, beta2=1.0)
    Traceback (most recent call last):
    ...
    ValueError: beta2 must be in [0, 1), not 1.0
    """
    for name, value in settings.items():
        try:
            numbers = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            numbers = np.asarray(np.nan)
        if not (holds := ALLOWED[allowed](numbers)).all():
            found = numbers[~holds][0] if np.ndim(value) else value
            raise ValueError(f"{name} must be {allowed}, not {found}")
