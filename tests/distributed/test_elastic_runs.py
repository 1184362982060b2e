"""Ranks that die are started again without a person; ranks that hang are named."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.metrics import TIMED, MetricsWriter
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

INTERVAL = 80
"""Samples between checkpoints, and twenty batches."""

SMALL = (
    f"--samples 480 --initial-batch 4 --max-batch 4 --micro-batch 2 --warmup-samples 16 --validation-interval 0 "
    f"--sequence-length 32 --checkpoint-interval {INTERVAL} --parallel fsdp --threads 1 --device cpu"
).split()
RANKS = ["--no-figures", "--ranks", "2"]


def start(command: list[str], log: Path) -> subprocess.Popen[str]:
    """The command in a session of its own, writing to the log."""
    return subprocess.Popen(
        command, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True, text=True
    )


@pytest.fixture
def cleanup():
    """Ends what a test has started."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        for left in [process.pid, *(child.pid for child in _children(process))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        process.wait()


def _children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of the ranks, in the order of their start."""
    signs = ("spawn_main", "adabatch train")
    found = [child for child in _children(process) if any(sign in " ".join(child.cmdline()) for sign in signs)]
    return sorted(found, key=lambda child: (child.create_time(), child.pid))


def wait_until(condition, process: subprocess.Popen[str], log: Path, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoints/step-*/complete.json"))


def records_of(folder: Path) -> list[dict]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in TIMED} for record in records]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict]:
    """The records of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_ranks(train_undisturbed, 2, folder)
    return records_of(folder)


def train_undisturbed(rank: int, world_size: int, folder: Path) -> None:
    names = [word.removeprefix("--").replace("-", "_") for word in SMALL[::2]]
    overrides = dict(zip(names, map(number, SMALL[1::2]), strict=True)) | {"output": str(folder)}
    run = open_run(load_settings(overrides=overrides), DistributedContext(rank, world_size))
    records = list(train(run))
    if rank == 0:
        with MetricsWriter(folder) as writer:
            for record in records:
                writer.write(record)


def number(word: str) -> int | str:
    return int(word) if word.isdigit() else word


OWN = [sys.executable, "-m", "adabatch", "train", *SMALL, *RANKS, "--max-restarts", "2"]
TORCHRUN = [
    *(str(Path(sys.executable).parent / "torchrun"), "--max-restarts", "2"),
    *("--rdzv-backend", "c10d", "--rdzv-id", "kill-test"),
]
TRAIN = ["-m", "adabatch", "train", *SMALL, "--no-figures"]


def test_a_dead_rank_restarts_the_run(undisturbed, tmp_path, cleanup):
    log, folder = tmp_path / "log", tmp_path / "run"
    process = start([*OWN, "--output", str(folder)], log)
    cleanup.append(process)
    wait_until(lambda: len(checkpoints(folder)) >= 2, process, log)
    assert len(ranks_of(process)) == 2, [child.cmdline() for child in _children(process)]
    victim = ranks_of(process)[1]
    victim.kill()
    done = records_of(folder)[-1]["samples"]
    wait_until(lambda: "resumed from" in log.read_text(), process, log)
    resumed = _resumed_at(log)
    assert process.wait(timeout=150) == 0, log.read_text()
    assert "restart 1 after a rank was lost" in log.read_text()
    assert resumed >= done - INTERVAL - 8, "more than a checkpoint interval (and a step) was lost"
    assert records_of(folder) == undisturbed


def _resumed_at(log: Path) -> int:
    line = next(line for line in log.read_text().splitlines() if line.startswith("resumed from"))
    return int(line.split(" at ")[1].split()[0])


@dataclass(frozen=True)
class Node:
    """A network of its own, where that can be made, else this machine's."""

    name: str = ""
    address: str = "localhost"

    def command(self, words: list[str]) -> list[str]:
        return [*(["ip", "netns", "exec", self.name] if self.name else []), *words]

    def cable(self, state: str) -> None:
        if self.name:
            ip("-n", self.name, "link", "set", CABLE, state)


CABLE = "cable"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def two_nodes():
    """Two network namespaces and a cable between them; where they may not be made, two names of this machine."""
    nodes = [Node(f"adabatch-{os.getpid()}-{number}", f"10.213.7.{number}") for number in (1, 2)]
    try:
        for node in nodes:
            ip("netns", "add", node.name)
        ends = [f"name {CABLE} netns {node.name}".split() for node in nodes]
        ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for node in nodes:
            ip("-n", node.name, "address", "add", f"{node.address}/24", "dev", CABLE)
            ip("-n", node.name, "link", "set", "lo", "up")
            node.cable("up")
        yield nodes
    except (OSError, subprocess.CalledProcessError) as refused:
        warnings.warn(f"both nodes share this machine's network: {refused}", stacklevel=1)
        yield [Node(), Node()]
    finally:
        for node in nodes:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "delete", node.name], check=False, capture_output=True)


def test_a_node_that_dies_and_comes_back_restarts_the_run(undisturbed, two_nodes, tmp_path, cleanup, monkeypatch):
    """One of torchrun's agents on each node; the one that comes back counts no restart of its own.

    The other node hears nothing of the death, since the cable is cut before: its rank waits for --timeout.
    """
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", CABLE if two_nodes[0].name else "lo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--nnodes 2 --nproc-per-node 1 --rdzv-endpoint {two_nodes[0].address}:{port} --local-addr".split()

    def join(node: Node, log: str) -> subprocess.Popen[str]:
        words = [*TORCHRUN, *options, node.address, *TRAIN, "--timeout", "8", "--output", str(tmp_path / "run")]
        cleanup.append(start(node.command(words), tmp_path / log))
        return cleanup[-1]

    first, second = (join(node, f"log {number}") for number, node in enumerate(two_nodes))
    wait_until(lambda: len(checkpoints(tmp_path / "run")) >= 2, first, tmp_path / "log 0")
    dying = [second.pid, *(child.pid for child in _children(second))]
    two_nodes[1].cable("down")
    for process in dying:
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: "Error" in (tmp_path / "log 0").read_text(), first, tmp_path / "log 0")
    two_nodes[1].cable("up")
    again = join(two_nodes[1], "log 2")
    said = "".join(path.read_text() for path in sorted(tmp_path.glob("log *")))
    assert [node.wait(timeout=200) for node in (first, again)] == [0, 0], said
    assert "resumed from" in "".join(path.read_text() for path in tmp_path.glob("log *"))
    assert records_of(tmp_path / "run") == undisturbed


HANG = textwrap.dedent(
    """
    # Run with the command's arguments: rank 1 stops reading samples at its fifth step. The launcher looks at its
    # ranks so seldom that it would find them all ended, whichever had the reason, if none waited for it.
    import os, sys, time
    from adabatch.distributed import launcher
    from adabatch.commands import main
    from adabatch.data.samples import PreparedSamples

    take = PreparedSamples.take
    calls = 0

    def hang(self, positions):
        global calls
        calls += 1
        if calls == 5 and os.environ.get("RANK") == "1":
            time.sleep(10_000)
        return take(self, positions)

    PreparedSamples.take = hang
    if __name__ == "__main__":
        launcher.wait = lambda sentinels, timeout: time.sleep(2)
        main()
    """
)


def test_a_rank_that_hangs_is_named(tmp_path, cleanup):
    script, log = tmp_path / "hang.py", tmp_path / "log"
    script.write_text(HANG)
    command = [sys.executable, str(script), "train", *SMALL, *RANKS, "--timeout", "8"]
    process = start([*command, "--output", str(tmp_path / "run")], log)
    cleanup.append(process)
    assert process.wait(timeout=150) == 75, log.read_text()
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("Error")]
    assert line.startswith("Error: no progress for 8 s (--timeout), rank ")
    assert ": rank 1 (" in line
    assert line.endswith('did not arrive: it is at "reading samples"')


def test_a_rank_that_is_stopped_is_named(tmp_path, cleanup):
    log, folder = tmp_path / "log", tmp_path / "run"
    command = [sys.executable, "-m", "adabatch", "train", *SMALL, *RANKS, "--timeout", "8", "--samples", "100000"]
    process = start([*command, "--output", str(folder)], log)
    cleanup.append(process)
    wait_until(lambda: bool(checkpoints(folder)), process, log)
    stopped = ranks_of(process)[1]
    stopped.suspend()
    wait_until(lambda: "Error" in log.read_text(), process, log, seconds=60)
    assert process.wait(timeout=60) == 75, log.read_text()
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("Error")]
    assert line.startswith("Error: no progress for 8 s (--timeout), rank 0 waits at")
    assert f"process {stopped.pid}) does not answer (stopped, or out of reach)" in line
