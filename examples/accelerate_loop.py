"""The norm test in a Hugging Face accelerate loop: the number of accumulated micro-batches follows the schedule.

    python examples/accelerate_loop.py
    accelerate launch --cpu --num_processes 2 examples/accelerate_loop.py --measure-only

Lines that end in "# +" are all that adabatch adds; without them this is the same loop on a constant batch.
"""

import argparse
import gc

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import GradientAccumulationPlugin
from images import CLASSES, SIZE, gratings
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from adabatch.integrations.accelerate import set_accumulation  # +
from adabatch.integrations.noise_scale import NoiseScaleMonitor  # +
from adabatch.integrations.wrapping import check_wrapping  # +
from adabatch.schedules import Constant, NormTest  # +
from adabatch.statistics import GradientStatistics  # +


def train(model, dataset, micro_batch=8, epochs=2, eta=0.8, monitor=False):
    """Train for this many epochs; a list of one dict per step."""
    # Windows of micro-batches continue past the end of an epoch, so that each is as long as it was meant to be.
    plugin = GradientAccumulationPlugin(num_steps=4, sync_with_dataloader=False)
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), gradient_accumulation_plugin=plugin)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(dataset, batch_size=micro_batch, shuffle=True, drop_last=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    unit, log = accelerator.num_processes * micro_batch, []
    check_wrapping(model)  # +
    statistics, noise_scale = GradientStatistics(model), NoiseScaleMonitor()  # +
    schedule = NormTest(eta=eta, initial=4 * unit, maximum=32 * unit, multiple_of=unit)  # +
    schedule = Constant(4 * unit) if monitor else schedule  # +
    for _ in range(epochs):
        for images, labels in loader:
            with accelerator.accumulate(model):
                loss = cross_entropy(model(images), labels)
                accelerator.backward(loss)
                statistics.end_microbatch(micro_batch)  # +
                if accelerator.sync_gradients:
                    moments = statistics.finish()  # +
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                    log.append({"accumulation": accelerator.gradient_accumulation_steps, "loss": loss.item()})
                    log[-1]["noise_scale"] = noise_scale.update(moments)  # +
                optimizer.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:  # +
                set_accumulation(accelerator, schedule.update(moments).batch_size // unit)  # +
    return log


def main(arguments=None):
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--measure-only", action="store_true", help="log the noise scale on a constant batch")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    dataset = TensorDataset(*gratings(options.samples, torch.Generator().manual_seed(0)))
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    log = train(model, dataset, monitor=options.measure_only)
    for record in log[:: max(1, len(log) // 10)]:
        PartialState().print("  ".join(f"{name} {value:.4g}" for name, value in record.items()))
    gc.collect()  # a DDP model that outlives its process group may hang in gloo, about one time in thirty
    PartialState().destroy_process_group()
    return log


if __name__ == "__main__":
    main()
