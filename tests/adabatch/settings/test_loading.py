"""Settings: layers, files, types, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.commands.options import with_settings
from adabatch.settings import (
    CONFIG,
    RENAMED,
    SECTIONS,
    ScheduleSettings,
    Settings,
    field_docs,
    load_settings,
    loading,
    options,
    preset_summaries,
    write_config,
)


def test_layers_override_each_other(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[schedule]\neta = 0.5\ninitial_batch = 16\n[data]\ndata = ["a.txt", "b.txt"]\n')
    settings = load_settings("demo", file, {"initial_batch": 32, "stage_batches": "8,16"})
    assert settings.data.sequence_length == 64  # preset over default 256
    assert settings.schedule.eta == 0.5  # file over preset 0.8
    assert settings.schedule.initial_batch == 32  # command line over file
    assert settings.schedule.stage_batches == (8, 16)
    assert settings.data.data == (str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))  # from the file's folder


@pytest.mark.parametrize("preset", [None, *preset_summaries()])
def test_resolved_settings_survive_their_file(preset, tmp_path):
    settings = load_settings(preset, overrides={"output": str(tmp_path)})
    write_config(settings, tmp_path)
    assert load_settings(file=tmp_path / CONFIG) == settings


@given(
    eta=st.floats(1e-6, 1e6),
    fractions=st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=4),
    name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
)
def test_any_value_survives_its_file(tmp_path_factory, eta, fractions, name):
    folder = tmp_path_factory.mktemp("settings")
    values = {"eta": eta, "stage_fractions": fractions, "text_field": name, "lr": 1, "output": str(folder)}
    settings = load_settings(overrides=values)
    write_config(settings, folder)
    assert load_settings(file=folder / CONFIG) == settings


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
        ("[schedule]\netta = 0.5\n", r"\[schedule\] has no setting 'etta': take one of .*; did you mean eta\?"),
        ("[schedule]\nlr = 0.5\n", r"has no setting 'lr': it is a setting of \[optimizer\], write it there"),
        ("[shedule]\neta = 1\n", r"\[shedule\] is not known: take one of model, data.*; did you mean schedule\?"),
        ("eta = 0.5\n", r"eta stands in no section: it is a setting of \[schedule\], write it there"),
        ("ettta = 0.5\n", r"the section \[ettta\] is not known"),
        ('[schedule]\nschedule = "normtest"\n', r"take one of constant, .*; did you mean norm-test\?"),
        ("schedule = 1\n", "must be a section"),
        ('[schedule]\neta = "high"\n', "eta = 'high' must be of type float"),
        ("[schedule]\ninitial_batch = 1.5\n", "initial_batch = 1.5 must be of type int"),
        ("[schedule]\ninitial_batch = true\n", "must be of type int"),
        ("[parallel]\ncompile = 1\n", "must be of type bool"),
        ('[parallel]\nparallel = "tpu"\n', "take one of single, ddp, fsdp"),
        ('[parallel]\nparallel = "pipeline"\n', "pipeline parallelism is not offered: .* take --parallel fsdp"),
        ("[parallel]\ncontext_parallel = 2\n", "'context_parallel': context parallelism is not offered"),
        (
            '[parallel]\nprecision = "float8"\n',
            "'float8' is not known: float8 is not offered: .* take --precision bf",
        ),
        ("[schedule]\nstage_batches = 4\n", "must be a list"),
        ("[schedule\n", "is not TOML"),
        ("[data]\nsequence_length = 1\n", "--sequence-length must be from 2 to 1,048,576, but is 1"),
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


def known_names() -> set[str]:
    settings = {f"{section}.{item.name}" for section, item, _ in options()}
    return settings | {f"preset.{name}" for name in preset_summaries()}


def test_renamed_names_lead_to_names_that_exist():
    assert set(RENAMED.values()) <= known_names()
    assert not set(RENAMED) & known_names()


@pytest.mark.parametrize("old", [name.removeprefix("preset.") for name in RENAMED if name.startswith("preset.")])
def test_a_preset_with_an_old_name_is_refused_with_its_new_name(old):
    with pytest.raises(ValueError, match=f"'{old}' is not known: it is called paper-{old.split('-')[0]} now"):
        load_settings(old)


def test_a_setting_with_an_old_name_is_refused_with_its_new_name(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "RENAMED", {"schedule.etta": "schedule.eta", "tests.ema": "schedule.ema"})
    file = tmp_path / "old.toml"
    file.write_text("[schedule]\netta = 0.5\n[tests]\nema = 0.1\n")
    changes = "schedule.etta is called schedule.eta now, tests.ema is called schedule.ema now"
    with pytest.raises(ValueError, match=f"^{file}: {changes}: change it there$"):
        load_settings(file=file)
