"""The norm test in the ``transformers`` Trainer: a callback that varies the gradient accumulation.

The callback stands around the Trainer's epochs (:mod:`adabatch.integrations.windows`): it chooses the
number of micro-batches of each window, measures between the last ``backward()`` and clipping, and leaves the
trainer and its arguments as they were however an epoch ends. Outside of an epoch nothing is attached or changed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from accelerate.utils import find_batch_size
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from adabatch.integrations.accumulation import Accumulation
from adabatch.integrations.adaptive_steps import AdaptiveSteps
from adabatch.integrations.normalisation import counted_tokens, is_scaled, loss_shifts_labels
from adabatch.integrations.windows import Windows, calling_trainer
from adabatch.integrations.wrapping import check_wrapping
from adabatch.schedules import BatchSizeSchedule
from adabatch.statistics import ReducedStep
from adabatch.statistics.clipping import clip_gradients

__all__ = ["Accumulation", "AdaptiveBatchCallback"]


class AdaptiveBatchCallback(AdaptiveSteps, TrainerCallback, ExportableState):
    """Measures the gradients of a Trainer's steps and, given a schedule, sets the next step's accumulation.

    The micro-batch stays ``per_device_train_batch_size`` (the Trainer reads it once, when training starts); the
    number M of them varies. Where the end of training is known in samples (epochs, or ``samples``), the
    learning-rate scheduler is advanced by samples: a step on a batch k times the one that the Trainer planned with
    (``gradient_accumulation_steps``) counts as k steps, so that a planned decay ends with the data. With
    ``max_steps`` alone the decay ends with the steps.

    Where the Trainer divides losses by the window's tokens, the statistics count tokens, and micro-batches may
    have different numbers of them (padded texts); elsewhere they count samples.

    Each training begins with the schedule as it was at the first one's start, unless it is resumed from a
    checkpoint: then schedule, monitor and place in the data are those of the checkpoint.

    Arguments and attributes are those of :class:`~adabatch.integrations.adaptive_steps.AdaptiveSteps`; the last
    record of the history is added to the Trainer's ``state.log_history`` whenever it logs.

    Raises:
        ValueError: at the start of training, or with its first micro-batch, for a model, data or arguments with
            which the statistics would be wrong.
        RuntimeError: if something else changes ``gradient_accumulation_steps`` during training, or trains another
            trainer with this callback meanwhile.

    Source: the norm test as in :class:`adabatch.schedules.NormTest`.

    >>> callback = AdaptiveBatchCallback(interval=1)          # Trainer(..., callbacks=[callback])
    >>> callback.history
    []
    """

    def __init__(
        self, schedule: BatchSizeSchedule | None = None, interval: int = 0, samples: int | None = None
    ) -> None:
        super().__init__(schedule, interval, samples)
        self._windows: Windows | None = None
        self._batches: list[Any] = []
        self._tokens: list[int] | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **parts: Any) -> None:
        """Look at the model, which is wrapped by now, and at the arguments; stand around the epochs."""
        if self._windows is not None and self._windows.running:
            raise RuntimeError(
                "this callback is in the middle of another training: give each trainer a callback of its own"
            )
        trainer = calling_trainer(self)
        _check_arguments(args, self.schedule)
        _check_trainer(trainer)
        check_wrapping(parts["model"])
        self._trainer, self._state = trainer, state
        self._per_device = args.per_device_train_batch_size
        self._planned_steps = int(state.max_steps)
        # The callback gets the module inside DDP, which knows neither its ranks nor its communication hook.
        self._attach(
            trainer.model_wrapped,
            micro_batch=int(state.train_batch_size),
            planned=int(args.gradient_accumulation_steps),
            by_samples=args.max_steps <= 0 or self.budget is not None,
        )
        saved = self._of_checkpoint(args, state)
        self._begin(state.global_step, saved)
        position = tuple(saved["position"]) if saved and self.schedule is not None else None
        self._shifted: bool | None = None
        varying, by_steps = self.schedule is not None, args.max_steps > 0
        self._windows = Windows(trainer, self, position, by_steps=by_steps and varying, varying=varying)

    def on_epoch_end(self, *_: Any, **parts: Any) -> None:
        """A checkpoint of the epoch's end continues with the next epoch."""
        if self._windows is not None:
            self._windows.end_epoch()

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, *_: Any, **parts: Any) -> None:
        """After the window's last micro-batch: moments, the schedule's decision."""
        self._reduce()
        self._end_step(state.global_step + 1, in_tokens=self._tokens is not None)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Between windows: the learning rate by samples, and the end when the samples are spent."""
        state.max_steps = self._planned_steps
        if args.per_device_train_batch_size != self._per_device:
            raise ValueError(
                f"per_device_train_batch_size was changed from {self._per_device} to "
                f"{args.per_device_train_batch_size} during training, where it does nothing: vary the "
                "accumulation (a schedule) instead"
            )
        self._advance_learning_rate(parts.get("lr_scheduler"), self._planned_steps)
        if self._spent:
            control.should_training_stop = True

    def on_log(self, args: Any, state: TrainerState, *_: Any, logs: Any = None, **parts: Any) -> None:
        """Add the last step's numbers to what the Trainer keeps, and to what callbacks after this one log."""
        if self.history and logs is not None and "loss" in logs:
            added = {name: value for name, value in self.history[-1].items() if name not in logs}
            logs.update(added)
            state.log_history[-1].update(added)

    def on_train_end(self, *_: Any, **parts: Any) -> None:
        """Leave the trainer."""
        if self._windows is not None:
            self._windows.remove()

    def state(self) -> dict[str, Any]:
        """What the Trainer keeps of the callback in a checkpoint's ``trainer_state.json``."""
        saved: dict[str, Any] = {}
        if self._windows is not None:
            saved = {"position": list(self._windows.position), **self._saved()}
        return {"args": {"interval": self.interval, "samples": self.budget}, "attributes": {"saved": saved}}

    def next_window(self) -> int:
        """Micro-batches of the next window; the statistics are switched on if it is measured."""
        return self._choose(self._state.global_step + 1)

    def begin_window(self, batches: list[Any], items: Any) -> None:
        """Count what the window got; the window that ends training is the last step that the Trainer knows of."""
        self._items = items
        by_tokens = items is not None and is_scaled(self._trainer, items)
        if items is None and is_scaled(self._trainer, items):
            raise ValueError(
                "the Trainer cannot count the tokens of these labels, takes the loss as normalised all the same, "
                "and divides it by nothing: set loss_is_scaled_for_ga = False on the Trainer"
            )
        self._batches, self._tokens = batches, None
        if by_tokens:
            self._count_tokens()
        else:
            _require_whole(batches, self._micro_batch)
        self._plan_end(len(batches))

    def begin_micro_batch(self, model: nn.Module, inputs: Any) -> None:
        """Try once how the loss is divided, and over which tokens it is."""
        if self._items is None or self._shifted is not None:
            return
        self._shifted = loss_shifts_labels(self._trainer, model, inputs, self._items)
        if self._tokens is not None:
            self._count_tokens()

    def end_micro_batch(self) -> None:
        """A group of the statistics."""
        # Means of micro-batches weigh alike, however long their texts are: then the unit is the sample.
        self._end_micro_batch(self._micro_batch if self._tokens is None else self._tokens[self._done])

    def clip(self) -> Tensor:
        """Measure, then clip by the norm that is known."""
        norm = math.sqrt(self._reduce().squared_norm)
        if math.isfinite(norm):
            clip_gradients(self._model, norm, self._trainer.args.max_grad_norm)
        return torch.tensor(norm)

    def leave(self) -> None:
        """Between epochs, and after an exception, nothing is attached to the model."""
        self._batches = []
        self._leave()

    def _count_tokens(self) -> None:
        """Of the window's micro-batches, as the loss counts them; and in all as the Trainer does."""
        trainers = bool(self._trainer._loss_shifts_labels)
        self._tokens = counted_tokens(self._batches, trainers if self._shifted is None else self._shifted)
        self._divisor = sum(self._tokens)
        if self._shifted is not None and self._shifted != trainers:
            self._divisor = sum(counted_tokens(self._batches, trainers))

    def _reduce(self) -> ReducedStep:
        """The window's moments and norm, once, if all tokens are counted by which its losses were divided."""
        if self._reduced is not None:
            return self._reduced
        device = next(self._model.parameters()).device
        divisor = float(self._divisor) if self._tokens is not None else 0.0
        further = [torch.tensor(divisor**power, dtype=torch.float64, device=device) for power in (1, 2)]
        reduced = self._measure(*further)
        tokens, squares = reduced.sums
        if self._tokens is not None and self._trainer.args.average_tokens_across_devices:
            _require_all_counted(tokens, float(self._items))
        elif self._tokens is not None:
            _require_equal_totals(tokens, squares, self._trainer.args.world_size)
        return reduced

    def _plan_end(self, taken: int) -> None:
        """Let the Trainer know its last step: what it does at the end (evaluate, save) hangs on ``max_steps``."""
        assert self._windows is not None
        data_end = self._windows.left is not None and taken >= self._windows.left
        spent = self.budget is not None and self._samples + taken * self._unit >= self.budget
        if data_end or spent:
            self._state.max_steps = self._state.global_step + 1

    def _of_checkpoint(self, args: TrainingArguments, state: TrainerState) -> dict[str, Any] | None:
        """What a checkpoint has kept, empty if it knows nothing; None where training begins."""
        kept = state.stateful_callbacks.get(type(self).__name__)
        state.stateful_callbacks.setdefault(type(self).__name__, {})  # the Trainer fills no other name in
        if state.global_step == 0:
            return None
        if args.restore_callback_states_from_checkpoint:
            raise ValueError(
                "restore_callback_states_from_checkpoint puts another callback, without the schedule, in the "
                "place of this one: leave it off; this callback restores itself"
            )
        return kept["attributes"]["saved"] if isinstance(kept, dict) and kept else {}


def _check_arguments(args: TrainingArguments, schedule: BatchSizeSchedule | None) -> None:
    """What the statistics or the accumulation would be wrong with."""
    problems = [
        (args.fp16, "fp16 scales the loss, and the statistics would see scaled gradients: use bf16 or fp32"),
        (args.n_gpu > 1, "one process drives several GPUs: start one process per GPU (torchrun)"),
        (args.deepspeed, "DeepSpeed reduces gradients before a hook sees them: use DDP or FSDP2"),
        (
            not args.dataloader_drop_last,
            "the epoch's last micro-batch may be smaller, and groups must have equal sizes: set "
            "dataloader_drop_last=True",
        ),
        (
            args.accelerator_config.split_batches,
            "split_batches divides per_device_train_batch_size among the ranks: leave it off",
        ),
        (
            getattr(args, "train_sampling_strategy", "random") == "group_by_length"
            or getattr(args, "group_by_length", False),
            "group_by_length puts texts of like length into one window, whose micro-batches then differ less than "
            "windows do: sample at random (train_sampling_strategy='random')",
        ),
        (
            args.auto_find_batch_size and schedule is not None,
            "auto_find_batch_size may change the micro-batch, of which the schedule's batches are multiples: find "
            "per_device_train_batch_size first and switch it off, or only measure (no schedule)",
        ),
    ]
    for wrong, message in problems:
        if wrong:
            raise ValueError(message)


def _check_trainer(trainer: Trainer) -> None:
    """What cannot be seen from the arguments."""
    if sum(isinstance(each, AdaptiveBatchCallback) for each in trainer.callback_handler.callbacks) > 1:
        raise ValueError("the Trainer has two AdaptiveBatchCallbacks, and one sets the accumulation: keep one")
    if trainer.get_cp_size() > 1 or trainer.get_sp_size() > 1:
        raise ValueError(
            "context and sequence parallelism divide a text among ranks, which then are not groups of their own: "
            "use data parallelism (DDP or FSDP2)"
        )


def _require_whole(batches: list[Any], samples: int) -> None:
    """Raise unless every micro-batch has as many samples: their means weigh alike."""
    for size in (find_batch_size(batch) for batch in batches if "position_ids" not in batch):
        if size not in {None, samples}:
            raise ValueError(
                f"a micro-batch has {size} samples, and per_device_train_batch_size is {samples}: the losses are "
                "averaged over micro-batches, which must have as many samples; drop or fill the incomplete ones"
            )


def _require_equal_totals(total: float, squares: float, ranks: int) -> None:
    """Raise, on all ranks alike, unless every rank divided its losses by the same number of tokens."""
    if ranks * squares != total**2:
        raise ValueError(
            "the ranks' windows have different numbers of tokens, and with average_tokens_across_devices=False a "
            "token weighs more on one rank than on another: set average_tokens_across_devices=True"
        )


def _require_all_counted(tokens: float, items: float) -> None:
    """Raise unless the groups' tokens are those by which the losses were divided; known alike on all ranks."""
    if tokens != items:
        raise ValueError(
            f"the losses were divided by {items:g} tokens, but the micro-batches have {tokens:g} that count: let "
            "the Trainer count them (_get_num_items_in_batch), from labels where -100 is padding"
        )
