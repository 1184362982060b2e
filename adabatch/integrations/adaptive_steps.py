"""What the adapters of others' trainers share: steps of M micro-batches, measured once, on the schedule's batch.

A trainer's adapter asks how many micro-batches the next step has, reports each one, and lets the step be measured
between its last ``backward()`` and clipping. What differs among trainers (where a step ends, by what losses are
divided, what is saved where) is the adapter's own.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from adabatch.integrations.noise_scale import NoiseScaleMonitor
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import BatchSizeSchedule
from adabatch.statistics import GradientStatistics, ReducedStep

__all__ = ["AdaptiveSteps"]


class AdaptiveSteps:
    """The steps of one training at a time; the adapter of a trainer inherits from it.

    Args:
        schedule: any of :mod:`adabatch.schedules`, rounded to multiples of ranks x micro-batch; None only
            measures, and leaves batch and learning rate alone.
        interval: measure at least every this many steps (apart from the steps that the schedule needs); 0 measures
            what the schedule needs only.
        samples: stop after this many samples; None: train to the trainer's own end.

    Attributes:
        history: of the present training, one dict per step: samples, batch_size (in samples), grad_norm (before
            clipping), noise_scale where it was measured (averaged over steps; NaN until it is positive), in
            samples or, where losses are divided by tokens, in tokens; then batch_tokens is the step's number of
            them.
        monitor: averages the noise scale.
        accumulation: what the trainer calls M.

    Raises:
        ValueError: if there is nothing to measure, and for a schedule that asks for what the adapter does not do.
    """

    accumulation = "gradient_accumulation_steps"

    def __init__(
        self, schedule: BatchSizeSchedule | None = None, interval: int = 0, samples: int | None = None
    ) -> None:
        if interval < 0 or (schedule is None and interval == 0):
            raise ValueError(
                f"without a schedule the interval must be at least 1 step, but is {interval}: take interval=1 to "
                "measure every step, or give a schedule"
            )
        if schedule is not None:
            _require_alone(schedule)
        self.schedule, self.interval, self.budget = schedule, interval, samples
        self.history: list[dict[str, float]] = []
        self.monitor = NoiseScaleMonitor()
        self._statistics: GradientStatistics | None = None
        self._beginning: dict[str, Any] | None = None
        self._reduced: ReducedStep | None = None
        self._samples = self._done = 0

    def _attach(
        self,
        model: nn.Module,
        *,
        micro_batch: int,
        planned: int,
        by_samples: bool,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        """Put statistics on the model, after wrapping; they are off between steps.

        Args:
            model: as the trainer trains it.
            micro_batch: samples of a rank's micro-batch.
            planned: M as the trainer plans its steps and learning rate with.
            by_samples: whether training ends with its samples, so that the learning rate follows them.
            reduction: of the gradients over ranks.

        Raises:
            ValueError: if the first step has fewer groups than a variance takes, or a batch cannot be made.
        """
        self._leave()
        self._model, self._statistics = model, GradientStatistics(model, reduction=reduction)
        self._statistics.enable(False)
        ranks = self._statistics.layout.ranks
        self._micro_batch, self._unit = micro_batch, ranks * micro_batch
        self._planned_batch, self._by_samples = planned * self._unit, by_samples

    def _begin(self, steps: int, saved: Mapping[str, Any] | None) -> None:
        """Begin as the first training began, or resume.

        Args:
            steps: that the trainer has taken.
            saved: of a checkpoint; None: from the start. Empty if the checkpoint knows nothing of the schedule.

        Raises:
            ValueError: if the checkpoint is of another kind of batch, or of other batches.
        """
        self.history, self._samples = [], steps * self._planned_batch if self.schedule is None else 0
        self.monitor.load_state_dict(NoiseScaleMonitor().state_dict())
        if self.schedule is not None:
            if self._beginning is None:
                self._beginning = copy.deepcopy(self.schedule.state_dict())
            self.schedule.load_state_dict(copy.deepcopy(self._beginning))
        self._require_first(self._wanted_batch() // self._unit)
        if saved is not None:
            self._resume(saved)

    def _resume(self, saved: Mapping[str, Any]) -> None:
        state: dict[str, Any] = saved.get("schedule") or {}
        if bool(state) != (self.schedule is not None):
            raise ValueError(
                "the checkpoint was written with another kind of batch (constant or of a schedule) than this "
                "callback's: the place in the data is counted differently; resume with the same kind, or start "
                "again from the checkpoint's weights"
            )
        if self.schedule is not None:
            if (saved["unit"], saved["planned_batch"]) != (self._unit, self._planned_batch):
                raise ValueError(
                    f"the checkpoint was written with {saved['unit']} samples per micro-batch of all ranks and "
                    f"{saved['planned_batch']} per planned step, but now they are {self._unit} and "
                    f"{self._planned_batch}: resume with the same ranks, micro-batch and accumulation"
                )
            self.schedule.load_state_dict(state)
        if saved:
            self._samples = saved["samples"]
            self.monitor.load_state_dict(saved["monitor"])

    def _saved(self) -> dict[str, Any]:
        """What a checkpoint keeps; empty before a training."""
        if self._statistics is None:
            return {}
        return {
            "samples": self._samples,
            "unit": self._unit,
            "planned_batch": self._planned_batch,
            "monitor": self.monitor.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def _leave(self) -> None:
        """Between trainings, and after an exception, nothing is attached to the model."""
        if self._statistics is not None:
            self._statistics.reset()
            self._statistics.enable(False)

    def _choose(self, step: int) -> int:
        """Micro-batches of the step with this number, from 1; the statistics are on if it is measured."""
        assert self._statistics is not None
        due = self.interval > 0 and step % self.interval == 0
        self._statistics.enable(due or (self.schedule is not None and self.schedule.needs_moments))
        self._done, self._reduced, self._wanted = 0, None, self._micro_batches(self._wanted_batch())
        return self._wanted

    def _end_micro_batch(self, tokens: int) -> None:
        """A group of the statistics.

        Args:
            tokens: that count in its loss; where its mean weighs as much as another's, its samples.
        """
        assert self._statistics is not None
        self._statistics.end_microbatch(self._micro_batch, tokens)
        self._done += 1

    def _measure(self, *further: Tensor) -> ReducedStep:
        """The step's moments and norm, with sums of these scalars of each rank; reduced once."""
        if self._reduced is None:
            assert self._statistics is not None
            self._reduced = self._statistics.reduce_step(*further)
        return self._reduced

    def _end_step(self, step: int, *, in_tokens: bool, factor: float = 1.0) -> dict[str, float]:
        """Record the step, which is measured, and let the schedule decide; its record.

        Gradients that are not finite are dropped. A step that is not whole, as the data end, is not tested.

        Args:
            step: its number.
            in_tokens: whether losses are divided by tokens.
            factor: by which the gradients were multiplied since they were measured.
        """
        reduced = self._measure()
        moments, norm = reduced.moments, math.sqrt(reduced.squared_norm) * factor
        batch_size = self._done * self._unit
        self._samples += batch_size
        record: dict[str, float] = {"samples": self._samples, "batch_size": batch_size, "grad_norm": norm}
        if moments is not None:
            moments = _scaled(moments, factor)
        if not math.isfinite(norm):
            _drop_gradients(self._model, step, norm)
        elif moments is not None and moments.groups >= 2:
            record["noise_scale"] = self.monitor.update(moments)
            if in_tokens:
                record["batch_tokens"] = float(moments.batch_size)
        if self.schedule is not None:
            if self._done == self._wanted and math.isfinite(norm):
                self.schedule.update(moments, batch_size)
            else:
                self.schedule.skip(batch_size)
        self.history.append(record)
        return record

    @property
    def _spent(self) -> bool:
        """Whether the samples that were asked for are."""
        return self.budget is not None and self._samples >= self.budget

    def _wanted_batch(self) -> int:
        """Samples of the next step.

        Raises:
            ValueError: if no M makes them.
        """
        batch_size = self._planned_batch if self.schedule is None else self.schedule.batch_size
        if batch_size % self._unit:
            raise ValueError(
                f"a batch of {batch_size} cannot be made from ranks x micro-batch = {self._unit} samples: give "
                f"the schedule multiple_of={self._unit}"
            )
        return batch_size

    def _micro_batches(self, batch_size: int) -> int:
        """M of a step on this batch, or on the smallest one that a schedule may fall to."""
        planned = self._planned_batch if self._by_samples else 0
        taken = max(batch_size, planned, -(-self._groups_needed // self._ranks) * self._unit)
        if batch_size < planned:
            warnings.warn(
                f"the schedule asks for less than the {planned} samples with which the trainer plans its steps "
                f"and learning rate, and gets {taken}: lower {self.accumulation} to let the batch fall further",
                stacklevel=2,
            )
        return taken // self._unit

    @property
    def _ranks(self) -> int:
        return self._unit // self._micro_batch

    @property
    def _groups_needed(self) -> int:
        return 2 if self.schedule is None else self.schedule.groups_needed

    def _require_first(self, micro_batches: int) -> None:
        """Raise for a first step of this many micro-batches.

        Raises:
            ValueError: if it has too few groups, or the learning rate is planned for a larger one.
        """
        batch_size = micro_batches * self._unit
        if batch_size < self._planned_batch and self._by_samples:
            raise ValueError(
                f"a batch of {batch_size} samples is below the {self._planned_batch} with which the trainer plans "
                "its steps and learning rate (ranks x micro-batch x accumulation): set "
                f"{self.accumulation}={micro_batches} or lower"
            )
        if self._ranks * micro_batches < self._groups_needed:
            who = "a variance" if self.schedule is None else self.schedule.name
            raise ValueError(
                f"a step of {micro_batches} micro-batch{'es' * (micro_batches > 1)} on {self._ranks} "
                f"rank{'s' * (self._ranks > 1)} has too few groups: {who} needs at least {self._groups_needed}; "
                "accumulate more (a larger initial batch or a smaller micro-batch), or add ranks"
            )

    def _advance_learning_rate(self, scheduler: Any, most: float = math.inf) -> None:
        """One scheduler step per planned batch's worth of samples; the trainer itself takes one per step.

        Args:
            scheduler: one that counts steps; others are left alone.
            most: steps that the trainer has planned.
        """
        if self.schedule is None or not self._by_samples:
            return
        if isinstance(scheduler, LRScheduler) and not isinstance(scheduler, ReduceLROnPlateau):
            while scheduler.last_epoch < min(self._samples // self._planned_batch, most):
                scheduler.step()


def _require_alone(schedule: BatchSizeSchedule) -> None:
    """Raise if the schedule asks for more than accumulation."""
    name = schedule.name
    problems = [
        (
            schedule.learning_rate_scaling,
            f"{name} makes its own learning rate, and the trainer's scheduler another one: take another schedule, "
            "or a loop of your own",
        ),
        (
            schedule.needs_step_times,
            f"{name} fits how long steps take, which this callback does not tell it: give it step_time",
        ),
        (
            schedule.needs_coordinates,
            f"{name} looks at the coordinates, which this callback does not measure: take the scalar test, and "
            "the trace for a noise limit",
        ),
    ]
    for wrong, message in problems:
        if wrong:
            raise ValueError(message)


def _scaled(moments: GradientMoments, factor: float) -> GradientMoments:
    """Of gradients that were multiplied by the factor."""
    squared = factor**2
    return replace(
        moments,
        sum_of_squares=moments.sum_of_squares * squared,
        squared_norm=moments.squared_norm * squared,
    )


def _drop_gradients(model: nn.Module, step: int, norm: float) -> None:
    """Let the optimizer step do nothing: the gradients are not finite."""
    for parameter in model.parameters():
        parameter.grad = None
    warnings.warn(
        f"step {step} skipped: the gradient's norm is {norm}; lower the learning rate or lengthen its warm-up if "
        "this repeats",
        stacklevel=2,
    )
