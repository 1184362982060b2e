"""Paths in a settings file begin at its folder; the words that stand in place of a path are the product's own."""

import pytest

from adabatch.data.sources import COLLECTIONS
from adabatch.model.language_model import ARCHITECTURES
from adabatch.settings import CONFIG, Settings, load_settings, options, preset_summaries, write_config
from adabatch.settings.paths import HELD_OUT, PATHS


def test_paths_in_a_file_begin_at_its_folder(tmp_path, monkeypatch):
    (tmp_path / "conf" / "owner" / "corpus").mkdir(parents=True)
    (tmp_path / "elsewhere" / "owner" / "other").mkdir(parents=True)
    file = tmp_path / "conf" / "mine.toml"
    file.write_text(
        '[data]\ndata = ["stdlib", "a.txt", "../b", "owner/corpus", "owner/other", "allenai/c4"]\n'
        'tokenizer = "t.json"\ncache = "cache"\n[run]\noutput = "runs/x"\nresume = "../old"\n'
        '[model]\nmodel = "config.json"\n[schedule]\nschedule = "replay"\nreplay_run = "runs/y"\n'
    )
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load_settings(file="../conf/mine.toml")
    conf = tmp_path / "conf"
    paths = [conf / "a.txt", tmp_path / "b", conf / "owner/corpus", conf / "owner/other"]
    assert settings.data.data == ("stdlib", *map(str, paths), "allenai/c4")
    assert settings.data.tokenizer == str(conf / "t.json")
    assert settings.data.cache == str(conf / "cache")
    assert (settings.run.output, settings.run.resume) == (str(conf / "runs/x"), str(tmp_path / "old"))
    assert settings.model.model == str(conf / "config.json")
    assert settings.schedule.replay_run == str(conf / "runs/y")


def test_paths_on_the_command_line_begin_at_the_working_directory(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[run]\noutput = "there"\n')
    assert load_settings(file=file, overrides={"output": "runs/x"}).run.output == "runs/x"


@pytest.mark.parametrize("preset", [None, *preset_summaries()])
def test_words_stay_words_where_folders_bear_their_names(preset, tmp_path, monkeypatch):
    settings = load_settings(preset)
    words = {word for known in PATHS.values() for word in known if word}
    for word in words:
        (tmp_path / word).mkdir()
    monkeypatch.chdir(tmp_path)
    write_config(settings, tmp_path)
    kept = load_settings(file=tmp_path / CONFIG)
    assert (kept.model, kept.data, kept.schedule) == (settings.model, settings.data, settings.schedule)
    assert kept.run.resume == "never"


def test_the_words_are_those_of_the_rooms():
    assert PATHS["model"] == set(ARCHITECTURES)
    assert PATHS["data"] == PATHS["validation_data"] - {HELD_OUT} == set(COLLECTIONS)
    assert set(PATHS) <= {item.name for _, item, _ in options()}


def test_a_moved_run_is_still_its_own_output(tmp_path):
    (tmp_path / "run").mkdir()
    write_config(Settings(), tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert load_settings(file=tmp_path / "moved" / CONFIG).run.output == str(tmp_path / "moved")
