"""The experiments of ``adabatch verify-bounds`` by name; none is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from simulate.experiments.options import options_read
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result
from simulate.experiments.settings import Level, Settings
from simulate.registry import Registry

__all__ = ["EXPERIMENTS", "Experiment"]


@dataclass(frozen=True)
class Experiment:
    """Where an experiment lives, and how many seconds of CPU it takes by default and in full."""

    module: str
    by_default: float
    in_full: float

    def seconds(self, level: Level) -> float:
        """Of CPU, of one core; at --quick in proportion to the default."""
        return self.in_full if level is Level.FULL else self.by_default

    @property
    def function(self) -> Callable[[Settings, Pieces], Result]:
        """Its ``run``, imported."""
        run: Callable[[Settings, Pieces], Result] = import_module(f"simulate.{self.module}").run
        return run

    def run(self, settings: Settings, pieces: Pieces) -> Result:
        """Import it and run it."""
        return self.function(settings, pieces)

    def reads(self, option: str) -> bool:
        """Whether it reads this setting."""
        return option in options_read(self.function)


EXPERIMENTS: Registry[Experiment] = Registry(
    "experiment",
    {
        "bounds": Experiment("experiments.adam.bounds", 9, 440),
        "slopes": Experiment("experiments.adam.slopes", 6, 60),
        "sharpness": Experiment("experiments.adam_sharp.sharpness", 0.5, 6),
        "sign-descent": Experiment("laboratory.sign_descent", 0.1, 0.2),
        "ratio-map": Experiment("experiments.adam.ratio_map", 3, 40),
        "related-bounds": Experiment("laboratory.related_bounds", 0.6, 22),
        "near-tight": Experiment("attack.near_tight", 0.4, 0.4),
        "published-theorem": Experiment("experiments.audit.published_theorem", 0.2, 1),
        "scalar-test": Experiment("experiments.training.scalar_divergence", 2.6, 19),
        "clipping": Experiment("experiments.training.clipping", 0.3, 4),
        "rmsprop": Experiment("experiments.other_optimizers.rmsprop", 0.2, 3),
        "batch-demand": Experiment("experiments.estimators.batch_demand", 0.9, 8),
        "estimator-bias": Experiment("experiments.estimators.bias", 1.1, 9),
        "schedule-limit": Experiment("experiments.schedules.limit", 0.3, 2),
        "exchange": Experiment("experiments.schedules.exchange", 1, 1),
        "optimum": Experiment("experiments.schedules.optimum", 6, 55),
        "samples": Experiment("experiments.samples.experiment", 1.8, 7),
        "studies": Experiment("laboratory.own_parts", 2.7, 30),
    },
)
"""Experiments by name, in the order they are run."""
