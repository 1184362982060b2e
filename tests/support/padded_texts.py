"""Padded texts of log-normal lengths whose tokens are independent, and the noise scale that enumeration gives."""

from __future__ import annotations

import torch

VOCABULARY, PEAK, FIRST = 16, 0.5, 0.5


def distribution():
    """P(x) [V] of a token before, and P(y | x) [V, V] of the next one: half of it is x + 1."""
    before = torch.full((VOCABULARY,), (1 - FIRST) / (VOCABULARY - 1), dtype=torch.float64)
    before[0] = FIRST
    after = torch.full((VOCABULARY, VOCABULARY), (1 - PEAK) / (VOCABULARY - 1), dtype=torch.float64)
    for x in range(VOCABULARY):
        after[x, (x + 1) % VOCABULARY] = PEAK
    return before, after


def exact_noise_scale():
    """tr Sigma / ||G||^2 in tokens of a bigram table of zeros, from every pair's gradient e_x (softmax - e_y)."""
    before, after = distribution()
    gradients = torch.zeros(
        VOCABULARY, VOCABULARY, VOCABULARY, VOCABULARY, dtype=torch.float64
    )  # [x, y, row, column]
    for x in range(VOCABULARY):
        for y in range(VOCABULARY):
            gradients[x, y, x] = 1 / VOCABULARY
            gradients[x, y, x, y] -= 1
    probability = before[:, None] * after
    mean = torch.einsum("xy,xyrc->rc", probability, gradients)
    squares = torch.einsum("xy,xyrc,xyrc->", probability, gradients, gradients)
    return float((squares - mean.square().sum()) / mean.square().sum())


def texts(count, sigma, median=12, seed=0):
    """Inputs and labels of 1 + ceil(exp(N(log median, sigma^2))) tokens; the first label counts in no loss."""
    generator = torch.Generator().manual_seed(seed)
    before, after = distribution()
    lengths = (median * torch.exp(sigma * torch.randn(count, generator=generator))).ceil().int().tolist()
    rows = []
    for length in lengths:
        inputs = torch.multinomial(before, length + 1, replacement=True, generator=generator)
        targets = torch.multinomial(after[inputs], 1, generator=generator).flatten()
        rows.append({"input_ids": inputs, "labels": torch.cat([inputs[:1], targets[:-1]])})
    return rows


def padded(rows):
    """A micro-batch: the texts next to each other, with labels of -100 where there is none."""
    fields = {"input_ids": 0, "labels": -100}
    return {
        name: torch.nn.utils.rnn.pad_sequence([row[name] for row in rows], batch_first=True, padding_value=value)
        for name, value in fields.items()
    }
