"""The constant batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.registry import RunContext, register

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["Constant"]


@register("constant")
class Constant(BatchSizeSchedule):
    """The same batch size throughout.

    >>> Constant(64).update().batch_size
    64
    """

    def __init__(self, batch_size: int, multiple_of: int = 1) -> None:
        super().__init__(batch_size, batch_size, multiple_of)

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Constant:
        """From a run's settings."""
        return cls(settings.initial_batch)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state, of another rule or batch too: the next batch is this rule's."""
        super().load_state_dict(state)
        own = self.rounding.round_up(self.maximum)
        if self.rounding.round_up(self.batch_size) != own:
            self.batch_size = own

    def _decide(self, moments: GradientMoments | None) -> Decision:
        return Decision(self.maximum, self.maximum)
