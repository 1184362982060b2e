"""Studies: their verdicts on right and wrong bounds, and refusals of parts that are not what they say."""

import builtins
import json
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from adabatch.moments.hypotheses import HypothesisError
from simulate.experiments.result import Table
from simulate.laboratory import BOUNDS, BoundRule, Study, StudyVerdict, study
from simulate.laboratory.related_bounds import BUILT_IN
from simulate.laboratory.study import prepared
from simulate.noise import NOISES, Draw, Stateless
from simulate.objectives import Objective, PseudoHuber, Quadratic
from simulate.optimizers import OPTIMIZERS, SGD, Adam, Optimizer
from simulate.trajectory import run
from theory.guarantee import adam_guarantee
from theory.problem import AdamParameters

SHORT = {"steps": 32, "seeds": 4}


def unchecked(*parts):
    """The result of built-in parts, whose checks cost more than a short run."""
    return prepared(*parts, **SHORT).run(checked=False)


class Scaled(BoundRule):
    """A multiple of the measured mean at the end: violated below 1."""

    name = "scaled"

    def __init__(self, factor):
        self.factor = factor

    def value(self, run):
        return (self.factor if run.steps == SHORT["steps"] else 2.0) * run.mean("l1_sum")


def test_a_study_compares_the_mean_over_seeds_with_the_theorem():
    """Against the trajectory and the theorem, called by hand."""
    adam = Adam(1e-2, 0.9, 0.95)
    found = study(PseudoHuber(dimension=3), NOISES["gaussian"](eta=0.2), adam, "guarantee", **SHORT)
    by_hand = run(PseudoHuber(dimension=3), NOISES["gaussian"](eta=0.2), adam, 32, 4)
    assert found.verdict is StudyVerdict.HOLDS
    np.testing.assert_array_equal(found.table["K"], by_hand.steps)
    np.testing.assert_allclose(found.table["measured"], by_hand.l1_sum.mean(axis=1), rtol=1e-14)
    settings = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=1e-2)
    bound = adam_guarantee(PseudoHuber(dimension=3).problem(32), settings).value
    assert found.table["value"][-1] == pytest.approx(float(bound), rel=1e-14)
    assert found.ratio == pytest.approx(min(found.table["value"] / found.table["measured"]))


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, StudyVerdict.HOLDS), (0.99999, StudyVerdict.UNRESOLVED), (0.5, StudyVerdict.VIOLATED)],
)
def test_the_verdict_follows_from_the_interval(factor, verdict):
    result = unchecked("pseudo-huber,dimension=2", "gaussian,eta=0.5", "adam", Scaled(factor))
    assert result.verdict is verdict
    assert result.outcome.as_expected == (verdict is not StudyVerdict.VIOLATED)


class Expected(BoundRule):
    """E G_{k+1}^2 / E G_k^2 = 0.9^2 + (0.1 eta)^2 on w^2 / 2 at alpha = 0.1: attained at every K."""

    name, measured = "expected", "average_squared"

    def value(self, run):
        return float(np.mean((0.81 + (0.1 * run.eta) ** 2) ** np.arange(run.steps)))


@pytest.mark.parametrize("seeds", [1, 4])
def test_a_bound_that_is_attained_is_hardly_ever_violated(seeds):
    """Of 200 studies 2 at most by their level; 99% at each K by itself makes it 3 of four seeds."""
    parts = "quadratic,dimension=1", "gaussian,eta=0.9", "sgd,step_size=0.1", Expected()
    made = (prepared(*parts, steps=16, seeds=seeds, seed=seeds * i) for i in range(200))
    verdicts = [one.run(checked=False).verdict for one in made]
    assert verdicts.count(StudyVerdict.VIOLATED) <= (2 if seeds > 1 else 0)
    assert verdicts.count(StudyVerdict.UNRESOLVED) > 20


def test_one_seed_violates_a_bound_where_nothing_is_random():
    steady = prepared("quadratic", "none", "sgd", Scaled(0.9), steps=32, seeds=1).run(checked=False)
    assert steady.verdict is StudyVerdict.VIOLATED
    noisy = prepared("quadratic", "gaussian", "sgd", Scaled(0.9), steps=32, seeds=1).run(checked=False)
    assert noisy.verdict is StudyVerdict.UNRESOLVED
    assert noisy.outcome.as_expected
    assert noisy.plot()


def test_a_bound_that_reads_the_end_of_a_run_is_compared_there_alone():
    """Whatever is recorded: at another K the state would be of later steps than the sum."""
    one = prepared(
        "quadratic,dimension=2", "gaussian,eta=0.2", "adagrad,initial_second_moment=0.1", "adagrad", **SHORT
    )
    tables = [one.run(records, checked=False).table for records in (None, (16,), (16, 32))]
    assert [list(table["K"]) for table in tables] == [[32]] * 3
    assert [float(table["measured"][0]) for table in tables] == [float(tables[0]["measured"][0])] * 3


def test_without_a_theorem_a_study_measures():
    result = unchecked("pseudo-huber", "gaussian,eta=0.2", "lion", None)
    assert result.verdict is StudyVerdict.NO_BOUND
    assert result.outcome.as_expected
    assert result.outcome.verdict == "no bound"
    assert (result.table["value"] > result.table["measured"]).all()  # what is guaranteed for Adam


def test_a_bound_that_was_not_asked_for_may_not_apply():
    """AdamW's theorem is on small weight decay: measured, with the reason; asked for by name, refused."""
    usual = unchecked("pseudo-huber", "gaussian,eta=0.2", "adamw,weight_decay=1", None)
    assert usual.verdict is StudyVerdict.NO_BOUND
    assert "requires lambda W" in usual.statement
    with pytest.raises(HypothesisError, match="requires lambda W"):
        unchecked("pseudo-huber", "gaussian,eta=0.2", "adamw,weight_decay=1", "weight-decay")


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_can_be_studied(name):
    result = unchecked("pseudo-huber,dimension=4", "gaussian,eta=0.2", name, None)
    assert result.verdict in (StudyVerdict.HOLDS, StudyVerdict.NO_BOUND)
    assert np.isfinite(result.table["measured"]).all()


MISFITS = [
    ("guarantee", "isotropic,eta=0.5", "adam", "requires the coordinate-wise test"),
    ("sgd", "gaussian,eta=0.5", "adam", "requires SGD without a schedule"),
    ("guarantee", "gaussian,eta=0.5", "amsgrad", "requires Adam or RMSProp, but amsgrad"),
    ("theorem-2", "gaussian,eta=0.2", "adam,bias_correction=True", "requires no bias correction"),
    ("weight-decay", "gaussian,eta=0.2", "adam", "requires AdamW"),
    ("clipping,floor=0.5", "gaussian,eta=0.2", "adam", "requires clipped noise"),
    ("adagrad", "gaussian,eta=0.2", "sgd", "requires AdaGrad"),
    ("theorem-3-l1", "gaussian,eta=5", "adam", "requires"),
]


@pytest.mark.parametrize(("bound", "noise", "optimizer", "message"), MISFITS, ids=lambda value: str(value)[:20])
def test_a_bound_refuses_what_its_hypotheses_leave_out(bound, noise, optimizer, message):
    with pytest.raises(HypothesisError, match=message):
        prepared("pseudo-huber", noise, optimizer, bound, **SHORT).run(checked=noise.startswith("isotropic"))


def test_every_theorem_has_a_study_that_uses_it():
    used = {type(one.parts(one.only_on or PseudoHuber(), 64)[2]) for one in BUILT_IN}
    assert used | {BOUNDS[name] for name in ("guarantee", "theorem-1", "theorem-2")} == set(BOUNDS.values())


@dataclass(frozen=True)
class Noisy(Stateless):
    eta: float = 0.2
    bias: float = 0.0
    reported: float | None = 0.2

    def sample(self, gradient: np.ndarray, streams) -> Draw:
        numbers = streams.draw(0, gradient.shape[1:], "standard_normal")
        reported = None if self.reported is None else self.reported * np.abs(gradient)
        return Draw(gradient * (1 + self.bias + 0.2 * numbers), deviations=reported)


def test_noise_is_what_it_says_or_refused():
    assert study("pseudo-huber", Noisy(), "adam", **SHORT).verdict is StudyVerdict.HOLDS
    assert study("pseudo-huber", Noisy(reported=None), "adam", **SHORT).verdict is StudyVerdict.HOLDS
    with pytest.raises(ValueError, match=r"noise 'noisy' is biased: at w = .* standard errors"):
        study("pseudo-huber", Noisy(bias=0.05), "adam", **SHORT)
    with pytest.raises(ValueError, match=r"understates its deviation: .* it reports 0\.0"):
        study("pseudo-huber", Noisy(reported=0.1), "adam", **SHORT)
    for reported in (0.2, None):
        with pytest.raises(HypothesisError, match=r"noise 'noisy' with eta = 0\.1 needs eta = 0\.[12]"):
            study("pseudo-huber", Noisy(eta=0.1, reported=reported), "adam", "guarantee", **SHORT)


@dataclass(frozen=True)
class Late:
    """Three times the gradient, from the second step on or once there is momentum."""

    by_state: bool
    eta: float = 0.2

    def begin(self, objective, optimizer, streams):
        def draw(w, gradient, step, state):
            late = state.first_moment != 0 if self.by_state else step > 1
            return Draw(
                gradient * (1 + 0.2 * streams.draw(0, gradient.shape[1:], "standard_normal")) * (1 + 2 * late)
            )

        return draw


@pytest.mark.parametrize("by_state", [False, True])
def test_noise_is_looked_at_with_the_step_and_the_state_of_its_point(by_state):
    with pytest.raises(ValueError, match="noise 'late' is biased"):
        study("pseudo-huber", Late(by_state), "adam", **SHORT)


class WrongShape(Stateless):
    def sample(self, gradient, streams):
        return Draw(gradient[:, :1])


class NotADraw(Stateless):
    def sample(self, gradient, streams):
        return gradient


class NotFinite(Stateless):
    def sample(self, gradient, streams):
        return Draw(gradient * np.nan)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (WrongShape(), "gradients must have the shape"),
        (NotADraw(), "must return a simulate.noise.Draw, not a ndarray"),
        (NotFinite(), "a stochastic gradient is not finite"),
    ],
    ids=["shape", "draw", "finite"],
)
def test_noise_of_another_kind_is_refused(noise, message):
    with pytest.raises(ValueError, match=message):
        study("pseudo-huber", noise, "adam", **SHORT)


@dataclass(frozen=True)
class Wrong(Optimizer):
    name: ClassVar[str] = "wrong"
    how: str = ""

    def step(self, w, g, state, step):
        if self.how == "in place":
            w -= self.rate(step) * g
            return w
        if self.how == "gradient":
            g *= 0
        if self.how == "shape":
            return w[:, :1]
        if self.how == "nan":
            return w * np.nan
        if self.how == "mixes":
            return w - self.rate(step) * g.mean(axis=0)
        return w + np.inf


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("in place", r"'wrong': step\(\) changes w in place"),
        ("gradient", r"'wrong': step\(\) changes g in place"),
        ("shape", r"step\(\) must return the shape of w, \(3, 10\), not \(3, 1\)"),
        ("nan", "numbers that are not finite"),
        ("mixes", "must not depend on the other seeds"),
        ("far", r"not finite|led to|no longer finite"),
    ],
)
def test_an_optimizer_that_breaks_its_promises_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        study("quadratic", "gaussian,eta=0.2", Wrong(0.1, how=how), **SHORT)


class Doubled(Quadratic):
    def gradient(self, w):
        return 1.01 * super().gradient(w)


class Understated(Quadratic):
    smoothness = 0.1


class BentFarOut(Objective):
    """|w|^2 / 2 up to a distance of 3 from 0, and steeper beyond: only runs that go there see it."""

    name = "bent"
    smoothness = 1.0

    def start(self):
        return np.full(self.dimension, 0.5)

    def value(self, w):
        return (0.5 * w * w + 4 * np.maximum(np.abs(w) - 50, 0) ** 2).sum(axis=-1)

    def gradient(self, w):
        return w + 8 * np.sign(w) * np.maximum(np.abs(w) - 50, 0)


def test_an_objective_is_checked_where_the_run_goes_too():
    for objective, message in ((Doubled(), "gradient is not that of its value"), (Understated(), "too small")):
        with pytest.raises(ValueError, match=message):
            study(objective, "gaussian,eta=0.2", "adam", **SHORT)
    assert study(BentFarOut(dimension=2), "gaussian,eta=0.2", SGD(0.1), bound="none", **SHORT)
    with pytest.raises(ValueError, match="smoothness 1 is too small"):
        study(BentFarOut(dimension=2), "gaussian,eta=0.2", SGD(2.3), bound="none", steps=32, seeds=2)


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), np.ones(2)], ids=str)
def test_a_bound_returns_a_positive_number(value):
    class Returns(BoundRule):
        """A value."""

        name = "returns"

        def value(self, run):
            return value

    with pytest.raises(
        ValueError, match=r"bound 'returns': value\(run\) must return a positive number, but at K = 1"
    ):
        unchecked("quadratic", "gaussian,eta=0.2", "adam", Returns())


def test_numbers_of_steps_and_seeds_are_refused_in_words():
    with pytest.raises(ValueError, match="steps must be at least 16, not 3"):
        study("quadratic", steps=3)
    with pytest.raises(ValueError, match="seeds must be at least 1, not 0"):
        study("quadratic", seeds=0)


def test_a_result_is_kept_as_files_a_figure_and_a_table(tmp_path, monkeypatch):
    result = unchecked("quadratic,dimension=2", "gaussian,eta=0.2", "sgd", None)
    folder = result.save(tmp_path / "kept")
    assert sorted(path.name for path in folder.iterdir()) == ["study.csv", "study.json", "study.png"]
    assert json.loads((folder / "study.json").read_text())["verdict"] == "holds"
    np.testing.assert_array_equal(Table.read_csv(folder / "study.csv")["measured"], result.table["measured"])
    assert "sgd on quadratic,dimension=2 under gaussian,eta=0.2: sgd holds" in str(result)
    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    monkeypatch.setattr("simulate.laboratory.result.import_module", lambda name: real("no_pandas_here"))
    with pytest.raises(ModuleNotFoundError, match=r"to_dataframe\(\) needs pandas: pip install pandas"):
        result.to_dataframe()


def test_a_data_frame_has_the_tables_columns():
    pandas = pytest.importorskip("pandas")
    result = unchecked("quadratic,dimension=2", "gaussian,eta=0.2", "sgd", None)
    frame = result.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(result.table.columns)


def test_a_study_of_built_in_parts_may_skip_the_checks():
    parts = Study(Quadratic(), NOISES["gaussian"](eta=0.2), SGD(0.1), BOUNDS["sgd"](), steps=32, seeds=(0, 1))
    assert parts.run(checked=False).checked == ()
    assert parts.run().checked
