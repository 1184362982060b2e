"""A trainer in the shape of torchtitan's: its ``train_step``, its count of tokens, its names, and little more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from adabatch.moments.gradient_moments import GradientMoments
from tests.support.moments_by_hand import flat, moments_by_hand
from tests.support.token_texts import TokenModel, counted, token_loss, token_texts

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


class ByHand:
    """What a trainer in this shape inherits first: each step's gradient and moments by hand."""

    twin: Callable[[], nn.Module]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._window: list[tuple[Tensor, Tensor]] = []
        self.seen: list[tuple[Tensor, Tensor, GradientMoments]] = []
        self.optimizers.register_step_pre_hook(self._look)

    def forward_backward_step(self, **named: Any) -> Tensor:
        """Remember the micro-batch."""
        self._window.append((named["input_dict"]["input"], named["labels"]))
        return super().forward_backward_step(**named)

    def _look(self, *_: Any) -> None:
        window, self._window = self._window, []
        if dist.is_initialized():
            parts: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(parts, window)
            window = [batch for part in parts for batch in part]
        model, twin = self.model_parts[0], type(self).twin()
        twin.load_state_dict({name: whole(value) for name, value in model.state_dict().items()})
        twin.double()
        losses = [token_loss(twin(inputs), labels) for inputs, labels in window]
        gradients = [flat(torch.autograd.grad(loss, list(twin.parameters()))) for loss in losses]
        found = flat([whole(parameter.grad) for parameter in model.parameters()])
        self.seen.append((found, *moments_by_hand(gradients, [counted(labels) for _, labels in window])))

    def errors(self, moments: Sequence[GradientMoments]) -> list[float]:
        """Relative, of every step's gradient and of both sums of its moments."""
        found = []
        for (gradient, mean, by_hand), measured in zip(self.seen, moments, strict=True):
            assert measured.groups == by_hand.groups
            assert round(measured.batch_size) == round(by_hand.batch_size)
            found.append(float((gradient - mean).norm() / mean.norm()))
            found.append(measured.sum_of_squares / by_hand.sum_of_squares - 1)
            found.append(measured.squared_norm / by_hand.squared_norm - 1)
        return found


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
