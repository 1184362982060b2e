"""The experiments: every quick run comes out as it should, and would not if the statement were wrong."""

import dataclasses
import functools
import pickle

import numpy as np
import pytest

from adabatch.moments.hypotheses import HypothesisError
from simulate.experiments.adam import bounds, slopes
from simulate.experiments.adam.theorems import BOUNDS, own_rows, theorem_1_bounds, theorem_2_bounds
from simulate.experiments.adam_sharp import sharpness
from simulate.experiments.audit import published_theorem
from simulate.experiments.estimators import batch_demand, bias
from simulate.experiments.known import EXPERIMENTS
from simulate.experiments.options import options_read
from simulate.experiments.other_optimizers import rmsprop
from simulate.experiments.pieces import Pieces
from simulate.experiments.rows import (
    AdamSetting,
    Row,
    Variant,
    by_seed,
    chosen_objectives,
    chosen_settings,
    mean_over_seeds,
    run_rows,
)
from simulate.experiments.samples.runs import run_until
from simulate.experiments.settings import Level, Settings
from simulate.experiments.training import clipping, scalar_divergence
from simulate.kept import unpickled
from simulate.laboratory import related_bounds, sign_descent
from simulate.laboratory.theorems import Theorem1
from simulate.noise import NOISES, Clipped, FiniteSumBatches
from simulate.noise.exact_tests import replacement_free_batch_size
from simulate.objectives import OBJECTIVES, PseudoHuber, Regression
from simulate.optimizers import SGD, Adam
from simulate.outcomes import Assertion, Expectation
from simulate.report.figures import FIGURES
from simulate.trajectory import run as run_trajectory
from theory.adam import theorem1
from theory.adam.variants import bias_correction, gradient_norm_sum_bound
from theory.guarantee import adam_guarantee
from theory.problem import AdamParameters
from theory.training.scalar_divergence import simulate as simulate_path

FIELDS = {item.name for item in dataclasses.fields(Settings)}
READ: set[str] = set()
"""Settings that were read since it was cleared."""


class Recording(Settings):
    """Settings that note which of them are read."""

    def __getattribute__(self, name):
        READ.update({name} & FIELDS)
        return super().__getattribute__(name)


class Kept(dict):
    """Pieces by name, as bytes on a disk would hold them."""

    def read(self, name):
        return None if name not in self else unpickled(self[name])

    def write(self, name, found):
        self[name] = pickle.dumps(found)


QUICK = Recording(level=Level.QUICK)
USUAL = AdamSetting(0.9, 0.95, 0.2)


@functools.cache
def quick(name):
    """The quick run of an experiment, the settings that it read, and the pieces that it kept."""
    kept, fractions = Kept(), []
    READ.clear()
    result = EXPERIMENTS[name].run(QUICK, Pieces(lambda fraction, kept: fractions.append(fraction), kept, name))
    assert sum(fractions) == pytest.approx(1.0)
    return result, frozenset(READ), kept


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_quick_run_comes_out_as_it_should(name):
    result = quick(name)[0]
    assert result.name == name
    assert result.outcomes
    for outcome in result.outcomes:
        assert outcome.as_expected, (outcome.name, str(outcome.headline), [str(c) for c in outcome.supporting])
    assert all(len(table) > 0 for table in result.tables.values())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_from_kept_pieces_is_the_run(name):
    """No piece depends on another: the cheapest is lost, all others are read from where they were kept."""
    result, _, kept = quick(name)
    cheapest = min(kept, key=lambda piece: kept.read(piece)[1])
    left = Kept({piece: found for piece, found in kept.items() if piece != cheapest})
    again = EXPERIMENTS[name].run(QUICK, Pieces(keep=left, name=name))
    assert str(again) == str(result)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_options_derived_from_the_code_are_those_that_a_run_reads(name):
    assert options_read(EXPERIMENTS[name].function) == quick(name)[1]


def test_every_figure_has_an_experiment_and_names_are_unique():
    results = [quick(name)[0] for name in EXPERIMENTS]
    tables = [table for result in results for table in result.tables]
    assert len(tables) == len(set(tables))
    assert set(FIGURES) - {"attack", "plane"} <= set(tables)  # those are drawn by commands of their own
    outcomes = [outcome.name for result in results for outcome in result.outcomes]
    assert len(outcomes) == len(set(outcomes))


def test_what_is_expected_is_spelled_out():
    """What must be refuted and which controls must fail is part of the claim: none may switch sides unseen."""
    expected = {v.name: v.expected for name in EXPERIMENTS for v in quick(name)[0].outcomes}
    assert {name for name, value in expected.items() if value is Expectation.CONTROL} == {
        "Theorem 1 / 20",
        "Theorem 2 / 20",
        "RMSProp, eta 1.5",
        "Limit on a roofline",
        "Exchange without a ceiling",
        "Constants against the optimum",
        "The same bound without a floor",
        "The tightest bound, 1% smaller",
    }
    assert {name for name, value in expected.items() if value is Expectation.REFUTED} == {
        "Theorem B.1 as published, far from the minimiser",
        "Theorem B.1 as published, steep",
        "Scalar test",
        "Clipping",
        "Estimated test, realizable",
        "Estimated test, noisy",
        "Eq. 5",
        "Algorithm 1, growth",
        "Adam's bias at a constant batch",
        "One run, from second moments",
        "Gain at every condition",
    }


# ---------------------------------------------------------------------------------------------- rows and bounds


def test_rows_of_a_batch_are_the_runs_one_by_one():
    objective = OBJECTIVES["xy-chain"]()
    rows = [Row(AdamSetting(0.9, 0.95, 0.2), 0.01, 1.0), Row(AdamSetting(0.0, 0.9, 0.5), 0.03)]
    together = run_rows(objective, "rademacher", rows, [3, 4, 5], 20, [4, 20], Variant("eps", epsilon=1e-3))
    sums = by_seed(together.l1_sum, 3)
    assert sums.shape == (2, 2, 3)
    for i, row in enumerate(rows):
        optimizer = Adam(
            row.step_size,
            row.setting.beta1,
            row.setting.beta2,
            epsilon=1e-3,
            initial_second_moment=row.v0,
        )
        alone = run_trajectory(
            objective, NOISES["rademacher"](eta=row.setting.eta), optimizer, 20, [3, 4, 5], [4, 20]
        )
        assert np.allclose(sums[i], alone.l1_sum, rtol=1e-12)
    assert np.allclose(mean_over_seeds(together.l1_sum, 3), sums.mean(axis=-1))


@pytest.mark.parametrize("v0", [0.0, 1e-4])
def test_bounds_of_many_rows_are_those_of_each(v0):
    objective = OBJECTIVES["pseudo-huber"]()
    settings = [AdamSetting(0.9, 0.95, 0.2), AdamSetting(0.9, 0.95, 0.5), AdamSetting(0.0, 0.9, 0.5)]
    rows = [Row(setting, 0.01, v0) for setting in settings]
    first, second = (theorem(objective, rows, [64, 256]) for theorem in (theorem_1_bounds, theorem_2_bounds))
    assert np.isnan(first[1]).all()  # eta .5 is beyond Theorem 1 at (.9, .95)
    for i, row in enumerate(rows):
        for j, steps in enumerate((64, 256)):
            start = objective.dimension * np.sqrt(v0)
            adam = AdamParameters(**vars(row.setting), step_size=row.step_size, sum_sqrt_v0=start)
            guarantee = adam_guarantee(objective.problem(steps), adam)
            if i != 1:
                assert first[i, j] == pytest.approx(guarantee.terms["Theorem 1"])
            if v0 == 0:
                assert second[i, j] == pytest.approx(guarantee.terms["Theorem 2"])
            else:  # with v_0 > 0 the growth of v is bounded as well, which can only help
                assert second[i, j] <= guarantee.terms["Theorem 2"] * (1 + 1e-12)


def test_own_step_size_makes_the_bound_least():
    objective, setting = OBJECTIVES["rastrigin"](), AdamSetting(0.5, 0.9, 0.4)
    for theorem, bounds_of in BOUNDS.items():
        (own,) = own_rows(theorem, objective, [setting], 500)
        rows = [Row(setting, own.step_size * factor) for factor in (0.8, 1.0, 1.25)]
        low, least, high = bounds_of(objective, rows, [500])[:, 0]
        assert least < low
        assert least < high


def test_theorem_2_says_nothing_under_bias_correction():
    objective, rows = OBJECTIVES["quadratic"](), [Row(AdamSetting(0.9, 0.95, 0.2), 0.01)]
    variant = Variant("bias correction", bias_correction=True)
    assert np.isnan(theorem_2_bounds(objective, rows, [10], variant)).all()
    found = theorem_1_bounds(objective, rows, [10, 1000], variant)
    adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=0.01)
    for k, steps in enumerate((10, 1000)):
        problem = objective.problem(steps)
        own = bias_correction(0.9, 0.95, steps)
        assert found[0, k] == gradient_norm_sum_bound(problem, adam, own).value
        assert found[0, k] <= gradient_norm_sum_bound(problem, adam, bias_correction(0.9, 0.95)).value
    assert (
        found[0, 0] < 0.7 * gradient_norm_sum_bound(objective.problem(10), adam, bias_correction(0.9, 0.95)).value
    )


def test_inadmissible_eta_names_the_nearest():
    with pytest.raises(HypothesisError, match=r"the supremum of the admissible values is eta = 0\.955"):
        chosen_settings(Settings(beta1=0.9, beta2=0.95, eta=0.97))
    assert chosen_settings(Settings(eta=0.6)) == (AdamSetting(0.9, 0.95, 0.6),)
    with pytest.raises(HypothesisError, match=r"take beta2 > beta1\^2"):
        chosen_settings(Settings(beta1=0.99, beta2=0.9))


def test_unknown_objective_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown objective 'ackley'; known: directional-huber, geman-mcclure"):
        chosen_objectives(Settings(objectives=("ackley",)))


# ------------------------------------------------------------------------------- negative controls, by experiment


def test_a_wrong_theorem_would_be_caught_on_the_grid(monkeypatch):
    monkeypatch.setitem(BOUNDS, "Theorem 1", lambda *a: theorem_1_bounds(*a) / 50)
    small = Settings(level=Level.QUICK, objectives=("pseudo-huber",), steps=64)
    outcomes = {v.name: v for v in bounds.run(small, Pieces()).outcomes}
    assert not outcomes["Theorem 1 on the grid"].as_expected
    assert outcomes["Theorem 2 on the grid"].as_expected


def test_a_vacuous_bound_would_be_noticed_by_the_control(monkeypatch):
    """A bound that is far too large would pass every case; dividing it by 20 then goes uncaught."""
    monkeypatch.setitem(BOUNDS, "Theorem 2", lambda *a: theorem_2_bounds(*a) * 1e6)
    small = Settings(level=Level.QUICK, objectives=("pseudo-huber",), steps=64)
    outcomes = {v.name: v for v in bounds.run(small, Pieces()).outcomes}
    assert outcomes["Theorem 2 on the grid"].as_expected
    assert not outcomes["Theorem 2 / 20"].as_expected


def test_a_looser_theorem_2_would_not_be_within_9(monkeypatch):
    monkeypatch.setitem(BOUNDS, "Theorem 2", lambda *a: theorem_2_bounds(*a) * 5)
    assert not any(v.as_expected for v in sharpness.run(QUICK, Pieces()).outcomes)


@pytest.mark.parametrize("factor", [0.97, 1.12])
def test_the_sharp_limit_notices_a_few_percent(monkeypatch, factor):
    rightly = Theorem1.at
    monkeypatch.setattr(Theorem1, "at", lambda *a: rightly(*a) * factor)
    assert not sign_descent.run(QUICK, Pieces()).outcomes[0].as_expected


def test_sign_descent_ratios():
    ratios = quick("sign-descent")[0].tables["sign_descent"]["ratio"]
    assert np.round(ratios, 2).tolist() == [1.04, 1.01, 1.0]


def _curve(slope, steps=(512, 1024, 2048, 4096), initial=1.0, setting=USUAL):
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal((len(steps), 16))
    averages = np.array(steps, dtype=float)[:, None] ** slope * noise
    return slopes.Curve("made up", setting, steps, averages, initial, np.ones((2, len(steps))))


@pytest.mark.parametrize(
    ("slope", "holds"), [(-0.5, True), (-0.85, True), (-0.3, False), (-1.0, False), (0.0, False)]
)
def test_slopes_out_of_range_are_noticed(slope, holds):
    curve = _curve(slope, initial=1e9)
    assert not curve.pre_asymptotic
    assert slopes._outcome("made up", [curve]).as_expected is holds
    assert curve.slope.low <= slope <= curve.slope.high or abs(curve.slope.value - slope) < 0.02


def test_no_slope_is_asserted_where_a_run_is_pre_asymptotic():
    assert _curve(-0.5, initial=1e-9).pre_asymptotic  # hardly any progress
    assert _curve(-0.5, steps=(16, 32, 64, 128), initial=1e9).pre_asymptotic  # too short
    assert _curve(-0.5, initial=1e9, setting=AdamSetting(0.9, 0.999, 0.2)).pre_asymptotic  # within the memory of v
    assert slopes._outcomes([_curve(-0.1, initial=1e-9)]) == []


def test_of_a_setting_that_was_asked_for_only_a_fall_is_asserted():
    flat, rising = (_curve(slope, initial=1e9) for slope in (-0.2, 0.2))
    assert not slopes._outcomes([flat])[0].as_expected
    assert slopes._outcomes([flat], own_setting=True)[0].as_expected
    assert not slopes._outcomes([rising], own_setting=True)[0].as_expected


@pytest.mark.slow
def test_the_slope_swings_while_v_remembers_the_start_and_settles_later():
    """Why no slope is asserted below 2/(1 - beta2)^2 = 20000 steps at beta2 = .99; in the end it is near -1/2."""
    horizons = tuple(2**k for k in (12, 13, 16, 17))
    name, chosen = "geman-mcclure", [AdamSetting(0.9, 0.99, 0.2)]
    points = [slopes._point(name, steps, chosen, range(2)) for steps in horizons]
    (curve,) = slopes._curves(name, chosen, horizons, points)
    early, _, late = np.diff(np.log(curve.averages.mean(axis=1))) / np.diff(np.log(horizons))
    assert early > -0.35
    assert -0.55 < late < -0.4


def test_the_published_theorem_would_not_be_refuted_with_its_gap_put_back(monkeypatch):
    """The corrected bound in the published one's place: nothing is left to refute."""
    corrected = published_theorem.Counterexample.corrected
    monkeypatch.setattr(published_theorem.Counterexample, "published", corrected)
    outcomes = published_theorem.run(QUICK, Pieces()).outcomes
    assert [v.as_expected for v in outcomes] == [False, False, True]


def test_published_theorem_numbers():
    table = (
        quick("published-theorem")[0].tables["published_theorem"].where(counterexample="far from the minimiser")
    )
    row = table.where(K=1000).rows()[0]
    assert round(row["measured"]) == 995
    assert 755 < row["published_bound"] < 775


def test_below_the_threshold_dimension_the_scalar_test_is_not_refuted(monkeypatch):
    small = dataclasses.replace(scalar_divergence.INSTANCE, dimension=10_000)
    assert not small.diverges
    monkeypatch.setattr(scalar_divergence, "INSTANCE", small)
    path = simulate_path(small, scalar_divergence.STEP_SIZE, 400, scalar_divergence.START)
    assert not scalar_divergence._scalar_outcome(path).as_expected


def test_too_small_a_batch_does_not_converge_on_the_scalar_instance():
    path = scalar_divergence.simulate_with_batch(scalar_divergence.INSTANCE, 1, scalar_divergence.STEP_SIZE, 90)
    assert not scalar_divergence._descent("l1", 1, path).as_expected


def test_batch_means_have_the_law_of_a_mean():
    instance = scalar_divergence.INSTANCE
    for batch in (1, 7, 6649):
        distribution, means = scalar_divergence._batch_means(instance, batch)
        probabilities = np.diff(distribution, prepend=0.0)
        mean = float(probabilities @ means)
        assert mean == pytest.approx(1.0, rel=1e-9)
        assert float(probabilities @ (means - mean) ** 2) == pytest.approx(
            instance.noise_variance / batch, rel=1e-9
        )
        first = np.searchsorted(distribution, np.arange(scalar_divergence.GUIDE) / scalar_divergence.GUIDE)
        ends = distribution[distribution < 1]
        uniform = np.concatenate([np.random.default_rng(batch).random(20_000), ends, np.nextafter(ends, 0), [0.0]])
        found = scalar_divergence._inverse(distribution, first, uniform)
        assert (found == np.searchsorted(distribution, uniform)).all()


def test_a_batch_of_one_is_the_scalar_run():
    """Two programs, one law: both climb at the exact drift."""
    instance, steps = scalar_divergence.INSTANCE, 60
    one = scalar_divergence.simulate_with_batch(instance, 1, 0.01, steps)
    other = simulate_path(instance, 0.01, steps)
    assert one[-1] == pytest.approx(other[-1], rel=0.03)


def test_gentle_clipping_does_not_climb(monkeypatch):
    gentle = dataclasses.replace(clipping.INSTANCE, size_ratio=0.01)  # so that the right gradients are not clipped
    monkeypatch.setattr(clipping, "INSTANCE", gentle)
    outcome = clipping.run(QUICK, Pieces()).outcomes[0]
    assert not outcome.as_expected


def test_rmsprop_control_is_not_caught_at_eta_below_one(monkeypatch):
    monkeypatch.setattr(rmsprop, "CLIMBS", rmsprop.CONVERGES)
    assert not rmsprop.run(QUICK, Pieces()).outcomes[0].as_expected


# ------------------------------------------------------------------------------------- batches and estimators


def test_observed_batches_are_those_of_the_test_at_the_same_points():
    objective, steps = Regression(sample_count=64), (1, 3, 9)
    observed = batch_demand.Observed(FiniteSumBatches(0.5), "coordinate-wise", steps)
    trajectory = run_trajectory(objective, observed, Adam(0.01), 9, 3, steps)
    assert np.array_equal(np.array(observed.demanded), trajectory.batch_size)
    w = objective.start()[None]
    gradient = objective.gradient(w)
    variance = ((objective.sample_gradients(w) - gradient[:, None]) ** 2).mean(axis=1)
    first = replacement_free_batch_size("coordinate-wise", variance, gradient, 0.5, 64)
    assert np.all(observed.demanded[0] == first)


def test_clipped_gradients_are_clipped_and_keep_their_direction():
    objective, noise = PseudoHuber(), NOISES["rademacher"](eta=0.5)
    plain = _gradients(objective, noise)
    clipped = _gradients(objective, Clipped(noise, 1.0))
    norms = np.linalg.norm(plain, axis=-1)
    assert np.allclose(np.linalg.norm(clipped, axis=-1), np.minimum(norms, 1.0))
    assert np.allclose(clipped / np.linalg.norm(clipped, axis=-1, keepdims=True), plain / norms[:, None])


def _gradients(objective, noise):
    """One draw at the start for two seeds."""
    optimizer = Adam(0.01)
    drawn = []

    class Recorder:
        def begin(self, *arguments):
            source = noise.begin(*arguments)

            def draw(*values):
                drawn.append(source(*values))
                return drawn[-1]

            return draw

    run_trajectory(objective, Recorder(), optimizer, 1, 2)
    return drawn[0].gradient


def test_each_related_theorem_would_be_caught_if_it_were_wrong():
    """Every check compares two positive numbers, so that a bound below the measured value is noticed."""
    result = quick("related-bounds")[0]
    assert {v.name for v in result.outcomes} == {check.name for check in related_bounds.BUILT_IN}
    for outcome in result.outcomes:
        assert outcome.measured > 0
        too_small = Assertion("too small", outcome.measured, "<=", 0.99 * outcome.measured)
        assert not dataclasses.replace(outcome, asserted=[*outcome.asserted, too_small]).as_expected


def test_optimizers_select_their_theorems():
    only = Settings(level=Level.QUICK, optimizers=("sgd", "adagrad"))
    names = [v.name for v in related_bounds.run(only, Pieces()).outcomes]
    assert names == ["SGD", "SGD, sharp case", "AdaGrad"]
    assert bounds.chosen_adam_settings(only) == ()
    assert all(s.beta1 == 0 for s in bounds.chosen_adam_settings(Settings(optimizers=("rmsprop",))))
    for optimizers in (("rmsprop",), ("rmsprop", "adam")):
        with pytest.raises(ValueError, match=r"rmsprop has no momentum: --beta1 must be 0, not 0\.5"):
            bounds.chosen_adam_settings(Settings(optimizers=optimizers, beta1=0.5))
    assert bounds.chosen_adam_settings(Settings(optimizers=("rmsprop",), eta=0.3)) == (AdamSetting(0, 0.95, 0.3),)


def test_a_check_of_one_objective_is_left_out_where_others_are_asked_for():
    def names(*objectives):
        asked = Settings(level=Level.QUICK, objectives=objectives, optimizers=("sgd",), steps=16, seeds=1)
        return [v.name for v in related_bounds.run(asked, Pieces()).outcomes]

    assert names() == names("quadratic") == ["SGD", "SGD, sharp case"]
    assert names("rastrigin") == ["SGD"]


def test_an_objective_is_asked_for_once():
    assert chosen_objectives(Settings(objectives=("quadratic", "rastrigin", "quadratic"))) == (
        "quadratic",
        "rastrigin",
    )


def test_sampled_moments_are_those_of_the_groups():
    """The two sums behind the estimates, against a loop over groups."""
    population = bias.Population(dimension=5, squared_gradient=0.1)
    moments = population.sample(3, 12, 4, np.random.default_rng(1))
    noise = np.random.default_rng(1).standard_normal((4, 3, 5)) / 2.0
    for i in range(4):
        groups = [population.gradient + noise[i, j] for j in range(3)]
        mean = sum(groups) / 3
        assert moments.squared_norm[i] == pytest.approx(mean @ mean)
        spread = sum((g - mean) @ (g - mean) for g in groups)
        assert moments.paper_variance[i] == pytest.approx(spread / 3)


def test_two_bases_have_no_run_in_common():
    one, other = (set(Settings(seed=base).run_seeds(64)) for base in (0, 1))
    assert len(one) == len(other) == 64
    assert not one & other


def test_a_goal_that_is_not_reached_costs_infinitely_much():
    """A mean over seeds that counted the steps until then would stay below any bound above them."""
    where = {"start": np.ones(1), "deviation": np.zeros(1), "goal": lambda w, exact: exact[:, 0] < 0}
    cost = run_until(lambda w: w, SGD(0.5), **where, seeds=2, generator=np.random.default_rng(0), steps=8)
    assert np.isinf(cost.steps).all()
    assert np.isinf(cost.samples).all()


def test_seeds_make_runs_repeatable():
    one, two = (sign_descent.run(QUICK, Pieces()).tables["sign_descent"] for _ in range(2))
    assert one.columns == two.columns
    tables = [bias.run(Settings(level=Level.QUICK, seed=s), Pieces()).tables["estimator_bias"] for s in (0, 0, 1)]
    assert tables[0].columns == tables[1].columns
    assert tables[0].columns != tables[2].columns


def test_own_step_size_of_theorem_1_is_its_formula():
    objective, setting = OBJECTIVES["quadratic"](), AdamSetting(0.9, 0.95, 0.2)
    expected = theorem1.best_step_size(objective.problem(100), AdamParameters(**vars(setting)))
    assert own_rows("Theorem 1", objective, [setting], 100)[0].step_size == expected
