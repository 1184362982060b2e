"""Training on a GPU: bf16, AdamW, and memory that runs out in earnest."""

from __future__ import annotations

import gc
import warnings

import pytest
import torch
from torch import nn

from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import OptimizerSettings, load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.optimizers import build_optimizer
from tests.adabatch.training.test_memory_guard import with_memory_for
from tests.support.spawning import run_ranks

LENGTH = {"cpu": 32, "cuda": 512}
"""On a GPU activations must be large compared with the allocator's blocks of 20 MB."""


def settings_for(folder, device, **changes):
    ramp = {"schedule": "linear-ramp", "initial_batch": 4, "max_batch": 64, "ramp_samples": 128, "micro_batch": 2}
    small = {"samples": 256, "max_micro_batch": 64, "warmup_samples": 16, "validation_interval": 0}
    here = {"device": device.type, "sequence_length": LENGTH[device.type], "output": str(folder)}
    return load_settings("demo", overrides=ramp | small | here | changes)


def trained(folder, device, limited=None, **changes):
    """The records of a run; ``limited`` takes its memory away."""
    run = open_run(settings_for(folder, device, **changes), DistributedContext(0, 1, device))
    if limited is not None:
        limited(run)
    return list(train(run))


def test_bf16_trains_as_fp32_does(device, tmp_path):
    norm_test = {"schedule": "norm-test", "eta": 0.5, "max_batch": 32}
    whole, half = (
        trained(tmp_path / precision, device, precision=precision, **norm_test) for precision in ("fp32", "bf16")
    )
    assert half[0]["loss"] == pytest.approx(whole[0]["loss"], rel=1e-2)
    assert half[0]["loss"] != whole[0]["loss"]
    assert half[0]["noise_trace"] == pytest.approx(whole[0]["noise_trace"], rel=0.1)
    assert half[-1]["loss"] < 0.9 * half[0]["loss"]
    assert half[-1]["batch_size"] > half[0]["batch_size"]


def test_the_optimizer_is_adamw_fused(device):
    settings = OptimizerSettings(weight_decay=0.1)
    steps = []
    for fused in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(7, 13), nn.Tanh(), nn.Linear(13, 3)).to(device)
        if fused:
            optimizer = build_optimizer(model, settings)
            assert optimizer.defaults["fused"]
        else:
            optimizer = torch.optim.AdamW(
                model.parameters(),
                lr=settings.lr,
                betas=(settings.beta1, settings.beta2),
                eps=settings.epsilon,
                weight_decay=settings.weight_decay,
                foreach=False,
            )
        for step in range(5):
            x = torch.randn(4, 7, generator=torch.Generator().manual_seed(step)).to(device)
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        steps.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-5, atol=1e-7)


def little_memory(device, peak):
    """Six tenths of what the whole run took of a GPU; on a CPU, allocations fail beyond micro-batches of 9."""

    def limit(run):
        if device.type == "cpu":
            with_memory_for(run, 9)
        else:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(0.6 * peak / total, device)

    return limit


def whole_and_limited(folder, device, parallel):
    """Records with all memory and with little, and what was warned."""
    options = {"parallel": parallel}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    whole = trained(folder / "whole", device, **options)
    gc.collect()
    peak = 0
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.empty_cache()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            limited = trained(folder / "limited", device, little_memory(device, peak), **options)
        finally:
            if device.type == "cuda":
                torch.cuda.set_per_process_memory_fraction(1.0, device)
    return whole, limited, [str(warning.message) for warning in caught]


def on_one_rank(rank, world_size, folder, kind, parallel):
    return whole_and_limited(folder, torch.device(kind, 0) if kind == "cuda" else torch.device(kind), parallel)


@pytest.mark.distributed
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_out_of_memory_makes_the_micro_batch_smaller_and_not_the_batch(device, tmp_path, parallel):
    if device.type == "cpu" and parallel == "fsdp":
        pytest.skip("a CPU does not count the memory of a step; see tests/distributed")
    ((whole, limited, warned),) = run_ranks(on_one_rank, 1, tmp_path, device.type, parallel)
    assert [r["batch_size"] for r in limited] == [r["batch_size"] for r in whole]
    assert any("does not fit in memory" in message for message in warned)
    assert limited[-1]["micro_batch_limit"] is not None
    assert max(r["micro_batch"] for r in limited) < max(r["micro_batch"] for r in whole)
    assert [r["loss"] for r in limited] == pytest.approx([r["loss"] for r in whole], rel=1e-2)
