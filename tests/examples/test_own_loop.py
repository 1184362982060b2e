"""docs/own_loop.md: its code runs, its commands are the examples' own, its messages are raised."""

import math
import re
from importlib.util import find_spec
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from adabatch.integrations.accelerate import set_accumulation
from adabatch.integrations.accumulation import Accumulation, require_own
from adabatch.integrations.torchtitan import AdaptiveTraining
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import NormTest
from adabatch.statistics import GradientStatistics
from adabatch.statistics.groups import GroupSizes, StepSizes
from adabatch.statistics.leaves import autograd_leaves
from adabatch.statistics.wrappers import require_averaged
from adabatch.worth.evidence import read_evidence
from tests.examples.test_added_lines import documented_commands
from tests.support.repository import ROOT, script
from tests.support.titan_loop import TitanTrainer

trainer_callback = script("examples/trainer_callback.py")
PAGE = (ROOT / "docs" / "own_loop.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def lightning_names():
    """What the page's Lightning takes."""
    if find_spec("lightning") is None:
        return {}
    example = script("examples/lightning_callback.py")
    data = TensorDataset(*example.gratings(192, torch.Generator().manual_seed(0)))
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    loader = DataLoader(data, batch_size=4, drop_last=True)
    return {"lightning_module": example.Classifier(), "loader": loader, "options": options}


def test_every_python_block_runs_in_the_order_of_the_page(tmp_path, capsys):
    torch.manual_seed(0)
    target, taken = torch.randn(8, 1), []

    def next_samples(count):
        taken.append(count)
        return torch.randn(count, 8)

    names = {
        "batch": torch.randn(32, 8),
        "torch": torch,
        "device": "cpu",
        "world_size": 1,
        "micro_batch": 8,
        "budget": 3000,
        "next_samples": next_samples,
        "tokens_of": len,
        "loss_of": lambda model, x: (model(x) - x @ target - 2 * torch.randn(len(x), 1)).square().mean(),
        "folder": str(tmp_path),
        "language_model": trainer_callback.small_llama(),
        "texts": trainer_callback.counting_texts(64),
        "titan_config": SimpleNamespace(build=TitanTrainer),
    } | lightning_names()
    python = blocks("python")
    assert len(python) == 15
    for block in python:
        if "import lightning" in block and find_spec("lightning") is None:
            continue
        if "Statistics(" in block:  # a program of its own begins
            names["model"] = nn.Linear(8, 1)
            names["optimizer"] = torch.optim.SGD(names["model"].parameters(), lr=0.02)
        exec(block, names)
        names.pop("scaler", None)  # else the later programs would be asked for its scale
        if "saved = " in block:
            assert names["schedule"].samples == sum(taken) >= 3000
            assert names["schedule"].batch_size > 32
        if "set_accumulation(accelerator, 5)" in block:
            assert names["accelerator"].gradient_accumulation_steps == 5
            assert (names["moments"].groups, names["moments"].group_size) == (4, 8)
        if "callback = " in block:
            samples = 2 * 192 if "import lightning" in block else 3 * 64
            assert names["callback"].history[-1]["samples"] == samples
        if "steps.jsonl" in block:
            evidence = read_evidence(tmp_path / "steps.jsonl")
            assert (len(evidence.samples), evidence.measured.sum()) == (100, 100)
    printed = capsys.readouterr().out
    assert "4 8 32" in printed
    assert "32 1\n" in printed
    assert names["adaptive"].history[-1]["batch_tokens"] > 0


def test_commands_are_those_that_the_examples_document():
    (commands,) = blocks("bash")
    assert commands.strip().splitlines() == list(documented_commands())


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def attached():
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    return model, GradientStatistics(model)


def backward(model, samples=2):
    model(torch.randn(samples, 2)).sum().backward()


def one_micro_batch():
    model, statistics = attached()
    backward(model)
    statistics.end_microbatch(2)
    return model, statistics


def nothing_trainable():  # that several ranks without wrapping raise it too is in tests/distributed
    GradientStatistics(nn.Linear(2, 1).requires_grad_(False))


def without_gradient():
    attached()[1].end_microbatch(2)


def twice():
    model, _ = kept = attached()
    backward(model)
    backward(model)
    assert kept


def unequal():
    model, statistics = one_micro_batch()
    backward(model, 3)
    statistics.end_microbatch(3)


def unequal_inputs():
    model, statistics = one_micro_batch()
    backward(model, 3)
    statistics.end_microbatch(2)


def half_told():
    model, statistics = one_micro_batch()
    backward(model)
    statistics.end_microbatch(2, tokens=2)


def unequal_ranks():  # that ranks find it out is in tests/distributed
    few, many = GroupSizes(), GroupSizes()
    for sizes, count in ((few, 1), (many, 2)):
        for _ in range(count):
            sizes.add(2)
    StepSizes.of(few, [sum(pair) for pair in zip(few.sums(), many.sums(), strict=True)], ranks=2)


def not_the_mean():
    model, statistics = one_micro_batch()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    statistics.finish()


def given_up():
    model, _ = kept = one_micro_batch()
    model.zero_grad()
    backward(model)
    assert kept


def changed_scale():
    model, statistics = one_micro_batch()
    backward(model)
    statistics.end_microbatch(2, loss_scale=2.0)


def attached_twice():
    model, _ = kept = attached()
    GradientStatistics(model)
    assert kept


def added_later():
    model, statistics = one_micro_batch()
    model.extra = nn.Parameter(torch.zeros(1))
    statistics.finish()


def nothing_seen():
    attached()[1].finish()


def untold_scaler():
    model, statistics = attached()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(model(torch.ones(2, 2)).sum()).backward()
    statistics.end_microbatch(2)
    statistics.finish()


def not_averaged():  # that ranks find it out is in tests/distributed
    require_averaged(list(autograd_leaves(nn.Linear(2, 1))), reduced=(), by_hand=(), ranks=2)


def ranks_after_attaching():
    _, statistics = one_micro_batch()
    with patch.multiple(dist, is_initialized=lambda: True, get_world_size=lambda: 2):
        statistics.finish()


def switched():
    one_micro_batch()[1].enable(False)


def one_group():
    _ = one_micro_batch()[1].finish().covariance_trace


def other_batch():
    NormTest(eta=0.5, initial=8, maximum=64).update(GradientMoments(2, 2, 1.0, 1.0))


def not_finite():
    NormTest(eta=0.5, initial=4, maximum=64).update(GradientMoments(2, 2, math.inf, 1.0))


def mid_window():
    plugin = GradientAccumulationPlugin(num_steps=2, sync_with_dataloader=False)
    accelerator = Accelerator(cpu=True, gradient_accumulation_plugin=plugin)
    with accelerator.accumulate(nn.Identity()):
        pass
    set_accumulation(accelerator, 3)


def other_callback():
    require_own(3, Accumulation(2), "gradient_accumulation_steps")


def one_group_per_step():
    AdaptiveTraining(TitanTrainer(accumulation=1), interval=1)


RAISED_BY = {
    "attach the statistics after": nothing_trainable,
    "trainable parameters received no gradient": without_gradient,
    "received its gradient twice": twice,
    "groups of equal size": unequal,
    "and tokens= was not told": unequal_inputs,
    "told for some groups of this step": half_told,
    "the ranks have unequal numbers of": unequal_ranks,
    "not the mean of the groups' gradients": not_the_mean,
    "is gone: call": given_up,
    "GradScaler multiplies losses": untold_scaler,
    "loss scales of": changed_scale,
    "other gradient statistics are attached": attached_twice,
    "parameters, but had": added_later,
    "nothing averages the gradient of": not_averaged,
    "ranks run, but": ranks_after_attaching,
    "no micro-batch was seen": nothing_seen,
    "switched between two micro-batches": switched,
    "at least 2 groups": one_group,
    "the moments are of a batch of": other_batch,
    "gradient moments are not finite": not_finite,
    "in the middle of a window": mid_window,
    "changed by something else": other_callback,
    "has too few groups": one_group_per_step,
}


def test_every_message_of_the_page_is_here():
    table = PAGE.split("## Messages")[1]
    assert re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE) == list(RAISED_BY)


@pytest.mark.parametrize("message", RAISED_BY)
def test_message(message):
    with pytest.raises((ValueError, RuntimeError), match=re.escape(message)):
        RAISED_BY[message]()
