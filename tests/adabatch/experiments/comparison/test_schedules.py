"""The built-in schedules, and the user's own."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from adabatch.experiments.comparison.schedules import (
    TUNED,
    Schedule,
    choose_schedules,
    constant_batch,
    own_schedules,
    standard_schedules,
)
from adabatch.experiments.comparison.tuning.points import Point, settings_at
from adabatch.settings import load_settings, overlay, to_toml
from adabatch.training.building import build_schedule
from adabatch.training.checks import check_settings

BASES = {name: load_settings(name) for name in ("comparison", "comparison-134k", "comparison-1m")}
BASE = BASES["comparison"]


def own(text: str, base=BASE):
    (schedule,) = own_schedules([text], base, standard_schedules(base))
    return schedule


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_every_built_in_schedule_can_be_trained_and_is_of_its_kind(base):
    known = standard_schedules(base)
    assert len({schedule.name for schedule in known}) == len({schedule.label for schedule in known}) == len(known)
    for schedule in known:
        settings = settings_at(base, schedule, Point(), 0)
        check_settings(settings, 1)
        measures = build_schedule(settings).groups_needed > 1
        assert (schedule.kind == "adaptive") == measures, schedule.name


def controlled(base) -> set[str]:
    return {schedule.name for schedule in standard_schedules(base) if schedule.needs_control(base)}


def test_which_schedules_need_a_control():
    sqrt = {"norm-test-1-sqrt", "norm-test-0.7-sqrt", "goodput-32-sqrt", "ramp-sqrt", "seesaw"}
    assert controlled(BASE) == sqrt | {"exchange-half", "exchange", "exchange-limited"}
    assert own("mine:noise_limit=1").needs_control(BASE)
    short = overlay(BASE, {"samples": 800, "warmup_samples": 900})
    assert controlled(short) == controlled(BASE)


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ("weight_decay=0.3", True),
        ("clip=0", True),
        ("beta2=0.99", True),
        ("beta2_half_life=500", True),
        ("weight_decay_scaling=linear", True),
        ("lr_replay=other", True),
        ("schedule=constant,max_batch=8,beta2=0.99", True),
        ("weight_decay=0.1", False),  # as in the base
        ("lr=0.1,min_lr=0.01,lr_path=cyclic,lr_cycles=3,warmup_samples=99", False),
        ("decay_fraction=0.3,eta=0.5", False),
    ],
)
def test_what_is_set_of_the_optimizer_needs_a_control_unless_it_is_tuned_for_all(given, needed):
    assert own(f"mine:{given}").needs_control(BASE) == needed
    constant = replace(own(f"mine:{given}"), kind="constant")
    assert not constant.needs_control(BASE)


def test_every_setting_of_the_optimizer_that_is_not_tuned_needs_a_control():
    words = {"lr_path": "cyclic", "lr_scaling": "sqrt", "weight_decay_scaling": "sqrt", "lr_replay": "other"}
    words |= {"optimizer": "sgd", "weight_decay_on": "matrices", "adafactor_clip": "2.0"}
    for name, value in vars(BASE.optimizer).items():
        number = value + 1 if isinstance(value, int) else value / 2 or 1.0 if isinstance(value, float) else None
        changed = not value if isinstance(value, bool) else words.get(name, number)
        schedule = Schedule("mine", "mine", "adaptive", {name: changed})
        assert schedule.needs_control(BASE) == (name not in TUNED), name


def test_with_sgd_rates_follow_the_batch_by_its_rule():
    ours = standard_schedules(overlay(BASE, {"optimizer": "sgd"}))
    names = {schedule.name for schedule in ours}
    assert {"norm-test-1-linear", "ramp-linear", "goodput-32-linear"} <= names
    assert not any("sqrt" in name or name == "seesaw" for name in names)
    with pytest.raises(ValueError, match=r"share optimizer = sgd \(the comparison's is adamw\)"):
        own("mine:optimizer=sgd")


def test_constants_are_those_given_or_multiples_of_the_first_batch():
    names = [schedule.name for schedule in standard_schedules(BASE, (32, 8, 32))]
    assert names[:3] == ["constant-8", "constant-32", "norm-test-1"]
    assert [name for name in map(str, names) if name.startswith("constant")] == names[:2]
    default = [schedule.overrides["initial_batch"] for schedule in standard_schedules(BASE)[:6]]
    assert default == [8, 16, 24, 32, 48, 64]
    for wrong in ((8,), (8, 8), (0, 8)):
        with pytest.raises(ValueError, match=r"at least two different constant batches.*--constant-batches"):
            standard_schedules(BASE, wrong)


@pytest.mark.parametrize(("size", "micro_batch"), [(8, 8), (128, 128), (256, 128), (130, 65), (1, 1)])
def test_constant_batches_are_made_of_the_largest_micro_batches(size, micro_batch):
    assert constant_batch(BASE, size)["micro_batch"] == micro_batch


def test_chosen_names_keep_their_order_and_bring_the_constants():
    known = standard_schedules(BASE, (8, 16))
    chosen = choose_schedules(known, ["seesaw", "norm-test-1"])
    assert [schedule.name for schedule in chosen] == ["constant-8", "constant-16", "norm-test-1", "seesaw"]
    assert choose_schedules(known, []) == known
    with pytest.raises(ValueError, match=r"'sesaw' is not known: take one or more of constant-8.*--variant"):
        choose_schedules(known, ["sesaw"])


def test_settings_in_text():
    schedule = own("mine:schedule=stagewise,stage-batches=8,16,32,lr-scaling=sqrt")
    settings = overlay(BASE, schedule.overrides)
    assert settings.schedule.stage_batches == (8, 16, 32)
    assert settings.optimizer.lr_scaling == "sqrt"
    assert (schedule.name, schedule.label, schedule.kind) == ("mine", "mine", "fixed")
    assert own("mine:ema=0.5").kind == "adaptive"
    assert own("mine:schedule=late,switch_batch=32,batch_floor=norm-test").kind == "adaptive"


def test_eta_is_the_users_own():
    base = overlay(BASE, {"eta": 0.9})
    assert overlay(base, own("mine:ema=0.5", base).overrides).schedule.eta == 0.9
    assert overlay(base, own("mine:eta=0.4", base).overrides).schedule.eta == 0.4


def test_switches_are_true_or_false():
    base = overlay(BASE, {"monitor_layers": True})
    assert own("mine:monitor_layers=true,eta=1", base).overrides == {"eta": "1"}
    with pytest.raises(
        ValueError, match=r"--variant mine: .* share monitor_layers = False \(the comp.* is True\)"
    ):
        own("mine:monitor_layers=false", base)
    with pytest.raises(ValueError, match="--variant mine: monitor_layers is true or false, not 'yes'"):
        own("mine:monitor_layers=yes", base)


def test_a_file_of_settings_and_its_paths(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[schedule]\nschedule = "seesaw"\n[optimizer]\nlr_replay = "other"\n[run]\noutput = "x"\n')
    with pytest.raises(ValueError, match="--variant mine: exchange and seesaw make their own"):
        own(f"mine:{file}")
    file.write_text('[schedule]\nschedule = "late"\nswitch_batch = 32\n[optimizer]\nlr_replay = "other"\n')
    assert own(f"mine:{file}").overrides == {
        "schedule": "late",
        "switch_batch": 32,
        "lr_replay": str(tmp_path / "other"),
    }


def test_the_settings_of_a_run_are_taken_if_what_all_share_agrees(tmp_path):
    file = tmp_path / "config.toml"
    run = overlay(BASE, {"eta": 0.3, "output": "elsewhere", "resume": "auto", "keep": 9})
    file.write_text(to_toml(run))
    schedule = own(f"mine:{file}")
    assert schedule.overrides.keys() >= {"eta", "lr", "initial_batch"}
    assert not schedule.overrides.keys() & {"model", "data", "seed", "samples", "output", "epsilon", "threads"}
    assert overlay(BASE, schedule.overrides) == overlay(BASE, {"eta": 0.3})
    assert not schedule.needs_control(BASE)
    file.write_text(to_toml(overlay(run, {"clip": 0.5})))
    assert own(f"mine:{file}").needs_control(BASE)
    file.write_text(to_toml(overlay(run, {"sequence_length": 32, "model": "tiny", "beta1": 0.8})))
    message = "share model = tiny (the comparison's is nano), sequence_length = 32 (the comparison's is 64), beta1"
    with pytest.raises(ValueError, match=re.escape(message)):
        own(f"mine:{file}")


def test_what_the_comparison_sets_is_left_out_of_a_file_and_refused_in_text(tmp_path):
    """All of the sections run and parallel, and the seed: those of another run, which the file is of."""
    others = {"samples": 77, "seed": 5, "ranks": 2, "precision": "bf16", "monitor_layers": True, "threads": 3}
    file = tmp_path / "config.toml"
    file.write_text(to_toml(overlay(BASE, {"eta": 0.3} | others)))
    assert overlay(BASE, own(f"mine:{file}").overrides) == overlay(BASE, {"eta": 0.3})
    for text in ("samples=77", "seed=5", "ranks=2", "precision=bf16", "monitor_layers=true"):
        with pytest.raises(ValueError, match=f"all schedules of a comparison share {text.partition('=')[0]}"):
            own(f"mine:eta=0.3,{text}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine", "--variant takes a name of letters and digits, a colon"),
        ("mine:", "--variant takes a name"),
        ("a/b:eta=1", "--variant takes a name"),
        ("mine:eta", "--variant mine: settings are key=value, separated by commas, not 'eta'"),
        ("mine:=1", "--variant mine: settings are key=value"),
        ("mine:etta=1", "--variant mine: the setting 'etta' is not known"),
        ("mine:eta=much", "--variant mine: .*eta = 'much' must be of type float"),
        ("mine:eta=0", "--variant mine: --eta must be"),
        ("mine:max_batch=4", "--variant mine: the maximum batch 4 is below the initial batch 8"),
        ("mine:missing.toml", "--variant mine: the settings file missing.toml does not exist"),
        ("mine:seed=1", r"--variant mine: .* share seed = 1 \(the comparison's is 0\)"),
        ("seesaw:eta=1", "--variant seesaw: there is a schedule of this name"),
    ],
)
def test_what_is_no_schedule(text, message):
    with pytest.raises(ValueError, match=message):
        own(text)


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="--variant mine: there is a schedule of this name: take another one"):
        own_schedules(["mine:eta=1", "mine:eta=0.5"], BASE)
