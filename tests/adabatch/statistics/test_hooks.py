"""What the hooks see: what reaches .grad, also where others have hooks; and how they end."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from adabatch.statistics import CoordinateStatistics, GradientStatistics, detach

KINDS = [GradientStatistics, CoordinateStatistics]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def batches(count=4):
    return torch.randn(count, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def square(model, batch):
    return model(batch).square().mean()


def step(model, statistics, loss=square):
    for batch in batches():
        (loss(model, batch) / 4).backward()
        statistics.end_microbatch(6)
    return statistics.finish()


def truth(model, loss=square):
    """S and ||g||^2 from what each micro-batch alone leaves in .grad."""
    groups = []
    for batch in batches():
        model.zero_grad()
        loss(model, batch).backward()
        groups.append(torch.cat([p.grad.double().reshape(-1).clone() for p in model.parameters()]))
    model.zero_grad()
    stacked = torch.stack(groups)
    return float(stacked.square().sum()), float(stacked.mean(0).square().sum())


def agrees(moments, sums):
    assert (moments.sum_of_squares, moments.squared_norm) == pytest.approx(sums, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [lambda g: g * 0.1, lambda g: g * (torch.arange(7) < 2).double()[:, None]])
@pytest.mark.parametrize("later", [False, True])
def test_hooks_of_others_count_whenever_they_were_registered(kind, change, later):
    model = network()
    if later:
        statistics = kind(model)
    model[0].weight.register_hook(change)
    if not later:
        statistics = kind(model)
    moments = step(model, statistics)
    statistics.enable(False)
    agrees(moments, truth(model))


def halve(parameter):
    parameter.grad *= 0.5


def test_a_hook_that_changes_grad_itself_is_refused():
    model = network()
    statistics = GradientStatistics(model)
    model[2].bias.register_post_accumulate_grad_hook(halve)
    with pytest.raises(ValueError, match=r"not the mean of the groups' gradients .* most clearly in 2\.bias"):
        step(model, statistics)


def test_gradients_that_go_elsewhere_are_not_seen():
    """torch.autograd.grad inside the loss, for a penalty, and between steps, for a log."""
    model = network()

    def penalised(model, batch):
        loss = square(model, batch)
        return loss + sum(
            g.square().sum() for g in torch.autograd.grad(loss, model.parameters(), create_graph=True)
        )

    statistics = GradientStatistics(model)
    torch.autograd.grad(square(model, batches()[0]), model.parameters())
    moments = step(model, statistics, penalised)
    statistics.enable(False)
    agrees(moments, truth(model, penalised))


def test_reentrant_checkpointing_of_each_parameter_once():
    model = network()

    def checkpointed(model, batch):
        return checkpoint(model, batch.requires_grad_(), use_reentrant=True).square().mean()

    moments = step(model, GradientStatistics(model), checkpointed)
    agrees(moments, truth(network()))


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_end_with_their_object(kind):
    model = network()
    statistics = kind(model)
    gone = weakref.ref(statistics)
    del statistics
    gc.collect()
    assert gone() is None
    agrees(step(model, kind(model)), truth(network()))


def test_hooks_of_an_object_that_somebody_keeps_can_be_detached():
    model = network()
    kept = [GradientStatistics(model)]
    with pytest.raises(ValueError, match=r"attached to this model already.*detach\(model\)"):
        GradientStatistics(model)
    detach(model)
    assert not kept[0].enabled
    agrees(step(model, GradientStatistics(model)), truth(network()))


def test_copies_and_saved_models_are_free_of_hooks():
    model = network()
    statistics = GradientStatistics(model)
    twin = copy.deepcopy(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (twin, loaded):
        agrees(step(other, GradientStatistics(other)), truth(network()))
    agrees(step(model, statistics), truth(network()))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_the_statistics_themselves_cannot_be_copied(duplicate):
    with pytest.raises(TypeError, match="hold hooks of one model and cannot be copied or pickled"):
        duplicate(GradientStatistics(network()))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", KINDS)
def test_attaching_and_enabling_where_no_gradients_are_recorded(mode, kind):
    model = network()
    with mode():
        statistics = kind(model)
        statistics.enable(False)
        statistics.enable()
    agrees(step(model, statistics), truth(network()))


@pytest.mark.parametrize("convert", [lambda model: model.float(), lambda model: model.bfloat16()])
def test_a_model_that_is_converted_after_attaching_is_refused(convert):
    model = network()
    statistics = GradientStatistics(model)
    convert(model)
    square(model, batches()[0].to(model[0].weight.dtype)).backward()
    with pytest.raises(RuntimeError, match=r"0\.weight: it was converted .* attach again, after model\.to\(\)"):
        statistics.end_microbatch(6)
