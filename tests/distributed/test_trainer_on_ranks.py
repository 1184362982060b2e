"""The transformers Trainer on two ranks: data without length, padded texts, ranks that divide by own tokens."""

import os
import tempfile
import warnings

import pytest
import torch
from torch.utils.data import IterableDataset

from adabatch.integrations.transformers import AdaptiveBatchCallback
from tests.adabatch.integrations.test_padded_texts import averaged, train
from tests.support.padded_texts import VOCABULARY, exact_noise_scale, texts
from tests.support.spawning import RankPool
from tests.support.trainer_runs import MICRO_BATCH, Bigram, dataset, relative_error, run, stages

pytestmark = [pytest.mark.slow, pytest.mark.distributed]


class Stream(IterableDataset):
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return iter(dataset(self.count))


def as_launched(rank, world_size):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    warnings.simplefilter("ignore")


@pytest.fixture(scope="module")
def ranks():
    """Two for all tests here: of their own, as accelerate keeps what it finds in the environment."""
    with RankPool(2, method="spawn") as pool:
        yield pool


def windows_on_a_rank(rank, world_size):
    as_launched(rank, world_size)
    found = []
    for data, max_steps in [(Stream(1000), 14), (Stream(45), 12), (None, 20)]:
        callback = AdaptiveBatchCallback(stages(unit=MICRO_BATCH * world_size), interval=1)
        with tempfile.TemporaryDirectory() as folder:
            trainer, steps = run(folder, callback, data=data, count=60, max_steps=max_steps, ddp_backend="gloo")
        flat = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
        windows = [step["micro_batches"] for step in steps]
        found.append((windows, max(relative_error(step) for step in steps), flat, callback.history[-1]["samples"]))
    return found


def test_every_window_as_by_hand_and_ranks_stay_alike(ranks):
    first, second = ranks.run(windows_on_a_rank)
    for (windows, error, flat, samples), (others, other_error, other_flat, _) in zip(first, second, strict=True):
        assert windows == others
        assert max(error, other_error) < 1e-6
        assert torch.equal(flat, other_flat)
        assert samples == MICRO_BATCH * sum(windows)
    assert first[0][0] == [4] * 5 + [6] * 5 + [10] * 4
    assert [len(windows) for windows, *_ in first] == [14, 12, 20]


def noise_on_a_rank(rank, world_size):
    as_launched(rank, world_size)
    data = texts(200 * 8 * 8 * world_size, sigma=1.0)  # in one process also .3
    changes = {"gradient_accumulation_steps": 8, "ddp_backend": "gloo"}
    with tempfile.TemporaryDirectory() as folder:
        _, moments = train(folder, Bigram(VOCABULARY), data, **changes)
    found = [(len(moments), averaged(moments), [float(each.batch_size) for each in moments])]
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(folder, Bigram(VOCABULARY), data[:256], average_tokens_across_devices=False, **changes)
        except ValueError as error:
            found.append(str(error))
    equal = [{name: value[:9] for name, value in row.items()} for row in data if len(row["labels"]) >= 9][:256]
    with tempfile.TemporaryDirectory() as folder:
        both = [
            train(folder, Bigram(VOCABULARY), equal, average_tokens_across_devices=average, **changes)[1]
            for average in (True, False)
        ]
    found.append([(float(each.sum_of_squares), float(each.squared_norm)) for moments in both for each in moments])
    return found


def test_noise_scale_of_padded_texts_in_tokens(ranks):
    first, second = ranks.run(noise_on_a_rank)
    assert first == second
    (steps, noise_scale, _), refused, equal = first
    assert steps == 200
    assert noise_scale == pytest.approx(exact_noise_scale(), rel=0.02)
    assert "set average_tokens_across_devices=True" in refused
    half = len(equal) // 2
    assert half == 2
    # The same where the ranks' tokens are as many.
    for average, own in zip(equal[:half], equal[half:], strict=True):
        assert average == pytest.approx(own, rel=1e-5)
