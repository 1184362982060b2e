"""Models: the released models' sizes, the loss, and what is refused."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from adabatch.model.language_model import (
    UNMASKED,
    build_model,
    language_model_loss,
    model_config,
    model_shape,
    new_model,
    parameter_count,
)
from adabatch.model.layers import decoder_layers


@pytest.mark.parametrize(
    ("name", "millions", "tolerance"),
    [("microllama-300m", 304.6, 0.001), ("tinyllama-1.1b", 1100, 0.01), ("openllama-3b", 3400, 0.01)],
)
def test_parameter_counts_of_the_paper(name, millions, tolerance):
    with torch.device("meta"):
        model = LlamaForCausalLM(model_config(name))
    assert parameter_count(model) == pytest.approx(1e6 * millions, rel=tolerance)


def test_same_seed_same_model():
    config = model_config("demo", 264)
    first, second, other = build_model(config, 1), build_model(config, 1), build_model(config, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_loss_is_the_mean_cross_entropy_of_the_next_token():
    model = build_model(model_config("demo", 264), 0)
    tokens = torch.randint(264, (3, 16), generator=torch.Generator().manual_seed(0))
    logits = model(input_ids=tokens).logits[:, :-1].double()
    expected = -torch.log_softmax(logits, -1).gather(-1, tokens[:, 1:, None]).mean()
    assert language_model_loss(model, tokens).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_configuration_file_or_its_folder(tmp_path):
    model_config("demo", 300).save_pretrained(tmp_path)
    for path in (tmp_path, tmp_path / "config.json"):
        config = model_config(str(path), 280)
        assert (config.vocab_size, config.hidden_size, config.use_cache) == (300, 128, False)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("gpt2", 124.4),
        ("smollm2-135m", 134.5),
        ("qwen3-0.6b", 596.0),
        ("gemma-2b", 2506),
        ("olmo2-1b", 1485),
        ("mistral-7b", 7242),
    ],
)
def test_parameter_counts_of_other_families(name, millions):
    with torch.device("meta"):
        model = new_model(model_config(name))
    assert parameter_count(model) == pytest.approx(1e6 * millions, rel=0.001)
    shape = model_shape(model.config)
    assert (len(decoder_layers(model)), model.get_input_embeddings().weight.shape) == (
        shape.layers,
        (shape.vocabulary, shape.width),
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"model_type": "mistral", "sliding_window": None}, UNMASKED),
        ({"model_type": "mistral", "sliding_window": 4}, "sdpa"),
        ({"model_type": "qwen3"}, UNMASKED),
        ({"model_type": "qwen3", "use_sliding_window": True, "sliding_window": 4}, "sdpa"),
        ({"model_type": "gpt_neox"}, "sdpa"),
    ],
)
def test_only_a_causal_mask_is_left_out(tmp_path, values, expected):
    """The logits are those of the model as transformers loads it, with a mask."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
    sizes |= {"num_key_value_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(sizes | values))
    model = build_model(model_config(str(tmp_path)), 0).eval()
    assert model.config._attn_implementation == expected
    model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    tokens = torch.arange(24).reshape(2, 12)
    torch.testing.assert_close(model(tokens).logits, loaded(tokens).logits)


@pytest.mark.parametrize("pad", [None, 0, 7])
def test_a_padding_token_is_trained_like_others(tmp_path, pad):
    """Of a released configuration; without one the model is the same, to the bit."""
    values = {**model_config("tiny", 64).to_dict(), "pad_token_id": pad}
    (tmp_path / "config.json").write_text(json.dumps(values))
    model, plain = build_model(model_config(str(tmp_path)), 3), build_model(model_config("tiny", 64), 3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    tokens = torch.tensor([[0, 7, 3, 0, 7, 1]])
    language_model_loss(model, tokens).backward()
    embedding = model.get_input_embeddings().weight
    assert set(embedding.grad.norm(dim=1).nonzero().flatten().tolist()) == {0, 3, 7}  # the last has no next


def test_what_is_refused(tmp_path):
    bad = tmp_path / "bad.json"
    for text, message in (
        ("{", "is not JSON"),
        (json.dumps({"model_type": "t5"}), "model_type of a causal language model .* but has 't5'"),
        (json.dumps({"model_type": "qwen33"}), r"but has 'qwen33'; did you mean qwen3\?"),
        ("[]", "but has 'list'"),
        ('{"claims": []}', "but has None"),
        (json.dumps({"model_type": "gpt2", "n_embd": 30}), "cannot be built .*divisible by num_heads"),
        (
            json.dumps({"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2}),
            "cannot be built .*num_attention_heads",
        ),
        ('{"model_type": "mixtral"}', r"is a mixture of experts \(num_\w*experts = 8\), which is not offered"),
        ('{"model_type": "qwen3_moe"}', r"is a mixture of experts \(num_\w*experts = 128\)"),
    ):
        bad.write_text(text)
        with pytest.raises(ValueError, match=message):
            model_config(str(bad))
    with pytest.raises(ValueError, match="neither a built-in architecture"):
        model_config("llama-9000")
    with pytest.raises(ValueError, match=r"did you mean tinyllama-1.1b\?"):
        model_config("tinylama-1.1b")
    with pytest.raises(
        ValueError, match=r"a vocab_size of 50000 .* but the model microllama-300m has 32000: raise"
    ):
        model_config("microllama-300m", 50_000)
    with pytest.raises(ValueError, match="4096 is above the maximum of the model tinyllama"):
        model_config("tinyllama-1.1b", 32_000, 4096)


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {"type": "dynamic", "factor": 2.0},
        {"rope_type": "linear", "factor": 2.0},
        {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4},
    ],
)
def test_scaled_positions_are_accepted(tmp_path, scaling):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "llama", **sizes, "rope_scaling": scaling}))
    assert model_config(str(file)).rope_parameters["factor"] == 2.0
    file.write_text(json.dumps({"model_type": "llama", **sizes, "rope_scaling": {"rope_type": "dynamic"}}))
    with pytest.raises(ValueError, match=r"Missing required keys .*dynamic"):
        model_config(str(file))
