"""Discounted sums of what is still to come: t_k = sum_n s_{k+n} discount^n."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.numeric import Value

__all__ = ["discounted_sums"]


def discounted_sums(values: Any, discount: Value, after: Value = 0.0) -> NDArray[Any]:
    """sum_n s_{k+n} discount^n for every k, exactly, by the backward recursion t_k = s_k + discount t_{k+1}.

    Args:
        values: s_1..s_N along the last axis; numbers, or symbols (an array of objects).
        discount: the factor per step.
        after: t_{N+1}; 0 if nothing follows the last value.

    >>> discounted_sums([1.0, 1.0, 1.0], 0.5).tolist()
    [1.75, 1.5, 1.0]
    """
    s = np.asarray(values)
    result: NDArray[Any] = s.copy() if s.dtype == object else s.astype(float)
    result[..., -1] += discount * after
    for k in range(s.shape[-1] - 2, -1, -1):
        result[..., k] += discount * result[..., k + 1]
    return result
