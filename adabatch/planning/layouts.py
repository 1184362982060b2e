"""Which layouts of a model over GPUs fit into their memory: estimates, to choose what to plan exactly.

Weights, optimizer and gradients are counted by what each kind of parallelism shards; activations by what a
layer of the trainer's Llama keeps for its backward pass in bf16, in bytes per token of width d and intermediate
size f: 16 d + (8 d + 8 f) / T with T tensor-parallel ranks, or 2 d where activations are computed again; at the
head, 12 V + 16 d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedConfig

from adabatch.distributed.tensor_parallel import PLANNED_TYPES
from adabatch.model.language_model import model_shape
from adabatch.planning.optimizer_cost import OptimizerCost
from adabatch.settings import Settings
from adabatch.training.optimizer_checks import WITHOUT_SHARDS

__all__ = ["Layout", "capacity", "estimated_bytes", "fitting_layouts", "layouts"]

TENSOR_PARALLEL = (2, 4, 8)


@dataclass(frozen=True)
class Layout:
    """A way to lay a model over ranks.

    Attributes:
        parallel: single, ddp, fsdp or hsdp.
        shards: ranks that share weights, gradients and optimizer.
        tensor_parallel: ranks that share each matrix.
        accumulation_sync: gradients are reduced, and thereby sharded, after every micro-batch.
        activation_checkpointing: layers' activations are computed again.
        replicas: of hsdp.
    """

    parallel: str
    shards: int
    tensor_parallel: int = 1
    accumulation_sync: bool = False
    activation_checkpointing: bool = False
    replicas: int = 1

    @property
    def options(self) -> str:
        """As on the command line.

        >>> Layout("hsdp", 8, accumulation_sync=True, replicas=2).options
        '--parallel hsdp --replicas 2 --accumulation-sync --no-activation-checkpointing'
        """
        words = [f"--parallel {self.parallel}"]
        if self.parallel == "hsdp":
            words.append(f"--replicas {self.replicas}")
        if self.tensor_parallel > 1:
            words.append(f"--tensor-parallel {self.tensor_parallel}")
        if self.accumulation_sync:
            words.append("--accumulation-sync")
        words.append(
            "--activation-checkpointing" if self.activation_checkpointing else "--no-activation-checkpointing"
        )
        return " ".join(words)


def capacity(memory: float) -> float:
    """Bytes that tensors may take of a GPU's memory (10^9 bytes): the rest is for the device's context, the
    communication library and what the allocator loses.

    >>> round(capacity(80.0) / 1e9, 1)
    73.9
    """
    return 0.95 * memory * 1e9 - 2 * 2**30


def layouts(config: PreTrainedConfig, ranks: int, gpus_per_node: int) -> Iterator[Layout]:
    """The layouts of these ranks, those that cost least time first as a rule."""
    sharded = [Layout("fsdp" if ranks > 1 else "single", ranks)]
    nodes = ranks // gpus_per_node
    if nodes > 1 and ranks % gpus_per_node == 0:
        sharded.insert(0, Layout("hsdp", gpus_per_node, replicas=nodes))
    shared = [
        Layout("fsdp", ranks // size, size)
        for size in TENSOR_PARALLEL
        if size <= gpus_per_node and not ranks % size and not _heads(config) % size
    ]
    for group in ([Layout("ddp", 1)] * (ranks > 1) + sharded, shared):
        for again in (False, True):
            for layout in group:
                for sync in (False, True) if layout.parallel in ("fsdp", "hsdp") else (False,):
                    yield Layout(
                        layout.parallel, layout.shards, layout.tensor_parallel, sync, again, layout.replicas
                    )


def _heads(config: PreTrainedConfig) -> int:
    """How many tensor-parallel ranks can share the attention; 1 for models that have no plan for it."""
    return model_shape(config).key_value_heads if config.model_type in PLANNED_TYPES else 1


def estimated_bytes(
    config: PreTrainedConfig, parameters: int, layout: Layout, tokens: int, settings: Settings
) -> float:
    """Bytes that tensors take on a rank at their peak, to some tenths.

    Args:
        config: of the model.
        parameters: of the whole model.
        layout: of the model over ranks.
        tokens: of a micro-batch.
        settings: for the precision and the optimizer.
    """
    shape, shared = model_shape(config), layout.tensor_parallel
    width, inner, layers = shape.width, shape.inner, shape.layers
    outer = shape.outer
    layer = (parameters - outer) / layers / shared
    own = parameters / shared / layout.shards
    costs = OptimizerCost.by_share(settings.optimizer, 1 - outer / parameters)
    bytes_of_states = (4 + sum(share * cost.state for share, cost in costs)) * own
    size = 2 if settings.parallel.precision == "bf16" else 4
    if layout.parallel in ("single", "ddp"):
        gradients = (8.0 if layout.parallel == "ddp" else 4.0) * parameters  # DDP has buckets of them too
        gathered = 2.0 * parameters if size == 2 else 0.0  # autocast keeps its casts
    else:
        gradients = 4.0 * own if layout.accumulation_sync else 4 * parameters / shared
        gathered = size * (2 * layer + outer / shared) + 4 * max(layer, outer / shared)
    kept = 16 * width + (8 * width + 8 * inner) / shared
    saved = 2 * width if layout.activation_checkpointing else kept
    # in the layer that is computed: what it keeps, if that is made again, and the gradients of it
    layer_peak = 12 * width + 10 * inner / shared + (kept if layout.activation_checkpointing else 0)
    head = 12 * shape.vocabulary + 16 * width
    activations: float = tokens * (layers * saved + max(layer_peak, head)) * size / 2
    return bytes_of_states + gradients + gathered + activations


def fitting_layouts(
    config: PreTrainedConfig,
    parameters: int,
    settings: Settings,
    room: float,
) -> dict[Layout, tuple[float, int]]:
    """The first layout of each kind that fits with a micro-batch of one sequence: its bytes, and the largest
    micro-batch.

    Args:
        config: of the model.
        parameters: of the whole model.
        settings: of the run.
        room: bytes that tensors may take.
    """
    found: dict[Layout, tuple[float, int]] = {}
    length = settings.data.sequence_length
    for layout in layouts(config, settings.parallel.ranks, settings.hardware.gpus_per_node):
        if layout.tensor_parallel > 1 and settings.optimizer.optimizer in WITHOUT_SHARDS:
            continue
        if any(
            (layout.parallel, layout.tensor_parallel) == (seen.parallel, seen.tensor_parallel) for seen in found
        ):
            continue
        one, two = (estimated_bytes(config, parameters, layout, n * length, settings) for n in (1, 2))
        if one <= room:
            found[layout] = one, 1 + int((room - one) / (two - one))
    return found
