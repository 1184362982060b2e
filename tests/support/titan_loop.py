"""A trainer in the shape of torchtitan's: its ``train_step``, its count of tokens, its names, and little more."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from tests.support.token_texts import TokenModel, token_loss, token_texts

MICRO_BATCH = 2


class DataloaderExhaustedError(Exception):
    """torchtitan cancels a step for which the data do not last."""


class TitanTrainer:
    """Tokens are counted over all ranks beforehand, losses are sums over that count, FSDP adds up."""

    def __init__(self, accumulation: int = 2, steps: int = 12, texts: int = 400, max_norm: float = 1e9) -> None:
        self.rank, self.ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        model = TokenModel()
        if self.ranks > 1:
            fully_shard(model.embedding)
            fully_shard(model)
            for module in model.modules():
                if isinstance(module, FSDPModule):
                    module.set_gradient_divide_factor(1.0)
        self.model_parts: list[nn.Module] = [model]
        self.gradient_accumulation_steps, self.step = accumulation, 0
        training = SimpleNamespace(local_batch_size=MICRO_BATCH, steps=steps, max_norm=max_norm)
        self.config = SimpleNamespace(training=training)
        self.parallel_dims = SimpleNamespace(pp_enabled=False, cp_enabled=False)
        self.optimizers = torch.optim.SGD(model.parameters(), lr=0.1)
        decay = torch.optim.lr_scheduler.LinearLR(self.optimizers, 1.0, 0.0, total_iters=steps)
        self.lr_schedulers = SimpleNamespace(schedulers=[decay], step=decay.step)
        self.checkpointer = SimpleNamespace(states={"train_state": self})
        self.texts = texts

    def batches(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """This rank's micro-batches."""
        own = (each[self.rank :: self.ranks].split(MICRO_BATCH) for each in token_texts(self.texts))
        for inputs, labels in zip(*own, strict=True):
            yield {"input": inputs}, labels
        raise DataloaderExhaustedError

    def forward_backward_step(
        self, *, input_dict: dict[str, Tensor], labels: Tensor, global_valid_tokens: Tensor
    ) -> Tensor:
        """A micro-batch."""
        loss = token_loss(self.model_parts[0](input_dict["input"]), labels, "sum") / global_valid_tokens
        loss.backward()
        return loss

    def train_step(self, data_iterator: Any) -> None:
        """A step of ``gradient_accumulation_steps`` micro-batches."""
        self.optimizers.zero_grad()
        micro_batches, tokens = [], torch.tensor(0)
        for _ in range(self.gradient_accumulation_steps):
            input_dict, labels = next(data_iterator)
            tokens += (labels != -100).sum()
            micro_batches.append((input_dict, labels))
        if self.ranks > 1:
            dist.all_reduce(tokens)
        for input_dict, labels in micro_batches:
            self.forward_backward_step(input_dict=input_dict, labels=labels, global_valid_tokens=tokens.float())
        nn.utils.clip_grad_norm_(self.model_parts[0].parameters(), self.config.training.max_norm)
        self.optimizers.step()
        self.lr_schedulers.step()

    def should_continue_training(self) -> bool:
        """Whether another step is due."""
        return self.step < self.config.training.steps

    def train(self) -> None:
        """All steps, or as many as there are data for."""
        data = self.batches()
        while self.should_continue_training():
            self.step += 1
            try:
                self.train_step(data)
            except DataloaderExhaustedError:
                break
