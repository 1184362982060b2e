"""The experiments of ``adabatch verify-bounds`` by name; none is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from simulate.experiments.options import options_read
from simulate.experiments.result import Result
from simulate.experiments.settings import Advance, Settings
from simulate.registry import Registry

__all__ = ["EXPERIMENTS", "Experiment"]


@dataclass(frozen=True)
class Experiment:
    """Where an experiment lives, and how long it takes, in units of the others'."""

    module: str
    weight: float

    @property
    def function(self) -> Callable[[Settings, Advance], Result]:
        """Its ``run``, imported."""
        run: Callable[[Settings, Advance], Result] = import_module(f"simulate.{self.module}").run
        return run

    def run(self, settings: Settings, advance: Advance) -> Result:
        """Import it and run it."""
        return self.function(settings, advance)

    def reads(self, option: str) -> bool:
        """Whether it reads this setting."""
        return option in options_read(self.function)


EXPERIMENTS: Registry[Experiment] = Registry(
    "experiment",
    {
        "bounds": Experiment("experiments.adam.bounds", 12),
        "slopes": Experiment("experiments.adam.slopes", 8),
        "sharpness": Experiment("experiments.adam_sharp.sharpness", 1),
        "sign-descent": Experiment("experiments.other_optimizers.sign_descent", 0.2),
        "ratio-map": Experiment("experiments.adam.ratio_map", 5),
        "related-bounds": Experiment("laboratory.related_bounds", 2),
        "near-tight": Experiment("attack.near_tight", 0.3),
        "published-theorem": Experiment("experiments.audit.published_theorem", 0.6),
        "scalar-test": Experiment("experiments.training.scalar_divergence", 6),
        "clipping": Experiment("experiments.training.clipping", 1),
        "rmsprop": Experiment("experiments.other_optimizers.rmsprop", 0.4),
        "batch-demand": Experiment("experiments.estimators.batch_demand", 1.5),
        "estimator-bias": Experiment("experiments.estimators.bias", 1.5),
        "schedule-limit": Experiment("experiments.schedules.limit", 0.3),
        "exchange": Experiment("experiments.schedules.exchange", 2),
        "optimum": Experiment("experiments.schedules.optimum", 3),
        "samples": Experiment("experiments.samples.experiment", 1),
        "studies": Experiment("laboratory.own_parts", 1),
    },
)
"""Experiments by name, in the order they are run."""
