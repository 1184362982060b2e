"""The norm test in torchtitan: an object that stands around its Trainer's ``train_step``.

torchtitan collects a step's M = ``trainer.gradient_accumulation_steps`` micro-batches, counts their tokens over
all data-parallel ranks, and divides each micro-batch's loss, a sum over its tokens, by that number; FSDP adds the
ranks' gradients (``set_gradient_divide_factor(1.0)``). So every token weighs alike, groups may have any number of
them, and the statistics count tokens. torchtitan itself is not imported here: only the names below are asked for.
"""

from __future__ import annotations

import json
from typing import Any

from adabatch.integrations.adaptive_steps import AdaptiveSteps
from adabatch.schedules import BatchSizeSchedule

__all__ = ["AdaptiveTraining"]

KEY = "adabatch"
"""Of the state in torchtitan's checkpoints."""

IGNORE_INDEX = -100
"""Labels that count in no loss, there too."""

NAMES = (
    "train_step",
    "forward_backward_step",
    "gradient_accumulation_steps",
    "model_parts",
    "lr_schedulers",
    "parallel_dims",
    "config",
    "step",
)
"""What the Trainer must have."""


class AdaptiveTraining(AdaptiveSteps):
    """Measures the gradients of a torchtitan Trainer's steps and, given a schedule, sets their accumulation.

    Call it between building the Trainer and ``trainer.train()``. The micro-batch stays
    ``training.local_batch_size``; M starts at what ``training.global_batch_size`` makes it. torchtitan ends after
    ``training.steps``, and its learning rate counts steps; with ``samples`` training ends with them at the latest,
    and the learning rate counts them in units of the first batch.

    Schedule, noise scale and samples are kept in torchtitan's checkpoints. A checkpoint without them is refused
    by torchtitan, unless ``checkpoint.exclude_from_loading`` names ``adabatch``.

    Args:
        trainer: torchtitan's, which is not training yet.
        schedule: as in :class:`~adabatch.integrations.adaptive_steps.AdaptiveSteps`, and the next two.
        interval: see there.
        samples: see there.

    Raises:
        ValueError: for a Trainer that is adapted already, is built differently, or divides one text among ranks.
    """

    def __init__(
        self,
        trainer: Any,
        schedule: BatchSizeSchedule | None = None,
        interval: int = 0,
        samples: int | None = None,
    ) -> None:
        super().__init__(schedule, interval, samples)
        _check_trainer(trainer)
        self._trainer = trainer
        self._attach(
            trainer.model_parts[0],
            micro_batch=int(trainer.config.training.local_batch_size),
            planned=int(trainer.gradient_accumulation_steps),
            by_samples=samples is not None,
            reduction="sum",
        )
        self._begin(int(trainer.step), None)
        self._plain_step, self._plain_micro_batch = trainer.train_step, trainer.forward_backward_step
        self._plain_continues = getattr(trainer, "should_continue_training", None)
        trainer.train_step, trainer.forward_backward_step = self._train_step, self._micro_batch_step
        if self._plain_continues is not None:
            trainer.should_continue_training = lambda: not self._spent and self._plain_continues()
        states = getattr(getattr(trainer, "checkpointer", None), "states", None)
        if states is not None:
            states[KEY] = self

    def state_dict(self) -> dict[str, Any]:
        """For torchtitan's checkpoints: one string, since a distributed checkpoint knows its keys beforehand."""
        return {"saved": json.dumps(self._saved())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a checkpoint."""
        self._begin(int(self._trainer.step), json.loads(state["saved"]))

    def _train_step(self, data_iterator: Any) -> Any:
        """``train_step`` with the schedule's accumulation."""
        trainer = self._trainer
        trainer.gradient_accumulation_steps = self._choose(int(trainer.step))
        try:
            result = self._plain_step(data_iterator)
        finally:
            self._leave()  # also where the data end within a step, which torchtitan then does not take
        for scheduler in trainer.lr_schedulers.schedulers:
            self._advance_learning_rate(scheduler)
        return result

    def _micro_batch_step(self, *given: Any, **named: Any) -> Any:
        """``forward_backward_step``; after the last one the step is measured, before torchtitan clips."""
        labels = named["labels"] if "labels" in named else given[1]
        loss = self._plain_micro_batch(*given, **named)
        assert self._statistics is not None
        counted = self._statistics.enabled
        self._end_micro_batch(int((labels != IGNORE_INDEX).sum()) if counted else 0)
        if self._done == self._wanted:
            self._measure()
            self._end_step(int(self._trainer.step), in_tokens=True)
        return loss


def _check_trainer(trainer: Any) -> None:
    """Raise for what the statistics would be wrong with.

    Raises:
        ValueError: naming it.
    """
    without = [name for name in NAMES if not hasattr(trainer, name)]
    if without:
        raise ValueError(
            f"a torchtitan Trainer has {', '.join(NAMES)}, but this {type(trainer).__name__} lacks "
            f"{', '.join(without)}: give the built Trainer of torchtitan 0.2 or a later one that has them"
        )
    dimensions, training = trainer.parallel_dims, trainer.config.training
    problems = [
        (
            isinstance(getattr(trainer.train_step, "__self__", None), AdaptiveTraining),
            "this Trainer is adapted already, and one object sets the accumulation: keep the first one",
        ),
        (
            dimensions.pp_enabled,
            "pipeline parallelism runs all micro-batches at once, so that no group is seen alone: use data and "
            "tensor parallelism",
        ),
        (
            dimensions.cp_enabled,
            "context parallelism divides a text among ranks, which then are not groups of their own: use data and "
            "tensor parallelism",
        ),
        (
            not getattr(training, "disable_cuda_graphs", True),
            "CUDA graphs replay a backward pass without its hooks: set training.disable_cuda_graphs",
        ),
    ]
    for wrong, message in problems:
        if wrong:
            raise ValueError(message)
