"""Every mistake in the data gives one ValueError that says what was given and what to do."""

import json
import re
import time
from pathlib import Path

import pytest

from adabatch.data.corpus import open_corpus
from adabatch.data.tokenizer import open_tokenizer
from adabatch.settings import DataSettings


@pytest.fixture
def offline(monkeypatch):
    """As without a network, and without the retries."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def open_data(tmp_path: Path, data, **changes):
    return open_corpus(DataSettings(data=data, cache=str(tmp_path / "cache"), **{"sequence_length": 8, **changes}))


@pytest.mark.parametrize(
    "name", ["missing.txt", "./missing", "a/b/c", "/no/such/folder", "missing.jsonl", "x.parquet"]
)
def test_a_missing_file(tmp_path, name):
    with pytest.raises(
        ValueError, match=r"no file or folder .*missing|no file or folder .*(a/b/c|no/such|x\.par)"
    ) as e:
        open_data(tmp_path, name)
    assert "Hugging Face dataset" in str(e.value)


def test_an_empty_file(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"a\.txt is empty; name a file with text"):
        open_data(tmp_path, str(tmp_path / "a.txt"))


def test_no_data():
    with pytest.raises(ValueError, match="data is empty; name at least one"):
        DataSettings(data=[])


def test_a_folder_without_text(tmp_path):
    (tmp_path / "folder" / ".hidden").mkdir(parents=True)
    (tmp_path / "folder" / ".hidden" / "a.txt").write_text("x")
    (tmp_path / "folder" / "a.png").write_text("x")
    with pytest.raises(ValueError, match=r"folder holds no text; files ending in \.txt"):
        open_data(tmp_path, str(tmp_path / "folder"))


@pytest.mark.parametrize("streaming", [False, True])
def test_text_shorter_than_a_sequence(tmp_path, streaming):
    (tmp_path / "a.txt").write_text("short")
    path = str(tmp_path / "a.txt")
    if not streaming:
        with pytest.raises(
            ValueError, match=r"^data '[^']*a.txt' has 6 tokens, less than one sequence of 64; use more"
        ):
            open_data(tmp_path, path, sequence_length=64, validation_fraction=0.0)
    (tmp_path / "b.txt").write_text("much longer than that one " * 5)
    with pytest.raises(ValueError, match=r"validation part .* has 6 tokens.*; use more data or a shorter --seq"):
        open_data(tmp_path, str(tmp_path / "b.txt"), validation_data=path, sequence_length=64, streaming=streaming)


def test_a_validation_part_too_short(tmp_path):
    (tmp_path / "a.txt").write_text("longer than one sequence, but one twentieth of it is not")
    with pytest.raises(ValueError, match=r"raise --validation-fraction \(now 0\.05; 0 trains without"):
        open_data(tmp_path, str(tmp_path / "a.txt"))
    assert open_data(tmp_path, str(tmp_path / "a.txt"), validation_fraction=0.0).validation is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "line 3: not valid JSON"),
        ('["text"]', "line 3: a list; each line must hold one JSON object"),
        ("null", "line 3: a NoneType"),
        (
            '{"txt": "a", "n": 1}',
            "line 3: the field 'text' is missing; the object's fields are 'txt', 'n': name the one with",
        ),
        ("{}", "line 3: the field 'text' is missing; the object's fields are none"),
        ('{"text": 3}', "line 3: the field 'text' holds no text but a value of type int"),
        ('{"text": true}', "line 3: the field 'text' holds no text but a value of type bool"),
        ('{"text": {"body": "a"}}', "line 3: the field 'text' holds no text but a value of type dict"),
    ],
)
@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_bad_json_lines(tmp_path, line, message, fraction):
    lines = ['{"text": "fine"}', "", line, '{"text": "fine"}']
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode("utf-8", errors="surrogateescape"))
    with pytest.raises(ValueError, match=re.escape(f"a.jsonl, {message}")):
        open_data(tmp_path, str(tmp_path / "a.jsonl"), validation_fraction=fraction)
    assert not list((tmp_path / "cache" / "corpora").iterdir())


@pytest.mark.parametrize("content", [b"not gzip", b"\x1f\x8b\x08\x00 broken"])
def test_a_damaged_gzip_file(tmp_path, content):
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz is damaged or not gzipped"):
        open_data(tmp_path, str(tmp_path / "a.jsonl.gz"))


@pytest.mark.parametrize("config", [None, "en"])
def test_an_unknown_dataset(tmp_path, offline, config, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(
        ValueError, match=r"data 'nobody/nothing'.* not a file or folder here, and could not be loaded"
    ) as e:
        open_data(tmp_path, "nobody/nothing", data_config=config)
    assert ("configuration 'en'" in str(e.value)) == (config == "en")
    assert "\n" not in str(e.value)
    assert waits == []  # a retry waits before it


def test_an_unknown_tokenizer(tmp_path, offline):
    with pytest.raises(
        ValueError, match=r"tokenizer 'nobody/nothing' could not be loaded .*give 'bytes'"
    ) as error:
        open_tokenizer("nobody/nothing")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"tokenizer file .*missing\.json could not be read .*'bytes'"):
        open_tokenizer(str(tmp_path / "missing.json"))
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"tokenizer file .*other\.json could not be read"):
        open_tokenizer(str(tmp_path / "other.json"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder' could not be loaded"):
        open_tokenizer(str(tmp_path / "folder"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence_length": 1}, "--sequence-length must be from 2 to 1,048,576, but is 1"),
        ({"sequence_length": -4}, "--sequence-length must be from 2 to 1,048,576, but is -4"),
        ({"validation_fraction": 1.0}, "--validation-fraction must be at least 0 and below 1, but is 1.0"),
        ({"validation_fraction": -0.1}, "--validation-fraction must be at least 0 and below 1, but is -0.1"),
        (
            {"validation_fraction": float("nan")},
            "--validation-fraction must be at least 0 and below 1, but is nan",
        ),
        (
            {"streaming": True, "streaming_validation_tokens": 10},
            "streaming_validation_tokens is 10; at least one sequence",
        ),
        ({"seed": -1}, "--seed must be from 0 to 9.22337e[+]18, but is -1"),
    ],
)
def test_settings_outside_their_range(changes, message):
    with pytest.raises(ValueError, match=message):
        DataSettings(**changes)
