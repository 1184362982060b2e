"""Which runs there are, with which settings, in which order, and which count as finished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adabatch.experiments.comparison.runs import Key, comparison_runs
from adabatch.experiments.comparison.variants import choose_variants, standard_variants
from adabatch.experiments.run import changed_settings
from adabatch.settings import load_settings, to_toml

BASE = load_settings("comparison")
VARIANTS = standard_variants(BASE)


def runs_in(folder, names=("constant-16", "constant-64", "ramp"), seeds=(0, 1), rates=(1e-3, 2e-3, 4e-3)):
    return comparison_runs(choose_variants(VARIANTS, names), BASE, seeds, rates, folder)


def finish(run, **changed):
    """Leave what a finished run leaves."""
    run.folder.mkdir(parents=True)
    wanted = run.resolved()
    (run.folder / "config.toml").write_text(to_toml(wanted))
    records = [{"step": 400, "samples": wanted.run.samples} | changed]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_middle_rate_comes_first_and_derived_runs_bring_what_they_need(tmp_path):
    runs = runs_in(tmp_path)
    assert len(runs) == 3 * 4 * 2
    assert [key.learning_rate for key in runs][:9] == [2e-3] * 8 + [1e-3]
    assert [key.variant for key in runs][:8:2] == ["constant-16", "constant-64", "unbiased-0.8", "ramp"]
    ramp = runs[Key("ramp", 2e-3, 1)]
    assert ramp.needs is runs[Key("unbiased-0.8", 2e-3, 1)]


def test_settings_of_a_run(tmp_path):
    settings = runs_in(tmp_path)[Key("constant-64", 4e-3, 1)].resolved()
    assert (settings.schedule.schedule, settings.schedule.initial_batch) == ("constant", 64)
    assert settings.schedule.micro_batch == BASE.schedule.max_micro_batch
    assert settings.data.seed == 1
    assert settings.optimizer.lr == 4e-3
    assert settings.optimizer.min_lr == pytest.approx(4e-4)
    assert Path(settings.run.output) == tmp_path / "runs/constant-64/lr-0.004/seed-1"


def test_the_ramp_waits_for_its_adaptive_run(tmp_path):
    runs = runs_in(tmp_path)
    ramp, adaptive = runs[Key("ramp", 1e-3, 0)], runs[Key("unbiased-0.8", 1e-3, 0)]
    assert not ramp.ready()
    assert not ramp.finished()
    finish(adaptive)
    assert adaptive.finished()
    assert ramp.ready()
    assert ramp.resolved().schedule.schedule == "linear-ramp"
    assert not ramp.finished()


def test_a_run_cut_short_is_not_finished(tmp_path):
    run = next(iter(runs_in(tmp_path).values()))
    finish(run, samples=64)
    assert not run.finished()


def test_a_run_with_other_settings_is_refused(tmp_path):
    run = next(iter(runs_in(tmp_path).values()))
    finish(run)
    config = run.folder / "config.toml"
    config.write_text(config.read_text().replace("weight_decay = 0.1", "weight_decay = 0.5"))
    with pytest.raises(ValueError, match=r"other settings \(weight_decay is 0.5, wanted 0.1\)"):
        run.finished()


def test_a_comparison_may_be_moved(tmp_path):
    before = runs_in(tmp_path / "before", names=("replay",))
    for run in before.values():
        if not run.needs:
            finish(run)
    replay = before[Key("replay", 1e-3, 0)]
    finish(replay)
    (tmp_path / "before").rename(tmp_path / "after")
    assert runs_in(tmp_path / "after", names=("replay",))[Key("replay", 1e-3, 0)].finished()
    assert runs_in(tmp_path / "after", names=("replay",), seeds=(0, 1, 2))[Key("replay", 1e-3, 0)].finished()
    more_seeds = runs_in(tmp_path / "after", names=("replay",), seeds=(0, 2, 1))
    finish(more_seeds[Key("unbiased-0.8", 1e-3, 2)])
    with pytest.raises(ValueError, match="replay_run is"):
        more_seeds[Key("replay", 1e-3, 0)].finished()


def test_changed_settings_are_named():
    assert changed_settings(BASE, BASE) == []
    assert changed_settings(load_settings("comparison", overrides={"eta": 0.5}), BASE) == [
        "eta is 0.5, wanted 0.8"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["constant-17"]}, "take one or more of constant-16"),
        ({"seeds": ()}, "at least 1 seed"),
        ({"rates": (1e-3, 1e-3)}, "positive and different"),
        ({"rates": (-1e-3,)}, "positive and different"),
    ],
)
def test_what_cannot_be_compared(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        runs_in(tmp_path, **arguments)


def test_the_frontier_needs_two_constants():
    with pytest.raises(ValueError, match="at least two different constant batches"):
        standard_variants(BASE, [8, 8])
    names = [variant.name for variant in standard_variants(BASE, [8, 24])]
    assert names[:2] == ["constant-8", "constant-24"]


def test_every_standard_variant_has_settings_that_are_known():
    for variant in VARIANTS:
        load_settings("comparison", overrides=variant.overrides)
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
