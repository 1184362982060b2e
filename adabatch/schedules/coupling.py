"""What moves with the batch size, and what one optimizer step uses of it.

The batch and all that moves with it change together, before a step: :meth:`Coupling.next_step` computes them once
from the schedule, as one :class:`StepHyperparameters`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import index
from typing import Any

from adabatch.schedules.base import BatchSizeSchedule
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.length_stages import LengthStages

__all__ = ["Coupling", "SecondMomentDecay", "StepHyperparameters"]


@dataclass(frozen=True)
class StepHyperparameters:
    """What one step uses; all of it is decided together, before the step.

    Attributes:
        batch_size: samples.
        sequence_length: tokens that are taken of each sample.
        learning_rate: of the step.
        beta2: decay of the second moment in this step.
        weight_decay: decoupled.
        bias_factor: f, by which the optimizer's bias correction of the second moment is off (:meth:`for_adamw`).
        momentum_factor: 1 - beta1^n where moments are used uncorrected, else 1.
    """

    batch_size: int
    sequence_length: int
    learning_rate: float
    beta2: float
    weight_decay: float
    bias_factor: float = 1.0
    momentum_factor: float = 1.0

    def for_adamw(self, beta1: float, epsilon: float) -> dict[str, Any]:
        """The options of a parameter group of ``torch.optim.AdamW``.

        AdamW divides the second moment v_n by 1 - beta2^n, as if beta2 had always been what it is now; but the
        weights in v_n add up to 1 - beta2_1 ... beta2_n. With f^2 the second over the first,

            lr m / (sqrt(v / (1 - prod beta2_k)) + eps) = (lr f) m / (sqrt(v / (1 - beta2^n)) + eps f),

        so that AdamW is handed lr f, eps f and weight_decay / f: lr x weight_decay stays. Without bias correction
        f^2 is 1 / (1 - beta2^n), and the learning rate makes up for AdamW's division of m by 1 - beta1^n too.

        Args:
            beta1: decay of the first moment.
            epsilon: added to the root of the corrected second moment.

        >>> StepHyperparameters(8, 64, 0.5, 0.75, 0.25, bias_factor=0.5).for_adamw(0.9, 1e-8)
        {'lr': 0.25, 'betas': (0.9, 0.75), 'eps': 5e-09, 'weight_decay': 0.5}
        """
        scale = self.bias_factor * self.momentum_factor
        return {
            "lr": self.learning_rate * scale,
            "betas": (beta1, self.beta2),
            "eps": epsilon * self.bias_factor,
            "weight_decay": self.weight_decay / scale,
        }


@dataclass(frozen=True)
class SecondMomentDecay:
    """Adam's beta2, the same in every step, or with a half-life in samples: beta2 = 2^(-b / H).

    With a half-life the second moment averages over the same samples for every batch (Marek et al., arXiv
    2507.07101).

    Attributes:
        constant: beta2 in every step, where there is no half-life.
        half_life: H, in samples; 0: none.

    >>> SecondMomentDecay(0.95, half_life=64).of_batch(128), SecondMomentDecay(0.95).of_batch(128)
    (0.25, 0.95)
    """

    constant: float
    half_life: float = 0.0

    def of_batch(self, batch_size: int) -> float:
        """beta2 in a step with this batch."""
        return 0.5 ** (batch_size / self.half_life) if self.half_life else self.constant

    def log_of_batch(self, batch_size: int) -> float:
        """ln beta2, also where beta2 is too small for a float."""
        if self.half_life:
            return -batch_size / self.half_life * math.log(2)
        return _log(self.constant)


def _log(beta2: float) -> float:
    return math.log(beta2) if beta2 else -math.inf


@dataclass
class Coupling:
    """All that a step uses apart from its samples, and what of it has to be remembered.

    Attributes:
        learning_rate: by the samples seen, with its scaling by the batch.
        second_moment: beta2 by the batch.
        weight_decay: lambda at the reference batch.
        decay_scaling: lambda by the batch. The decay over the same samples, lr x lambda / b each, stays where this
            scaling and the learning rate's multiply to b.
        lengths: tokens of a sample by the samples seen.
        uncorrected_beta1: beta1 where both moments are used without bias correction; None: they are corrected.
        updates: optimizer steps taken, without those that were skipped.
        log_product: sum of ln beta2_k over them; None: each had the constant beta2.
        tokens: of all steps so far.

    >>> from adabatch.schedules import Stagewise
    >>> rates = LearningRate(1.0, 1.0, 0, 64)
    >>> moment, decay = SecondMomentDecay(0.95, half_life=8), BatchScaling("linear", reference=8)
    >>> coupling = Coupling(rates, moment, 0.1, decay, LengthStages.always(32))
    >>> schedule, steps = Stagewise([8, 16], [0.25, 0.75], total_samples=40), []
    >>> while schedule.samples < 40:
    ...     step = coupling.next_step(schedule)
    ...     steps.append((step.batch_size, step.beta2, step.weight_decay, round(step.bias_factor, 3)))
    ...     coupling.advance(step)
    ...     _ = schedule.update()
    >>> steps
    [(8, 0.5, 0.1, 1.0), (8, 0.5, 0.1, 1.0), (16, 0.25, 0.2, 0.976), (16, 0.25, 0.2, 0.994)]
    """

    learning_rate: LearningRate
    second_moment: SecondMomentDecay
    weight_decay: float
    decay_scaling: BatchScaling
    lengths: LengthStages
    uncorrected_beta1: float | None = None
    updates: int = 0
    log_product: float | None = None
    tokens: int = 0

    def next_step(self, schedule: BatchSizeSchedule) -> StepHyperparameters:
        """What the schedule's next step uses."""
        batch_size = schedule.batch_size
        return StepHyperparameters(
            batch_size=batch_size,
            sequence_length=self.lengths.at(schedule.samples),
            learning_rate=schedule.learning_rate(self.learning_rate),
            beta2=self.second_moment.of_batch(batch_size),
            weight_decay=self.weight_decay * self.decay_scaling.factor(batch_size),
            bias_factor=self._bias_factor(batch_size),
            momentum_factor=1.0 if (beta1 := self.uncorrected_beta1) is None else 1 - beta1 ** (self.updates + 1),
        )

    def advance(self, step: StepHyperparameters, skipped: bool = False) -> None:
        """Count the step just done; one that was skipped has left the optimizer as it was."""
        self.tokens += step.batch_size * step.sequence_length
        if not skipped:
            self.log_product = self._log_product_after(step.batch_size)
            self.updates += 1

    def _log_product_after(self, batch_size: int) -> float | None:
        """ln of the product of all beta2, that of a step with this batch included."""
        if self.log_product is None and not self.second_moment.half_life:
            return None
        before = self.log_product
        if before is None:  # the updates of an earlier start, if any, had a constant beta2
            before = self.updates * _log(self.second_moment.constant) if self.updates else 0.0
        return before + self.second_moment.log_of_batch(batch_size)

    def _bias_factor(self, batch_size: int) -> float:
        log_product = self._log_product_after(batch_size)
        corrected = self.uncorrected_beta1 is None
        if log_product is None and corrected:
            return 1.0
        assumed = 1 - self.second_moment.of_batch(batch_size) ** (self.updates + 1)  # as AdamW computes it
        weights = -math.expm1(log_product) if log_product is not None and corrected else 1.0
        return math.sqrt(weights / assumed)

    def state_dict(self) -> dict[str, Any]:
        """The counts and the sum, exactly."""
        return {"updates": self.updates, "log_product": self.log_product, "tokens": self.tokens}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            KeyError, TypeError: for one that is damaged.
        """
        self.updates, self.tokens = index(state["updates"]), index(state["tokens"])
        self.log_product = None if state["log_product"] is None else 0.0 + state["log_product"]
