"""The norm test in the transformers Trainer, by a callback: gradient accumulation follows the schedule.

    python examples/trainer_callback.py
    torchrun --nproc-per-node 2 examples/trainer_callback.py --measure-only

Lines that end in "# +" are all that adabatch adds; without them this is the same training on a constant batch.
"""

import argparse
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from adabatch.integrations.transformers import AdaptiveBatchCallback  # +
from adabatch.schedules import NormTest  # +


def counting_texts(count, length=32, vocabulary=64, seed=0):
    """Token sequences that count upwards in steps of 1 to 3, with a tenth of the tokens replaced by others."""
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(vocabulary, (count, 1), generator=generator)
    steps = torch.randint(1, 4, (count, 1), generator=generator)
    tokens = (starts + steps * torch.arange(length)) % vocabulary
    noise = torch.randint(vocabulary, tokens.shape, generator=generator)
    tokens = torch.where(torch.rand(tokens.shape, generator=generator) < 0.1, noise, tokens)
    return [{"input_ids": row, "labels": row} for row in tokens]


def small_llama(vocabulary=64):
    """Two layers, randomly initialised."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes))


def train(model, dataset, folder, eta=0.8, monitor=False, **arguments):
    """Three epochs of training; the Trainer after it, whose state.log_history has the records."""
    arguments = TrainingArguments(
        **{"output_dir": folder, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
        | {"learning_rate": 3e-3, "logging_steps": 10, "report_to": "none", "save_strategy": "no"}
        | {"use_cpu": not torch.cuda.is_available(), "disable_tqdm": True, "dataloader_drop_last": True}
        | arguments
    )
    callbacks = []
    unit = arguments.world_size * arguments.train_batch_size  # +
    schedule = NormTest(eta=eta, initial=4 * unit, maximum=32 * unit, multiple_of=unit)  # +
    callbacks.append(AdaptiveBatchCallback(schedule=None if monitor else schedule, interval=1))  # +
    trainer = Trainer(model=model, args=arguments, train_dataset=dataset, callbacks=callbacks)
    trainer.train()
    return trainer


def main(arguments=None):
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--measure-only", action="store_true", help="log the noise scale on a constant batch")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        return train(small_llama(), counting_texts(options.samples), folder, monitor=options.measure_only)


if __name__ == "__main__":
    main()
