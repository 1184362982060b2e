"""The weighted noise scale of a small Llama from few groups, against its value from 1,200 samples' gradients.

    python benchmarks/weighted_scale.py [--samples 1200] [--output benchmarks/weighted_scale.txt]

A Llama of 134,000 parameters (``tiny``) on bytes of the standard library's source text, 32 per sample, after 20
and after 80 steps of AdamW. Each sample's whole gradient is computed; the reference has every sample as a group of
its own. Then the samples are divided into batches of b in n groups, as a step sees them; both sums are averaged
over the batches. ``descent`` and ``lost`` are their means over the reference's, ``B`` the ratio of means,
``spread`` the standard deviation of lost between batches, relative to its mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from adabatch.data.corpus import open_corpus
from adabatch.model.language_model import build_model, language_model_loss, model_config
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.noise_scale import noise_scale, weighted_sums
from adabatch.settings import load_settings
from adabatch.training.checks import prepare_for_run

LAYOUTS = ((8, 8), (8, 32), (16, 16), (16, 64), (32, 32), (32, 128))
"""Groups and batch."""


def own_gradients(model: torch.nn.Module, sequences: torch.Tensor) -> np.ndarray:
    """Each sample's whole gradient, [samples, d]."""
    rows = []
    for sequence in sequences.split(1):
        parts = torch.autograd.grad(language_model_loss(model, sequence), list(model.parameters()))
        rows.append(torch.cat([part.reshape(-1) for part in parts]).double().numpy())
    return np.array(rows)


def sums_of(gradients: np.ndarray, groups: int, batch: int) -> np.ndarray:
    """Both sums of every batch, [batches, 2]."""
    found = []
    for start in range(0, len(gradients) - batch + 1, batch):
        own = gradients[start : start + batch].reshape(groups, batch // groups, -1).mean(1)
        found.append(weighted_sums(groups, batch // groups, (own**2).sum(0), own.mean(0)))
    return np.array(found)


def table(gradients: np.ndarray, steps: int) -> list[str]:
    """The lines of one stage."""
    count = len(gradients)
    descent, lost = sums_of(gradients, count, count)[0]
    moments = GradientMoments(count, 1, (gradients**2).sum(), (gradients.mean(0) ** 2).sum())
    trace = noise_scale(moments.covariance_trace, moments.debiased_squared_norm)
    lines = [f"after {steps} steps: B weighted {descent / lost:.3g}, B trace {trace:.3g}", ""]
    lines.append(f"{'groups':>6} {'b':>5} {'descent':>8} {'lost':>8} {'B':>8} {'spread':>7}")
    for groups, batch in LAYOUTS:
        sums = sums_of(gradients, groups, batch)
        means, spread = sums.mean(0), sums[:, 1].std() / abs(sums[:, 1].mean())
        ratios = f"{means[0] / descent:8.2f} {means[1] / lost:8.2f} {means[0] / means[1]:8.3g}"
        lines.append(f"{groups:6} {batch:5} {ratios} {spread:7.2f}")
    return [*lines, ""]


def main() -> None:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1200)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = load_settings(overrides={"model": "tiny", "sequence_length": 32})
    corpus = open_corpus(settings.data, *prepare_for_run(settings))
    model = build_model(model_config("tiny", corpus.vocabulary_size, 32), settings.data.seed)
    optimizer, seen, lines = torch.optim.AdamW(model.parameters(), lr=3e-3), 0, []
    for steps in (20, 80):
        while seen < 16 * steps:
            optimizer.zero_grad()
            language_model_loss(model, corpus.train.take(list(range(seen, seen + 16)))).backward()
            optimizer.step()
            seen += 16
        ahead = list(range(4000, 4000 + given.samples))
        lines += table(own_gradients(model, corpus.train.take(ahead)), steps)
    text = "\n".join([f"python benchmarks/weighted_scale.py --samples {given.samples}", "", *lines])
    print(text)
    given.output.write_text(text)


if __name__ == "__main__":
    main()
