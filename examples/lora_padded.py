"""Fine-tuning with LoRA on texts of different lengths: a Trainer, padding, and a batch that follows the norm test.

    python examples/lora_padded.py
    torchrun --nproc-per-node 2 examples/lora_padded.py --measure-only

LoRA (arXiv 2106.09685) is written out: the weights are frozen, and a product of two thin matrices is added to
each attention projection; the statistics see those alone. Lines that end in "# +" are all that adabatch adds. The
Trainer divides losses by the tokens of the step, so that micro-batches of few and of many tokens are weighed as
they should be, and the noise scale is in tokens.
"""

import argparse
import tempfile

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from adabatch.integrations.transformers import AdaptiveBatchCallback  # +
from adabatch.schedules import NormTest  # +


class LowRank(nn.Module):
    """x W^T + (x A^T) B^T with W frozen; B begins at 0."""

    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        """The projection of x [..., features]."""
        return self.linear(x) + x @ self.down.T @ self.up.T


def with_low_rank(model, rank=4):
    """The model with everything frozen but what is added to its attention's projections."""
    model.requires_grad_(False)
    for layer in model.model.layers:
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(layer.self_attn, name, LowRank(getattr(layer.self_attn, name), rank))
    return model


def texts_of_unequal_length(count, vocabulary=64, median=24, sigma=0.7, seed=0):
    """Texts that count upwards in steps of 1 to 3, of log-normal lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = (median * torch.exp(sigma * torch.randn(count, generator=generator))).int().clamp(4, 128)
    starts, steps = torch.randint(vocabulary, (count,), generator=generator), 1 + torch.arange(count) % 3
    texts = zip(starts, steps, lengths, strict=True)
    rows = [(start + step * torch.arange(length)) % vocabulary for start, step, length in texts]
    return [{"input_ids": row, "labels": row} for row in rows]


def padded(rows):
    """A micro-batch; the label of padding is -100, which counts in no loss."""
    inputs = [row["input_ids"] for row in rows]
    return {
        "input_ids": pad_sequence(inputs, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(each) for each in inputs], batch_first=True),
        "labels": pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=-100),
    }


def train(model, dataset, folder, monitor=False, **arguments):
    """One epoch of training; the Trainer after it, whose state.log_history has the records."""
    arguments = TrainingArguments(
        **{"output_dir": folder, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
        | {"learning_rate": 1e-2, "num_train_epochs": 1, "logging_steps": 5, "report_to": "none"}
        | {"save_strategy": "no", "use_cpu": not torch.cuda.is_available(), "disable_tqdm": True}
        | {"dataloader_drop_last": True}
        | arguments
    )
    callbacks = []
    unit = arguments.world_size * arguments.train_batch_size  # +
    schedule = NormTest(eta=0.5, initial=4 * unit, maximum=16 * unit, multiple_of=unit)  # +
    callbacks.append(AdaptiveBatchCallback(schedule=None if monitor else schedule, interval=1))  # +
    trainer = Trainer(
        model=model, args=arguments, train_dataset=dataset, data_collator=padded, callbacks=callbacks
    )
    trainer.train()
    return trainer


def main(arguments=None):
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--measure-only", action="store_true", help="log the noise scale on a constant batch")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = with_low_rank(LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)))
    with tempfile.TemporaryDirectory() as folder:
        return train(model, texts_of_unequal_length(options.samples), folder, monitor=options.measure_only)


if __name__ == "__main__":
    main()
