"""Optimizers by name: which parameters each steps and decays, what goes with it, and resuming bit by bit."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch.optim import SGD, Adafactor, AdamW, Muon

from adabatch.distributed.parallel import DistributedContext
from adabatch.model.language_model import build_model, model_config
from adabatch.schedules.coupling import StepHyperparameters
from adabatch.settings import OptimizerSettings, load_settings
from adabatch.training.building import build_schedule
from adabatch.training.checks import check_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.optimizer_checks import unfitting
from adabatch.training.optimizers import build_optimizer, optimizer_step
from tests.support.tiny_llama import write_tiny_model

STEP = StepHyperparameters(batch_size=8, sequence_length=16, learning_rate=0.02, beta2=0.95, weight_decay=0.1)

VECTORS = ("layernorm", "norm", "bias")


@pytest.fixture
def models():
    """Equal tiny models."""
    config = model_config("nano", 40, 16)
    return lambda: build_model(config, 0)


def give_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def by_hand(name, model):
    """torch's own optimizers, with the settings' defaults."""
    named = dict(model.named_parameters())
    hidden = [p for key, p in named.items() if ".layers." in key and p.ndim == 2]
    rest = [p for p in named.values() if all(p is not matrix for matrix in hidden)]
    decay = {"lr": STEP.learning_rate, "weight_decay": STEP.weight_decay}
    if name == "sgd":
        return [SGD(named.values(), momentum=0.9, foreach=False, **decay)]
    if name == "adafactor":
        return [Adafactor(named.values(), **decay)]
    muon = Muon(hidden, momentum=0.95, adjust_lr_fn="match_rms_adamw", **decay)
    return [muon, AdamW(rest, betas=(0.9, 0.95), eps=1e-8, foreach=False, **decay)]


@pytest.mark.parametrize("name", ["sgd", "adafactor", "muon"])
def test_steps_are_those_of_torchs_own(models, name):
    ours, theirs = models(), models()
    optimizer, others = build_optimizer(ours, OptimizerSettings(optimizer=name)), by_hand(name, theirs)
    for seed in range(4):
        for model in (ours, theirs):
            give_gradients(model, seed)
        optimizer_step(optimizer, STEP)
        for other in others:
            other.step()
    for (key, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-6, atol=1e-8, msg=key)


@pytest.mark.parametrize("name", ["adamw", "sgd", "adafactor", "muon"])
@pytest.mark.parametrize("decayed", ["all", "matrices"])
def test_which_parameters_decay(models, name, decayed):
    """With gradients of 0 only the decay moves a parameter."""
    model = models()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    given = OptimizerSettings(optimizer=name, weight_decay_on=decayed, weight_decay=0.5, momentum=0.0)
    optimizer = build_optimizer(model, given)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer_step(optimizer, STEP)
    moved = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    matrices = {key for key, parameter in model.named_parameters() if parameter.ndim == 2 and "embed" not in key}
    assert moved == (set(before) if decayed == "all" else matrices)
    assert "lm_head.weight" in moved
    for key in moved:
        torch.testing.assert_close(dict(model.named_parameters())[key], before[key] * (1 - 0.02 * 0.1))


@pytest.mark.parametrize(("name", "power"), [("sgd", 1), ("adamw", 2), ("muon", 2)])
def test_what_exchanges_batch_and_rate_goes_by_the_optimizers_rule(name, power):
    """Where a linear path has fallen to p the batch is p^-1 or p^-2 times the first, and the rate at its peak."""
    line = {"lr_path": "linear", "warmup_samples": 0, "lr": 1.0, "samples": 4096}
    sizes = {"schedule": "exchange", "initial_batch": 8, "max_batch": 64}
    schedule = build_schedule(load_settings(overrides={"optimizer": name} | line | sizes))
    while (seen := schedule.samples) < 2048:
        batch = schedule.batch_size
        assert batch == math.ceil(8 * (1 - seen / 4096) ** -power - 1e-9)
        mean = 1 - (seen + batch / 2) / 4096
        assert schedule.learning_rate(schedule.rates) == pytest.approx(mean * (batch / 8) ** (1 / power))
        schedule.update()
    held = {"schedule": "linear-ramp", "ramp_samples": 64, "initial_batch": 8, "noise_limit": 1.0}
    limited = build_schedule(load_settings(overrides={"optimizer": name} | line | held))
    limited.rule.batch_size, limited.batch_size = 32, 8
    rate = limited.rate_of_step(schedule.rates, 0, 8)
    assert rate == pytest.approx(schedule.rates.mean(0, 8) * (8 / 32) ** (1 / power))


REFUSED = {
    ("muon", "tensor_parallel", 2): "--optimizer muon looks at whole matrices, and does not go with --tensor-par",
    ("adafactor", "tensor_parallel", 2): "--optimizer adafactor looks at whole matrices",
    ("sgd", "beta2_half_life", 100.0): "--beta2-half-life would change AdamW's moments, which --optimizer sgd",
    ("adafactor", "bias_correction", False): "--no-bias-correction would change AdamW's moments",
    ("adamw", "nesterov", True): "--nesterov is for --optimizer sgd with --momentum above 0",
    ("sgd", "schedule", "seesaw"): "not for --optimizer sgd: take --schedule exchange",
}


@pytest.mark.parametrize("given", REFUSED, ids=str)
def test_what_does_not_go_with_an_optimizer_is_refused(given):
    name, setting, value = given
    ranks = {"parallel": "fsdp", "ranks": 2} if setting == "tensor_parallel" else {}
    settings = load_settings(overrides={"optimizer": name, setting: value} | ranks)
    with pytest.raises(ValueError, match=REFUSED[given]) as refused:
        check_settings(settings, settings.parallel.ranks)
    assert "\n" not in str(refused.value)
    check_settings(load_settings(overrides={"optimizer": name} | ranks), settings.parallel.ranks)


@pytest.mark.parametrize(
    ("name", "changes", "warned"),
    [
        ("adamw", {}, None),
        ("adamw", {"test": "l1"}, None),
        ("sgd", {}, None),
        (
            "sgd",
            {"test": "l1"},
            "--test l1 measures noise in another norm than --optimizer sgd.*scalar",
        ),
        ("sgd", {"noise_limit": 1.0, "noise_limit_scale": "l1"}, "--noise-limit-scale l1 .*-limit-scale trace$"),
        ("sgd", {"noise_limit": 1.0}, None),
        (
            "adafactor",
            {},
            "--test scalar measures noise in another norm than --optimizer adafactor.*l1",
        ),
        ("adafactor", {"test": "coordinate"}, None),
        ("muon", {}, "its nuclear-norm noise scale is recorded with --monitor-interval, and decides nothing"),
        ("muon", {"schedule": "linear-ramp"}, None),
    ],
)
def test_a_test_in_another_norm_than_the_steps_is_warned_of(name, changes, warned):
    settings = load_settings(overrides={"optimizer": name} | changes)
    warnings = list(unfitting(settings, build_schedule(settings)))
    assert len(warnings) == (warned is not None)
    if warned:
        with pytest.raises(ValueError, match=warned):
            raise ValueError(warnings[0])


def open_small(folder: Path, output: str, **changes):
    write_tiny_model(folder / "model.json")
    (folder / "text.txt").write_text("a batch grows as the noise does. " * 400)
    base = {"model": str(folder / "model.json"), "data": str(folder / "text.txt"), "output": str(folder / output)}
    size = {"samples": 64, "initial_batch": 4, "micro_batch": 1, "max_batch": 12, "eta": 0.4, "warmup_samples": 8}
    rest = {"sequence_length": 16, "validation_interval": 0, "checkpoint_interval": 32, "monitor_interval": 2}
    return open_run(load_settings(overrides=base | size | rest | changes), DistributedContext())


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "muon", "lr": 0.02, "beta2_half_life": 60.0, "weight_decay_on": "matrices"},
        pytest.param(
            {"optimizer": "sgd", "lr": 0.2, "nesterov": True, "weight_decay": 1e-4}, marks=pytest.mark.slow
        ),
        pytest.param({"optimizer": "sgd", "lr": 1.0, "momentum": 0.0}, marks=pytest.mark.slow),
        pytest.param({"optimizer": "adafactor", "lr": 0.1, "test": "l1"}, marks=pytest.mark.slow),
    ],
    ids=lambda changes: changes["optimizer"],
)
@pytest.mark.filterwarnings("ignore:--test scalar measures noise")
def test_a_run_trains_and_resumes_bit_by_bit(tmp_path, changes):
    whole = list(train(open_small(tmp_path, "whole", **changes)))
    assert whole[-1]["loss"] < 0.97 * whole[0]["loss"]
    list(itertools.islice(train(open_small(tmp_path, "cut", **changes)), len(whole) - 2))
    run = open_small(tmp_path, "cut", resume="auto", **changes)
    rest = list(train(run))
    assert 0 < len(rest) < len(whole)
    names = ("step", "loss", "batch_size", "grad_norm", "lr", "test_statistic", "nuclear_noise_scale")
    for ours, theirs in zip(rest, whole[-len(rest) :], strict=True):
        assert [ours.get(name) for name in names] == [theirs.get(name) for name in names]
    scales = [record["nuclear_noise_scale"] for record in whole if "nuclear_noise_scale" in record]
    assert len(scales) == (len(whole) // 2 if changes["optimizer"] == "muon" else 0)
    assert all(0 < scale < math.inf for scale in scales)


def test_monitored_matrices_can_be_none_and_cost_no_record(tmp_path):
    with pytest.warns(UserWarning, match="decides nothing"):
        run = open_small(tmp_path, "none", optimizer="muon", monitor_matrices=0)
    assert "nuclear_noise_scale" not in list(itertools.islice(train(run), 2))[1]
