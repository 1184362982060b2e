"""A Trainer's epochs in windows of micro-batches whose length is asked for each time.

The ``transformers`` Trainer plans with one number, ``args.gradient_accumulation_steps`` M. It fetches M
micro-batches for a window, but steps the optimizer where the count of micro-batches since the epoch's start is a
multiple of M, or reaches the epoch's length; it ends an epoch after as many windows as it planned with the first
M; and without a length of the data it takes ``max_steps * M`` for one. As soon as M varies, each of these falls
into the middle of a window: with the divisor of a whole window, and under DDP without having reduced.

:class:`Windows` stands around ``Trainer._run_epoch``. While an epoch runs it chooses the windows' lengths, lets
``gradient_accumulation_steps`` be an :class:`~adabatch.integrations.accumulation.Accumulation`, whose multiples
are counted from the window's start, and ends the epoch with the data. However the epoch ends, an exception
included, the arguments and the trainer are as they were.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from accelerate.utils import find_batch_size
from torch import Tensor
from transformers import Trainer
from transformers.trainer_utils import has_length

from adabatch.integrations.accumulation import Accumulation, require_own

__all__ = ["Windows", "calling_trainer"]


class WindowOwner(Protocol):
    """Who decides the windows, and hears of what happens in them."""

    def next_window(self) -> int:
        """Micro-batches of the next window."""
        ...

    def begin_window(self, batches: list[Any], items: Any) -> None:
        """What the window got, which may be less at the end of the data; items: the loss is divided by them."""
        ...

    def begin_micro_batch(self, model: Any, inputs: Any) -> None:
        """Before a micro-batch's forward pass."""
        ...

    def end_micro_batch(self) -> None:
        """After a micro-batch's backward pass."""
        ...

    def clip(self) -> Tensor:
        """In place of the Trainer's own clipping; the norm before it."""
        ...

    def leave(self) -> None:
        """An epoch has ended, by an exception or not."""
        ...


class Windows:
    """Stands for a trainer's ``_run_epoch`` (module docstring).

    Args:
        trainer: which is about to run its first epoch.
        owner: decides the windows.
        position: epoch, and micro-batches of it that are behind; None where the Trainer's own count is right.
        by_steps: train to ``state.max_steps``, in as many epochs as that takes.
        varying: whether the windows' lengths may vary.

    Raises:
        ValueError: if the installed transformers' Trainer is built differently.
    """

    def __init__(
        self,
        trainer: Trainer,
        owner: WindowOwner,
        position: tuple[int, int] | None,
        *,
        by_steps: bool,
        varying: bool,
    ) -> None:
        plain: Any = getattr(trainer, "_run_epoch", None)
        while isinstance(plain, Windows):  # left by a training that was interrupted
            plain = plain.plain
        if plain is None or not hasattr(trainer, "_clip_grad_norm"):
            import transformers

            raise ValueError(
                f"transformers {transformers.__version__} has no Trainer._run_epoch and _clip_grad_norm, through "
                "which the callback sets the windows: install transformers 5.23 or one that has them"
            )
        self.trainer, self.owner = trainer, owner
        self.plain: Callable[..., None] = plain
        self.running = False
        self.by_steps, self.varying = by_steps, varying
        self.epoch, self.seen = position or (0, 0)
        self._resumed_at: int | None = position[0] if position else None
        self._length: int | None = None
        self._total: int | None = None
        trainer._run_epoch = self

    def remove(self) -> None:
        """Leave the trainer as it was."""
        if vars(self.trainer).get("_run_epoch") is self:
            del self.trainer._run_epoch

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and micro-batches of it that are behind: where the data continue."""
        if self._length is not None and self.seen >= self._length:
            return self.epoch + 1, 0
        return self.epoch, self.seen

    @property
    def left(self) -> int | None:
        """Micro-batches until the planned epochs end; None if that is not known."""
        if self._total is None or self._length is None:
            return None
        return max(0, self._total - self.epoch * self._length - self.seen)

    def __call__(self, **given: Any) -> None:
        """``_run_epoch``, for all epochs up to the given one that are not behind yet.

        A resumed Trainer finds its epoch from steps of equal size: it may announce epochs that are behind.
        """
        if self.owner not in self.trainer.callback_handler.callbacks:  # removed since
            self.plain(**given)
            return
        if self._resumed_at is None:
            self.epoch, self.seen = given["epoch"], given["steps_trained_in_current_epoch"]
            self._resumed_at = given["epochs_trained"]
        trainer, announced = self.trainer, True
        while self._goes_on(given["epoch"]):
            if not announced:
                trainer.control = trainer.callback_handler.on_epoch_begin(
                    trainer.args, trainer.state, trainer.control
                )
            announced = False
            self._run(given)

    def _goes_on(self, announced_epoch: int) -> bool:
        if self.trainer.control.should_training_stop:
            return False
        state = self.trainer.state
        last = announced_epoch + 1 >= state.num_train_epochs
        more = self.by_steps and last and state.global_step < state.max_steps
        return self.epoch <= announced_epoch or more

    def _run(self, given: dict[str, Any]) -> None:
        """One epoch; the trainer's methods and arguments are others while it runs."""
        trainer, args = self.trainer, self.trainer.args
        sized = has_length(given["train_dataloader"])
        self._length = given["steps_in_epoch"] if sized else None
        if self.varying and sized and not self.by_steps:
            self._total = -int(-args.num_train_epochs * given["steps_in_epoch"] // 1)
        if args.ignore_data_skip:
            self.seen = 0
        given = given | {
            "epoch": self.epoch,
            "epochs_trained": self._resumed_at,
            "steps_trained_in_current_epoch": self.seen,
            "num_update_steps_per_epoch": sys.maxsize,  # the data end the epoch
            # Without a length no count of micro-batches may equal it: there the Trainer would end a window.
            "steps_in_epoch": given["steps_in_epoch"] if sized else given["steps_in_epoch"] + 0.5,
        }
        replaced = {"get_batch_samples": self._fetch, "training_step": self._step, "_clip_grad_norm": self._clip}
        before = {name: vars(trainer)[name] for name in replaced if name in vars(trainer)}
        self._given = self._window = args.gradient_accumulation_steps
        self._plain_fetch, self._plain_step = trainer.get_batch_samples, trainer.training_step
        try:
            self.running = True
            vars(trainer).update(replaced)
            self.plain(**given)
        finally:
            for name in replaced:
                vars(trainer).pop(name, None)
            vars(trainer).update(before)
            args.gradient_accumulation_steps = self._given
            self.running = False
            self.owner.leave()

    def end_epoch(self) -> None:
        """At the epoch's end: the data continue with the next epoch, unless training stops within this one."""
        if not self.trainer.control.should_training_stop:
            self.epoch, self.seen = self.epoch + 1, 0

    def _fetch(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """``get_batch_samples`` for a window of the owner's length."""
        self._require_own_window()
        wanted = self.owner.next_window()
        if self._length is not None:
            wanted = min(wanted, self._length - self.seen)
        if self.left is not None:
            wanted = min(wanted, self.left)
        batches, items = [], None
        if wanted > 0:
            batches, items = self._plain_fetch(epoch_iterator, wanted, device)
        if self._length is None:
            batches, items = self._without_incomplete(batches, items, device)
        if not batches:
            self.trainer.control.should_epoch_stop = True
            return batches, items
        self._window = Accumulation(len(batches), start=self.seen, given=self._given)
        self.trainer.args.gradient_accumulation_steps = self._window
        self.owner.begin_window(batches, items)
        return batches, items

    def _without_incomplete(self, batches: list[Any], items: Any, device: Any) -> tuple[list[Any], Any]:
        """What ``dataloader_drop_last`` asks for, which the Trainer does not do for data without length."""
        samples = {None, int(self.trainer.state.train_batch_size)}
        whole = [batch for batch in batches if "position_ids" in batch or find_batch_size(batch) in samples]
        if len(whole) < len(batches):
            items = self.trainer._get_num_items_in_batch(whole, device)
        return whole, items

    def _step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        """``training_step``, between the owner's two calls."""
        self._require_own_window()
        self.owner.begin_micro_batch(model, inputs)
        loss = self._plain_step(model, inputs, *rest, **named)
        self._require_own_window()
        self.seen += 1
        self.owner.end_micro_batch()
        return loss

    def _clip(self, model: Any) -> Tensor:
        return self.owner.clip()

    def _require_own_window(self) -> None:
        present = self.trainer.args.gradient_accumulation_steps
        require_own(present, self._window, "gradient_accumulation_steps")


def calling_trainer(callback: Any) -> Trainer:
    """The trainer that is calling the callback's event: the Trainer passes itself to none.

    Raises:
        RuntimeError: if no Trainer with this callback is among the callers.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer) and callback in owner.callback_handler.callbacks:
            return owner
        frame = frame.f_back
    raise RuntimeError(
        "no transformers Trainer calls this callback: give it to one, Trainer(..., callbacks=[callback]), which "
        "calls its events while it trains"
    )
