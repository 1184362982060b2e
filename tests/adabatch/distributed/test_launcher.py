"""The ranks of a launcher: what becomes of all when one ends, and what stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from adabatch.distributed.launcher import launch_ranks, restarts
from adabatch.distributed.signals import STOP_SIGNALS, StopRequest, listening
from adabatch.exit_codes import DIVERGED, HUNG, TIME_LIMIT

pytestmark = pytest.mark.distributed

PATIENCE = 120.0
FOREVER = 10_000.0


def rank() -> int:
    return int(os.environ["RANK"])


def end_in_turn(codes: list[int], folder: str) -> int:
    """Each rank leaves its mark, and ends with its code once all have; a code of 0 waits until it is ended."""
    Path(folder, f"{rank()} of {os.environ['WORLD_SIZE']}, start {restarts()}").touch()
    while len(list(Path(folder).iterdir())) < len(codes):
        time.sleep(0.01)
    if codes[rank()] == 0:
        time.sleep(FOREVER)
    if codes[rank()] < 0:
        os.kill(os.getpid(), -codes[rank()])
    return codes[rank()]


def die_once(folder: str) -> int:
    Path(folder, f"{rank()}, start {restarts()}").touch()
    if rank() == 1 and restarts() == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


def stop_when_asked(folder: str) -> int:
    """As a run: the first signal is noted, and the step is finished."""
    request = StopRequest(managed=True)
    with listening(request.note):
        Path(folder, f"{rank()}, process {os.getpid()}").touch()
        while not request.number:
            time.sleep(0.01)
        Path(folder, f"{rank()} saved").touch()
    return 128 + request.number


@pytest.mark.parametrize(
    ("codes", "code"), [([0, DIVERGED], DIVERGED), ([HUNG, 0], HUNG), ([0, -signal.SIGSEGV], 128 + signal.SIGSEGV)]
)
def test_the_first_rank_that_fails_gives_the_exit_code_and_the_others_are_ended(tmp_path, codes, code, capfd):
    assert launch_ranks(end_in_turn, (codes, str(tmp_path)), 2, 0, PATIENCE) == code
    said = capfd.readouterr().err
    assert said == ("rank 1 ended with exit code -11 (SIGSEGV)\n" if codes[1] < 0 else "")


def test_a_dead_rank_starts_all_again(tmp_path):
    assert launch_ranks(die_once, (str(tmp_path),), 2, 1, PATIENCE) == 0
    assert {"0, start 1", "1, start 0", "1, start 1"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("code", [DIVERGED, TIME_LIMIT])
def test_what_would_end_alike_is_not_started_again(tmp_path, code):
    assert launch_ranks(end_in_turn, ([code, code], str(tmp_path)), 2, 3, PATIENCE) == code
    assert {path.name for path in tmp_path.iterdir()} == {"0 of 2, start 0", "1 of 2, start 0"}


@pytest.mark.parametrize("to", ["the launcher", "one rank"])
def test_a_stop_signal_reaches_all_ranks(tmp_path, to):
    def send() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        (second,) = tmp_path.glob("1, process *")
        os.kill(os.getpid() if to == "the launcher" else int(second.name.split()[-1]), signal.SIGUSR1)

    thread = threading.Thread(target=send)
    thread.start()
    code = launch_ranks(stop_when_asked, (str(tmp_path),), 2, 3, PATIENCE)
    thread.join()
    assert code == 128 + signal.SIGUSR1
    assert {path.name for path in tmp_path.glob("* saved")} == {"0 saved", "1 saved"}


def leave_what_is_ignored(folder: str) -> int:
    ignored = [number.name for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    Path(folder, f"{rank()} ignores {', '.join(ignored)}").touch()
    return 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_signals_that_are_ignored_are_ignored_by_all_ranks(tmp_path, number):
    """SIGHUP under nohup, SIGINT in the background of a shell script."""
    former = {other: signal.signal(other, signal.SIG_DFL) for other in STOP_SIGNALS}
    signal.signal(number, signal.SIG_IGN)
    try:
        assert launch_ranks(leave_what_is_ignored, (str(tmp_path),), 2, 0, PATIENCE) == 0
    finally:
        for other, handler in former.items():
            signal.signal(other, handler)
    assert {path.name for path in tmp_path.iterdir()} == {f"{r} ignores {number.name}" for r in range(2)}


def stay(folder: str) -> int:
    Path(folder, f"{rank()}, process {os.getpid()}").touch()
    time.sleep(FOREVER)
    return 0


def test_ranks_end_with_their_launcher(tmp_path):
    start = f"launch_ranks(stay, ({str(tmp_path)!r},), 2, 0, 1.0)"
    code = f"from tests.adabatch.distributed.test_launcher import launch_ranks, stay; {start}"
    launcher = subprocess.Popen([sys.executable, "-c", code])
    while len(list(tmp_path.iterdir())) < 2:
        assert launcher.poll() is None
        time.sleep(0.01)
    ranks = [psutil.Process(int(path.name.split()[-1])) for path in tmp_path.iterdir()]
    launcher.kill()
    assert launcher.wait() == -signal.SIGKILL
    assert psutil.wait_procs(ranks, timeout=30)[1] == []
