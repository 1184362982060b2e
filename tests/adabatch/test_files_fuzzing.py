"""The other files that a user may name: metrics and model configurations, damaged or hostile."""

import json

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adabatch.model.language_model import build_model, language_model_loss, model_config, parameter_count
from adabatch.reporting.metrics import read_metrics

quick = settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

nested = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)
records = st.dictionaries(st.sampled_from(["step", "loss", "batch_size"]), st.integers() | st.floats(), max_size=3)


@quick
@given(
    lines=st.lists(
        st.one_of(
            records.map(lambda record: json.dumps(record).encode()),
            records.map(lambda record: json.dumps(record).encode()),
            nested.map(lambda value: json.dumps(value).encode()),
            st.binary(max_size=20).map(lambda content: content.replace(b"\n", b"")),
        ),
        max_size=5,
    ),
    cut=st.binary(max_size=8).map(lambda content: content.replace(b"\n", b"")),
)
@example(lines=[b"[" * 100_000], cut=b"")
@example(lines=[b'{"loss": ' + b"9" * 5000 + b"}"], cut=b"")
def test_metrics_are_records_or_refused(tmp_path, lines, cut):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines) + cut)
    try:
        read = read_metrics(path)
    except ValueError as error:
        refusal = str(error)
    else:
        assert len(read) == len(lines)
        assert all(isinstance(record, dict) for record in read)
        return
    assert "metrics.jsonl, line " in refusal


def is_small(config):
    """Whether its model can be built here: the defaults alone make 6.7 billion parameters."""
    if config.num_hidden_layers > 100:
        return False
    with torch.device("meta"):
        return parameter_count(build_model(config, seed=0)) < 1_000_000


FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "vocab_size",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
    "dtype",
    "use_cache",
    "attn_implementation",
    "auto_map",
    "self",
)
small = st.one_of(st.integers(-1, 12), nested, st.sampled_from(["silu", "gelu", "float32", "eager", "bfloat16"]))


@quick
@given(
    content=st.one_of(
        st.binary(max_size=40),
        nested.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(st.sampled_from(FIELDS), small, max_size=4).map(
            lambda changes: json.dumps(
                {
                    "hidden_size": 8,
                    "intermediate_size": 8,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 2,
                    **changes,
                }
            ).encode()
        ),
    )
)
@example(content=b'{"num_attention_heads": 0}')
@example(content=b'{"hidden_act": "nothing"}')
@example(content=b'{"vocab_size": 9000000000000000000000}')
@example(content=b'{"hidden_size": 8, "intermediate_size": 838190306, "num_attention_heads": 2}')
@example(content=b'{"hidden_size": 8, "num_hidden_layers": 838190306, "num_attention_heads": 2}')
@example(content=b"[" * 100_000)
def test_a_model_is_built_from_its_configuration_or_refused(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    try:
        config = model_config(str(path), vocabulary_size=9)
    except ValueError as error:
        refusal = str(error)
    else:
        if is_small(config):
            loss = language_model_loss(build_model(config, seed=0), torch.zeros((1, 4), dtype=torch.int64))
            assert loss.ndim == 0
        return
    assert "model" in refusal


def test_code_that_a_model_configuration_names_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Evil: ...\n")
    configuration = {"hidden_size": 8, "num_attention_heads": 2, "auto_map": {"AutoConfig": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    assert model_config(str(tmp_path), vocabulary_size=9).hidden_size == 8
    assert not trace.exists()


def test_a_configuration_of_another_kind(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match=r"model_type of a causal language model .* but has 'vit'"):
        model_config(str(tmp_path))


def test_the_number_of_layers(tmp_path):
    path, given = tmp_path / "config.json", {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    path.write_text(json.dumps(given | {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}))
    config = model_config(str(path), vocabulary_size=9)
    assert config.num_hidden_layers == len(build_model(config, seed=0).model.layers) == 3
    path.write_text(json.dumps(given | {"num_hidden_layers": 0}))
    with pytest.raises(ValueError, match="num_hidden_layers is 0, but must be 1 or more"):
        model_config(str(path))
