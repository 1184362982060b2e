"""Settings: layers, files, types, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.commands.options import with_settings
from adabatch.settings import (
    SECTIONS,
    ScheduleSettings,
    Settings,
    field_docs,
    load_settings,
    options,
    preset_names,
    to_toml,
)


def test_layers_override_each_other(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[schedule]\neta = 0.5\ninitial_batch = 16\n[data]\ndata = ["a.txt", "b.txt"]\n')
    settings = load_settings("demo", file, {"initial_batch": 32, "stage_batches": "8,16"})
    assert settings.data.sequence_length == 64  # preset over default 256
    assert settings.schedule.eta == 0.5  # file over preset 0.8
    assert settings.schedule.initial_batch == 32  # command line over file
    assert settings.schedule.stage_batches == (8, 16)
    assert settings.data.data == ("a.txt", "b.txt")


@pytest.mark.parametrize("preset", [None, *preset_names()])
def test_resolved_settings_survive_their_file(preset, tmp_path):
    settings = load_settings(preset)
    file = tmp_path / "config.toml"
    file.write_text(to_toml(settings))
    assert load_settings(file=file) == settings


@given(
    eta=st.floats(1e-300, 1e300),
    fractions=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_any_value_survives_its_file(tmp_path_factory, eta, fractions, name):
    file = tmp_path_factory.mktemp("settings") / "config.toml"
    settings = load_settings(overrides={"eta": eta, "stage_fractions": fractions, "output": name, "lr": 1})
    file.write_text(to_toml(settings), encoding="utf-8")
    assert load_settings(file=file) == settings


def test_every_setting_is_documented_and_named_once():
    names = [item.name for _, item, _ in options()]
    assert len(names) == len(set(names))
    for section, cls in SECTIONS.items():
        documented = field_docs(cls)
        missing = [item.name for s, item, _ in options() if s == section and not documented.get(item.name)]
        assert not missing, section


def test_options_pass_on_what_was_given_only():
    seen = {}

    def command(settings: Settings, steps: int = 1):
        seen.update(settings=settings, steps=steps)

    given_all = {item.name: None for _, item, _ in options()} | {"eta": 0.3, "data": [], "compile": False}
    with_settings(defaults={"eta": 0.1, "processes": 0})(command)(preset="demo", config=None, steps=3, **given_all)
    assert seen["steps"] == 3
    assert seen["settings"] == load_settings("demo", overrides={"eta": 0.3, "compile": False, "processes": 0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[schedule]\netta = 0.5\n", r"\[schedule\] has no setting 'etta': take one of .*eta"),
        ("[shedule]\neta = 0.5\n", r"section \[shedule\] is not known: take one of model, data"),
        ("eta = 0.5\n", "the section .eta. is not known"),
        ("schedule = 1\n", "must be a section"),
        ('[schedule]\neta = "high"\n', "eta = 'high' must be of type float"),
        ("[schedule]\ninitial_batch = 1.5\n", "initial_batch = 1.5 must be of type int"),
        ("[schedule]\ninitial_batch = true\n", "must be of type int"),
        ("[parallel]\ncompile = 1\n", "must be of type bool"),
        ('[parallel]\nparallel = "tpu"\n', "take one of single, ddp, fsdp"),
        ("[schedule]\nstage_batches = 4\n", "must be a list"),
        ("[schedule\n", "is not TOML"),
        ("[data]\nsequence_length = 1\n", "at least 2 tokens"),
    ],
)
def test_bad_files(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_settings(file=file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "huge"}, "is not known: take one of ablation, "),
        ({"file": "/no/such.toml"}, "does not exist"),
        ({"file": "/"}, "cannot be read"),
        ({"overrides": {"etta": 1}}, "'etta' is not known"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_settings(**arguments)


def test_settings_are_immutable():
    with pytest.raises(AttributeError):
        Settings().schedule.eta = 1.0  # type: ignore[misc]
    assert ScheduleSettings() == ScheduleSettings()
