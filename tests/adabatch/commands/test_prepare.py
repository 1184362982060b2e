"""`adabatch prepare` as a user meets it: what it prints, bad input, an interrupt."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.command import COMMAND


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "texts").mkdir()
    for i in range(40):
        (tmp_path / "texts" / f"{i:02}.txt").write_text(f"file {i}\n" * 50)
    (tmp_path / "empty.txt").touch()
    return tmp_path


def test_it_says_what_it_made_and_where(adabatch, texts):
    arguments = ["prepare", "--data", f"{texts}/texts", "--cache", f"{texts}/cache", "--processes", "1"]
    done = adabatch(*arguments)
    size = sum(path.stat().st_size + 1 for path in (texts / "texts").iterdir())
    words = done.out.split()
    assert done.code == 0
    assert done.err == ""  # it was over at once
    assert int(words[0].replace(",", "")) + int(words[4].replace(",", "")) == size
    assert Path(words[-1]).is_relative_to(texts / "cache")
    assert (Path(words[-1]) / "train.tokens").exists()
    assert adabatch(*arguments).out == done.out


def test_lines_now_and_then_where_there_is_no_terminal(monkeypatch, adabatch, texts):
    monkeypatch.setattr("adabatch.data.progress.SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("adabatch.data.tasks.TASK_BYTES", 5000)
    data = ["--data", f"{texts}/texts", "--cache", f"{texts}/cache"]
    lines = adabatch("prepare", *data, "--processes", "1").err.splitlines()
    assert lines[0].startswith("preparing  1/")
    done, total = lines[-1].split()[1].split("/")
    assert done == total == str(len(lines))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data {texts}/missing.txt", "no file or folder"),
        ("--data {texts}/empty.txt", "is empty"),
        ("--processes -1", "--processes must be from 0 to 1,024, but is -1"),
        ("--tokenizer bpe --vocabulary-size 100", "bpe needs at least 257 token values"),
        ("--stream-shards 0", "--stream-shards must be from 1 to 65,536, but is 0"),
        ("--shuffle-buffer -1", "--shuffle-buffer must be from 0 to 1,048,576, but is -1"),
        ("--tokenizer {texts}/missing.json", "tokenizer"),
        ("--text-field body --data {texts}/texts --data-config en", "could not be loaded"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, texts, arguments, message):
    adabatch.refuses(message, "prepare", *arguments.format(texts=texts).split(), "--cache", f"{texts}/cache")


def test_only_options_of_the_data(adabatch):
    done = adabatch("prepare", "--eta", "0.8")
    assert done.code == 2
    assert "--eta" in done.err


def started(arguments):
    """The command in a session of its own, which hears interrupts as one that a terminal has started."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_done(tmp_path):
    (tmp_path / "texts").mkdir()
    for i in range(12):
        (tmp_path / "texts" / f"{i:02}.txt").write_bytes(b"some words of text to count\n" * 300_000)
    arguments = ["prepare", "--data", f"{tmp_path}/texts", "--cache", f"{tmp_path}/cache", "--processes", "2"]
    process = started(arguments)
    corpora, deadline = tmp_path / "cache" / "corpora", time.monotonic() + 120
    while not list(corpora.glob("unfinished-*/*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), error
    assert error == "stopped by SIGINT; the same command continues the work\n"
    kept = {path.name: path.stat().st_mtime_ns for path in corpora.glob("unfinished-*/*.tokens")}
    assert kept
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{11 * (28 * 300_000 + 1):,} tokens for training")


@pytest.mark.slow
def test_an_interrupt_while_a_tokenizer_is_trained(tmp_path):
    """On text without spaces, in the library, which hears nothing itself."""
    bases = random.Random(0).choices(b"ACGT", k=2**22)
    (tmp_path / "dna.txt").write_bytes(bytes(bases))
    arguments = ["prepare", "--data", f"{tmp_path}/dna.txt", "--cache", f"{tmp_path}/cache", "--tokenizer", "bpe"]
    process = started(arguments)
    deadline = time.monotonic() + 120
    while not (children := training_below(process.pid)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), error
    assert error == "stopped by SIGINT; the same command continues the work\n"
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not list((tmp_path / "cache").rglob("*.json"))


def training_below(parent: int) -> list[int]:
    """The processes that train a tokenizer for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if above == parent and b"bpe_training" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
