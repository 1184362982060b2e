"""Plans of models with many layers from models with few: a repeated layer is planned once, and counted.

In a model of L equal layers, what a step communicates is affine in L, and so is what is alive at the embedding
and at the head. While a layer is computed, the others hold the same each: from layer to layer memory grows or
falls by the same, so that the peak of the layers is at the first, the second, the last but one or the last. At
the first two, one layer more in the model adds what it adds at the embedding, before the forward or after the
backward pass; at the last two, what it adds at the head, or where the layers' backward pass begins. Steps of
models with two and three layers therefore say what one with any number needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from transformers import PreTrainedConfig

from adabatch.distributed.communication import Traffic
from adabatch.model.language_model import new_model, with_layers
from adabatch.model.layers import decoder_layers
from adabatch.planning.simulated import SimulatedStep, bucket_indices, simulate_steps
from adabatch.schedules import MicroBatching
from adabatch.settings import Settings

__all__ = ["FEWEST", "between", "ddp_buckets", "simulate_layers"]

FEWEST = 2
"""Layers of the smaller of the two models: a first and a last. The larger has one between them."""

OUTSIDE = ("embedding", "head", "turn", "embedding, backward")

Progress = Callable[[str], None]
"""Is told what is being planned."""


def simulate_layers(
    settings: Settings,
    config: PreTrainedConfig,
    layouts: Sequence[MicroBatching],
    progress: Progress = lambda _: None,
) -> list[SimulatedStep]:
    """As :func:`adabatch.planning.simulated.simulate_steps`, in a time that does not depend on the number of
    layers.

    Args:
        settings: of the run.
        config: of the model.
        layouts: J, M and m of each step.
        progress: is told what is simulated.
    """
    layers = config.num_hidden_layers
    if layers <= FEWEST + 1:
        progress(f"{layers} layers")
        return simulate_steps(settings, config, layouts)
    pair = []
    for count in (FEWEST, FEWEST + 1):
        progress(f"{count} of {layers} layers")
        pair.append(simulate_steps(settings, with_layers(config, count), layouts))
    more = layers - FEWEST
    steps = [
        SimulatedStep(
            {kind: between(two.traffic[kind], three.traffic[kind], more) for kind in two.traffic},
            {kind: between(two.repeated[kind], three.repeated[kind], more) for kind in two.repeated},
            {phase: dict(+parts) for phase, parts in _peaks(two.peaks, three.peaks, more)},
        )
        for two, three in zip(*pair, strict=True)
    ]
    if settings.parallel.parallel == "ddp":
        _count_buckets(steps, config)
    return steps


def between(first: Traffic, second: Traffic, steps: int) -> Traffic:
    """``first``, and ``steps`` times what the second has more."""
    return first + (second - first) * steps


Peaks = Mapping[str, Mapping[str, int]]


def _peaks(two: Peaks, three: Peaks, more: int) -> Iterator[tuple[str, Counter[str]]]:
    """The peak of each phase in a model that has this many layers more than two."""
    added = {phase: _difference(two[phase], three[phase]) for phase in OUTSIDE}
    for phase in OUTSIDE:
        yield phase, _further(three[phase], added[phase], more - 1)
    for way, bottom, top in (("forward", "embedding", "head"), ("backward", "embedding, backward", "turn")):
        for name, number, at in (
            ("first", 0, bottom),
            ("second", 1, bottom),
            ("last but one", 1, top),
            ("last", 2, top),
        ):
            yield f"{way}, {name} layer", _further(three[f"{way} {number}"], added[at], more - 1)


def _difference(few: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {part: more.get(part, 0) - few.get(part, 0) for part in {**few, **more}}


def _further(start: Mapping[str, int], added: Mapping[str, int], times: int) -> Counter[str]:
    """By part, ``start`` and ``times`` what is added."""
    return Counter({part: start.get(part, 0) + times * added.get(part, 0) for part in {**start, **added}})


def _count_buckets(steps: Sequence[SimulatedStep], config: PreTrainedConfig) -> None:
    """DDP's buckets hold several layers or parts of one: how many there are does not follow from a few layers."""
    counts = [len(ddp_buckets(with_layers(config, count))) for count in (FEWEST, FEWEST + 1)]
    own = len(ddp_buckets(config))
    extrapolated = counts[0] + (counts[1] - counts[0]) * (config.num_hidden_layers - FEWEST)
    for step in steps:
        for collective, counted in step.traffic.items():
            if collective.kind == "all-reduce":
                step.traffic[collective] = counted + Traffic(own - extrapolated)


def ddp_buckets(config: PreTrainedConfig) -> list[list[int]]:
    """Which parameters, the last first, share each of DDP's buckets."""
    with torch.device("meta"):
        model = new_model(with_layers(config, 1))
    repeated = [*decoder_layers(model).parameters()]
    own = {id(parameter) for parameter in repeated}
    parameters = list(model.parameters())
    first = next(place for place, parameter in enumerate(parameters) if id(parameter) in own)
    outer = [parameter for parameter in parameters if id(parameter) not in own]
    # in the model's order: the embeddings, the layers, the last norm and the head
    ordered = [*outer[:first], *repeated * config.num_hidden_layers, *outer[first:]]
    return bucket_indices(ordered[::-1])
