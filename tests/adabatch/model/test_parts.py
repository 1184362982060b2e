"""Names of parts, from the parameter names of a Llama and of other models."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, ViTConfig, ViTForImageClassification

from adabatch.model.parts import ModelPart, model_part


def parts_of(model):
    return {model_part(name) for name, _ in model.named_parameters()}


def test_a_llama():
    config = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, vocab_size=16
    )
    kinds = {f"{layer}.{kind}" for layer in range(2) for kind in ("attention", "mlp", "norm")}
    assert parts_of(LlamaForCausalLM(config)) == kinds | {"embedding", "norm", "head"}


def test_a_vision_transformer_and_a_torch_encoder():
    config = ViTConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=16
    )
    parts = parts_of(ViTForImageClassification(config))
    assert {"0.attention", "0.norm", "embedding", "head", "norm"} <= parts
    encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 8), 2)
    assert parts_of(encoder) == {f"{i}.{k}" for i in range(2) for k in ("attention", "linear1", "linear2", "norm")}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("module.model.layers.11.mlp.gate_proj.weight", "11.mlp"),
        ("_orig_mod.transformer.h.0.ln_1.weight", "0.norm"),
        ("model.layers.0._checkpoint_wrapped_module.self_attn.q_norm.weight", "0.attention"),
        ("blocks.3.weight", "3.blocks"),
        ("0.weight", "0.layer"),
        ("weight", "weight"),
    ],
)
def test_names(name, part):
    assert model_part(name) == part
    assert str(ModelPart.parse(part)) == part
