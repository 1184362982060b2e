"""Guards against divergence: steps that are not finite are skipped and counted; too many of them stop the run."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from adabatch.checkpoints.folders import checkpoint_step, complete_checkpoints

__all__ = ["DivergenceGuard", "TrainingDivergedError"]


class TrainingDivergedError(RuntimeError):
    """Too many steps in a row had a loss or a gradient that was not finite."""


@dataclass
class DivergenceGuard:
    """Counts the steps whose gradients were thrown away. Loss and norm are reduced, so all ranks count alike.

    Attributes:
        limit: more skipped steps in a row than this stop the run; 0 never does.
        skipped: all skipped steps.
        in_a_row: skipped steps since the last good one.

    >>> guard = DivergenceGuard(limit=10)
    >>> guard.accepts(loss=2.0, squared_norm=1.0), guard.accepts(loss=2.0, squared_norm=math.inf), guard.skipped
    (True, False, 1)
    """

    limit: int
    skipped: int = 0
    in_a_row: int = 0

    def accepts(self, loss: float, squared_norm: float) -> bool:
        """Whether the step may be taken; if not, it counts as skipped."""
        finite = math.isfinite(loss) and math.isfinite(squared_norm)
        self.skipped += not finite
        self.in_a_row = 0 if finite else self.in_a_row + 1
        return finite

    def warn(self, step: int, loss: float, squared_norm: float) -> None:
        """Tell the user of a skipped step."""
        warnings.warn(
            f"step {step} skipped: loss {loss}, squared gradient norm {squared_norm} (skipped so far: "
            f"{self.skipped}); lower --lr or lengthen --warmup-samples if this repeats",
            stacklevel=3,
        )

    @property
    def diverged(self) -> bool:
        """Whether more than ``limit`` steps in a row were skipped."""
        return 0 < self.limit < self.in_a_row

    def stop(self, step: int, checkpoints: Path) -> NoReturn:
        """End the run.

        Args:
            step: the steps so far.
            checkpoints: the run's folder; the message names the newest checkpoint that a good step followed.

        Raises:
            TrainingDivergedError: always.
        """
        # One written after the last good step holds the parameters that all these steps failed on.
        last_good = step - self.in_a_row
        good = [path for path in complete_checkpoints(checkpoints) if checkpoint_step(path) < last_good]
        advice = "there is no checkpoint from before"
        if good:
            advice = f"the last good checkpoint is {good[-1]} (--resume {good[-1]})"
        raise TrainingDivergedError(
            f"training diverged: loss or gradient were not finite for {self.in_a_row} steps in a row, up to step "
            f"{step}; {advice}; lower --lr, lengthen --warmup-samples, or raise --max-skipped"
        )

    def state_dict(self) -> dict[str, Any]:
        """Both counts."""
        return {"skipped": self.skipped, "skipped_in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from saved counts."""
        self.skipped, self.in_a_row = state["skipped"], state.get("skipped_in_a_row", 0)
