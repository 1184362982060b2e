"""Which runs a comparison is made of, from searches to other budgets, with runs that only look trained."""

from __future__ import annotations

import math
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.comparison.plan import BUDGETS, SEARCH_SEEDS, ComparisonPlan, equal_steps
from adabatch.experiments.comparison.schedules import choose_schedules, own_schedules, standard_schedules
from adabatch.experiments.comparison.tuning.points import Point
from adabatch.experiments.comparison.tuning.search import Effort
from adabatch.experiments.run import ExperimentRun
from adabatch.settings import load_settings, overlay
from adabatch.training.building import build_micro_batching, build_schedule
from adabatch.training.checks import check_settings
from tests.support.finished_runs import finish

BASE = load_settings("comparison", overrides={"samples": 640, "max_batch": 64})
KNOWN = standard_schedules(BASE, (8, 16, 32))
EFFORT = Effort(points=8, finalists=2, seeds=2)


CONSTANT = "constant-8"
RAMP = "schedule=linear-ramp,ramp_samples=400"
FIXED = "lr=0.1,lr_path=linear,warmup_samples=64"


def plan_in(
    folder, names=("norm-test-1-sqrt", "stagewise"), seeds=(0, 1), own=(f"mine:{FIXED}",), **options
) -> ComparisonPlan:
    schedules = [*choose_schedules(KNOWN, names), *own_schedules(own, BASE)]
    return ComparisonPlan(BASE, schedules, seeds, folder, EFFORT, **options)


def loss_of(run: ExperimentRun) -> float:
    return crc32(run.folder.name.encode()) / 2**32


def train(runs: list[ExperimentRun]) -> None:
    for run in runs:
        if not run.finished():
            finish(run, loss_of(run))


def train_searches(plan: ComparisonPlan) -> None:
    while wanted := plan.wanted_tries():
        assert not any(run.finished() for run in wanted)
        train(wanted)


@pytest.fixture
def searched(tmp_path) -> ComparisonPlan:
    plan = plan_in(tmp_path)
    train_searches(plan)
    return plan


def folders(runs) -> set[str]:
    return {run.folder.name for run in runs}


def test_searches_and_results_have_other_seeds(searched):
    seeds = {run.settings().data.seed for run in searched.finished_runs()}
    assert seeds == {SEARCH_SEEDS, SEARCH_SEEDS + 1}
    train(searched.result_runs())
    assert {run.settings().data.seed for run in searched.finished_runs()} == seeds | {0, 1}
    with pytest.raises(ValueError, match=r"at most 1000 seeds.*1001 are asked for \(--seeds\)"):
        plan_in(searched.folder, seeds=range(1001))


def test_every_schedule_gets_the_same_effort(searched):
    tries = {schedule.name: len(searched.search(schedule).losses) for schedule in searched.schedules}
    assert tries.pop("mine") == EFFORT.seeds  # it sets all that is tuned
    assert set(tries.values()) == {EFFORT.runs}


def test_results_are_at_the_best_point(searched):
    for schedule in searched.schedules:
        best = searched.search(schedule).best()
        assert searched.points()[schedule.name] == best
        for seed, run in searched.results(schedule.name).items():
            assert run is searched.run(schedule, best, seed)
    assert searched.results("mine")[1].settings().optimizer.lr == 0.1


def test_wherever_it_is_interrupted_the_runs_are_the_same(searched, tmp_path):
    """Each time every other run of those wanted is finished, then all is planned again."""
    other = tmp_path / "other"
    while wanted := plan_in(other).wanted_tries():
        train(wanted[::2])
    plan = plan_in(other)
    assert folders(plan.finished_runs()) == folders(searched.finished_runs())
    assert plan.points() == searched.points()


def test_a_search_that_is_over_is_not_computed_again(searched, monkeypatch):
    points = searched.points()
    monkeypatch.setattr("adabatch.experiments.comparison.tuning.search.Search.best", None)
    monkeypatch.setattr(ExperimentRun, "records", None)
    assert searched.points() == points


def test_another_schedule_or_seed_takes_all_that_is_finished(searched):
    train(searched.result_runs())
    before = folders(searched.finished_runs())
    more = plan_in(searched.folder, ["norm-test-1-sqrt", "stagewise", "seesaw"], (0, 1, 2))
    assert {run.name.partition("-seed")[0] for run in more.wanted_tries()} == {"seesaw"}
    train_searches(more)
    assert folders(more.finished_runs()) > before
    new = {run.name for run in more.result_runs() if not run.finished()}
    budgets = {f"constant-{size}-seed-1" for size in (8, 16, 32)}  # half of the seeds have other budgets
    assert all("seesaw" in name or name.endswith("seed-2") or name in budgets for name in new)


def test_points_found_elsewhere_need_no_search(searched, tmp_path):
    points = {schedule.name: Point(2, 4, 1) for schedule in searched.schedules}
    plan = plan_in(tmp_path / "other", tuned=points)
    assert plan.wanted_tries() == []
    assert plan.points() == points
    assert not any(plan.search(schedule).losses for schedule in plan.schedules)
    settings = plan.results("stagewise")[0].settings()
    assert settings.optimizer.lr == pytest.approx(2 * BASE.optimizer.lr)
    assert settings.optimizer.lr_path == "linear"


def test_controls_have_the_runs_steps_and_its_batches(searched):
    results = [run for by_seed in map(searched.results, searched.points()) for run in by_seed.values()]
    controls = searched.controls()
    assert set(controls) == {"norm-test-1-sqrt"}
    rates, batches = controls["norm-test-1-sqrt"]
    assert not any(run.ready() for by_seed in (rates, batches) for run in by_seed.values())
    train(results)
    for seed, run in searched.results("norm-test-1-sqrt").items():
        steps = len(run.records())
        replayed = rates[seed].settings()
        assert replayed.optimizer.lr_replay == str(run.folder)
        assert steps_of(replayed) == steps
        replayed = batches[seed].settings()
        assert (replayed.schedule.schedule, replayed.schedule.replay_run) == ("replay", str(run.folder))
        constants = [searched.results(name)[seed] for name in ("constant-8", "constant-16", "constant-32")]
        first = len(searched.results("norm-test-1-sqrt")[0].records())
        nearest = min(constants, key=lambda each: abs(math.log(len(each.records()) / first)))
        assert replayed.optimizer.lr_replay == str(nearest.folder)
        assert {rates[seed].settings().data.seed, replayed.data.seed} == {seed}


def steps_of(settings):
    """Steps that a schedule without measurements makes, one by one."""
    schedule = build_schedule(settings)
    schedule.round_by(build_micro_batching(settings.schedule, schedule.batch_size, settings.parallel.ranks))
    while schedule.samples < settings.run.samples:
        schedule.update()
    return schedule.steps


@given(samples=st.integers(1, 3000), share=st.floats(0, 1), ranks=st.sampled_from([1, 1, 2, 4]))
def test_a_constant_batch_or_two_neighbours_make_any_number_of_steps(samples, share, ranks):
    most = max(1, samples // ranks)
    steps = max(1, round(share * most))
    base = overlay(BASE, {"samples": samples, "warmup_samples": 0, "ranks": ranks, "max_micro_batch": 4096})
    settings = overlay(base, equal_steps(base, steps))
    assert steps_of(settings) == steps
    batches = settings.schedule.stage_batches if settings.schedule.schedule == "stagewise" else (0,)
    assert max(batches) - min(batches) in (0, ranks)


@pytest.mark.parametrize(
    "given_settings",
    ["lr_scaling=sqrt,noise_limit=1,noise_limit_scale=l1", "lr_scaling=sqrt,max_micro_batch=4"],
)
def test_controls_of_any_schedule_can_be_trained(tmp_path, given_settings):
    plan = plan_in(tmp_path, [CONSTANT], (0,), [f"mine:{RAMP},{given_settings}"])
    train_searches(plan)
    train([run for by_seed in map(plan.results, plan.points()) for run in by_seed.values()])
    for control in plan.controls()["mine"]:
        check_settings(control[0].settings(), 1)


def test_a_control_decays_parameters_as_the_run_did(tmp_path):
    plan = plan_in(tmp_path, [CONSTANT], (0,), [f"mine:{RAMP},lr_scaling=sqrt,weight_decay_scaling=sqrt"])
    train_searches(plan)
    train([run for by_seed in map(plan.results, plan.points()) for run in by_seed.values()])
    for control in plan.controls()["mine"]:
        assert control[0].settings().optimizer.lr_reference_batch == BASE.schedule.initial_batch


def test_controls_wait_for_every_constant(tmp_path):
    plan = plan_in(tmp_path)
    while wanted := [run for run in plan.wanted_tries() if "constant-16" not in run.name]:
        train(wanted)
    assert set(plan.points()) == {"constant-8", "constant-32", "norm-test-1-sqrt", "stagewise", "mine"}
    assert plan.controls() == {}


def test_the_work_is_a_bound_and_then_all_there_is(searched, tmp_path):
    bound = plan_in(tmp_path / "other").work()
    runs = searched.result_runs()
    results = 2 * (6 + 2 * 1) + len(BUDGETS) * 3
    assert len(runs) == len(folders(run for run in runs if run.ready())) + 4 == results
    assert (bound.runs, bound.at_most) == (6 * EFFORT.runs + results, True)
    work = searched.work()
    assert (work.runs, work.at_most) == (5 * EFFORT.runs + EFFORT.seeds + results, False)
    assert work.samples < bound.samples
    train([run for run in runs if run.ready()])
    train(runs)
    everything = searched.finished_runs()
    assert len(everything) == work.runs
    rounding = len(everything)
    assert sum(run.settings().run.samples for run in everything) == pytest.approx(work.samples, abs=rounding)


def test_an_infinite_loss_is_survived(tmp_path):
    plan = plan_in(tmp_path, ["stagewise"])
    while wanted := plan.wanted_tries():
        for run in wanted:
            finish(run, None if run.settings().optimizer.lr > BASE.optimizer.lr else 1.0)
    assert all(point.rate <= 0 for point in plan.points().values())
