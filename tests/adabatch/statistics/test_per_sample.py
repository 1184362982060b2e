"""Per-sample moments against a loop over samples, on models of several kinds."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from adabatch.model.language_model import build_model, language_model_loss, model_config
from adabatch.moments.coordinate_moments import CoordinateMoments
from adabatch.statistics import GradientStatistics, per_sample_moments
from adabatch.statistics.leaves import autograd_leaves
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


def nested_loss(model, batch, weights):
    images, labels = batch["pair"]
    assert batch["mask"] is None
    losses = nn.functional.cross_entropy(model(images), labels, reduction="none")
    return (weights[0] * losses).mean()


@pytest.mark.parametrize("chunk", [2, 5])
def test_samples_in_dictionaries_and_tuples(chunk):
    model, (images, labels) = Classifier(), images_and_labels(5)
    weights = torch.linspace(1, 2, 5, dtype=torch.float64)
    rows = looped(
        model,
        lambda model, x, y, w: nested_loss(model, {"pair": (x, y), "mask": None}, [w]),
        images,
        labels,
        weights,
    )
    nested = {"pair": (images, labels), "mask": None}
    agree(per_sample_moments(model, nested_loss, nested, [weights], chunk=chunk), rows, 1e-13)


class Buffers(nn.Module):
    """Buffers of whole numbers: one that is read, a counter that every call raises, and batch statistics."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.linear, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
        self.register_buffer("order", torch.tensor([2, 0, 3, 1]))
        self.register_buffer("calls", torch.tensor(7))
        self.norm.running_var.fill_(3.0)
        self.double().eval()

    def forward(self, x):
        self.calls += 1
        return self.norm(self.linear(x[:, self.order]))


def test_buffers_of_whole_numbers_are_read_and_stay():
    model, samples = Buffers(), images_and_labels(6)
    moments = per_sample_moments(model, classification_loss, *samples, chunk=4)
    assert int(model.calls) == 7
    assert int(model.norm.num_batches_tracked) == 0
    agree(moments, looped(model, classification_loss, *samples), 1e-13)


def test_complex_parameters_count_both_parts():
    torch.manual_seed(3)
    model = nn.Linear(4, 3, dtype=torch.complex128)
    images, _ = images_and_labels(5)

    def loss(model, x):
        return model(x.to(torch.complex128)).abs().square().mean()

    rows = []
    for index in range(5):
        gradients = torch.autograd.grad(loss(model, images[index : index + 1]), list(model.parameters()))
        rows.append(torch.cat([torch.view_as_real(gradient).reshape(-1) for gradient in gradients]))
    agree(per_sample_moments(model, loss, images, chunk=2), torch.stack(rows).numpy(), 1e-13)
    with pytest.raises(ValueError, match="weight is complex, and coordinate-wise moments are of real"):
        per_sample_moments(model, loss, images, coordinates=True)


def test_dropout_draws_for_each_sample():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(400, 1, bias=False)).double()
    moments = per_sample_moments(model, lambda model, x: model(x).mean(), torch.ones(6, 400, dtype=torch.float64))
    # Gradients are masks times 2: of 6 * 400 squares about half are 4, and masks differ.
    assert moments.sum_of_squares == pytest.approx(6 * 400 * 2, rel=0.1)
    assert moments.squared_norm < 0.8 * moments.sum_of_squares / 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_tiny_and_huge_gradients(dtype, scale):
    model, (images, labels) = Classifier().to(dtype), images_and_labels(5)
    images = images.to(dtype)

    def loss(model, x, y):
        return scale * classification_loss(model, x, y)

    rows = looped(model, loss, images, labels)
    agree(per_sample_moments(model, loss, images, labels), rows, 1e-4 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_gradients_whose_squares_leave_fp64_are_refused(scale):
    with pytest.raises(ValueError, match="whose squares leave fp64's range: scale the loss"):
        per_sample_moments(Classifier(), lambda *batch: scale * classification_loss(*batch), *images_and_labels(3))
    moments = per_sample_moments(
        Classifier(), lambda *batch: 0.0 * classification_loss(*batch), *images_and_labels(3)
    )
    assert moments.sum_of_squares == 0  # nothing was lost
    moments = per_sample_moments(
        Classifier(), lambda *batch: float("nan") * classification_loss(*batch), *images_and_labels(3)
    )
    assert np.isnan(moments.sum_of_squares)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.BatchNorm1d(3), "is a BatchNorm1d whose statistics depend on other samples"),
        (nn.BatchNorm1d(3, track_running_stats=False).eval(), "is a BatchNorm1d whose statistics depend"),
        (nn.Embedding(5, 3, sparse=True), "sparse gradients, of which no sample's own can be taken"),
    ],
)
def test_modules_without_a_gradient_for_each_sample(module, message):
    model = nn.ModuleDict({"first": nn.Linear(4, 3), "second": module})
    with pytest.raises(ValueError, match=f"second.*{message}"):
        per_sample_moments(model, lambda model, x: model["second"](model["first"](x)).mean(), torch.ones(3, 4))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ((torch.tensor(1.0),), "a tensor without dimensions was given"),
        ((torch.ones(2, 4), [1, 2]), "a int was given"),
        (({"x": torch.ones(2, 4), "y": torch.ones(3)},), r"\[2, 3\] samples"),
        ((None,), r"with \[\] samples"),
    ],
)
def test_samples_that_are_none(samples, message):
    with pytest.raises(ValueError, match=message):
        per_sample_moments(nn.Linear(4, 1), lambda model, *batch: model(batch[0]).mean(), *samples)


def test_a_loss_without_a_mean():
    with pytest.raises(ValueError, match=r"the loss of one sample has the shape \(1, 1\): give a loss"):
        per_sample_moments(nn.Linear(4, 1), lambda model, x: model(x), torch.ones(2, 4))


def test_the_claimed_rounding_holds_for_sums_whose_roundings_go_one_way():
    """Many equal squares: (1 + 2^-27)^2 is rounded, and so is every partial sum."""
    count, size = 3, 50_000
    model = nn.Linear(size, 1, bias=False).double()
    value = 1 + 2.0**-27 + 2.0**-40
    batch = torch.full((count, size), value, dtype=torch.float64)
    moments = per_sample_moments(model, lambda model, x: model(x).mean(), batch)
    exact = Fraction(value) ** 2 * count * size
    error = abs(Fraction(moments.sum_of_squares) - exact) / exact
    assert error <= moments.rounding / 2  # both sums have this part of it
    assert moments.rounding < 1e-12
