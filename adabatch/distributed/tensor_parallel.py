"""Tensor parallelism of a Llama: its matrices sharded over ranks that work on the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

if TYPE_CHECKING:  # it takes seconds to import
    from transformers import LlamaForCausalLM, PreTrainedConfig

__all__ = ["PLANNED_TYPES", "check_tensor_parallel", "llama_plan", "shard_llama"]

PLANNED_TYPES = ("llama",)
"""The model types that there is a plan for."""


def check_tensor_parallel(
    config: PreTrainedConfig, ranks: int, sequence_length: int | None = None, sequence_parallel: bool = False
) -> None:
    """Refuse a model that these tensor-parallel ranks cannot share evenly.

    Args:
        config: the model's.
        ranks: T.
        sequence_length: of training.
        sequence_parallel: whether the norms work on a share of each sequence.

    Raises:
        ValueError: for T above 1, if the model type has no plan, or T does not divide attention heads, key-value
            heads or the intermediate size, nor, with sequence-parallel norms, the sequence length.
    """
    if ranks == 1:
        return
    if config.model_type not in PLANNED_TYPES:
        raise ValueError(
            f"there is no tensor-parallel plan for the model type {config.model_type}, only for "
            f"{', '.join(PLANNED_TYPES)}: leave out --tensor-parallel"
        )
    sizes = {
        "attention heads": config.num_attention_heads,
        "key-value heads": config.num_key_value_heads,
        "intermediate size": config.intermediate_size,
    }
    if sequence_parallel and sequence_length is not None:
        sizes["sequence length"] = sequence_length
    for name, size in sizes.items():
        if size % ranks:
            raise ValueError(
                f"{ranks} tensor-parallel ranks cannot share {name} of {size} evenly: take a divisor of it "
                "(--tensor-parallel)"
            )


def llama_plan(sequence_parallel: bool) -> dict[str, ParallelStyle]:
    """The style of each module, by name.

    Without sequence parallelism activations between blocks are whole on every rank, and the norms stay plain.
    With it they are sharded along the sequence, norms included, and gathered where a matrix needs them.
    """
    between = Shard(1) if sequence_parallel else Replicate()
    column = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
    layer: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in column}
    layer |= {name: RowwiseParallel(output_layouts=between) for name in ("self_attn.o_proj", "mlp.down_proj")}
    plan: dict[str, ParallelStyle] = {
        # Whole in any case: the model reads positions and mask off its length.
        "model.embed_tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate()),
        "lm_head": ColwiseParallel(input_layouts=between, output_layouts=Replicate()),
    }
    if sequence_parallel:
        norm = SequenceParallel(use_local_output=True)
        layer |= {"input_layernorm": norm, "post_attention_layernorm": norm}
        layer["self_attn"] = PrepareModuleInput(
            input_kwarg_layouts={"hidden_states": Shard(1)},
            desired_input_kwarg_layouts={"hidden_states": Replicate()},
        )
        layer["mlp"] = PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),))
        plan["model.norm"] = norm
        plan["model.layers.0"] = PrepareModuleInput(
            input_layouts=(Replicate(),), desired_input_layouts=(Shard(1),), use_local_output=True
        )
    return plan | {f"model.layers.*.{name}": style for name, style in layer.items()}


def shard_llama(model: LlamaForCausalLM, mesh: DeviceMesh, sequence_parallel: bool) -> None:
    """Shard the model in place over a mesh of one dimension; tied embeddings stay tied.

    Raises:
        ValueError: see :func:`check_tensor_parallel`.
    """
    check_tensor_parallel(model.config, mesh.size())
    tied = model.lm_head.weight is model.model.embed_tokens.weight
    parallelize_module(model, mesh, llama_plan(sequence_parallel))
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight
