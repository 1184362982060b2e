"""One process at a time in a folder, which its holder may remove."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adabatch.data.locks import exclusive

THREADS, TIMES = 4, 50  # a lock belongs to a descriptor: threads exclude one another as processes do

HOLD = """
import sys, time
from pathlib import Path
from adabatch.data.locks import exclusive

with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def come_and_go(folder):
    """Work in the folder many times; what another did not remove, or put there meanwhile, is an error."""
    for _ in range(TIMES):
        with exclusive(folder):
            (folder / "mine").touch(exist_ok=False)
            (folder / "mine").unlink()
            folder.rmdir()


def test_one_at_a_time_though_each_removes_the_folder(tmp_path):
    with ThreadPoolExecutor(THREADS) as pool:
        for outcome in [pool.submit(come_and_go, tmp_path / "mine") for _ in range(THREADS)]:
            outcome.result()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_stays_keeps_what_is_in_it(tmp_path):
    for expected in ([], ["left"]):
        with exclusive(tmp_path / "mine"):
            assert [file.name for file in (tmp_path / "mine").iterdir()] == expected
            (tmp_path / "mine" / "left").touch()


def test_the_holder_is_named_to_those_who_do_not_wait(tmp_path):
    holder = f"process {os.getpid()} on {socket.gethostname()} is at work in {tmp_path / 'mine'}"
    mine, other = tmp_path / "mine", tmp_path / "other"
    with exclusive(mine), exclusive(other), pytest.raises(ValueError, match=holder), exclusive(mine, wait=False):
        pass
    with exclusive(tmp_path / "mine", wait=False):
        pass


def test_a_holder_that_dies_blocks_nobody(tmp_path, capfd):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "mine")]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(come_and_go, tmp_path / "mine")
        message = ""
        while "waiting" not in message:
            message += capfd.readouterr().err
        process.send_signal(signal.SIGKILL)
        process.wait()
        waiting.result()
    assert f"waiting: process {process.pid} on " in message


def test_what_is_in_the_way_is_refused_and_what_is_missing_is_made(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    for path in (tmp_path / "file", tmp_path / "link"):
        with pytest.raises(FileExistsError), exclusive(path):
            pass
    with exclusive(tmp_path / "no" / "folder"):
        assert (tmp_path / "no" / "folder").is_dir()
