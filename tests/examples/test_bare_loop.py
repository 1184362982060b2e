"""The bare loop: on models that are not Llamas, in one process and on two ranks."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from adabatch.statistics import GradientStatistics
from tests.support.repository import script
from tests.support.spawning import run_ranks

bare_loop = script("examples/bare_loop.py")
gratings = bare_loop.gratings


@pytest.mark.parametrize("build", [bare_loop.cnn, bare_loop.ViT])
def test_statistics_of_vision_models(build):
    """Against explicit gradients of each group, in fp64."""
    torch.manual_seed(0)
    model = build().double()
    parameters = list(model.parameters())
    images, labels = gratings(12, torch.Generator().manual_seed(0))
    batches = list(zip(images.double().split(4), labels.split(4), strict=True))
    rows = []
    for x, y in batches:
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    groups = torch.stack(rows)
    trace = 4 * (groups - groups.mean(0)).square().sum() / 2

    statistics = GradientStatistics(model)
    for x, y in batches:
        (F.cross_entropy(model(x), y) / 3).backward()
        statistics.end_microbatch(4)
    moments = statistics.finish()
    # The fp32 cast in a ViT would show here: layers that compute in fp64 agree to 1e-10.
    assert moments.covariance_trace == pytest.approx(float(trace), rel=1e-10)
    assert moments.squared_norm == pytest.approx(float(groups.mean(0).square().sum()), rel=1e-10)


def test_the_batch_grows_and_the_loss_falls():
    torch.manual_seed(0)
    log = bare_loop.train(bare_loop.cnn(), samples=3000)
    accumulation = [record["accumulation"] for record in log]
    assert accumulation[0] == 4
    assert accumulation[-1] > 4
    assert accumulation == sorted(accumulation)
    assert log[-1]["samples"] == 8 * sum(accumulation)
    assert sum(record["loss"] for record in log[-3:]) < 0.5 * sum(record["loss"] for record in log[:3])


def two_ranks(rank, world_size):
    torch.manual_seed(0)
    model = DistributedDataParallel(bare_loop.cnn())
    log = bare_loop.train(model, rank, world_size, samples=1000)
    return log, [parameter.detach() for parameter in model.parameters()]


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_decide_alike_and_train_as_one_process_does():
    (log, parameters), (other_log, other_parameters) = run_ranks(two_ranks, 2)
    assert [r["accumulation"] for r in log] == [r["accumulation"] for r in other_log]
    assert [r["noise_scale"] for r in log[4:]] == [r["noise_scale"] for r in other_log[4:]]
    assert all(torch.equal(a, b) for a, b in zip(parameters, other_parameters, strict=True))
    for ours, by_hand in zip(parameters, by_hand_on_both_streams(log), strict=True):
        torch.testing.assert_close(ours, by_hand, rtol=1e-3, atol=1e-5)


def by_hand_on_both_streams(log):
    """The same batches in one process: the gradient of the mean loss over every sample of a step."""
    torch.manual_seed(0)
    model = bare_loop.cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    streams = [torch.Generator().manual_seed(rank) for rank in range(2)]
    for record in log:
        parts = [gratings(8, stream) for stream in streams for _ in range(record["accumulation"])]
        images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        F.cross_entropy(model(images), labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach() for parameter in model.parameters()]
