"""A bare PyTorch loop on images, in one process or under DDP, with a CNN or a ViT.

    python examples/bare_loop.py --model vit
    torchrun --nproc-per-node 2 examples/bare_loop.py --measure-only

Lines that end in "# +" are all that adabatch adds; without them this is the same loop on a constant batch.
"""

import argparse
import gc
import os

import torch
import torch.distributed as dist
from images import CLASSES, SIZE, gratings
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from adabatch.integrations.noise_scale import NoiseScaleMonitor  # +
from adabatch.schedules import Constant, NormTest  # +
from adabatch.statistics import GradientStatistics  # +


class ViT(nn.Module):
    """A Vision Transformer from its configuration, randomly initialised."""

    def __init__(self):
        from transformers import ViTConfig, ViTForImageClassification

        super().__init__()
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = ViTConfig(image_size=SIZE, patch_size=4, num_channels=1, num_labels=CLASSES, **sizes)
        self.classifier = ViTForImageClassification(config)

    def forward(self, images):
        """Logits [count, classes] of images [count, 1, 16, 16]."""
        return self.classifier(images).logits


def cnn():
    """Group normalisation, because batch normalisation makes a sample's gradient depend on its micro-batch."""
    layers = [nn.Conv2d(1, 16, 5, stride=2), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES))


def train(model, rank=0, world_size=1, samples=4000, micro_batch=8, eta=0.8, monitor=False):
    """Train on this many samples; a list of one dict per step."""
    generator = torch.Generator().manual_seed(rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    accumulation, seen, log = 4, 0, []
    first, unit = world_size * accumulation * micro_batch, world_size * micro_batch  # +
    statistics, noise_scale = GradientStatistics(model), NoiseScaleMonitor()  # +
    schedule = NormTest(eta=eta, initial=first, maximum=8 * first, multiple_of=unit)  # +
    if monitor:  # +
        schedule = Constant(first)  # +
    while seen < samples:
        accumulation = schedule.batch_size // unit  # +
        for _ in range(accumulation):
            images, labels = gratings(micro_batch, generator)
            loss = cross_entropy(model(images), labels)
            (loss / accumulation).backward()
            statistics.end_microbatch(micro_batch)  # +
        moments = statistics.finish()  # +
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seen += world_size * accumulation * micro_batch
        log.append({"samples": seen, "accumulation": accumulation, "loss": loss.item()})
        log[-1]["noise_scale"] = noise_scale.update(moments)  # +
        schedule.update(moments)  # +
    return log


def main(arguments=None):
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["cnn", "vit"], default="cnn")
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--measure-only", action="store_true", help="log the noise scale on a constant batch")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    model, rank, world_size = cnn() if options.model == "cnn" else ViT(), 0, 1
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        rank, world_size = dist.get_rank(), dist.get_world_size()
        model = DistributedDataParallel(model)
    log = train(model, rank, world_size, options.samples, monitor=options.measure_only)
    if rank == 0:
        for record in log[:: max(1, len(log) // 10)]:
            print("  ".join(f"{name} {value:.4g}" for name, value in record.items()))
    if dist.is_initialized():
        del model
        gc.collect()  # a DDP model that outlives its process group may hang in gloo, about one time in thirty
        dist.barrier()
        dist.destroy_process_group()
    return log


if __name__ == "__main__":
    main()
