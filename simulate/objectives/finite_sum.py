"""Pieces shared by finite sums: moments over a batch or over all functions, one seed independent of the others."""

from __future__ import annotations

import numpy as np

from simulate.streams import Array

__all__ = ["batch_moments", "population_variance", "rowwise_product"]


def rowwise_product(rows: Array, matrix: Array) -> Array:
    """``rows @ matrix`` with one product per row, shape [seeds, p] and [p, q] or [seeds, p, q] -> [seeds, q].

    One matrix product for all rows would round a row differently depending on how many others there are.
    """
    result: Array = np.matmul(rows[:, None, :], matrix)[:, 0, :]
    return result


def batch_moments(sample_gradients: Array, batch: Array) -> tuple[Array, Array]:
    """Mean and mean square over a batch, coordinate by coordinate.

    Args:
        sample_gradients: shape [seeds, n, d].
        batch: 1 for the functions in a seed's batch, else 0, shape [seeds, n].

    Returns:
        Two arrays of shape [seeds, d].
    """
    size = batch.sum(axis=-1, keepdims=True)
    mean = rowwise_product(batch, sample_gradients) / size
    return mean, rowwise_product(batch, sample_gradients * sample_gradients) / size


def population_variance(sample_gradients: Array, gradient: Array) -> Array:
    """(1/n) sum_j (g_{j,i} - G_i)^2, shape [seeds, n, d] and [seeds, d] -> [seeds, d]."""
    deviations = sample_gradients - gradient[:, None, :]
    deviations *= deviations
    result: Array = deviations.mean(axis=1)
    return result
