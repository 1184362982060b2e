"""The loops that trainer_speed.py times: one process trains some steps on the same model, tokens and batches.

    python benchmarks/trainer_loops.py NAME JOB.json STEPS [RANK]

Loops of other libraries keep their defaults but for what the job fixes: AdamW, clipping, fp32, threads, no
evaluation, no files. None of them measures gradient statistics.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LEARNING_RATE, BETAS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.95), 0.1, 1.0


@dataclass(frozen=True)
class Job:
    """What every loop trains.

    Attributes:
        config: of the Llama, as ``transformers`` names its values.
        tokens: a file of bytes.
        micro_batch: sequences of a micro-batch.
        micro_batches: of a step, on each rank.
        length: tokens of a sequence.
        ranks: processes with a thread each; above 1 under FSDP2.
        tuned: whether the bare loop runs AdamW fused and reduces gradients once per step, as adabatch does, rather
            than as torch does by default.
    """

    config: dict[str, Any]
    tokens: str
    micro_batch: int
    micro_batches: int
    length: int
    ranks: int
    tuned: bool = False

    def sequences(self, steps: int, rank: int = 0) -> Iterator[Tensor]:
        """Micro-batches, int64 [micro_batch, length], from random places of the file."""
        text = np.memmap(self.tokens, dtype=np.uint8, mode="r")
        random = np.random.default_rng(rank)
        for _ in range(steps * self.micro_batches):
            starts = random.integers(len(text) - self.length, size=self.micro_batch)
            yield torch.from_numpy(np.stack([text[i : i + self.length] for i in starts]).astype(np.int64))


def llama(job: Job) -> nn.Module:
    """The model, from transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**job.config, use_cache=False, attn_implementation="sdpa"))


def optimizer_of(model: nn.Module, fused: bool = False) -> torch.optim.AdamW:
    """AdamW, fused or as torch chooses to run it."""
    return torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY, fused=fused or None
    )


def bare(job: Job, steps: int, rank: int = 0) -> None:
    """A plain loop, in a process group of its own if there are several ranks."""
    torch.set_num_threads(1)
    if job.ranks > 1:
        folder = Path(job.tokens).parent
        store = torch.distributed.FileStore(str(folder / f"store-{steps}"), job.ranks)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=job.ranks)
    losses = bare_steps(job, steps, rank)
    for _ in range(steps):
        loss = next(losses)
    print(float(loss) * job.micro_batches)
    if job.ranks > 1:
        torch.distributed.destroy_process_group()


def bare_steps(job: Job, steps: int, rank: int = 0) -> Iterator[Tensor]:
    """The plain loop's last loss of each step."""
    model = llama(job)
    if job.ranks > 1:
        from torch.distributed.fsdp import fully_shard

        for layer in model.model.layers:  # type: ignore[union-attr]
            fully_shard(layer)
        fully_shard(model)
    optimizer = optimizer_of(model, job.tuned)
    data = job.sequences(steps, rank)
    for _ in range(steps):
        for number in range(job.micro_batches):
            if job.tuned and job.ranks > 1:
                model.set_requires_gradient_sync(number == job.micro_batches - 1)  # type: ignore[operator]
            tokens = next(data)
            loss = model(input_ids=tokens, labels=tokens).loss / job.micro_batches
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.detach()


def accelerate(job: Job, steps: int) -> None:
    """The loop of accelerate's documentation, with its gradient accumulation."""
    from accelerate import Accelerator

    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=job.micro_batches)
    model = llama(job)
    model, optimizer = accelerator.prepare(model, optimizer_of(model))
    for tokens in job.sequences(steps):
        with accelerator.accumulate(model):
            loss = model(input_ids=tokens, labels=tokens).loss
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    print(float(loss.detach()))


def trainer(job: Job, steps: int) -> None:
    """The Trainer of transformers; it reads its data through a DataLoader of torch."""
    import transformers

    torch.set_num_threads(1)
    rows = np.concatenate([tokens.numpy() for tokens in job.sequences(steps)])
    arguments = transformers.TrainingArguments(
        output_dir=str(Path(job.tokens).parent / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=job.micro_batch,
        gradient_accumulation_steps=job.micro_batches,
        learning_rate=LEARNING_RATE,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=CLIP,
        lr_scheduler_type="constant",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    data: Any = [{"input_ids": row, "labels": row} for row in torch.from_numpy(rows)]
    transformers.Trainer(llama(job), arguments, train_dataset=data).train()


def litgpt(job: Job, steps: int) -> None:
    """litgpt's own model and chunked loss in the loop of its pretraining, through Lightning's Fabric."""
    import lightning
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    torch.set_num_threads(1)
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    sizes = job.config
    config = Config(
        name="llama",
        block_size=sizes["max_position_embeddings"],
        padded_vocab_size=sizes["vocab_size"],
        vocab_size=sizes["vocab_size"],
        n_layer=sizes["num_hidden_layers"],
        n_head=sizes["num_attention_heads"],
        n_embd=sizes["hidden_size"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        intermediate_size=sizes["intermediate_size"],
    )
    fabric.seed_everything(0)
    model = GPT(config)
    model.apply(model._init_weights)
    model = fabric.setup(model)
    optimizer = fabric.setup_optimizers(optimizer_of(model))
    for number, tokens in enumerate(job.sequences(steps), 1):
        last = number % job.micro_batches == 0
        with fabric.no_backward_sync(model, enabled=not last):
            logits = model(tokens[:, :-1])
            loss = chunked_cross_entropy(logits, tokens[:, 1:].contiguous(), chunk_size=0)
            fabric.backward(loss / job.micro_batches)
        if last:
            fabric.clip_gradients(model, optimizer, max_norm=CLIP)
            optimizer.step()
            optimizer.zero_grad()
    print(float(loss.detach()))


LOOPS: dict[str, Callable[..., None]] = {loop.__name__: loop for loop in (bare, accelerate, trainer, litgpt)}


def main(name: str, file: str, steps: str) -> None:
    """Train in this process, or in one for each rank."""
    job = Job(**json.loads(Path(file).read_text()))
    if job.ranks == 1:
        LOOPS[name](job, int(steps))
        return
    from torch import multiprocessing

    multiprocessing.start_processes(on_rank, (LOOPS[name], job, int(steps)), job.ranks, start_method="spawn")


def on_rank(rank: int, loop: Callable[..., None], job: Job, steps: int) -> None:
    """A process of its own, at module level so that it can be started."""
    loop(job, steps, rank)


if __name__ == "__main__":
    main(*sys.argv[1:])
