"""Optimizers against scalar twins, torch.optim and the theory's constants; rest where v = 0."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.noise.laws import Exact
from simulate.objectives import PseudoHuber
from simulate.optimizers import (
    OPTIMIZERS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    Lion,
    MomentumSGD,
    Muon,
    NAdam,
    Optimizer,
    RMSProp,
    SignSGD,
    Signum,
    zero_safe_ratio,
)
from simulate.optimizers.sign import orthogonalized
from simulate.trajectory import run
from theory.adam.constants import normalized_step_bound
from theory.adam.variants import bias_correction_multiplier

SEEDS, DIMENSION, STEPS = 4, 3, 60


def gradients(seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((STEPS, SEEDS, DIMENSION)) * np.geomspace(1e-6, 10, DIMENSION)


def run_batched(optimizer, sequence, start=None):
    w = np.ones(sequence.shape[1:]) if start is None else start
    state = optimizer.start(w)
    for step, g in enumerate(sequence, start=1):
        w = optimizer.step(w, g, state, step)
    return w, state


def adam_twin(g, *, alpha, beta1, beta2, epsilon=0.0, corrected=False, v0=0.0, decay=0.0, schedule=lambda k: 1.0):
    """One coordinate of one seed, as in (6), in plain floats."""
    w, m, v = 1.0, 0.0, v0
    for k, value in enumerate(g, start=1):
        m = beta1 * m + (1 - beta1) * value
        v = beta2 * v + (1 - beta2) * value**2
        rate = alpha * schedule(k)
        m_hat, v_hat = (m / (1 - beta1**k), v / (1 - beta2**k)) if corrected else (m, v)
        denominator = math.sqrt(v_hat) + epsilon
        w = w - rate * decay * w - (rate * m_hat / denominator if denominator > 0 else 0.0)
    return w


def warm_up(step):
    return min(step / 20, 1.0)


ADAM_CASES = [
    {},
    {"epsilon": 1e-3},
    {"corrected": True},
    {"corrected": True, "epsilon": 1e-3},
    {"v0": 0.5},
    {"decay": 0.3},
    {"corrected": True, "epsilon": 1e-8, "decay": 0.1, "schedule": warm_up},
]


@pytest.mark.parametrize("case", ADAM_CASES, ids=lambda case: "-".join(case) or "plain")
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.0, 0.5), (0.5, 0.999)])
def test_adam_matches_the_scalar_twin(case, betas):
    names = {"corrected": "bias_correction", "v0": "initial_second_moment", "decay": "weight_decay"}
    options = {names.get(name, name): value for name, value in case.items()}
    kind = AdamW if "decay" in case else Adam
    w, _ = run_batched(kind(0.05, *betas, **options), gradients())
    for seed in range(SEEDS):
        for i in range(DIMENSION):
            twin = adam_twin(gradients()[:, seed, i], alpha=0.05, beta1=betas[0], beta2=betas[1], **case)
            assert w[seed, i] == pytest.approx(twin, rel=1e-12)


def test_rmsprop_is_adam_without_momentum():
    for options in ({}, {"epsilon": 1e-3}, {"initial_second_moment": 2.0}, {"schedule": warm_up}):
        ours, _ = run_batched(RMSProp(0.05, 0.9, **options), gradients())
        adam, _ = run_batched(Adam(0.05, 0.0, 0.9, **options), gradients())
        np.testing.assert_allclose(ours, adam, rtol=1e-13)


@pytest.mark.parametrize("v0", [0.0, 0.1])
def test_adagrad_matches_the_scalar_twin(v0):
    w, state = run_batched(AdaGrad(0.05, epsilon=1e-4, initial_second_moment=v0, schedule=warm_up), gradients())
    for seed in range(SEEDS):
        for i in range(DIMENSION):
            point, v = 1.0, v0
            for k, g in enumerate(gradients()[:, seed, i], start=1):
                v += g * g
                point -= 0.05 * warm_up(k) * g / (math.sqrt(v) + 1e-4)
            assert w[seed, i] == pytest.approx(point, rel=1e-12)
            assert state.second_moment[seed, i] == pytest.approx(v, rel=1e-12)


def test_sgd_matches_the_closed_form():
    w, _ = run_batched(SGD(0.05, schedule=warm_up), gradients())
    rates = np.array([0.05 * warm_up(k) for k in range(1, STEPS + 1)])
    np.testing.assert_allclose(w, 1 - np.einsum("k,ksd->sd", rates, gradients()), rtol=1e-12)


TORCH_PAIRS = {
    "adam": (Adam(0.05, 0.9, 0.95, epsilon=1e-8, bias_correction=True),
             lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.9, 0.95), eps=1e-8)),
    "adamw": (AdamW(0.05, 0.9, 0.999, epsilon=1e-6, bias_correction=True, weight_decay=0.1),
              lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.1)),
    "rmsprop": (RMSProp(0.05, 0.9, epsilon=1e-8), lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.9, eps=1e-8)),
    "adagrad": (AdaGrad(0.05, epsilon=1e-10, initial_second_moment=0.1),
                lambda p: torch.optim.Adagrad(p, lr=0.05, eps=1e-10, initial_accumulator_value=0.1)),
    "sgd": (SGD(0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH_PAIRS)
def test_optimizers_match_torch(name):
    ours, theirs = TORCH_PAIRS[name]
    parameter = torch.nn.Parameter(torch.ones(SEEDS, DIMENSION, dtype=torch.float64))
    reference = theirs([parameter])
    for g in gradients(1):
        parameter.grad = torch.tensor(g)
        reference.step()
    w, _ = run_batched(ours, gradients(1))
    np.testing.assert_allclose(w, parameter.detach().numpy(), rtol=1e-10)


def test_bias_correction_is_the_theorys_multiplier():
    """With a constant gradient and no epsilon each step is alpha s_k m_k / sqrt(v_k)."""
    corrected, plain = Adam(1.0, 0.9, 0.99, bias_correction=True), Adam(1.0, 0.9, 0.99)
    w = np.zeros((1, 1))
    states = corrected.start(w), plain.start(w)
    for step in range(1, 40):
        g = np.full((1, 1), float(step))
        ratio = corrected.step(w, g, states[0], step) / plain.step(w, g, states[1], step)
        assert ratio[0, 0] == pytest.approx(bias_correction_multiplier(step, 0.9, 0.99), rel=1e-12)


@pytest.mark.parametrize("optimizer", [Adam(0.1), AdamW(0.1, weight_decay=0.0), RMSProp(0.1), AdaGrad(0.1)])
def test_coordinates_without_gradient_rest(optimizer):
    """0/0 := 0, without warnings, and the coordinate moves as soon as it has a gradient."""
    w, state = np.full((1, 2), 3.0), optimizer.start(np.zeros((1, 2)))
    for step in range(1, 4):
        moved = optimizer.step(w, np.array([[0.0, 1.0]]), state, step)
        assert moved[0, 0] == 3.0
        assert moved[0, 1] < 3.0
    assert optimizer.step(w, np.array([[1.0, 1.0]]), state, 4)[0, 0] < 3.0


def test_a_square_that_underflows_does_not_divide_by_zero():
    adam = Adam(0.1)
    state = adam.start(np.zeros((1, 1)))
    assert adam.step(np.ones((1, 1)), np.full((1, 1), 1e-200), state, 1).tolist() == [[1.0]]
    assert state.first_moment[0, 0] != 0


def test_zero_safe_ratio_broadcasts():
    ratio = zero_safe_ratio(np.ones((2, 3)), np.array([[1.0], [0.0]]))
    assert ratio.tolist() == [[1.0] * 3, [0.0] * 3]


def test_settings_may_differ_by_row():
    rows = [(0.1, 0.0, 0.5), (0.05, 0.9, 0.95), (0.01, 0.5, 0.9), (0.2, 0.9, 0.999)]
    alpha, beta1, beta2 = (np.array(column)[:, None] for column in zip(*rows, strict=True))
    together, _ = run_batched(Adam(alpha, beta1, beta2, bias_correction=True, epsilon=1e-8), gradients())
    for row, (a, b1, b2) in enumerate(rows):
        alone, _ = run_batched(Adam(a, b1, b2, bias_correction=True, epsilon=1e-8), gradients()[:, row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-13)


def test_arguments_are_left_alone():
    for factory in OPTIMIZERS.values():
        optimizer = factory(0.1)
        w, g = np.ones((2, 2)), np.full((2, 2), 0.5)
        optimizer.step(w, g, optimizer.start(w), 1)
        assert (w == 1).all()
        assert (g == 0.5).all()


def test_denominators_are_those_of_the_next_step_with_the_true_gradient():
    gradient = gradients()[0]
    for optimizer in (Adam(0.1, 0.9, 0.8, initial_second_moment=0.3), RMSProp(0.1, 0.8), AdaGrad(0.1)):
        state = optimizer.start(gradient)
        expected = optimizer.denominators(gradient, state)
        optimizer.step(gradient, gradient, state, 1)
        np.testing.assert_allclose(expected, np.sqrt(state.second_moment), rtol=1e-14)
    assert SGD(0.1).denominators(gradient, SGD(0.1).start(gradient)) is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3).filter(lambda g: g == 0 or abs(g) > 1e-100), min_size=1, max_size=30),
    st.floats(0, 0.99),
    st.floats(1e-6, 0.999),
)
def test_no_step_of_adam_exceeds_its_bound(values, share, beta2):
    """Lemma L1: |w_{k+1} - w_k| <= alpha C_m, for any gradients."""
    beta1 = share * math.sqrt(beta2)
    adam, w = Adam(1.0, beta1, beta2), np.zeros((1, 1))
    state = adam.start(w)
    for step, g in enumerate(values, start=1):
        following = adam.step(w, np.full((1, 1), g), state, step)
        assert abs(following - w)[0, 0] <= normalized_step_bound(beta1, beta2) * (1 + 1e-9)
        w = np.zeros((1, 1))


def test_registry():
    assert all(isinstance(factory(0.1), Optimizer) for factory in OPTIMIZERS.values())
    assert all(factory(0.1).name == name for name, factory in OPTIMIZERS.items())
    with pytest.raises(ValueError, match="unknown optimizer 'lyon'; known: adagrad, adam, adamw, amsgrad, lion, "):
        OPTIMIZERS["lyon"]


def torch_path(kind, sequence, **settings):
    """The final weights of torch.optim's optimizer, shape [seeds, d]."""
    w = torch.ones(sequence.shape[1:], dtype=torch.float64, requires_grad=True)
    optimizer = kind([w], **settings)
    for g in sequence:
        w.grad = torch.tensor(g)
        optimizer.step()
    return w.detach().numpy()


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_sgd_is_that_of_torch(nesterov):
    ours, _ = run_batched(MomentumSGD(0.1, 0.8, nesterov=nesterov), gradients())
    theirs = torch_path(torch.optim.SGD, gradients(), lr=0.1, momentum=0.8, nesterov=nesterov)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_amsgrad_is_that_of_torch_and_differs_from_adam():
    shrinking = gradients() * np.geomspace(1, 1e-3, STEPS)[:, None, None]
    settings = {"epsilon": 1e-8, "bias_correction": True}
    ours, _ = run_batched(AMSGrad(0.1, 0.9, 0.95, **settings), shrinking)
    theirs = torch_path(torch.optim.Adam, shrinking, lr=0.1, betas=(0.9, 0.95), eps=1e-8, amsgrad=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert not np.allclose(ours, run_batched(Adam(0.1, 0.9, 0.95, **settings), shrinking)[0], rtol=1e-3)


@pytest.mark.parametrize("corrected", [False, True])
def test_nadam_against_a_scalar_twin(corrected):
    ours, _ = run_batched(NAdam(0.1, 0.9, 0.95, epsilon=1e-6, bias_correction=corrected), gradients())
    for seed in range(SEEDS):
        w, m, v = 1.0, 0.0, 0.0
        for k, g in enumerate(gradients()[:, seed, 0], start=1):
            m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
            ahead, v_hat = 0.1 * g + 0.9 * m, v
            if corrected:
                ahead, v_hat = 0.1 * g / (1 - 0.9**k) + 0.9 * m / (1 - 0.9 ** (k + 1)), v / (1 - 0.95**k)
            w -= 0.1 * ahead / (math.sqrt(v_hat) + 1e-6)
        assert ours[seed, 0] == pytest.approx(w, rel=1e-12)


def test_steps_of_one_length_against_scalar_twins():
    sequence = gradients()
    sign, _ = run_batched(SignSGD(0.1), sequence)
    np.testing.assert_allclose(sign, 1 - 0.1 * np.sign(sequence).sum(axis=0), atol=1e-12)
    signum, _ = run_batched(Signum(0.1, 0.8), sequence)
    lion, _ = run_batched(Lion(0.1, 0.9, 0.99, weight_decay=0.3), sequence)
    for seed in range(SEEDS):
        w, m, u, kept = 1.0, 0.0, 1.0, 0.0
        for g in sequence[:, seed, 1]:
            m = 0.8 * m + 0.2 * g
            w -= 0.1 * math.copysign(1, m)
            u = u - 0.1 * 0.3 * u - 0.1 * math.copysign(1, 0.9 * kept + 0.1 * g)
            kept = 0.99 * kept + 0.01 * g
        assert signum[seed, 1] == pytest.approx(w, abs=1e-12)
        assert lion[seed, 1] == pytest.approx(u, abs=1e-12)


def test_muon_steps_along_an_orthogonal_matrix():
    """All singular values of a step are alpha; a rank-one momentum is stepped along alone; zero rests."""
    generator = np.random.default_rng(3)
    w, g = np.zeros((2, 12)), generator.standard_normal((2, 12))
    muon = Muon(0.5)
    moved = muon.step(w, g, muon.start(w), 1).reshape(2, 3, 4)
    np.testing.assert_allclose(np.linalg.svd(moved, compute_uv=False), 0.5, rtol=1e-12)
    one = np.einsum("i,j->ij", [3.0, 4.0], [0.0, 5.0])[None]
    np.testing.assert_allclose(orthogonalized(one), one / 25, atol=1e-12)
    np.testing.assert_array_equal(orthogonalized(np.zeros((1, 2, 3))), 0)
    with pytest.raises(ValueError, match="rows must divide the dimension 12, and 5 does not"):
        Muon(0.5, rows=5).start(w)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_descends_at_its_natural_step_size(name):
    objective = PseudoHuber(dimension=4)
    kind = OPTIMIZERS[name]
    optimizer = kind(kind.natural_step_size(objective.problem(256)))
    trajectory = run(objective, Exact(), optimizer, 256, 1)
    assert trajectory.value[-1, 0] < 0.2 * objective.problem(1).initial_gap
