"""Runs against a slow loop that keeps everything; reproducibility, memory, records, bad input."""

import tracemalloc

import numpy as np
import pytest

from simulate.noise import NOISES, Draw
from simulate.objectives import OBJECTIVES, Quadratic
from simulate.optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp
from simulate.streams import SeedStreams
from simulate.trajectory import powers_of_two, run

NOISE_SETTINGS = {name: {"eta": 0.4} for name in NOISES} | {
    "none": {},
    "two-point": {"delta": 0.1, "probability": 0.35},
    "finite-sum": {"eta": 0.4, "test": "norm-wise"},  # the coordinate-wise test takes all samples here: no noise
}
STATEFUL = {"eta": 0.4, "variance": "estimated"}


def half(step):
    return 1.0 / (1 + step / 10)


def slow_run(objective, noise, optimizer, steps, seed):
    """One seed, step by step, with the whole history kept in lists."""
    w = objective.start()[None]
    source, state = noise.begin(objective, optimizer, SeedStreams([seed], steps)), optimizer.start(w)
    history = []
    for step in range(1, steps + 1):
        gradient = objective.gradient(w)
        root = optimizer.denominators(gradient, state)
        draw = source(w, gradient, step, state)
        w = optimizer.step(w, draw.gradient, state, step)
        history.append((gradient[0], root, draw, objective.value(w)[0]))
    return history, w[0]


@pytest.mark.parametrize(
    ("objective", "noise", "optimizer"),
    [
        ("geman-mcclure", ("gaussian", {"eta": 0.4}), Adam(0.02, 0.9, 0.95)),
        ("xy-chain", ("isotropic", {"eta": 0.4}), AdamW(0.02, 0.9, 0.99, bias_correction=True, epsilon=1e-8)),
        ("noisy-regression", ("finite-sum", STATEFUL), RMSProp(0.02, 0.9, schedule=half)),
        ("network", ("finite-sum", {"eta": 0.4, "variance": "constant", "minimum_batch": 8}), AdaGrad(0.1)),
        ("rastrigin", ("additive", {"eta": 0.4, "maximum_batch": 50}), SGD(0.05)),
    ],
)
def test_records_match_a_loop_that_keeps_everything(objective, noise, optimizer):
    objective, noise = OBJECTIVES[objective](), NOISES[noise[0]](**noise[1])
    records, seeds = (1, 7, 40), (11, 5, 8)
    fast = run(objective, noise, optimizer, 40, seeds, records, preconditioned=True, deviations=True)
    for column, seed in enumerate(seeds):
        history, final = slow_run(objective, noise, optimizer, 40, seed)
        np.testing.assert_allclose(fast.final_w[column], final, rtol=1e-12)
        np.testing.assert_allclose(fast.first_gradient[column], history[0][0], rtol=1e-12)
        for row, k in enumerate(records):
            part = history[:k]
            l1 = np.array([np.abs(g).sum() for g, *_ in part])
            l2 = np.array([np.sqrt((g**2).sum()) for g, *_ in part])
            weights = [1.0 if optimizer.schedule is None else optimizer.schedule(step) for step in range(1, k + 1)]
            expected = {
                "l1_sum": l1.sum(),
                "l2_sum": l2.sum(),
                "squared_sum": (l2**2).sum(),
                "weighted_l1_sum": l1 @ weights,
                "value": part[-1][3],
                "deviation_sum": sum(draw.deviations.sum() for _, _, draw, _ in part),
                "average_l1": l1.mean(),
                "average_squared": (l2**2).mean(),
            }
            if part[0][1] is not None:
                expected["preconditioned_sum"] = sum((g**2 / root[0]).sum() for g, root, *_ in part)
            missed = np.array([draw.missed is not None and draw.missed[0] for _, _, draw, _ in part])
            expected |= {"misses": missed.sum(), "missed_l1_sum": l1 @ missed, "miss_rate": missed.mean()}
            if part[0][2].batch_size is not None:
                sizes = np.array([draw.batch_size[0] for _, _, draw, _ in part])
                expected |= {"batch_sum": sizes.sum(), "batch_size": sizes[-1], "average_batch": sizes.mean()}
            for name, value in expected.items():
                assert getattr(fast, name)[row, column] == pytest.approx(value, rel=1e-11), name


def test_what_is_not_reported_is_nan():
    trajectory = run(OBJECTIVES["quadratic"](), NOISES["gaussian"](eta=0.1), SGD(0.1), 4, 2, preconditioned=True)
    for name in ("batch_sum", "average_batch", "batch_size", "preconditioned_sum", "deviation_sum"):
        assert np.isnan(getattr(trajectory, name)).all(), name


@pytest.mark.parametrize("noise", NOISES)
def test_a_run_depends_on_its_seed_alone(noise):
    """Bit by bit, with any other seeds in the batch."""
    objective, adam = OBJECTIVES["noisy-regression"](), Adam(0.02, 0.9, 0.95)
    make = NOISES[noise]
    together = run(objective, make(**NOISE_SETTINGS[noise]), adam, 60, (4, 9, 2, 9, 100), preconditioned=True)
    alone = run(objective, make(**NOISE_SETTINGS[noise]), adam, 60, (9,), preconditioned=True)
    for column in (1, 3):
        assert (together.final_w[column] == alone.final_w[0]).all()
        assert (together.l1_sum[:, column] == alone.l1_sum[:, 0]).all()
        assert (together.squared_sum[:, column] == alone.squared_sum[:, 0]).all()
        assert (together.value[:, column] == alone.value[:, 0]).all()
        assert (together.preconditioned_sum[:, column] == alone.preconditioned_sum[:, 0]).all()
    if noise != "none":
        assert (together.final_w[0] != alone.final_w[0]).any()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_reproducible(objective):
    made, adam = OBJECTIVES[objective](), AdamW(0.02, 0.9, 0.95, bias_correction=True, epsilon=1e-8)
    together = run(made, NOISES["gaussian"](eta=0.3), adam, 50, 33)
    alone = run(made, NOISES["gaussian"](eta=0.3), adam, 50, [20])
    assert (together.final_w[20] == alone.final_w[0]).all()
    assert (together.l2_sum[:, 20] == alone.l2_sum[:, 0]).all()


class FortranQuadratic(Quadratic):
    """Gradients laid out by columns, as broadcasting may leave them."""

    def gradient(self, w):
        return np.asfortranarray(super().gradient(w))


class FortranNoise:
    """Exact gradients laid out by columns."""

    def begin(self, objective, optimizer, streams):
        return lambda w, gradient, step, state: Draw(np.asfortranarray(gradient))


def test_the_layout_of_gradients_does_not_matter():
    class Checked(SGD):
        def step(self, w, g, state, step):
            assert w.flags.c_contiguous
            assert g.flags.c_contiguous
            return super().step(w, g, state, step)

    ours = run(FortranQuadratic(condition=7.0), FortranNoise(), Checked(0.3), 30, 50)
    plain = run(Quadratic(condition=7.0), NOISES["none"](), SGD(0.3), 30, [0])
    assert (ours.final_w == plain.final_w[0]).all()
    assert (ours.l1_sum == plain.l1_sum).all()
    assert (ours.squared_sum == plain.squared_sum).all()


def test_estimated_batches_are_reproducible():
    objective, adam = OBJECTIVES["noisy-regression"](), Adam(0.02)
    together = run(objective, NOISES["finite-sum"](**STATEFUL), adam, 60, 7)
    alone = run(objective, NOISES["finite-sum"](**STATEFUL), adam, 60, [3])
    assert (together.batch_sum[:, 3] == alone.batch_sum[:, 0]).all()
    assert len(set(together.batch_sum[-1])) > 1


def test_a_longer_run_begins_like_a_shorter_one():
    objective, noise = OBJECTIVES["geman-mcclure"](), NOISES["skewed"](eta=0.3)
    short, long = (run(objective, noise, Adam(0.01), steps, 3, [32]) for steps in (32, 100))
    assert (short.l1_sum == long.l1_sum).all()


def test_settings_by_row_match_runs_of_their_own():
    """A grid of step sizes and eta as one batch, with the same seeds in every block."""
    objective, etas, alphas = OBJECTIVES["geman-mcclure"](), (0.1, 0.8), (0.01, 0.1)
    seeds = [0, 1, 2] * 2
    column = {"eta": np.repeat(etas, 3)[:, None], "alpha": np.repeat(alphas, 3)[:, None]}
    for name in ("gaussian", "cantelli", "adversarial", "isotropic"):
        together = run(objective, NOISES[name](eta=column["eta"]), Adam(column["alpha"]), 40, seeds)
        for block in range(2):
            alone = run(objective, NOISES[name](eta=etas[block]), Adam(alphas[block]), 40, 3)
            np.testing.assert_allclose(together.l1_sum[:, 3 * block : 3 * block + 3], alone.l1_sum, rtol=1e-12)


def peak_memory(steps):
    objective, noise = OBJECTIVES["noisy-regression"](), NOISES["finite-sum"](**STATEFUL)
    tracemalloc.start()
    run(objective, noise, Adam(0.01), steps, 8, [steps])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_steps():
    run(OBJECTIVES["noisy-regression"](), NOISES["finite-sum"](**STATEFUL), Adam(0.01), 300, 8)
    assert peak_memory(1200) < peak_memory(300) + 50_000  # 900 more steps of one [8, 10] array alone take 576 kB


def test_records():
    quadratic, noise = OBJECTIVES["quadratic"](), NOISES["none"]()
    assert run(quadratic, noise, SGD(0.1), 5, 1).steps == (1, 2, 4, 5)
    assert run(quadratic, noise, SGD(0.1), 5, 1, [5, 3, 3]).steps == (3, 5)
    assert powers_of_two(1) == (1,)
    assert powers_of_two(8) == (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"seeds": 0}, "at least one seed"),
        ({"seeds": []}, "at least one seed"),
        ({"record_at": [0, 2]}, r"must lie in 1\.\.4"),
        ({"record_at": [5]}, r"must lie in 1\.\.4"),
    ],
)
def test_bad_input_is_refused(options, message):
    arguments = {"steps": 4, "seeds": 1, **options}
    with pytest.raises(ValueError, match=message):
        run(OBJECTIVES["quadratic"](), NOISES["none"](), SGD(0.1), **arguments)


def test_sign_descent_takes_the_steps_it_should():
    """beta2 -> 0 without noise: every coordinate moves by alpha towards 0."""
    objective = OBJECTIVES["quadratic"](dimension=3)
    trajectory = run(objective, NOISES["none"](), RMSProp(0.125, 1e-300), 4, 1)
    np.testing.assert_allclose(trajectory.final_w, 0.5, rtol=1e-12)
