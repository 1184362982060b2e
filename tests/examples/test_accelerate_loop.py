"""accelerate: every window's gradient is the one of a hand-written loop, on one and two ranks."""

import os
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tests.support.repository import script
from tests.support.spawning import run_fresh_ranks

accelerate_loop = script("examples/accelerate_loop.py")
CLASSES, SIZE, gratings = accelerate_loop.CLASSES, accelerate_loop.SIZE, accelerate_loop.gratings
MICRO_BATCH, COUNT = 8, 600


class Recorder(nn.Module):
    """A classifier that keeps the micro-batches it was given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 16), nn.Tanh(), nn.Linear(16, CLASSES))
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return self.layers(images)


def dataset():
    return TensorDataset(*gratings(COUNT, torch.Generator().manual_seed(0)))


def example_run(rank=0, world_size=1, fsdp=False):
    """The example's log, the micro-batches in their order, the trained parameters, and what was warned."""
    torch.manual_seed(0)
    os.environ["ACCELERATE_USE_FSDP"] = str(fsdp).lower()
    if world_size > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1", "FSDP_VERSION": "2"}
    model = Recorder()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log = accelerate_loop.train(model, dataset(), MICRO_BATCH)
    parameters = [parameter.detach().clone() for parameter in model.parameters()]
    return log, model.seen, parameters, [str(warning.message) for warning in caught]


def by_hand(log, streams):
    """One process, one backward a step, on the union of all ranks' micro-batches."""
    images, labels = dataset().tensors
    label_of = {image.numpy().tobytes(): label for image, label in zip(images, labels, strict=True)}
    model, position = Recorder(), 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for record in log:
        end = position + record["accumulation"]
        batch = torch.cat([micro_batch for stream in streams for micro_batch in stream[position:end]])
        position = end
        target = torch.stack([label_of[image.numpy().tobytes()] for image in batch])
        F.cross_entropy(model(batch), target).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return list(model.parameters())


def check(log, streams, parameters):
    accumulation = [record["accumulation"] for record in log]
    assert accumulation[0] == 4
    assert accumulation[-1] > 4
    # Windows go on over the end of the epoch: only the run's last one may be left open.
    assert 0 <= len(streams[0]) - sum(accumulation) <= accumulation[-1] * 2
    for ours, expected in zip(parameters, by_hand(log, streams), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


def test_every_window_as_by_hand(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    log, seen, parameters, _ = example_run()
    check(log, [seen], parameters)


@pytest.mark.distributed
def test_two_ranks_as_by_hand_where_fsdp_fell_back_to_ddp():
    runs = run_fresh_ranks(example_run, 2, True)
    (log, _, parameters, warned), (other_log, _, other_parameters, _) = runs
    assert any("FSDP was asked for, but no module is sharded" in message for message in warned)
    assert [r["accumulation"] for r in log] == [r["accumulation"] for r in other_log]
    assert all(torch.equal(a, b) for a, b in zip(parameters, other_parameters, strict=True))
    check(log, [seen for _, seen, _, _ in runs], parameters)
