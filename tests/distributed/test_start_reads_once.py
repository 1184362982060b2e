"""A start reads once, over all its processes, the source files of its corpus and the run that it replays.

Each rank maps the tokens. Under torchrun each rank is a start of the command, which reads the replayed run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from adabatch.data.preparation import prepare
from adabatch.settings import DataSettings

pytestmark = pytest.mark.distributed

HOOK = """
import os, sys

log = os.open(os.environ["OPENED_FILES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(os.environ["WATCHED"]):
        os.write(log, f"{os.getpid()} {arguments[0]}\\n".encode())

sys.addaudithook(hook)
"""
"""Imported by every process of Python at its start: a line for each file that it opens in a folder."""

TRAIN = (
    *("train", "--preset", "demo", "--samples", "16", "--initial-batch", "8", "--warmup-samples", "0"),
    *("--sequence-length", "16", "--validation-samples", "8", "--validation-interval", "0"),
    *("--checkpoint-interval", "0", "--device", "cpu", "--threads", "1"),
)
RANKS = ("--ranks", "2", "--parallel", "ddp", "--no-figures")  # one process draws them
COMMANDS = {
    "one process": [sys.executable, "-m", "adabatch", *TRAIN],
    "own launcher": [sys.executable, "-m", "adabatch", *TRAIN, *RANKS],
    "torchrun": [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "adabatch", *TRAIN),
        *RANKS,
    ],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_one_reading_per_start_and_one_mapping_per_rank(command, tmp_path):
    replayed = tmp_path / "watched" / "replayed" / "metrics.jsonl"
    replayed.parent.mkdir(parents=True)
    replayed.write_text(
        "".join(f'{{"step": {k}, "samples": {8 * k}, "batch_size": 8, "lr": 0.1}}\n' for k in (1, 2))
    )
    texts = [tmp_path / "watched" / "texts" / f"{number}.txt" for number in range(20)]
    texts[0].parent.mkdir()
    for number, text in enumerate(texts):
        text.write_text(f"line of file {number}\n" * 40)
    cache = tmp_path / "watched" / "cache"
    folder = prepare(DataSettings(str(texts[0].parent), sequence_length=16, cache=str(cache)))
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "hook"), str(Path(__file__).parents[2])]),
        "OPENED_FILES": str(tmp_path / "opened"),
        "WATCHED": str(tmp_path / "watched"),
    }
    options = ["--data", str(texts[0].parent), "--cache", str(cache), "--output", str(tmp_path / "run")]
    options += ["--schedule", "replay", "--replay-run", str(replayed.parent), "--lr-replay", str(replayed.parent)]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 1) for line in (tmp_path / "opened").read_text().splitlines()]
    readings = Counter(path for _, path in lines)
    # Each once for its first bytes, which say what it holds, and once whole.
    assert {path: readings[str(path)] for path in texts} == dict.fromkeys(texts, 2)
    assert readings[str(replayed)] == (2 if command is COMMANDS["torchrun"] else 1)
    mappings = Counter(process for process, path in lines if path == str(folder / "train.tokens"))
    assert list(mappings.values()) == [1] * (1 if command is COMMANDS["one process"] else 2)
