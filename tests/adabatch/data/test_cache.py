"""The cache: what lies there is checked before it is used, also where others can write."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import adabatch.files
from adabatch.data import cache, preparation
from adabatch.data.corpus import open_corpus
from adabatch.data.preparation import prepare
from adabatch.files import new_file, write_whole
from adabatch.settings import DataSettings
from tests.support.repository import ROOT

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


@pytest.fixture
def mine(tmp_path) -> DataSettings:
    (tmp_path / "a.txt").write_text("some line of text\n" * 200)
    return DataSettings(str(tmp_path / "a.txt"), sequence_length=8, cache=str(tmp_path / "cache"))


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that are hashed from now on."""
    names, digest = [], hashlib.file_digest

    def noting(file, method):
        names.append(
            Path(file.name).name if isinstance(file.name, str) else os.readlink(f"/proc/self/fd/{file.name}")
        )
        return digest(file, method)

    monkeypatch.setattr(hashlib, "file_digest", noting)
    return names


@contextmanager
def another_user():
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def flip(path: Path, keep_times: bool) -> None:
    state = path.stat()
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    if keep_times:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize("keep_times", [False, True])
def test_other_tokens_than_were_prepared_are_refused(mine, part, keep_times):
    folder = prepare(mine)
    flip(folder / f"{part}.tokens", keep_times)
    with pytest.raises(
        ValueError, match=rf"{part}\.tokens should hold the \d+ tokens .*; delete .* to prepare it"
    ) as e:
        open_corpus(mine)
    assert "\n" not in str(e.value)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert open_corpus(mine).train.length > 0


def test_a_file_is_hashed_once_and_again_when_it_is_another(mine, hashed):
    folder = prepare(mine)
    hashed.clear()
    for _ in range(3):
        open_corpus(mine, folder)
    assert hashed == []  # its hash was known when it was written
    os.utime(folder / "train.tokens")
    for _ in range(3):
        open_corpus(mine, folder)
    assert [Path(name).name for name in hashed] == ["train.tokens"]
    for record in (folder.parent.parent / "checked").iterdir():
        record.write_text("[1, 2")
    open_corpus(mine, folder)
    assert len(hashed) == 3


def test_large_files_too(tmp_path, hashed):
    """More than 64 MB: content, not size and times."""
    path = tmp_path / "cache" / "corpora" / "name" / "train.tokens"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(2**26 + 2**20)
    whole = hashlib.sha256(bytes(2**26 + 2**20)).hexdigest()
    kind, size = np.dtype("<u2"), 2**25 + 2**19
    for _ in range(2):
        assert len(cache.map_tokens(path, kind, size, whole)) == size
    assert len(hashed) == 1
    flip(path, keep_times=True)
    with pytest.raises(ValueError, match=r"train\.tokens should hold the"):
        cache.map_tokens(path, kind, size, whole)


def test_a_folder_without_its_description_is_prepared_again(mine):
    folder = prepare(mine)
    (folder / "corpus.json").unlink()
    assert open_corpus(mine).train.length > 0
    (folder / "corpus.json").unlink()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not a prepared corpus and holds other files; move it away"):
        prepare(mine)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
@pytest.mark.parametrize("where", ["unfinished-", ""])
def test_something_else_in_the_place_of_a_folder(mine, tmp_path, what, where):
    folder = prepare(mine)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "train.tokens").write_text("precious")
    place = folder.with_name(where + folder.name)
    if what == "file":
        place.write_text("precious")
    else:
        place.symlink_to(tmp_path / ("elsewhere" if what == "link" else "nothing"))
    with pytest.raises(ValueError, match=rf"{folder.name} is not a folder; delete it, or set --cache"):
        prepare(mine)
    assert (tmp_path / "elsewhere" / "train.tokens").read_text() == "precious"
    assert os.path.lexists(place)


@pytest.mark.parametrize("name", ["train.tokens", "corpus.json"])
def test_links_in_the_place_of_files_are_not_followed(mine, tmp_path, name):
    folder = prepare(mine)
    (folder / name).rename(tmp_path / "moved")
    (folder / name).symlink_to(tmp_path / "moved")
    with pytest.raises(ValueError, match=rf"{name} is not a file; delete it"):
        open_corpus(mine, folder)


def test_temporary_files_have_names_that_nobody_foresees(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"a.json.{os.getpid()}.tmp").symlink_to(victim)
    for _ in range(2):
        write_whole(tmp_path / "a.json", b"new")
    monkeypatch.setattr(adabatch.files.secrets, "randbits", lambda bits: 7)
    (tmp_path / "a.json.7.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a.json", b"newer")
    assert victim.read_text() == "precious"
    assert (tmp_path / "a.json").read_bytes() == b"new"


def test_an_interrupted_file_leaves_nothing(tmp_path):
    def interrupted():
        with new_file(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_what_another_user_left_where_everybody_can_write(mine, tmp_path):
    folder = prepare(mine)
    (tmp_path / "cache" / "corpora").chmod(0o777)
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    with pytest.raises(
        ValueError, match=rf"belongs to user {NOBODY}, in a folder where everybody can write; set --c"
    ):
        prepare(mine)
    (tmp_path / "cache" / "corpora").chmod(0o775)  # a group's cache
    assert open_corpus(mine).train.length > 0
    (folder / "train.tokens").chmod(0o666)
    with pytest.raises(ValueError, match=r"everybody can write .*train\.tokens; delete it to prepare it again"):
        open_corpus(mine)


@needs_root
def test_what_another_user_says_was_checked_is_not_believed(mine, tmp_path, hashed):
    folder = prepare(mine)
    for record in (tmp_path / "cache" / "checked").iterdir():
        os.chown(record, NOBODY, NOBODY)
    hashed.clear()
    open_corpus(mine, folder)
    assert len(hashed) == 2


def test_a_umask_of_0_gives_nothing_to_everybody(mine, tmp_path):
    before = os.umask(0)
    try:
        bpe = DataSettings(mine.data, sequence_length=8, cache=mine.cache, tokenizer="bpe", vocabulary_size=257)
        folder = prepare(bpe)
        open_corpus(bpe)
    finally:
        os.umask(before)
    for path in (folder, *folder.iterdir(), *(tmp_path / "cache" / "tokenizers").iterdir()):
        assert not path.stat().st_mode & stat.S_IWOTH, path


@needs_root
@pytest.mark.parametrize("what", ["data", "one of a folder", "lines", "folder", "subfolder", "tokenizer", "cache"])
def test_what_cannot_be_read_or_written_is_one_line(tmp_path, what):
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)  # pytest's own, one more with several workers
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "sub/c.jsonl"):
        (data / name).write_text('{"text": "some text"}\n' * 20)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    (tmp_path / "words.json").write_text("{}")
    hidden = {
        "data": data / "a.txt",
        "one of a folder": data / "b.txt",
        "lines": data / "sub" / "c.jsonl",
        "folder": data,
        "subfolder": data / "sub",
        "tokenizer": tmp_path / "words.json",
        "cache": tmp_path / "cache",
    }[what]
    hidden.chmod(0)
    named = hidden if what in ("data", "lines") else data
    tokenizer = str(tmp_path / "words.json") if what == "tokenizer" else "bytes"
    chosen = DataSettings(str(named), sequence_length=8, cache=str(tmp_path / "cache"), tokenizer=tokenizer)
    with (
        another_user(),
        pytest.raises(ValueError, match=rf"{hidden}.*(may not be read|[pP]ermission denied)") as error,
    ):
        prepare(chosen)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link", "loop"])
def test_a_cache_of_the_wrong_kind(mine, tmp_path, monkeypatch, kind):
    place = tmp_path / "place"
    if kind in ("file", "below a file"):
        place.write_text("a file")
    else:
        place.symlink_to(place if kind == "loop" else tmp_path / "nowhere" / "at all")
    monkeypatch.setenv("ADABATCH_CACHE", str(place / "below" if kind == "below a file" else place))
    for tokenizer in ("bytes", "bpe"):
        with pytest.raises(
            ValueError, match=r"place.* (is|exists) .*: name another --cache or ADABATCH_CACHE than .*place"
        ):
            prepare(DataSettings(mine.data, sequence_length=8, tokenizer=tokenizer))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "~nobody-of-this-name/a.txt",
            "~nobody-of-this-name/a.txt begins at a home folder that is not known here",
        ),
        ("x" * 300, "x+ has too long a name .*: name another --data than"),
        ("/" + "x" * 300 + "/a.txt", "x+.* has too long a name .*: name another --data than"),
        ("/dev/null", "/dev/null is neither a file nor a folder"),
    ],
)
def test_names_that_cannot_be(mine, data, message):
    with pytest.raises(ValueError, match=message):
        prepare(DataSettings(data, cache=mine.cache))


def test_names_of_255_characters(tmp_path):
    (tmp_path / ("x" * 251 + ".txt")).write_text("some text\n" * 50)
    data = DataSettings(str(tmp_path), sequence_length=8, cache=str(tmp_path / "cache"))
    assert open_corpus(data).train.length > 0


@needs_root
def test_a_user_without_home_and_name():
    code = """
import os
from adabatch.data.cache import cache_folder
from adabatch.settings import DataSettings
os.setuid(54321)
try:
    cache_folder(DataSettings())
except ValueError as error:
    print(error)
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "ADABATCH_CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(
        "this user has no home folder for the cache of prepared data; set --cache or ADAB"
    )


@pytest.mark.parametrize("missing", ["fsync", "mmap"])
def test_file_systems_that_can_less(mine, monkeypatch, missing):
    def refuse(*_, **__):
        raise OSError(errno.EINVAL, "Invalid argument")

    expected = open_corpus(mine).train.take(range(20)).tolist()
    monkeypatch.setattr(*((os, "fsync") if missing == "fsync" else (np, "memmap")), refuse)
    again = DataSettings(mine.data, sequence_length=8, cache=mine.cache + "-2")
    assert open_corpus(again).train.take(range(20)).tolist() == expected


def test_a_full_disk_is_one_line(mine, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(Path(mine.cache) / "corpora" / "x"))

    monkeypatch.setattr(preparation, "sync", full)
    with pytest.raises(ValueError, match=r"corpora/x is on a disk without space: name another --cache"):
        prepare(mine)


def test_another_tokenizer_in_the_folder_is_noticed(mine):
    bpe = DataSettings(mine.data, sequence_length=8, cache=mine.cache, tokenizer="bpe", vocabulary_size=300)
    folder = prepare(bpe)
    definition = json.loads((folder / "tokenizer.json").read_text())
    definition["model"]["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(ValueError, match="was prepared with another tokenizer; delete it to prepare it again"):
        open_corpus(bpe, folder)
