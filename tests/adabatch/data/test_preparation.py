"""Preparation in parallel, interrupted, at once: the same bytes, whole or not there."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from adabatch.data import preparation, tasks
from adabatch.data.corpus import open_corpus
from adabatch.data.preparation import prepare
from adabatch.settings import DataSettings
from tests.support.repository import ROOT

SMALL_PARTS = {"adabatch.data.text_files.PART": 2000, "adabatch.data.json_lines.PART": 2000}


@pytest.fixture
def small_parts(monkeypatch):
    """Parts and tasks of 2 kB rather than 16 MB."""
    for name, size in SMALL_PARTS.items():
        monkeypatch.setattr(name, size)
    monkeypatch.setattr(tasks, "TASK_BYTES", 2000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Text files, plain and gzipped JSON lines, an empty file among each, and Parquet files."""
    import datasets

    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(12):
        (folder / f"{i:02}.txt").write_text("".join(f"line {j} of file {i} äö\n" for j in range(i * 40)))
        lines = "".join(json.dumps({"text": f"document {j} of {i}"}) + "\n" for j in range(i * 20)).encode()
        (folder / f"{i:02}.jsonl").write_bytes(lines)
        (folder / f"{i:02}.json.gz").write_bytes(gzip.compress(lines))
    (folder / "rows").mkdir()
    for i in range(3):
        rows = {"text": [f"row {j} of {i}" for j in range(200)]}
        datasets.Dataset.from_dict(rows).to_parquet(str(folder / "rows" / f"train-{i}.parquet"))
    return folder


def settings(corpus: Path, cache: Path, **changes) -> DataSettings:
    names = sorted(str(path) for path in corpus.glob("*.*") if path.stat().st_size > 0)
    return DataSettings(data=[*names, str(corpus / "rows")], sequence_length=8, cache=str(cache), **changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_result_does_not_depend_on_how_the_work_is_shared(corpus, tmp_path, monkeypatch):
    whole = contents(prepare(settings(corpus, tmp_path / "whole")))
    for name, size in SMALL_PARTS.items():
        monkeypatch.setattr(name, size)
    monkeypatch.setattr(tasks, "TASK_BYTES", 2000)
    reports = []
    parts = contents(
        preparation.prepare(settings(corpus, tmp_path / "parts"), lambda *numbers: reports.append(numbers))
    )
    processes = contents(prepare(settings(corpus, tmp_path / "processes", processes=3)))
    assert whole == parts == processes
    assert len(whole["train.tokens"]) > 50_000
    done, total, tokens = reports[-1]
    assert done == total == len(reports) > 20
    assert tokens == sum(len(whole[f"{part}.tokens"]) // 2 for part in ("train", "validation"))


def test_a_mistake_in_one_process_is_the_users_message(tmp_path, small_parts):
    lines = [json.dumps({"text": f"document {i}"}) for i in range(600)]
    lines[500] = "{}"
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"a\.jsonl, line 501: the field 'text' is missing"):
        prepare(DataSettings(str(tmp_path / "a.jsonl"), cache=str(tmp_path / "cache"), processes=2))
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []


def test_interrupted_work_is_not_used_and_taken_up_again(corpus, tmp_path, small_parts, monkeypatch):
    expected = contents(prepare(settings(corpus, tmp_path / "whole")))
    mine, done = settings(corpus, tmp_path / "cache"), []

    def report(number, total, tokens):
        done.append(number)
        if number == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preparation.prepare(mine, report)
    (left,) = (tmp_path / "cache" / "corpora").iterdir()
    assert left.name.startswith("unfinished-")
    (left / "train-000003.tokens").write_bytes(b"half of it")
    (left / "train-000003.json").unlink()
    again = []
    folder = preparation.prepare(mine, lambda number, *_: again.append(number))
    assert again[0] == 10  # nine were kept, one is made again
    assert contents(folder) == expected
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("moment", ["put together", "rename"])
def test_an_interrupt_near_the_end(corpus, tmp_path, small_parts, monkeypatch, moment):
    expected = contents(prepare(settings(corpus, tmp_path / "whole")))
    name = {"put together": "_describe", "rename": "rename_folder"}[moment]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(settings(corpus, tmp_path / "cache"))
    assert contents(prepare(settings(corpus, tmp_path / "cache"))) == expected


def test_damage_to_unfinished_work_is_noticed(corpus, tmp_path, small_parts, monkeypatch):
    mine = settings(corpus, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "_put_together", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(mine)
    (left,) = (tmp_path / "cache" / "corpora").iterdir()
    tokens = bytearray((left / "train-000002.tokens").read_bytes())
    tokens[5] ^= 1
    (left / "train-000002.tokens").write_bytes(tokens)
    with pytest.raises(ValueError, match="were damaged; prepare the corpus again"):
        prepare(mine)
    assert contents(prepare(mine)) == contents(prepare(settings(corpus, tmp_path / "whole")))


def test_data_that_change_meanwhile_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("some text\n" * 100)
    mine = DataSettings(str(tmp_path / "a.txt"), sequence_length=8, cache=str(tmp_path / "cache"))

    def change(*_):
        (tmp_path / "a.txt").write_text("same text\n" * 100)
        os.utime(tmp_path / "a.txt", ns=(0, 10**18))  # later, however coarse the file system's clock is

    with pytest.raises(ValueError, match="changed while it was prepared; prepare it again"):
        preparation.prepare(mine, change)
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []
    assert open_corpus(mine).tokenizer.decode(open_corpus(mine).train.take([0])[0])[0] in "same text\n"


def test_processes_that_prepare_at_once_do_it_once(corpus, tmp_path, monkeypatch):
    mine, write, written, folders = settings(corpus, tmp_path / "cache"), preparation._write, [], []

    def slowly(unfinished, *arguments):
        written.append(unfinished)
        time.sleep(0.3)  # the others come and wait
        return write(unfinished, *arguments)

    monkeypatch.setattr(preparation, "_write", slowly)
    threads = [threading.Thread(target=lambda: folders.append(prepare(mine))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    assert len(folders) == 4
    assert [folders[0]] == list((tmp_path / "cache" / "corpora").iterdir())


SLOW = """
import sys
from adabatch.data import tasks
from adabatch.data.preparation import prepare
from adabatch.settings import DataSettings
from adabatch.data.tokenizer import ByteTokenizer

class Slow(ByteTokenizer):
    def encode(self, texts):
        import time
        time.sleep(0.02)
        return super().encode(texts)

if __name__ == "__main__":
    from adabatch.data import preparation
    tasks.TASK_BYTES = 20_000
    preparation.open_tokenizer = lambda name, end: Slow()
    prepare(DataSettings(sys.argv[1], cache=sys.argv[2], processes=int(sys.argv[3])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_work_is_taken_up_again(tmp_path, monkeypatch, processes):
    """SIGKILL at several moments; what was done is not done again, and the result is that of undisturbed work."""
    (tmp_path / "texts").mkdir()
    for i in range(60):
        (tmp_path / "texts" / f"{i:02}.txt").write_text("".join(f"line {j} of {i}\n" for j in range(1500)))
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, tmp_path / "slow.py", tmp_path / "texts", tmp_path / "cache", str(processes)]
    corpora, kept = tmp_path / "cache" / "corpora", 0
    for _ in range(3):
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        wait_for(lambda kept=kept: len(list(corpora.glob("unfinished-*/*.json"))) > kept + 4, process)
        os.kill(process.pid, signal.SIGKILL)  # its workers end by themselves
        process.wait()
        assert not list(corpora.glob("[!u]*/corpus.json"))
        wait_for_end_of_group(process.pid)
        done = len(list(corpora.glob("unfinished-*/*.json")))
        assert done > kept
        kept = done
    monkeypatch.setattr(tasks, "TASK_BYTES", 20_000)
    mine = DataSettings(str(tmp_path / "texts"), cache=str(tmp_path / "cache"))
    reports = []
    folder = preparation.prepare(mine, lambda *numbers: reports.append(numbers))
    assert reports[0][0] == kept + 1
    expected = contents(prepare(DataSettings(str(tmp_path / "texts"), cache=str(tmp_path / "undisturbed"))))
    assert contents(folder) == expected
    assert list(corpora.iterdir()) == [folder]


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def wait_for_end_of_group(group: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker outlived the process that started it")
