"""accelerate's windows, the wrapping that was not asked for, and the averaged noise scale."""

import math

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin
from torch import nn

from adabatch.integrations.accelerate import set_accumulation
from adabatch.integrations.noise_scale import NoiseScaleMonitor
from adabatch.integrations.wrapping import check_wrapping
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.hypotheses import HypothesisError


def new_accelerator(steps, sync_with_dataloader=False):
    plugin = GradientAccumulationPlugin(num_steps=steps, sync_with_dataloader=sync_with_dataloader)
    return Accelerator(cpu=True, gradient_accumulation_plugin=plugin)


def window_gradients(change, micro_batches=14):
    """The gradient of each window for the loss w, which is 1 in any correct loop; M goes 2, 2, 3, 4, ..."""
    accelerator = new_accelerator(2)
    w = nn.Parameter(torch.zeros(()))
    windows, gradients = [2, 2, 3, 4], []
    for _ in range(micro_batches):
        with accelerator.accumulate(nn.Identity()):
            accelerator.backward(w * 1.0)
        if accelerator.sync_gradients:
            gradients.append(w.grad.item())
            w.grad = None
            if len(gradients) < len(windows):
                change(accelerator, windows[len(gradients)])
    return gradients


def test_every_window_has_the_gradient_of_its_mean_loss():
    assert window_gradients(set_accumulation) == pytest.approx([1, 1, 1, 1], rel=1e-6)


def test_the_setter_alone_mis_scales_a_window():
    """What set_accumulation is for; if this fails, accelerate has fixed it."""

    def setter(accelerator, steps):
        accelerator.gradient_accumulation_steps = steps

    gradients = window_gradients(setter)
    assert gradients[:2] == pytest.approx([1, 1])
    assert gradients[2] == pytest.approx(2 / 3)


def test_set_accumulation_refuses_what_would_mis_scale():
    with pytest.raises(RuntimeError, match="sync_with_dataloader=False"):
        set_accumulation(new_accelerator(2, sync_with_dataloader=True), 3)
    accelerator = new_accelerator(2)
    with pytest.raises(ValueError, match="at least 1 micro-batch, but 0"):
        set_accumulation(accelerator, 0)
    with accelerator.accumulate(nn.Identity()):
        pass
    with pytest.raises(RuntimeError, match="from 2 to 3 in the middle of a window"):
        set_accumulation(accelerator, 3)
    with accelerator.accumulate(nn.Identity()):
        pass
    set_accumulation(accelerator, 3)


def test_wrapping_warns_when_fsdp_was_asked_for_in_vain(monkeypatch, recwarn):
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    check_wrapping(nn.Linear(2, 2))
    assert not recwarn
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.warns(UserWarning, match="FSDP was asked for, but no module is sharded"):
        check_wrapping(nn.Linear(2, 2))


def moments_of(gradients, group_size=2):
    """Of scalar group gradients."""
    mean = sum(gradients) / len(gradients)
    return GradientMoments(len(gradients), group_size, sum(g * g for g in gradients), mean * mean)


def test_noise_scale_averages_before_dividing():
    """Samples of variance 4 around a mean gradient of 0.5: B_noise = 16, while single ratios are wild."""
    generator = torch.Generator().manual_seed(0)
    monitor, ratios = NoiseScaleMonitor(decay=0.999), []
    for _ in range(6000):
        groups = (0.5 + 2 / math.sqrt(2) * torch.randn(4, generator=generator, dtype=torch.float64)).tolist()
        moments = moments_of(groups)
        monitor.update(moments)
        ratios.append(moments.covariance_trace / moments.debiased_squared_norm)
    assert monitor.value == pytest.approx(16, rel=0.2)
    assert min(ratios) < 0
    assert not 8 < sum(ratios) / len(ratios) < 32


def test_noise_scale_states_and_refusals():
    monitor = NoiseScaleMonitor()
    assert math.isnan(monitor.value)
    monitor.update(moments_of([1.0, 2.0, 3.0]))
    before = monitor.value
    assert monitor.update(moments_of([1.0, math.inf])) == before
    other = NoiseScaleMonitor()
    other.load_state_dict(monitor.state_dict())
    assert other.update(moments_of([1.0, 4.0])) == monitor.update(moments_of([1.0, 4.0])) != before
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), but is 1"):
        NoiseScaleMonitor(decay=1)
    with pytest.raises(HypothesisError, match="at least 2 groups"):
        monitor.update(moments_of([1.0]))
