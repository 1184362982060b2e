r"""Groups of unequal size: three estimators of the variance of the gradient, on a small Llama.

    python benchmarks/unequal_groups.py --output benchmarks/unequal_groups.txt

A window is 8 groups of ``--sequences`` sequences, group j of t_j tokens with the sum of token gradients S_j. Its
gradient is g = sum_j S_j / N with N = sum_j t_j. Over many windows the mean of g and its variance are known; what
does a single window say about Var(g) = E||g - G||^2? The mean over windows, relative to the truth and with one
standard error (1 is right), and the standard deviation of a single window's:

- ``per token``: (sum_j ||S_j||^2 / t_j - N ||g||^2) / ((n - 1) N), what the statistics compute, unbiased if the
  covariance of a group's sum is proportional to its tokens;
- ``any``: (sum_j ||S_j||^2 - R ||g||^2) / (N^2 - R), R = sum_j t_j^2, unbiased for any covariances of the groups;
- ``residuals``: n / (n - 1) sum_j ||S_j - t_j g||^2 / N^2.

Lengths are 64 (every fourth sequence) or 2 tokens, or log-normal about 12 with the standard deviation of their
logarithm; the model is at its random start, or trained on 300 such steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from adabatch.moments.gradient_moments import GradientMoments, weighted_sum_of_squares

VOCABULARY, GROUPS, TRAINING_STEPS = 64, 8, 300
CASES = (("2 or 64", False), ("2 or 64", True), ("0.3", False), ("0.3", True), ("1.0", False), ("1.0", True))
ESTIMATORS = ("per token", "any", "residuals")


class Groups:
    """Endless groups of sequences of random tokens, frequent and rare ones, and their loss in a model."""

    def __init__(self, lengths: str, sequences: int) -> None:
        self._sequences = sequences
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
        self.model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes))
        self.parameters = list(self.model.parameters())
        self._lengths, self._generator = lengths, torch.Generator().manual_seed(1)
        self._frequencies = 1 / torch.arange(1, VOCABULARY + 1).float()

    def _length(self) -> int:
        if self._lengths == "2 or 64":
            return 64 if torch.rand((), generator=self._generator) < 0.25 else 2
        return max(1, int(torch.exp(2.5 + float(self._lengths) * torch.randn((), generator=self._generator))))

    def draw(self) -> tuple[int, Tensor]:
        """A group's number of tokens that count in the loss, and the sum of their losses."""
        rows = [
            torch.multinomial(self._frequencies, self._length() + 1, replacement=True, generator=self._generator)
            for _ in range(self._sequences)
        ]
        inputs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        labels = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
        logits = self.model(input_ids=inputs).logits[:, :-1].flatten(0, 1)
        loss = cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=-100, reduction="sum")
        return sum(len(row) - 1 for row in rows), loss

    def train(self) -> None:
        """Adam on windows of four groups."""
        optimizer = torch.optim.Adam(self.parameters, 3e-3)
        for _ in range(TRAINING_STEPS):
            optimizer.zero_grad()
            tokens, losses = zip(*(self.draw() for _ in range(4)), strict=True)
            (sum(losses) / sum(tokens)).backward()
            optimizer.step()

    def windows(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each window the t_j [n] and the S_j [n, d], in fp64."""
        for _ in range(count):
            tokens, sums = [], []
            for _ in range(GROUPS):
                t, loss = self.draw()
                tokens.append(t)
                gradients = torch.autograd.grad(loss, self.parameters)
                sums.append(torch.cat([gradient.flatten() for gradient in gradients]).double())
            yield torch.tensor(tokens).double(), torch.stack(sums)


def variances(tokens: Tensor, sums: Tensor) -> list[float]:
    """What each of :data:`ESTIMATORS` says about Var(g)."""
    total, n = float(tokens.sum()), len(tokens)
    mean, squares = sums.sum(0) / total, sums.square().sum(1)
    squared_norm = float(mean.square().sum())
    seen = float((squares / tokens).sum()) / total**2
    per_token = GradientMoments(n, total / n, weighted_sum_of_squares(n, total, 1, seen), squared_norm)
    counts = float(tokens.square().sum())
    any_covariance = (float(squares.sum()) - counts * squared_norm) / (total**2 - counts)
    residuals = float((sums - tokens[:, None] * mean).square().sum()) * n / (n - 1) / total**2
    return [per_token.covariance_trace / total, any_covariance, residuals]


def case(lengths: str, trained: bool, sequences: int, count: int) -> str:
    """One line of the table."""
    groups = Groups(lengths, sequences)
    if trained:
        groups.train()
    means, estimates = [], []
    for tokens, sums in groups.windows(count):
        means.append(sums.sum(0) / tokens.sum())
        estimates.append(variances(tokens, sums))
    gradients, found = torch.stack(means), torch.tensor(estimates, dtype=torch.float64)
    mean = gradients.mean(0)
    deviations = (gradients - mean).square().sum(1) * count / (count - 1)
    variance = float(deviations.mean())
    squared_gradient = float(mean.square().sum()) - variance / count
    ratios = found.mean(0) / variance
    # Of a ratio of two means, taken from the same windows.
    errors = (found - ratios * deviations[:, None]).std(0) / variance / count**0.5
    cells = [f"{lengths:>8s}{'trained' if trained else 'start':>9s}{variance:10.5f}{squared_gradient:10.5f}"]
    columns = zip(ratios.tolist(), errors.tolist(), (found.std(0) / variance).tolist(), strict=True)
    cells += [f"{ratio:9.3f} ±{error:.3f}{deviation:7.3f}" for ratio, error, deviation in columns]
    return "".join(cells)


def table(sequences: int, count: int) -> str:
    """One line for each case."""
    lines = [f"# python benchmarks/unequal_groups.py --sequences {sequences} --windows {count}"]
    header = f"{'lengths':>8s}{'model':>9s}{'Var(g)':>10s}{'|G|^2':>10s}"
    lines.append(header + "".join(f"{name:>16s}{'sd':>7s}" for name in ESTIMATORS))
    lines += [case(lengths, trained, sequences, count) for lengths, trained in CASES]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--windows", type=int, default=5000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = table(arguments.sequences, arguments.windows)
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
