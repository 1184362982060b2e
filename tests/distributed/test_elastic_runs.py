"""Ranks and nodes that die are started again without a person; ranks that hang are named."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from adabatch.data.samples import PreparedSamples
from adabatch.distributed import launcher
from adabatch.reporting.metrics import TIMED
from adabatch.settings import load_settings
from tests.support.forked_runs import ForkedRun

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

INTERVAL = 40
"""Samples between checkpoints, and ten batches."""

SMALL = {
    "samples": 240,
    "initial_batch": 4,
    "max_batch": 4,
    "micro_batch": 2,
    "warmup_samples": 16,
    "validation_interval": 0,
    "sequence_length": 32,
    "checkpoint_interval": INTERVAL,
    "parallel": "fsdp",
    "threads": 1,
    "device": "cpu",
}


def started(folder: Path, **changes) -> ForkedRun:
    """The run on two ranks of our launcher, which writes to ``log`` next to its folder."""
    settings = SMALL | {"ranks": 2, "figures": False, "output": str(folder)} | changes
    return ForkedRun(load_settings(overrides=settings), folder.with_name("log"))


@pytest.fixture
def cleanup():
    """Ends what a test has started."""
    processes: list[ForkedRun | Agent] = []
    yield processes
    for process in processes:
        process.kill()


def wait_until(condition, run: ForkedRun | Agent, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, run.log.read_text()
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.05)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoints/step-*/complete.json"))


def records_of(folder: Path) -> list[dict]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in TIMED} for record in records]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict]:
    """The records of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run = started(folder)
    assert run.wait(150) == 0, run.log.read_text()
    return records_of(folder)


def test_a_dead_rank_restarts_the_run(undisturbed, tmp_path, cleanup):
    folder = tmp_path / "run"
    run = started(folder, max_restarts=2)
    cleanup.append(run)
    wait_until(lambda: len(checkpoints(folder)) >= 2, run)
    _, victim = run.ranks()
    victim.kill()
    done = records_of(folder)[-1]["samples"]
    wait_until(lambda: "resumed from" in run.log.read_text(), run)
    resumed = _resumed_at(run.log)
    assert run.wait(150) == 0, run.log.read_text()
    assert "restart 1 after a rank was lost" in run.log.read_text()
    assert resumed >= done - INTERVAL - 8, "more than a checkpoint interval (and a step) was lost"
    assert records_of(folder) == undisturbed


def _resumed_at(log: Path) -> int:
    line = next(line for line in log.read_text().splitlines() if line.startswith("resumed from"))
    return int(line.split(" at ")[1].split()[0])


@dataclass(frozen=True)
class Node:
    """A network of its own, where that can be made, else this machine's."""

    first: bool
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
    nodes = [Node(number == 1, f"adabatch-{os.getpid()}-{number}", f"10.213.7.{number}") for number in (1, 2)]
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
        yield [Node(True), Node(False)]
    finally:
        for node in nodes:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "delete", node.name], check=False, capture_output=True)


class Agent:
    """torchrun on a node, with a rank."""

    def __init__(self, node: Node, master: str, log: Path, folder: Path) -> None:
        self.log = log
        options = f"--nnodes 2 --nproc-per-node 1 --max-restarts 2 --local-addr {node.address}".split()
        options += ["--rdzv-conf", f"is_host={int(node.first)}"]  # torch knows it by names only
        options += f"--rdzv-backend c10d --rdzv-endpoint {master} --rdzv-id kill-test".split()
        words = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
        words += ["--no-figures", "--timeout=8", f"--output={folder}"]
        torchrun = [str(Path(sys.executable).parent / "torchrun"), *options, "-m", "adabatch", "train", *words]
        self.process = subprocess.Popen(
            node.command(torchrun), stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True
        )
        self.poll, self.wait = self.process.poll, self.process.wait

    def kill(self) -> None:
        """The agent, its rank, and what that has started."""
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
        for pid in [self.process.pid, *(child.pid for child in children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def test_a_node_that_dies_and_comes_back_restarts_the_run(undisturbed, two_nodes, tmp_path, cleanup, monkeypatch):
    """One of torchrun's agents on each node; the one that comes back counts no restart of its own.

    The other node hears nothing of the death, since the cable is cut before: its rank waits for --timeout.
    """
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", CABLE if two_nodes[0].name else "lo")
    monkeypatch.setenv(
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1"
    )  # else the address is told in the first round only
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"{two_nodes[0].address}:{free.getsockname()[1]}"
    folder = tmp_path / "run"

    def join(node: Node, log: str) -> Agent:
        cleanup.append(Agent(node, master, tmp_path / log, folder))
        return cleanup[-1]

    first, second = (join(node, f"log {number}") for number, node in enumerate(two_nodes))
    wait_until(lambda: len(checkpoints(folder)) >= 2, first)
    two_nodes[1].cable("down")
    second.kill()
    wait_until(lambda: "Error" in first.log.read_text(), first)
    two_nodes[1].cable("up")
    again = join(two_nodes[1], "log 2")
    codes = [agent.wait(200) for agent in (first, again)]
    said = first.log.read_text() + again.log.read_text()
    assert codes == [0, 0], said
    assert "resumed from" in said
    assert records_of(folder) == undisturbed


def test_a_rank_that_hangs_is_named(tmp_path, cleanup, monkeypatch):
    """Rank 1 stops reading samples at its fifth step.

    The launcher looks at its ranks so seldom that it would find them all ended, whichever had the reason, if none
    waited for it.
    """
    take, calls = PreparedSamples.take, []

    def hang(self, positions):
        calls.append(positions)
        if len(calls) == 5 and os.environ.get("RANK") == "1":
            time.sleep(10_000)
        return take(self, positions)

    monkeypatch.setattr(PreparedSamples, "take", hang)
    monkeypatch.setattr(launcher, "wait", lambda sentinels, timeout: time.sleep(2))
    run = started(tmp_path / "run", timeout=8)
    cleanup.append(run)
    assert run.wait(150) == 75, run.log.read_text()
    (line,) = [line for line in run.log.read_text().splitlines() if line.startswith("Error")]
    assert line.startswith("Error: no progress for 8 s (--timeout), rank ")
    assert ": rank 1 (" in line
    assert line.endswith('did not arrive: it is at "reading samples"')


def test_a_rank_that_is_stopped_is_named(tmp_path, cleanup):
    folder = tmp_path / "run"
    run = started(folder, timeout=8, samples=100_000)
    cleanup.append(run)
    wait_until(lambda: bool(checkpoints(folder)), run)
    _, stopped = run.ranks()
    stopped.suspend()
    wait_until(lambda: "Error" in run.log.read_text(), run, seconds=60)
    assert run.wait(60) == 75, run.log.read_text()
    (line,) = [line for line in run.log.read_text().splitlines() if line.startswith("Error")]
    assert line.startswith("Error: no progress for 8 s (--timeout), rank 0 waits at")
    assert f"process {stopped.pid}) does not answer (stopped, or out of reach)" in line
