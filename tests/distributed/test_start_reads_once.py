"""A start reads once, over all its processes, the source files of its corpus and the run that it replays.

Each rank maps the tokens. Under torchrun each rank is a start of the command, which reads the replayed run.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter

import pytest

from adabatch.data.preparation import prepare
from adabatch.settings import DataSettings
from tests.support.forked_runs import ForkedRun

pytestmark = pytest.mark.distributed

TRAIN = (
    *("train", "--preset", "demo", "--samples", "16", "--initial-batch", "8", "--warmup-samples", "0"),
    *("--sequence-length", "16", "--validation-samples", "8", "--validation-interval", "0"),
    *("--checkpoint-interval", "0", "--device", "cpu", "--threads", "1"),
)
RANKS = ("--ranks", "2", "--parallel", "ddp", "--no-figures")  # one process draws them


def environments(start: str) -> list[dict[str, str]]:
    """Of each process that is a start of the command; what torchrun sets, of its two."""
    if start != "torchrun":
        return [{}]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        common = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    common |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}
    return [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]


@pytest.mark.parametrize("start", ["one process", "own launcher", "torchrun"])
def test_one_reading_per_start_and_one_mapping_per_rank(start, tmp_path):
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
    log = os.open(tmp_path / "opened", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def watch() -> None:
        """A line for each file in the folder that this process or a fork of it opens."""

        def hook(event, arguments):
            if (
                event == "open"
                and isinstance(arguments[0], str)
                and arguments[0].startswith(str(tmp_path / "watched"))
            ):
                os.write(log, f"{os.getpid()} {arguments[0]}\n".encode())

        sys.addaudithook(hook)

    options = ["--data", str(texts[0].parent), "--cache", str(cache), "--output", str(tmp_path / "run")]
    options += ["--schedule", "replay", "--replay-run", str(replayed.parent), "--lr-replay", str(replayed.parent)]
    options += [] if start == "one process" else RANKS
    runs = [ForkedRun([*TRAIN, *options], tmp_path / "log", given, watch) for given in environments(start)]
    assert [run.wait(120) for run in runs] == [0] * len(runs), (tmp_path / "log").read_text()
    os.close(log)
    lines = [line.split(" ", 1) for line in (tmp_path / "opened").read_text().splitlines()]
    readings = Counter(path for _, path in lines)
    # Each once for its first bytes, which say what it holds, and once whole.
    assert {path: readings[str(path)] for path in texts} == dict.fromkeys(texts, 2)
    assert readings[str(replayed)] == len(runs)
    mappings = Counter(process for process, path in lines if path == str(folder / "train.tokens"))
    assert list(mappings.values()) == [1] * (1 if start == "one process" else 2)
