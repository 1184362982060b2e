"""The norm test in Lightning: a callback that varies ``Trainer.accumulate_grad_batches``.

Lightning divides a loss by ``accumulate_grad_batches`` M, zeroes gradients and steps the optimizer where the
number of micro-batches since the epoch's start is a multiple of M, and at the epoch's end. While the callback
trains, M is an :class:`~adabatch.integrations.accumulation.Accumulation`, which counts from the micro-batch that
begins a step. In manual optimization Lightning's own recipe takes it as well: divide the loss by
``self.trainer.accumulate_grad_batches``, and step where
``(batch_idx + 1) % self.trainer.accumulate_grad_batches`` is 0. Statistics are taken in
``on_before_optimizer_step``, before clipping.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

if find_spec("lightning") is None:
    raise ModuleNotFoundError(
        "adabatch.integrations.lightning needs lightning: pip install 'adabatch[lightning]'", name="lightning"
    )

from lightning.pytorch import Callback, LightningModule, Trainer

from adabatch.integrations.accumulation import Accumulation, require_own
from adabatch.integrations.adaptive_steps import AdaptiveSteps
from adabatch.schedules import BatchSizeSchedule
from adabatch.statistics.clipping import scale_gradients

__all__ = ["AdaptiveBatchCallback"]

KEY = "adabatch"
"""Of the callback's state in a checkpoint."""


class AdaptiveBatchCallback(AdaptiveSteps, Callback):
    """Measures the gradients of a Trainer's steps and, given a schedule, sets the next step's accumulation.

    The micro-batch stays; the number of them that a step accumulates varies from the ``accumulate_grad_batches``
    that the Trainer was built with. Where training ends with its epochs (no ``max_steps``) or with ``samples``,
    learning-rate schedulers that step with the optimizer are advanced by samples: a step on k times the first
    accumulation counts as k steps. In manual optimization schedulers are the module's own.

    The last step of an epoch may have fewer micro-batches: its gradient becomes the mean over those it has, and it
    is not tested. In manual optimization a step that an epoch's end cuts continues in the next epoch.

    A checkpoint holds the schedule and the noise scale; ``fit(ckpt_path=...)`` continues with them, and any other
    ``fit`` with the schedule as it was at first. The place in the data is kept as Lightning keeps it.

    Args:
        schedule: as in :class:`~adabatch.integrations.adaptive_steps.AdaptiveSteps`, and the next two.
        interval: see there.
        samples: see there.
        micro_batch: samples of a micro-batch of one rank; None: the training DataLoader's ``batch_size``.
        tokens: how many tokens of a micro-batch count in its loss, of the batch as ``training_step`` gets it.
            With it the loss of ``training_step`` must be the *sum* over these tokens: the callback then divides
            the step's gradient by the tokens of all its micro-batches on all ranks, so that each weighs alike,
            and the moments are in tokens. None: the loss is a mean, and every micro-batch weighs alike.

    Attributes:
        history: as in :class:`~adabatch.integrations.adaptive_steps.AdaptiveSteps`; each record is logged, too.

    Raises:
        ValueError: at the start of training for a trainer, module or data with which the statistics would be
            wrong; later for a micro-batch of another size.
        RuntimeError: if something else changes ``accumulate_grad_batches``, and in manual optimization for a step
            in the wrong place.

    Source: the norm test as in :class:`adabatch.schedules.NormTest`.

    >>> callback = AdaptiveBatchCallback(interval=1)          # Trainer(callbacks=[callback])
    >>> callback.history
    []
    """

    accumulation = "accumulate_grad_batches"

    def __init__(
        self,
        schedule: BatchSizeSchedule | None = None,
        interval: int = 0,
        samples: int | None = None,
        *,
        micro_batch: int | None = None,
        tokens: Callable[[Any], int] | None = None,
    ) -> None:
        super().__init__(schedule, interval, samples)
        self.micro_batch, self.tokens = micro_batch, tokens
        self._window: int | None = None  # what accumulate_grad_batches must be; None outside of training
        self._open = False
        self._elapsed = self._step_tokens = self._batch_tokens = 0
        self._loaded: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the trainer, whose model is wrapped by now, and at the data."""
        if self._window is not None:
            raise RuntimeError(
                "this callback is in the middle of another training: give each trainer a callback of its own"
            )
        _check_trainer(trainer)
        self._given = int(trainer.accumulate_grad_batches)
        self._attach(
            trainer.strategy.model,
            micro_batch=_micro_batch(trainer, self.micro_batch),
            planned=self._given,
            by_samples=trainer.max_steps < 0 or self.budget is not None,
        )
        loaded, self._loaded = self._loaded, None
        self._begin(trainer.global_step, loaded)
        self._window, self._open = trainer.accumulate_grad_batches, False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Manual optimization: batches are counted from 0 again, and a step that is under way continues."""
        if self._open:
            self._set(trainer, Accumulation(self._wanted, -self._elapsed, self._given))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin a step, or continue it; count the micro-batch."""
        self._require_own(trainer)
        if self._open and self._elapsed >= self._wanted:
            raise RuntimeError(
                f"the {self._wanted} micro-batches of a step are over, and the optimizer has not stepped: {RECIPE}"
            )
        if not self._open:
            wanted = self._choose(trainer.global_step + 1)
            self._set(trainer, Accumulation(wanted, batch_idx, self._given))
            self._open, self._elapsed, self._step_tokens = True, 0, 0
        _require_samples(batch, self._micro_batch)
        self._elapsed += 1
        # Means of micro-batches weigh alike, however long their samples are: then the unit is the sample.
        self._batch_tokens = self._micro_batch if self.tokens is None else int(self.tokens(batch))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A group of the statistics."""
        self._end_micro_batch(self._batch_tokens)
        self._step_tokens += self._batch_tokens

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Measure the step, divide its gradient by what it holds, and decide."""
        if self._elapsed < self._wanted and not _ends_epoch(trainer):
            raise RuntimeError(
                f"the optimizer steps after {self._elapsed} of a step's {self._wanted} micro-batches: {RECIPE}"
            )
        self._open = False
        if not self._done:  # no training_step returned a loss
            return
        step_tokens = torch.tensor(float(self._step_tokens), dtype=torch.float64, device=pl_module.device)
        reduced = self._measure(step_tokens)
        factor = self._wanted / self._done
        if self.tokens is not None:
            assert self._statistics is not None
            layout = self._statistics.layout
            factor = layout.divisor * self._wanted * layout.tensor_parallel / max(reduced.sums[0], 1.0)
        scale_gradients(self._model, factor)
        record = self._end_step(trainer.global_step + 1, in_tokens=self.tokens is not None, factor=factor)
        self.log_dict(record, on_step=True, on_epoch=False, batch_size=1)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Between steps: the learning rate by samples, and the end when the samples are spent."""
        if self._open:
            return
        if pl_module.automatic_optimization:
            for config in trainer.lr_scheduler_configs:
                if config.interval == "step":
                    self._advance_learning_rate(config.scheduler)
        if self._spent:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the trainer as it was."""
        if self._window is not None:
            trainer.accumulate_grad_batches, self._window = self._given, None
            self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the trainer as it was."""
        self.on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the schedule and the noise scale."""
        checkpoint[KEY] = self._saved()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep them until training starts."""
        if trainer.training:
            self._loaded = checkpoint.get(KEY, {})

    def _set(self, trainer: Trainer, window: Accumulation) -> None:
        trainer.accumulate_grad_batches = self._window = window

    def _require_own(self, trainer: Trainer) -> None:
        assert self._window is not None
        require_own(trainer.accumulate_grad_batches, self._window, self.accumulation)


RECIPE = (
    "in manual optimization step where (batch_idx + 1) % self.trainer.accumulate_grad_batches is 0, with losses "
    "divided by self.trainer.accumulate_grad_batches"
)
"""What to do about steps in the wrong place."""


def _ends_epoch(trainer: Trainer) -> bool:
    """Whether Lightning steps after this micro-batch however many the step has."""
    return bool(trainer.is_last_batch or trainer.fit_loop.batch_idx + 1 >= trainer.num_training_batches)


def _micro_batch(trainer: Trainer, told: int | None) -> int:
    """Samples of a micro-batch, if every one has as many as far as can be seen.

    Raises:
        ValueError: if it is not known, is not what was told, or the last one of an epoch is smaller.
    """
    loader = trainer.train_dataloader
    size = getattr(loader, "batch_size", None)
    if told is None and size is None:
        raise ValueError(
            "the training data have no batch_size (they are not a DataLoader that has one): tell the callback "
            "micro_batch=, the samples of a micro-batch"
        )
    if told is not None and size not in (None, told):
        raise ValueError(
            f"micro_batch={told} was told, but the training DataLoader's batch_size is {size}: leave micro_batch= "
            "out"
        )
    if size is not None and not loader.drop_last and isinstance(loader.dataset, Sized):
        rest = len(loader.sampler) % size
        if rest:
            raise ValueError(
                f"the epoch's last micro-batch would have {rest} samples and the others {size}: build the "
                "DataLoader with drop_last=True"
            )
    return int(told or size or 0)


def _require_samples(batch: Any, samples: int) -> None:
    """Raise if the batch's tensors show another number of samples.

    Raises:
        ValueError: naming both.
    """
    sizes = [len(leaf) for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.ndim]
    if sizes and samples not in sizes:
        raise ValueError(
            f"a micro-batch has {sizes[0]} samples, but {samples} were expected of each: drop or fill the "
            "incomplete one (drop_last=True), or tell the callback micro_batch="
        )


def _check_trainer(trainer: Trainer) -> None:
    """Raise for what the statistics or the accumulation would be wrong with.

    Raises:
        ValueError: naming it.
    """
    callbacks = sum(isinstance(each, AdaptiveBatchCallback) for each in trainer.callbacks)
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    problems = [
        (
            callbacks > 1,
            "the Trainer has two AdaptiveBatchCallbacks, and one sets the accumulation: keep one",
        ),
        (
            len(trainer.optimizers) != 1,
            f"the module has {len(trainer.optimizers)} optimizers, and their steps would be taken for one: "
            "measure each network with GradientStatistics in a loop of your own",
        ),
        (
            scaler is not None,
            "16-mixed scales the loss, and the statistics would see scaled gradients: use bf16-mixed or 32-true",
        ),
        (
            trainer.strategy.handles_gradient_accumulation,
            "this strategy accumulates gradients itself, out of the hooks' sight: use DDP or FSDP2 "
            "(ModelParallelStrategy)",
        ),
    ]
    for wrong, message in problems:
        if wrong:
            raise ValueError(message)
