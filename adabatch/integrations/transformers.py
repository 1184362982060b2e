"""The norm test in the ``transformers`` Trainer: a callback that varies the gradient accumulation.

The callback stands around the Trainer's epochs (:mod:`adabatch.integrations.windows`): it chooses the
number of micro-batches of each window, measures between the last ``backward()`` and clipping, and leaves the
trainer and its arguments as they were however an epoch ends. Outside of an epoch nothing is attached or changed.
"""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import torch
from accelerate.utils import find_batch_size
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from adabatch.integrations.noise_scale import NoiseScaleMonitor
from adabatch.integrations.normalisation import counted_tokens, is_scaled, loss_shifts_labels
from adabatch.integrations.windows import Accumulation, Windows, calling_trainer
from adabatch.integrations.wrapping import check_wrapping
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import BatchSizeSchedule
from adabatch.statistics import GradientStatistics
from adabatch.statistics.clipping import clip_gradients
from adabatch.statistics.gradients import ReducedStep

__all__ = ["Accumulation", "AdaptiveBatchCallback"]


class AdaptiveBatchCallback(TrainerCallback, ExportableState):
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

    Args:
        schedule: any of :mod:`adabatch.schedules`, rounded to multiples of ranks x micro-batch; None only
            measures, and leaves batch and learning rate alone.
        interval: measure at least every this many steps (apart from the steps that the schedule needs); 0 measures
            what the schedule needs only.
        samples: stop after this many samples (the Trainer counts steps and epochs only); None: train to its end.

    Attributes:
        history: of the present training, one dict per step: samples, batch_size (in samples), grad_norm (before
            clipping), noise_scale where it was measured (averaged over steps; NaN until it is positive), in
            samples or, where losses are divided by tokens, in tokens; then batch_tokens is the step's number of
            them. The last one's numbers are added to the Trainer's ``state.log_history`` whenever it logs.

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
        if interval < 0 or (schedule is None and interval == 0):
            raise ValueError(
                f"without a schedule the interval must be at least 1 step, but is {interval}: take "
                "AdaptiveBatchCallback(interval=1) to measure every step, or give a schedule"
            )
        self.schedule, self.interval, self.budget = schedule, interval, samples
        self.history: list[dict[str, float]] = []
        self.monitor = NoiseScaleMonitor()
        self._windows: Windows | None = None
        self._statistics: GradientStatistics | None = None
        self._beginning: dict[str, Any] | None = None
        self._reduced: ReducedStep | None = None
        self._batches: list[Any] = []
        self._tokens: list[int] | None = None
        self._samples = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **parts: Any) -> None:
        """Look at the model, which is wrapped by now, and at the arguments; stand around the epochs."""
        if self._windows is not None and self._windows.running:
            raise RuntimeError(
                "this callback is in the middle of another training: give each trainer a callback of its own"
            )
        trainer = calling_trainer(self)
        _check_arguments(args, self.schedule)
        _check_trainer(trainer)
        model = parts["model"]
        check_wrapping(model)
        self._trainer, self._model, self._state = trainer, model, state
        self._micro_batch = int(state.train_batch_size)
        self._per_device = args.per_device_train_batch_size
        self._unit = args.world_size * self._micro_batch
        self._planned_batch = int(args.gradient_accumulation_steps) * self._unit
        self._planned_steps = int(state.max_steps)
        self._by_samples = args.max_steps <= 0 or self.budget is not None
        position = self._restore(args, state)
        if self.schedule is not None:
            self._micro_batches(self.schedule.batch_size)
        self.leave()
        # The callback gets the module inside DDP, which knows neither its ranks nor its communication hook.
        self._statistics = GradientStatistics(trainer.model_wrapped)
        self._statistics.enable(False)
        self._shifted: bool | None = None
        varying, by_steps = self.schedule is not None, args.max_steps > 0
        self._windows = Windows(trainer, self, position, by_steps=by_steps and varying, varying=varying)

    def on_epoch_end(self, *_: Any, **parts: Any) -> None:
        """A checkpoint of the epoch's end continues with the next epoch."""
        if self._windows is not None:
            self._windows.end_epoch()

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, *_: Any, **parts: Any) -> None:
        """After the window's last micro-batch: moments, the schedule's decision."""
        reduced, squared_norm = self._measure(), self._measure().squared_norm
        batch_size = self._done * self._unit
        record: dict[str, float] = {"samples": self._samples + batch_size, "batch_size": batch_size}
        record["grad_norm"] = math.sqrt(squared_norm)
        if not math.isfinite(squared_norm):
            _drop_gradients(self._model, state.global_step + 1, squared_norm)
        elif reduced.moments is not None and reduced.moments.groups >= 2:
            record["noise_scale"] = self.monitor.update(reduced.moments)
            if self._tokens is not None:
                record["batch_tokens"] = float(reduced.moments.batch_size)
        self._samples += batch_size
        whole = self._done == self._wanted
        self._decide(reduced.moments, usable=whole and math.isfinite(squared_norm))
        self.history.append(record)

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
        if self.schedule is not None:
            self._micro_batches(self.schedule.batch_size)
            if self._by_samples:
                self._advance_learning_rate(parts.get("lr_scheduler"))
        if self.budget is not None and self._samples >= self.budget:
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
            saved = {
                "position": list(self._windows.position),
                "samples": self._samples,
                "unit": self._unit,
                "planned_batch": self._planned_batch,
                "monitor": self.monitor.state_dict(),
                "schedule": None if self.schedule is None else self.schedule.state_dict(),
            }
        return {"args": {"interval": self.interval, "samples": self.budget}, "attributes": {"saved": saved}}

    def next_window(self) -> int:
        """Micro-batches of the next window; the statistics are switched on if it is measured."""
        assert self._statistics is not None
        step = self._state.global_step + 1
        due = self.interval > 0 and step % self.interval == 0
        self._statistics.enable(due or (self.schedule is not None and self.schedule.needs_moments))
        if self.schedule is None:
            self._wanted = int(self._planned_batch // self._unit)
        else:
            self._wanted = self._micro_batches(self.schedule.batch_size)
        return int(self._wanted)

    def begin_window(self, batches: list[Any], items: Any) -> None:
        """Count what the window got; the window that ends training is the last step that the Trainer knows of."""
        self._done, self._reduced, self._items = 0, None, items
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
        assert self._statistics is not None
        # Means of micro-batches weigh alike, however long their texts are: then the unit is the sample.
        tokens = self._micro_batch if self._tokens is None else self._tokens[self._done]
        self._statistics.end_microbatch(self._micro_batch, tokens)
        self._done += 1

    def clip(self) -> Tensor:
        """Measure, then clip by the norm that is known."""
        squared_norm = self._measure().squared_norm
        norm = math.sqrt(squared_norm)
        if math.isfinite(norm):
            clip_gradients(self._model, norm, self._trainer.args.max_grad_norm)
        return torch.tensor(norm)

    def _count_tokens(self) -> None:
        """Of the window's micro-batches, as the loss counts them; and in all as the Trainer does."""
        trainers = bool(self._trainer._loss_shifts_labels)
        self._tokens = counted_tokens(self._batches, trainers if self._shifted is None else self._shifted)
        self._divisor = sum(self._tokens)
        if self._shifted is not None and self._shifted != trainers:
            self._divisor = sum(counted_tokens(self._batches, trainers))

    def leave(self) -> None:
        """Between epochs, and after an exception, nothing is attached to the model."""
        self._batches = []
        if self._statistics is not None:
            self._statistics.reset()
            self._statistics.enable(False)

    def _measure(self) -> ReducedStep:
        """The window's moments and norm, reduced once."""
        if self._reduced is None:
            assert self._statistics is not None
            device = next(self._model.parameters()).device
            divisor = float(self._divisor) if self._tokens is not None else 0.0
            further = [torch.tensor(divisor**power, dtype=torch.float64, device=device) for power in (1, 2)]
            self._reduced = self._statistics.reduce_step(*further)
            tokens, squares = self._reduced.sums
            if self._tokens is not None and self._trainer.args.average_tokens_across_devices:
                _require_all_counted(tokens, float(self._items))
            elif self._tokens is not None:
                _require_equal_totals(tokens, squares, self._trainer.args.world_size)
        return self._reduced

    def _decide(self, moments: GradientMoments | None, usable: bool) -> None:
        """The schedule's next batch; the epoch's short last window and thrown away gradients are not tested."""
        if self.schedule is None:
            return
        if usable:
            self.schedule.update(moments)
        else:
            self.schedule.skip(self._done * self._unit)

    def _plan_end(self, taken: int) -> None:
        """Let the Trainer know its last step: what it does at the end (evaluate, save) hangs on ``max_steps``."""
        assert self._windows is not None
        data_end = self._windows.left is not None and taken >= self._windows.left
        spent = self.budget is not None and self._samples + taken * self._unit >= self.budget
        if data_end or spent:
            self._state.max_steps = self._state.global_step + 1

    def _micro_batches(self, batch_size: int) -> int:
        if batch_size % self._unit:
            raise ValueError(
                f"a batch of {batch_size} cannot be made from ranks x per_device_train_batch_size = {self._unit} "
                f"samples: give the schedule multiple_of={self._unit}"
            )
        if batch_size < self._planned_batch and self._by_samples:
            raise ValueError(
                f"a batch of {batch_size} samples is below the {self._planned_batch} with which the Trainer plans "
                "its steps and learning rate (ranks x per_device_train_batch_size x gradient_accumulation_steps): "
                f"set gradient_accumulation_steps={max(1, batch_size // self._unit)} or lower"
            )
        return int(batch_size // self._unit)

    def _advance_learning_rate(self, scheduler: Any) -> None:
        """One scheduler step for each planned batch's worth of samples; the Trainer itself takes one per step."""
        if isinstance(scheduler, LRScheduler) and not isinstance(scheduler, ReduceLROnPlateau):
            while scheduler.last_epoch < min(self._samples // self._planned_batch, self._planned_steps):
                scheduler.step()

    def _restore(self, args: TrainingArguments, state: TrainerState) -> tuple[int, int] | None:
        """Begin, or resume from a checkpoint; the place in the data, None where the Trainer knows it."""
        self.history, self._samples = [], 0
        self.monitor.load_state_dict(NoiseScaleMonitor().state_dict())
        if self.schedule is not None:
            if self._beginning is None:
                self._beginning = copy.deepcopy(self.schedule.state_dict())
            self.schedule.load_state_dict(copy.deepcopy(self._beginning))
        kept = state.stateful_callbacks.get(type(self).__name__)
        state.stateful_callbacks.setdefault(type(self).__name__, {})  # the Trainer fills no other name in
        if state.global_step == 0:
            return None
        if args.restore_callback_states_from_checkpoint:
            raise ValueError(
                "restore_callback_states_from_checkpoint puts another callback, without the schedule, in the "
                "place of this one: leave it off; this callback restores itself"
            )
        saved = kept["attributes"]["saved"] if isinstance(kept, dict) else {}
        if self.schedule is None and not (saved and saved["schedule"]):
            self._samples = state.global_step * self._planned_batch
            if saved:
                self._samples = saved["samples"]
                self.monitor.load_state_dict(saved["monitor"])
            return None
        if not saved or not saved["schedule"] or self.schedule is None:
            raise ValueError(
                "the checkpoint was written with another kind of batch (constant or of a schedule) than this "
                "callback's: the place in the data is counted differently; resume with the same kind, or start "
                "again from the checkpoint's weights"
            )
        if (saved["unit"], saved["planned_batch"]) != (self._unit, self._planned_batch):
            raise ValueError(
                f"the checkpoint was written with {saved['unit']} samples per micro-batch of all ranks and "
                f"{saved['planned_batch']} per planned step, but now they are {self._unit} and "
                f"{self._planned_batch}: resume with the same ranks, per_device_train_batch_size and "
                "gradient_accumulation_steps"
            )
        self.schedule.load_state_dict(saved["schedule"])
        self.monitor.load_state_dict(saved["monitor"])
        self._samples = saved["samples"]
        return tuple(saved["position"])


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
    if schedule is not None:
        problems += [
            (
                schedule.learning_rate_scaling,
                f"{schedule.name} makes its own learning rate, and the Trainer's scheduler another one: take "
                "another schedule, or a loop of your own",
            ),
            (
                schedule.needs_step_times,
                f"{schedule.name} fits how long steps take, which this callback does not tell it: give it "
                "step_time",
            ),
            (
                schedule.needs_coordinates,
                f"{schedule.name} looks at the coordinates, which this callback does not measure: take the scalar "
                "test, and the trace for a noise limit",
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


def _drop_gradients(model: nn.Module, step: int, squared_norm: float) -> None:
    """Let the optimizer step do nothing: the gradients are not finite."""
    for parameter in model.parameters():
        parameter.grad = None
    warnings.warn(
        f"step {step} skipped: the squared gradient norm is {squared_norm}; lower the learning rate or lengthen "
        "its warm-up if this repeats",
        stacklevel=2,
    )
