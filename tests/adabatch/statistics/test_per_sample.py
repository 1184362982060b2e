"""Per-sample moments against a loop over samples, on models of several kinds."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from adabatch.model.llama import build_model, language_model_loss, model_config
from adabatch.moments.coordinate_moments import CoordinateMoments
from adabatch.statistics import GradientStatistics, per_sample_moments
from adabatch.statistics.reductions import autograd_leaves
from tests.support.spawning import run_ranks
from theory.estimators.exact_tests import sample_variance_test


def looped(model, loss, *samples):
    """[samples, coordinates]: one backward a sample, in fp64."""
    rows = []
    parameters = [p for p in model.parameters() if p.requires_grad]
    for index in range(len(samples[0])):
        value = loss(model, *(tensor[index : index + 1] for tensor in samples))
        rows.append(torch.cat([g.double().reshape(-1) for g in torch.autograd.grad(value, parameters)]))
    return torch.stack(rows).numpy()


def agree(moments, rows, tolerance):
    mean = rows.mean(0)
    assert (moments.groups, moments.group_size) == (len(rows), 1)
    assert moments.sum_of_squares == pytest.approx((rows**2).sum(), rel=tolerance)
    assert moments.squared_norm == pytest.approx((mean**2).sum(), rel=tolerance)
    assert moments.covariance_trace == pytest.approx(rows.var(0, ddof=1).sum(), rel=10 * tolerance)


class Classifier(nn.Module):
    """Two matrices that are one parameter, a frozen layer, a bias."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(4, 3).requires_grad_(False)
        self.double()

    def forward(self, x):
        return self.frozen(torch.tanh(self.second(torch.tanh(self.first(x)))))


def classification_loss(model, images, labels):
    return nn.functional.cross_entropy(model(images), labels)


def images_and_labels(count):
    generator = torch.Generator().manual_seed(6)
    images = torch.randn(count, 4, dtype=torch.float64, generator=generator)
    return images, torch.randint(3, (count,), generator=generator)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_tied_and_frozen_parameters_in_chunks_of_any_size(chunk):
    model, samples = Classifier(), images_and_labels(7)
    rows = looped(model, classification_loss, *samples)
    assert rows.shape == (7, 20)
    agree(per_sample_moments(model, classification_loss, *samples, chunk=chunk), rows, 1e-13)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_llama_that_is_trained(attention, tied):
    config = model_config("demo", vocabulary_size=31)
    config.update({"hidden_size": 16, "intermediate_size": 24, "tie_word_embeddings": tied})
    config.update({"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4})
    model = build_model(config, seed=1)
    model.set_attn_implementation(attention)
    assert len(list(autograd_leaves(model))) == (20 if tied else 21)
    tokens = torch.randint(31, (5, 12), generator=torch.Generator().manual_seed(2))
    rows = looped(model, language_model_loss, tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an operator without a batching rule falls back to a loop, with a warning
        moments = per_sample_moments(model, language_model_loss, tokens, chunk=2)
    agree(moments, rows, 1e-6)  # gradients in fp32


def test_groups_of_one_sample_give_the_same_moments_from_hooks():
    model, samples = Classifier(), images_and_labels(6)
    statistics = GradientStatistics(model)
    for index in range(6):
        (classification_loss(model, *(tensor[index : index + 1] for tensor in samples)) / 6).backward()
        statistics.end_microbatch(1)
    hooked, exact = statistics.finish(), per_sample_moments(model, classification_loss, *samples)
    assert hooked.covariance_trace == pytest.approx(exact.covariance_trace, rel=1e-12)
    assert hooked.squared_norm == pytest.approx(exact.squared_norm, rel=1e-12)


def test_it_is_the_left_hand_side_of_equation_3():
    model, samples = Classifier(), images_and_labels(6)
    left, right = sample_variance_test(looped(model, classification_loss, *samples), eta=0.5)
    moments = per_sample_moments(model, classification_loss, *samples)
    assert moments.covariance_trace / moments.batch_size == pytest.approx(left, rel=1e-12)
    assert 0.25 * moments.squared_norm == pytest.approx(right, rel=1e-12)


def test_coordinates():
    model, samples = Classifier(), images_and_labels(8)
    rows = looped(model, classification_loss, *samples)
    moments = per_sample_moments(model, classification_loss, *samples, chunk=3, coordinates=True)
    assert isinstance(moments, CoordinateMoments)
    agree(moments, rows, 1e-13)
    c4 = 0.9650304561  # of 8 samples, from a table
    assert moments.sum_of_standard_deviations == pytest.approx(rows.std(0, ddof=1).sum() / c4, rel=1e-9)
    assert moments.plug_in_l1_norm == pytest.approx(np.abs(rows.mean(0)).sum(), rel=1e-12)
    ratios = rows.var(0, ddof=1) / rows.mean(0) ** 2
    assert moments.coordinate_share(0.5) == pytest.approx(np.mean(ratios <= 0.25 * 8), abs=1e-12)


def shared(rank, world_size):
    """The moments of all samples, of which the first rank has three and the second four; and a refusal."""
    images, labels = images_and_labels(7)
    own = slice(0, 3) if rank == 0 else slice(3, 7)
    samples, group = (images[own], labels[own]), torch.distributed.group.WORLD
    moments = per_sample_moments(
        Classifier(), classification_loss, *samples, coordinates=True, process_group=group
    )
    with pytest.raises(ValueError, match="need the plain module"):
        per_sample_moments(nn.parallel.DistributedDataParallel(Classifier()), classification_loss, *samples)
    return moments


@pytest.mark.distributed
def test_ranks_with_samples_of_their_own():
    rows = looped(Classifier(), classification_loss, *images_and_labels(7))
    for moments in run_ranks(shared, 2):
        agree(moments, rows, 1e-13)
        assert moments.plug_in_l1_norm == pytest.approx(np.abs(rows.mean(0)).sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Classifier().requires_grad_(False), *images_and_labels(2)), "no trainable parameter"),
        ((Classifier(), images_and_labels(2)[0], images_and_labels(3)[1]), r"\[2, 3\] samples"),
        ((Classifier(),), r"with \[\] samples: give at least one tensor"),
        ((Classifier(), *images_and_labels(0)), r"with \[0, 0\] samples"),
    ],
    ids=["frozen", "unequal", "nothing", "empty"],
)
def test_bad_input(arguments, message):
    model, *samples = arguments
    with pytest.raises(ValueError, match=message):
        per_sample_moments(model, classification_loss, *samples)


def test_a_chunk_of_nothing():
    with pytest.raises(ValueError, match="at least 1 sample at a time, but chunk is 0"):
        per_sample_moments(Classifier(), classification_loss, *images_and_labels(2), chunk=0)
