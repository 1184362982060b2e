"""The norm test in Lightning, by a callback: accumulate_grad_batches follows the schedule.

    python examples/lightning_callback.py
    python examples/lightning_callback.py --manual --measure-only
    torchrun --nproc-per-node 2 examples/lightning_callback.py

Lines that end in "# +" are all that adabatch adds; without them this is the same training on a constant batch.
"""

import argparse
import os

import torch
from images import CLASSES, SIZE, gratings
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from adabatch.integrations.lightning import AdaptiveBatchCallback  # +
from adabatch.schedules import Constant, NormTest  # +


class Classifier(LightningModule):
    """Optimized by Lightning, or by itself as Lightning's documentation accumulates gradients by hand."""

    def __init__(self, manual=False):
        super().__init__()
        self.automatic_optimization = not manual
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        self.losses = []

    def training_step(self, batch, batch_idx):
        """The loss of a micro-batch; in manual optimization the step as well."""
        images, labels = batch
        loss = cross_entropy(self.layers(images), labels)
        self.losses.append(loss.item())
        if not self.automatic_optimization:
            accumulation, optimizer = self.trainer.accumulate_grad_batches, self.optimizers()
            self.manual_backward(loss / accumulation)
            if (batch_idx + 1) % accumulation == 0:
                optimizer.step()
                optimizer.zero_grad()
        return loss

    def configure_optimizers(self):
        """SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def train(module, dataset, micro_batch=8, epochs=2, eta=0.8, monitor=False, **arguments):
    """Train for this many epochs; the callbacks' first, whose history has a dict per step."""
    ranks, automatic = int(os.environ.get("WORLD_SIZE", 1)), module.automatic_optimization
    loader = DataLoader(dataset, batch_size=micro_batch, shuffle=True, drop_last=True)
    callbacks, unit = [], ranks * micro_batch
    schedule = NormTest(eta=eta, initial=4 * unit, maximum=32 * unit, multiple_of=unit)  # +
    schedule = Constant(4 * unit) if monitor else schedule  # +
    callbacks.append(AdaptiveBatchCallback(schedule, interval=1))  # +
    trainer = Trainer(
        **{"max_epochs": epochs, "accumulate_grad_batches": 4 if automatic else 1, "callbacks": callbacks}
        | {"accelerator": "auto" if torch.cuda.is_available() else "cpu", "devices": ranks}
        | {"strategy": "ddp" if ranks > 1 else "auto", "logger": False, "enable_checkpointing": False}
        | {
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "gradient_clip_val": 1.0 if automatic else None,
        }
        | arguments
    )
    trainer.fit(module, loader)
    return trainer


def main(arguments=None):
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--manual", action="store_true", help="let the module take its steps itself")
    parser.add_argument("--measure-only", action="store_true", help="log the noise scale on a constant batch")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    dataset = TensorDataset(*gratings(options.samples, torch.Generator().manual_seed(0)))
    module = Classifier(options.manual)
    trainer = train(module, dataset, monitor=options.measure_only)
    log = [record for callback in trainer.callbacks for record in getattr(callback, "history", [])]
    if trainer.is_global_zero:
        for record in log[:: max(1, len(log) // 10)]:
            print("  ".join(f"{name} {value:.4g}" for name, value in record.items()))
    return [{"loss": loss} for loss in module.losses]


if __name__ == "__main__":
    main()
