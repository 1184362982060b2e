"""The throughput benchmark and the GPU preset at their smallest, on the CPU."""

import pytest
import torch
from transformers import LlamaForCausalLM

from adabatch.distributed.parallel import DistributedContext
from adabatch.model.language_model import flops_per_token, model_config, parameter_count
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.repository import script


def test_the_benchmark_prints_speed_utilisation_and_operations(tmp_path, capsys):
    small = "--model demo --sequence-length 32 --micro-batch 2 --accumulation 2 --steps 2 --warm-up 1"
    variants = ["--variants", "fp32", "bf16", "--peak-tflops", "1", "--output", str(tmp_path / "table.txt")]
    script("benchmarks/throughput.py").main([*small.split(), *variants])
    text = capsys.readouterr().out
    assert text == (tmp_path / "table.txt").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| fp32 |")]
    speed, achieved, share = (cell.strip() for cell in row.split("|")[2:5])
    operations = flops_per_token(model_config("demo", 264), 469_632, 32)
    assert float(achieved) == pytest.approx(float(speed.replace(",", "")) * operations / 1e12, rel=0.01)
    assert share.endswith("%")
    assert "aten::" in text


def test_operations_are_those_of_the_matrix_products():
    """Counted by torch for forward and backward; attention counts all pairs."""
    from torch.utils.flop_counter import FlopCounterMode

    config = model_config("demo", 264)
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config)
    tokens = torch.zeros((2, 64), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=tokens, labels=tokens).loss.backward()
    expected = flops_per_token(config, parameter_count(model), 64) * tokens.numel()
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.02)


def test_the_gpu_preset_trains(tmp_path):
    (tmp_path / "text.txt").write_text("a line of text that says little\n" * 2000)
    settings = load_settings("code-34m")
    with torch.device("meta"):
        model = LlamaForCausalLM(model_config("llama-34m", settings.data.vocabulary_size))
    assert 30e6 < parameter_count(model) < 60e6
    assert settings.run.samples * settings.data.sequence_length > 100e6
    smallest = {
        "data": str(tmp_path / "text.txt"),
        "cache": str(tmp_path / "cache"),
        "tokenizer": "bytes",
        "model": "demo",
        "sequence_length": 32,
        "compile": False,
        "samples": 16,
        "warmup_samples": 4,
        "validation_samples": 4,
        "initial_batch": 4,
        "micro_batch": 2,
        "output": str(tmp_path / "run"),
    }
    run = open_run(load_settings("code-34m", overrides=smallest), DistributedContext())
    records = list(train(run))
    assert records[-1]["samples"] >= 16
