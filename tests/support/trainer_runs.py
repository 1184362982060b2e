"""Short runs of the transformers Trainer whose every gradient is compared with one computed by hand."""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from adabatch.schedules import Stagewise
from tests.support.moments_by_hand import flat, moments_by_hand

MICRO_BATCH, LENGTH, VOCABULARY = 2, 6, 11


def small_llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes))


def dataset(count):
    tokens = torch.randint(VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in tokens]


class RecordingTrainer(Trainer):
    """Keeps the micro-batches of the present window."""

    window = ()

    def training_step(self, model, inputs, *rest):
        self.window = [*self.window, {name: value.clone() for name, value in inputs.items()}]
        return super().training_step(model, inputs, *rest)


class Probe(TrainerCallback):
    """At each optimizer step: the gradient as it is, and the one of the window's mean loss by hand."""

    def __init__(self, trainer):
        self.trainer, self.steps = trainer, []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        window, self.trainer.window = self.trainer.window, ()
        if dist.is_initialized():
            parts = [None] * dist.get_world_size()
            dist.all_gather_object(parts, window)
            window = [micro_batch for part in parts for micro_batch in part]
        twin = copy.deepcopy(model).double()
        parameters = list(twin.parameters())
        groups = [flat(torch.autograd.grad(twin(**inputs).loss, parameters)) for inputs in window]
        mean, moments = moments_by_hand(groups, [MICRO_BATCH] * len(groups))
        actual = flat([p.grad for p in model.parameters()])
        step = {"micro_batches": len(window), "gradient": actual, "by_hand": mean, "moments": moments}
        self.steps.append(step)


def stages(unit=MICRO_BATCH):
    """Accumulation 2, then 3, then 5: windows that the Trainer's own count would cut in the wrong places."""
    return Stagewise([2 * unit, 3 * unit, 5 * unit], [0.25, 0.35, 0.4], 40 * unit, multiple_of=unit)


def arguments(folder, **changes):
    return TrainingArguments(
        **{
            "output_dir": str(folder),
            "per_device_train_batch_size": MICRO_BATCH,
            "gradient_accumulation_steps": 2,
            "num_train_epochs": 2,
            "learning_rate": 0.01,
            "max_grad_norm": 0.0,
            "use_cpu": True,
            "disable_tqdm": True,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
            "dataloader_drop_last": True,
        }
        | changes
    )


def run(folder, callback, count=72, callbacks=(), trainer_class=RecordingTrainer, data=None, **changes):
    """A trained trainer, and what the probe saw of its steps."""
    trainer = trainer_class(
        model=small_llama(),
        args=arguments(folder, **changes),
        train_dataset=dataset(count) if data is None else data,
        callbacks=[callback],
    )
    probe = Probe(trainer)
    for other in (*callbacks, probe):
        trainer.add_callback(other)
    trainer.train()
    return trainer, probe.steps


def relative_error(step):
    return float((step["gradient"] - step["by_hand"]).norm() / step["by_hand"].norm())


class Bigram(nn.Module):
    """Predicts a token from the one before it alone: gradients of tokens are known by enumeration.

    Its loss is that of a causal language model: labels are shifted, and divided by ``num_items_in_batch`` if told.
    """

    loss_type = "ForCausalLM"

    def __init__(self, vocabulary):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(vocabulary, vocabulary))

    def forward(self, input_ids, labels=None, num_items_in_batch=None, **_):
        logits = self.table[input_ids]
        shifted, targets = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        if num_items_in_batch is None:
            return {"loss": cross_entropy(shifted, targets), "logits": logits}
        total = cross_entropy(shifted, targets, reduction="sum")
        return {"loss": total / num_items_in_batch, "logits": logits}
