"""Prepared corpora: against a slow twin, whole or absent, and remade when the data change."""

import ast
import gzip
import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from adabatch.data import local_files, preparation
from adabatch.data.corpus import open_corpus
from adabatch.data.documents import Document, held_out, held_out_names, name_hash, read_parts
from adabatch.data.json_lines import JsonLinesSource
from adabatch.data.local_files import NamedFile, installed_files, stdlib_files
from adabatch.data.order import seeded_permutation
from adabatch.data.preparation import prepare
from adabatch.data.sources import COLLECTIONS, open_sources
from adabatch.data.text_files import TextSource
from adabatch.settings import DataSettings


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def twin(texts: list[bytes], length: int) -> list[list[int]]:
    """Tokenize bytes, concatenate, cut: in plain Python."""
    stream = []
    for text in texts:
        if text:
            for byte in text:
                stream.append(byte)
            stream.append(256)
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def in_file_order(samples) -> list[list[int]]:
    """An epoch of samples, put back in the order of the file."""
    epoch = samples.take(range(samples.length)).tolist()
    seed = samples.describe()["seed"]
    if seed is None:
        return epoch
    result: list[list[int]] = [[]] * samples.length
    for sample, index in zip(epoch, seeded_permutation(samples.length, [seed, 0]).tolist(), strict=True):
        result[index] = sample
    return result


def write_folder(folder: Path, texts: dict[str, bytes]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    return folder


def plain_text(**sizes):
    """UTF-8 text as files hold it: without NUL characters, and without a byte-order mark."""
    letters = st.characters(exclude_characters="\0\ufeff", codec="utf-8")
    return st.text(letters, **sizes).map(str.encode)


class TestAgainstTheSlowTwin:
    @hypothesis_settings(deadline=None, max_examples=25)
    @given(
        texts=st.lists(plain_text(max_size=30), min_size=1, max_size=6),
        checks=plain_text(min_size=16, max_size=20),
        length=st.integers(2, 16),
        seed=st.integers(0, 5),
    )
    def test_text_files(self, tmp_path_factory, texts, checks, length, seed):
        folder = tmp_path_factory.mktemp("corpus")
        texts = [*texts, b"enough for one sequence"]
        names = {f"{number:03}.txt": text for number, text in enumerate(texts)}
        write_folder(folder / "train", names)
        write_folder(folder / "validation", {"v.txt": checks})
        corpus = open_corpus(
            DataSettings(
                data=str(folder / "train"),
                validation_data=str(folder / "validation"),
                sequence_length=length,
                seed=seed,
                cache=str(folder / "cache"),
            )
        )
        assert in_file_order(corpus.train) == twin(texts, length)
        assert corpus.validation is not None
        assert in_file_order(corpus.validation) == twin([checks], length)

    def test_json_lines_split_by_line(self, tmp_path, cache):
        texts = [f"document {i} äöü\n" * (i % 7) for i in range(300)]
        lines = [json.dumps({"body": text, "other": 1}, ensure_ascii=i % 2 == 0) for i, text in enumerate(texts)]
        (tmp_path / "a.jsonl").write_text("\n\n".join(lines), encoding="utf-8")
        corpus = open_corpus(
            DataSettings(str(tmp_path / "a.jsonl"), text_field="body", sequence_length=8, cache=cache)
        )
        offsets = itertools.accumulate([len(line.encode()) + 2 for line in lines], initial=0)
        validation = [held_out(f"a.jsonl:{offset}", 0.05) for offset in list(offsets)[:-1]]
        assert 5 < sum(validation) < 30
        for samples, wanted in ((corpus.train, False), (corpus.validation, True)):
            chosen = [text.encode() for text, held in zip(texts, validation, strict=True) if held == wanted]
            assert in_file_order(samples) == twin(chosen, 8)

    def test_gzipped_json_lines_are_those_of_the_plain_file(self, tmp_path, cache):
        lines = b"".join(json.dumps({"text": f"text {i}"}).encode() + b"\n" for i in range(200))
        (tmp_path / "a.jsonl").write_bytes(lines)
        (tmp_path / "b.json.gz").write_bytes(gzip.compress(lines))
        options = {"sequence_length": 8, "cache": cache, "validation_fraction": 0.0}
        plain, zipped = (open_corpus(DataSettings(str(tmp_path / n), **options)) for n in ("a.jsonl", "b.json.gz"))
        assert plain.train.describe()["sha256"] == zipped.train.describe()["sha256"]
        assert plain.folder != zipped.folder

    def test_several_names_are_concatenated(self, tmp_path, cache):
        (tmp_path / "b.txt").write_bytes(b"second file, named first")
        (tmp_path / "a.txt").write_bytes(b"first file, named second")
        names = [str(tmp_path / "b.txt"), str(tmp_path / "a.txt")]
        corpus = open_corpus(DataSettings(names, sequence_length=4, validation_fraction=0.0, cache=cache))
        assert in_file_order(corpus.train) == twin([b"second file, named first", b"first file, named second"], 4)
        assert corpus.validation is None


class TestStandardLibrary:
    def test_is_python(self, cache):
        corpus = open_corpus(DataSettings(sequence_length=128, cache=cache))
        assert corpus.train.length > 10_000
        assert corpus.validation.length > 100
        assert corpus.train.take(range(4)).dtype == torch.int64
        assert corpus.train.take(range(4)).shape == (4, 128)
        assert corpus.train.take(range(2000)).max() == 256

    def test_holds_every_chosen_file_once(self, cache):
        corpus = open_corpus(DataSettings(sequence_length=128, cache=cache))
        files = stdlib_files()
        size = sum(file.path.stat().st_size for file in files)
        nonempty = sum(file.path.stat().st_size > 0 for file in files)
        tokens = sum(part.describe()["tokens"] for part in (corpus.train, corpus.validation))
        assert tokens == size + nonempty

    def test_leaves_out_what_not_every_installation_has(self):
        names = [file.name for file in stdlib_files()]
        assert names == sorted(set(names))
        assert {"os.py", "json/decoder.py", "asyncio/tasks.py"} <= set(names)
        unwanted = {
            "test",
            "tests",
            "idle_test",
            "site-packages",
            "encodings",
            "pydoc_data",
            "tkinter",
            "__pycache__",
        }
        assert not [name for name in names if unwanted & set(name.split("/"))]
        assert {name.split("/")[0].removesuffix(".py") for name in names} <= set(sys.stdlib_module_names)
        for file in stdlib_files()[::40]:
            ast.parse(file.path.read_bytes())

    def test_the_parts_share_no_file(self):
        source = TextSource(stdlib_files(), 0.05)
        names = {file.name for file in source.files}
        assert 0.04 * len(names) < len(source.held_out) < 0.06 * len(names)
        assert source.held_out <= names

    def test_an_installation_without_source_text_is_refused(self, tmp_path):
        (tmp_path / "os.pyc").write_bytes(b"x")
        (tmp_path / "test").mkdir()
        (tmp_path / "test" / "test_os.py").write_text("pass")
        (tmp_path / "json" / "tests").mkdir(parents=True)
        (tmp_path / "json" / "tests" / "a.py").write_text("pass")
        with pytest.raises(ValueError, match="no source text of the standard library"):
            stdlib_files(tmp_path)


class TestInstalledPackages:
    def test_source_text_without_what_packages_bring_along(self, tmp_path, cache, monkeypatch):
        sources = {
            "numpy/__init__.py": b"numpy = 1\n" * 20,
            "numpy/linalg/core.py": b"def norm(): ...\n" * 20,
            "numpy/linalg/core.so": b"\x7fELF",
            "pip/_vendor/rich/text.py": b"rich = 1\n",
            "numpy/__pycache__/core.py": b"cached = 1\n",
            "six.py": b"six = 1\n" * 20,
        }
        write_folder(tmp_path / "one", sources)
        write_folder(tmp_path / "two", {"other/module.py": b"other = 1\n" * 20})
        files = installed_files([tmp_path / "one", tmp_path / "two"])
        assert [file.name for file in files] == [
            f"site-packages/{name}"
            for name in ("numpy/__init__.py", "numpy/linalg/core.py", "other/module.py", "six.py")
        ]
        monkeypatch.setitem(COLLECTIONS, "site-packages", lambda: files)
        settings = DataSettings(["stdlib", "site-packages"], sequence_length=8, cache=cache)
        (source,) = open_sources(settings)
        assert {file.name for file in source.files} == {file.name for file in [*stdlib_files(), *files]}

    def test_it_is_what_is_installed(self):
        names = {file.name for file in installed_files()}
        assert {"site-packages/torch/__init__.py", "site-packages/numpy/__init__.py"} <= names
        assert not [name for name in names if "/_vendor/" in name]

    def test_nothing_installed_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="no source text of installed packages was found"):
            installed_files([tmp_path])


class TestHeldOut:
    @given(st.sets(st.text(max_size=5), max_size=60), st.floats(0, 1))
    def test_a_fraction_of_the_names(self, names, fraction):
        chosen = held_out_names(sorted(names), fraction)
        assert chosen <= names
        assert len(chosen) == round(fraction * len(names))

    @given(st.text(), st.floats(0, 1), st.floats(0, 1))
    def test_what_is_held_out_stays_so_when_more_is(self, key, a, b):
        assert held_out(key, max(a, b)) or not held_out(key, min(a, b))
        assert not held_out(key, 0.0)
        assert held_out(key, 1.0)

    @hypothesis_settings(deadline=None, max_examples=60)
    @given(text=st.text("ab\nä€😀", min_size=1, max_size=80), fraction=st.floats(0.01, 0.5))
    def test_the_end_of_a_few_files(self, tmp_path_factory, text, fraction):
        path = tmp_path_factory.mktemp("text") / "a.txt"
        path.write_bytes(text.encode())
        source = TextSource([NamedFile("a.txt", path)], fraction)
        train, validation = (b"".join(d.text for d in read_parts(source.parts(part))) for part in (False, True))
        assert train + validation == text.encode()
        train.decode()  # the cut is between characters
        cut = round(len(text.encode()) * (1 - fraction))
        assert len(train) >= cut
        assert train.endswith(b"\n") or b"\n" not in text.encode()[cut:-1] or not validation


@hypothesis_settings(deadline=None, max_examples=60)
@given(text=plain_text(max_size=60), piece=st.integers(4, 30))
def test_long_files_are_read_in_pieces(tmp_path_factory, text, piece):
    path = tmp_path_factory.mktemp("pieces") / "a.txt"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adabatch.data.text_files.PIECE", piece)
        pieces = list(read_parts(TextSource([NamedFile("a.txt", path)], 0.0).parts(validation=False)))
    assert b"".join(each.text for each in pieces) == text
    assert all(0 < len(each.text) <= piece for each in pieces)
    assert all(each.text.decode() for each in pieces)  # no character is cut
    assert [each.ends for each in pieces] == [False] * (len(pieces) - 1) + [True] * (len(pieces) > 0)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_file_read_in_pieces_is_one_document(tmp_path, cache, monkeypatch, streaming):
    monkeypatch.setattr("adabatch.data.text_files.PIECE", 7)
    monkeypatch.setattr("adabatch.data.tasks.BYTES_AT_ONCE", 20)
    texts = [b"a line\nand another\n" * 3, b"a second file"]
    write_folder(tmp_path / "texts", {f"{i}.txt": text for i, text in enumerate(texts)})
    settings = DataSettings(
        str(tmp_path / "texts"),
        sequence_length=4,
        validation_fraction=0.0,
        cache=cache,
        streaming=streaming,
        stream_shards=1,
        shuffle_buffer=0,
    )
    if streaming:  # the files are read in the order of the hashes of their names
        texts = [texts[i] for i in sorted(range(2), key=lambda i: name_hash(f"{i}.txt"))]
    train, expected = open_corpus(settings).train, twin(texts, 4)
    taken = train.take(range(len(expected))).tolist() if streaming else in_file_order(train)
    assert taken == expected


class TestPreparation:
    def settings(self, tmp_path, cache, **changes) -> DataSettings:
        path = tmp_path / "a.txt"
        if not path.exists():
            path.write_bytes(b"some line of text\n" * 50)
        return DataSettings(**{"data": str(path), "sequence_length": 8, "cache": cache, **changes})

    def test_is_done_once(self, tmp_path, cache, monkeypatch):
        settings = self.settings(tmp_path, cache)
        folder = prepare(settings)
        monkeypatch.setattr(preparation, "_write", lambda *_: pytest.fail("prepared again"))
        assert prepare(settings) == open_corpus(settings).folder == folder
        other = self.settings(tmp_path, cache, sequence_length=16, seed=3)  # the same tokens serve
        assert prepare(other) == folder

    def test_a_changed_source_gives_another_corpus(self, tmp_path, cache):
        settings = self.settings(tmp_path, cache)
        first = prepare(settings)
        text = bytearray((tmp_path / "a.txt").read_bytes())
        text[100] ^= 1  # the size stays
        (tmp_path / "a.txt").write_bytes(text)
        assert prepare(settings) != first
        text[100] ^= 1
        (tmp_path / "a.txt").write_bytes(text)
        assert prepare(settings) == first

    def test_a_changed_large_source_is_noticed_by_its_time(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr("adabatch.data.local_files.DIGEST_LIMIT", 10)
        settings = self.settings(tmp_path, cache)
        first = prepare(settings)
        os.utime(tmp_path / "a.txt", ns=(1, 1))
        assert prepare(settings) != first

    @pytest.mark.parametrize("change", [{"validation_fraction": 0.2}, {"tokenizer": "other"}])
    def test_what_changes_the_tokens_changes_the_folder(self, tmp_path, cache, change, monkeypatch):
        class Other(preparation.open_tokenizer("bytes").__class__):
            fingerprint = "other"

        opened = preparation.open_tokenizer
        monkeypatch.setattr(preparation, "open_tokenizer", lambda n, e: Other() if n == "other" else opened(n, e))
        assert prepare(self.settings(tmp_path, cache)) != prepare(self.settings(tmp_path, cache, **change))

    def test_a_damaged_file_is_refused(self, tmp_path, cache):
        settings = self.settings(tmp_path, cache)
        path = prepare(settings) / "train.tokens"
        path.write_bytes(path.read_bytes()[:-2])
        with pytest.raises(ValueError, match=r"delete .* to prepare it again"):
            open_corpus(settings)

    def test_the_cache_is_where_it_was_asked_for(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ADABATCH_CACHE", str(tmp_path / "from environment"))
        assert prepare(self.settings(tmp_path, None)).is_relative_to(tmp_path / "from environment")
        assert prepare(self.settings(tmp_path, str(tmp_path / "given"))).is_relative_to(tmp_path / "given")
        monkeypatch.delenv("ADABATCH_CACHE")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert prepare(self.settings(tmp_path, None)).is_relative_to(tmp_path / "home" / ".cache" / "adabatch")

    def test_the_record_beside_the_tokens(self, tmp_path, cache):
        folder = prepare(self.settings(tmp_path, cache))
        record = json.loads((folder / "corpus.json").read_text())
        assert record["tokenizer"]["name"] == "bytes"
        assert set(record["versions"]) >= {"numpy", "datasets"}
        for part in ("train", "validation"):
            tokens = np.fromfile(folder / f"{part}.tokens", dtype=record["dtype"])
            assert len(tokens) == record["parts"][part]["tokens"]


def test_samples_are_the_same_for_every_split_into_ranks(tmp_path, cache):
    from adabatch.data.order import group_positions
    from adabatch.schedules import MicroBatchPlan

    (tmp_path / "a.txt").write_bytes(bytes(range(1, 128)) * 8)
    train = open_corpus(DataSettings(str(tmp_path / "a.txt"), sequence_length=4, cache=cache)).train

    def step(world_size: int, accumulation: int) -> set[str]:
        return {
            str(train.take(group).tolist())
            for rank in range(world_size)
            for group in group_positions(24, rank, MicroBatchPlan(world_size, accumulation, 3))
        }

    assert len(step(1, 4)) == 4
    assert step(1, 4) == step(2, 2) == step(4, 1)


def test_validation_begins_again_after_its_end(tmp_path, cache):
    (tmp_path / "a.txt").write_bytes(b"0123456789\n" * 40)
    settings = DataSettings(str(tmp_path / "a.txt"), sequence_length=4, cache=cache)
    validation = open_corpus(settings).validation
    assert torch.equal(validation.take([0, 1]), validation.take([validation.length, validation.length + 1]))


def test_a_description_is_json_and_tells_corpora_apart(tmp_path, cache):
    (tmp_path / "a.txt").write_bytes(b"0123456789\n" * 40)
    (tmp_path / "b.txt").write_bytes(b"1123456789\n" * 40)
    described = [
        json.dumps(open_corpus(DataSettings(str(tmp_path / name), sequence_length=4, cache=cache)).describe())
        for name in ("a.txt", "b.txt")
    ]
    assert described[0] != described[1]


def test_json_lines_of_the_other_part_are_not_read_when_all_is_for_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n')
    file = NamedFile("a.jsonl", path)
    everything = [Document(b"a")]
    for fraction, validation in ((0.0, False), (1.0, True)):
        source = JsonLinesSource([file], "text", fraction)
        assert list(read_parts(source.parts(validation))) == everything
        path.rename(tmp_path / "away")
        assert list(source.parts(not validation)) == []
        (tmp_path / "away").rename(path)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_sources_are_hashed_once_and_not_when_a_prepared_corpus_is_opened(
    tmp_path, cache, tokenizer, streaming, monkeypatch
):
    write_folder(tmp_path / "texts", {f"{number}.txt": b"some line of text\n" * 50 for number in range(4)})
    (tmp_path / "texts" / "lines.jsonl").write_text('{"text": "a document"}\n' * 20)
    settings = DataSettings(
        str(tmp_path / "texts"),
        tokenizer=tokenizer,
        vocabulary_size=257,
        sequence_length=8,
        streaming=streaming,
        streaming_validation_tokens=8,
        validation_fraction=0.3,
        cache=cache,
    )
    hashed, checksum = [], local_files.checksum
    monkeypatch.setattr(local_files, "checksum", lambda path: hashed.append(path) or checksum(path))
    for _ in range(2):  # prepared the first time, found the second time
        hashed.clear()
        folder = prepare(settings)
        assert sorted(hashed) == sorted((tmp_path / "texts").iterdir())
    hashed.clear()
    opened = open_corpus(settings, folder)
    assert opened.train.take(range(3)).shape == (3, 8)
    assert hashed == []
    assert opened.describe() == open_corpus(settings).describe()
