"""The norm test around torchtitan's own step, on a CPU: its Trainer, its loss, its FSDP, texts of unequal length.

    python examples/torchtitan_loop.py
    torchrun --nproc-per-node 2 examples/torchtitan_loop.py --measure-only

Lines that end in "# +" are all that adabatch adds. On a GPU the Trainer is ``config.build()``; its constructor
asks for an accelerator, so that the Trainer here is given what its ``train_step`` needs, and a small decoder.
"""

import argparse
import os
from contextlib import nullcontext
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torchtitan.distributed.parallel_dims as meshes
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torchtitan.components.loss import CrossEntropyLoss
from torchtitan.config import CompileConfig, ParallelismConfig, TrainingConfig
from torchtitan.distributed import ParallelDims
from torchtitan.models.llama3.parallelize import parallelize_llama
from torchtitan.trainer import Trainer

from adabatch.integrations.torchtitan import AdaptiveTraining  # +
from adabatch.schedules import Constant, NormTest  # +

VOCABULARY, LENGTH, WIDTH = 32, 24, 32


class Decoder(nn.Module):
    """In the shape of torchtitan's: embedding, layers by name, norm and head."""

    def __init__(self):
        super().__init__()
        self.enable_weight_tying = False
        self.tok_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleDict({str(i): nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for i in range(2)})
        self.norm, self.lm_head = nn.RMSNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens):
        """Logits [samples, length, vocabulary]."""
        h = self.tok_embeddings(tokens)
        for layer in self.layers.values():
            h = h + layer(h)
        return self.lm_head(self.norm(h))


def texts(micro_batch, rank, length=LENGTH):
    """Endless micro-batches of texts that count upwards and end anywhere; -100 counts in no loss."""
    generator = torch.Generator().manual_seed(rank)
    while True:
        starts = torch.randint(VOCABULARY, (micro_batch, 1), generator=generator)
        steps = torch.randint(1, 4, (micro_batch, 1), generator=generator)
        tokens = (starts + steps * torch.arange(length + 1)) % VOCABULARY
        ends = torch.randint(1, length + 1, (micro_batch, 1), generator=generator)
        labels = tokens[:, 1:].masked_fill(torch.arange(length) >= ends, -100)
        yield {"input": tokens[:, :-1]}, labels


class CpuTrainer(Trainer):
    """torchtitan's steps, without its constructor."""

    def __init__(self, steps, micro_batch, accumulation):
        meshes.device_type = "cpu"
        parallelism = ParallelismConfig(spmd_backend="partial_dtensor")
        training = TrainingConfig(local_batch_size=micro_batch, steps=steps, disable_cuda_graphs=True)
        training.mixed_precision_param = "float32"
        self.device, self.step, self.ntokens_seen = torch.device("cpu"), 0, 0
        self.parallel_dims = ParallelDims.from_config(parallelism, dist.get_world_size())
        self.config = SimpleNamespace(training=training, parallelism=parallelism)
        parts = {"parallel_dims": self.parallel_dims, "training": training, "parallelism": parallelism}
        parts |= {"compile_config": CompileConfig(), "ac_config": None, "dump_folder": ""}
        self.model_config, self.model_parts = None, [parallelize_llama(Decoder(), **parts)]
        for module in self.model_parts[0].modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)  # gloo cannot divide by torchtitan's factor of 1
        self.loss_fn = CrossEntropyLoss(CrossEntropyLoss.Config())
        self.train_context, self.fwd_bwd_fn = nullcontext, self._forward_backward_body
        self.gradient_accumulation_steps, self.num_pipeline_parallel_microbatches = accumulation, 1
        self.optimizers = torch.optim.AdamW(self.model_parts[0].parameters(), lr=1e-2)
        rates = torch.optim.lr_scheduler.LinearLR(self.optimizers, 1.0, 0.0, total_iters=steps)
        self.lr_schedulers = SimpleNamespace(schedulers=[rates], step=rates.step, get_metrics=dict)
        self.metrics_processor = SimpleNamespace(should_log=lambda step: False)
        self.checkpointer = SimpleNamespace(maybe_wait_for_staging=lambda: None, states={})

    def train(self, data):
        """All steps."""
        while self.should_continue_training():
            self.step += 1
            self.train_step(data)


def train(steps=40, micro_batch=4, accumulation=2, eta=0.6, monitor=False):
    """The trained Trainer and a list of one dict per step."""
    torch.manual_seed(0)
    unit = dist.get_world_size() * micro_batch
    trainer, log = CpuTrainer(steps, micro_batch, accumulation), []
    schedule = NormTest(eta=eta, initial=2 * unit, maximum=16 * unit, multiple_of=unit)  # +
    schedule = Constant(accumulation * unit) if monitor else schedule  # +
    log = AdaptiveTraining(trainer, schedule, interval=1).history  # +
    trainer.train(texts(micro_batch, dist.get_rank()))
    return trainer, log


def main(arguments=None):
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--measure-only", action="store_true", help="log the noise scale on a constant batch")
    options = parser.parse_args(arguments)
    alone = {} if "RANK" in os.environ else {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    dist.init_process_group("gloo", **alone)
    _, log = train(options.steps, monitor=options.measure_only)
    if dist.get_rank() == 0:
        for record in log[:: max(1, len(log) // 10)]:
            print("  ".join(f"{name} {value:.4g}" for name, value in record.items()))
    dist.barrier()
    dist.destroy_process_group()
    return log


if __name__ == "__main__":
    main()
