"""The norm test in the ``transformers`` Trainer: a callback that varies the gradient accumulation.

The Trainer reads ``args.gradient_accumulation_steps`` M in two ways: it fetches M micro-batches for a window, and
it steps the optimizer where the number of micro-batches since the epoch began is a multiple of M. A plain change
of M moves the second away from the first: after 2 windows of 2, a change to 3 steps after two micro-batches whose
losses were divided by 3. :class:`Accumulation` is an int whose multiples are counted from the window's start,
which keeps both together. Clipping comes before every event that a callback sees, so the callback takes over the
clipping as well: the statistics need the gradient as it was.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adabatch.integrations.noise_scale import NoiseScaleMonitor
from adabatch.integrations.wrapping import check_wrapping
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import BatchSizeSchedule
from adabatch.statistics import GradientStatistics
from adabatch.statistics.clipping import clip_gradients

__all__ = ["Accumulation", "AdaptiveBatchCallback"]


class Accumulation(int):
    """M micro-batches per window; remainders are counted from ``start``, the micro-batch that begins the window.

    >>> steps = Accumulation(3, start=4)
    >>> [count % steps for count in (4, 5, 6, 7)], steps == 3
    ([0, 1, 2, 0], True)
    """

    start: int

    def __new__(cls, value: int, start: int = 0) -> Accumulation:
        """An int that remembers where counting starts."""
        steps = super().__new__(cls, value)
        steps.start = start
        return steps

    def __rmod__(self, count: int) -> int:
        """``count % self``, which Python asks a subclass of int for first."""
        return (count - self.start) % int(self)

    def __reduce__(self) -> tuple[type[Accumulation], tuple[int, int]]:
        """For copies and pickles: the Trainer saves its arguments."""
        return Accumulation, (int(self), self.start)


class AdaptiveBatchCallback(TrainerCallback):
    """Measures the gradients of a Trainer's steps and, given a schedule, sets the next step's accumulation.

    The micro-batch stays ``per_device_train_batch_size`` (the Trainer reads it once, when training starts); the
    number M of them varies. The learning-rate scheduler is advanced by samples: a step on a batch k times the
    first one counts as k steps, so that a decay planned by the Trainer ends with the data.

    Every micro-batch needs the same number of tokens that count in the loss: the Trainer weighs them by it.

    Args:
        schedule: any of :mod:`adabatch.schedules`, rounded to multiples of ranks x micro-batch; None only
            measures, and leaves batch and learning rate alone.
        interval: measure at least every this many steps (apart from the steps that the schedule needs); 0 measures
            what the schedule needs only.
        samples: stop after this many samples (the Trainer counts steps and epochs only); None: train to its end.

    Attributes:
        history: one dict per step: samples, batch_size, grad_norm (before clipping), and noise_scale where it was
            measured (averaged over steps; NaN until it is positive). The last one's numbers are added to the
            Trainer's ``state.log_history`` whenever it logs.

    Raises:
        ValueError: at the start of training, for arguments with which the statistics would be wrong.

    Source: the norm test as in :class:`adabatch.schedules.NormTest`.

    >>> callback = AdaptiveBatchCallback(interval=1)          # Trainer(..., callbacks=[callback])
    >>> callback.history
    []
    """

    def __init__(
        self, schedule: BatchSizeSchedule | None = None, interval: int = 0, samples: int | None = None
    ) -> None:
        if interval < 0 or (schedule is None and interval == 0):
            raise ValueError(
                f"without a schedule the interval must be at least 1 step, but is {interval}: take "
                "AdaptiveBatchCallback(interval=1) to measure every step, or give a schedule"
            )
        self.schedule, self.interval, self.budget = schedule, interval, samples
        self.history: list[dict[str, float]] = []
        self.monitor = NoiseScaleMonitor()
        self._samples = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **parts: Any) -> None:
        """Attach to the model, which is wrapped by now."""
        _check_arguments(args, state)
        model = parts["model"]
        check_wrapping(model)
        self._model = model
        self._micro_batch = int(state.train_batch_size)
        self._unit = args.world_size * self._micro_batch
        self._restore = {name: getattr(args, name) for name in ("gradient_accumulation_steps", "max_grad_norm")}
        self._clip, args.max_grad_norm = args.max_grad_norm, 0.0
        # The callback gets the module inside DDP, which does not know its process group.
        sharded = any(isinstance(module, FSDPModule) for module in model.modules())
        group = dist.group.WORLD if args.world_size > 1 and not sharded else None
        self._statistics = GradientStatistics(model, process_group=group)
        self._window = self._done = self._seen = 0
        if self.schedule is not None:
            args.gradient_accumulation_steps = self._micro_batches(self.schedule.batch_size)
        self._first_batch = args.gradient_accumulation_steps * self._unit
        self._statistics.enable(self._measures(state))

    def on_epoch_begin(self, args: TrainingArguments, *_: Any, **parts: Any) -> None:
        """The Trainer counts micro-batches again from 0 in each epoch."""
        self._begin_window(args, seen=0)

    def on_substep_end(self, *_: Any, **parts: Any) -> None:
        """After every micro-batch of a window but the last."""
        self._close_micro_batch()

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, *_: Any, **parts: Any) -> None:
        """After the window's last micro-batch: moments, clipping, the schedule's decision."""
        self._close_micro_batch()
        whole = self._done == self._window
        reduced = self._statistics.reduce_step()
        moments, squared_norm = reduced.moments, reduced.squared_norm
        batch_size = self._done * self._unit
        self._samples += batch_size
        record = {"samples": self._samples, "batch_size": batch_size, "grad_norm": math.sqrt(squared_norm)}
        if math.isfinite(squared_norm):
            clip_gradients(self._model, math.sqrt(squared_norm), self._clip)
            if moments is not None and moments.groups >= 2:
                record["noise_scale"] = self.monitor.update(moments)
        else:
            _drop_gradients(self._model, state.global_step + 1, squared_norm)
        self._decide(moments, usable=whole and math.isfinite(squared_norm))
        self.history.append(record)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Between windows: set the next one's accumulation, and stop when the samples are spent."""
        if args.train_batch_size != self._micro_batch:
            raise ValueError(
                f"per_device_train_batch_size was changed from {self._micro_batch} to {args.train_batch_size} "
                "during training, where it does nothing: vary the accumulation (a schedule) instead"
            )
        if self.schedule is not None:
            args.gradient_accumulation_steps = self._micro_batches(self.schedule.batch_size)
            self._advance_learning_rate(parts.get("lr_scheduler"), state)
        self._begin_window(args, seen=self._seen)
        self._statistics.enable(self._measures(state))
        if self.budget is not None and self._samples >= self.budget:
            control.should_training_stop = True

    def on_log(self, args: Any, state: TrainerState, *_: Any, logs: Any = None, **parts: Any) -> None:
        """Add the last step's numbers to what the Trainer keeps, and to what callbacks after this one log."""
        if self.history and logs is not None and "loss" in logs:
            added = {name: value for name, value in self.history[-1].items() if name not in logs}
            logs.update(added)
            state.log_history[-1].update(added)

    def on_train_end(self, args: TrainingArguments, *_: Any, **parts: Any) -> None:
        """Give the arguments back as they were, and detach."""
        for name, value in self._restore.items():
            setattr(args, name, value)
        if not self._done:
            self._statistics.enable(False)

    def _begin_window(self, args: TrainingArguments, seen: int) -> None:
        if self._done:
            raise RuntimeError(
                f"{self._done} micro-batches were left without an optimizer step: the accumulation fell below the "
                "one that training started with, for which the Trainer planned its epoch; start with the smallest"
            )
        self._seen, self._window = seen, int(args.gradient_accumulation_steps)
        args.gradient_accumulation_steps = Accumulation(self._window, start=seen)

    def _close_micro_batch(self) -> None:
        self._statistics.end_microbatch(self._micro_batch)
        self._done += 1
        self._seen += 1
        if self._done > self._window:
            raise RuntimeError(
                f"a window of {self._window} micro-batches took {self._done}: gradient_accumulation_steps was "
                "changed by something else, or this version of transformers counts otherwise"
            )

    def _decide(self, moments: GradientMoments | None, usable: bool) -> None:
        """The schedule's next batch; the epoch's short last window and thrown away gradients are not tested."""
        done, self._done = self._done, 0
        if self.schedule is None:
            return
        if usable:
            self.schedule.update(moments)
        else:
            planned = self.schedule.batch_size
            self.schedule.skip()
            self.schedule.samples += done * self._unit - planned

    def _measures(self, state: TrainerState) -> bool:
        due = self.interval > 0 and (state.global_step + 1) % self.interval == 0
        return due or (self.schedule is not None and self.schedule.needs_moments)

    def _micro_batches(self, batch_size: int) -> int:
        if batch_size % self._unit:
            raise ValueError(
                f"a batch of {batch_size} cannot be made from ranks x per_device_train_batch_size = {self._unit} "
                f"samples: give the schedule multiple_of={self._unit}"
            )
        return int(batch_size // self._unit)

    def _advance_learning_rate(self, scheduler: Any, state: TrainerState) -> None:
        """One scheduler step for each first batch's worth of samples; the Trainer itself takes one per step."""
        if isinstance(scheduler, LRScheduler) and not isinstance(scheduler, ReduceLROnPlateau):
            while scheduler.last_epoch < self._samples // self._first_batch:
                scheduler.step()


def _check_arguments(args: TrainingArguments, state: TrainerState) -> None:
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
            state.global_step > 0,
            "the Trainer finds its place in the data by steps of equal size, which a resumed run with varying "
            "batches would get wrong: start again, or use `adabatch train`, which resumes exactly",
        ),
    ]
    for wrong, message in problems:
        if wrong:
            raise ValueError(message)


def _drop_gradients(model: nn.Module, step: int, squared_norm: float) -> None:
    """Let the optimizer step do nothing: the gradients are not finite."""
    for parameter in model.parameters():
        parameter.grad = None
    warnings.warn(
        f"step {step} skipped: the squared gradient norm is {squared_norm}; lower the learning rate or lengthen "
        "its warm-up if this repeats",
        stacklevel=2,
    )
