"""One process at a time in a folder, which its holder may remove."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import SoftFileLock

from adabatch.locks import LOCK, exclusive, occupied

THREADS, TIMES = 4, 50  # a lock belongs to a descriptor: threads exclude one another as processes do

HOLD = """
import sys, time
from pathlib import Path
from adabatch.locks import LOCK, exclusive, occupied

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
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
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


@pytest.fixture(params=[errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK])
def without_flock(request, monkeypatch):
    """A file system that has no flock, by each answer that such file systems give."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_flock_the_file_is_the_lock(tmp_path, without_flock, capfd):
    refusal = pytest.raises(ValueError, match=f"process {os.getpid()} on .* is at work")
    with occupied(tmp_path), refusal as refused, occupied(tmp_path):
        pass
    assert str(refused.value).endswith(f"; if that process has ended, delete {tmp_path / LOCK}")
    assert f"note: the file system of {tmp_path} has no locks" in capfd.readouterr().err
    with occupied(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_is_gone_is_known_on_its_host_only(tmp_path, without_flock, monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    for host, held in ((socket.gethostname(), False), ("node17", True)):
        with monkeypatch.context() as there:
            there.setattr(socket, "gethostname", lambda host=host: host)
            there.setattr(os, "getpid", lambda: gone.pid)
            leave_a_mark(tmp_path)
        if held:
            with pytest.raises(ValueError, match=f"process {gone.pid} on node17 is at work"), occupied(tmp_path):
                pass
            (tmp_path / LOCK).unlink()  # what the message says
        with occupied(tmp_path):
            pass


def leave_a_mark(folder):
    """As a holder does that is killed: its file stays."""
    lock = SoftFileLock(folder / LOCK)
    lock.acquire()
    mark = (folder / LOCK).read_bytes()
    lock.release()
    (folder / LOCK).write_bytes(b"\n".join(mark.split(b"\n")[:2]) + b"\n")


def test_another_process_with_the_same_number_is_not_the_holder(tmp_path, without_flock):
    """The number of a process is used again: its start tells the two apart."""
    with occupied(tmp_path):
        process, host, start, *rest = (tmp_path / LOCK).read_text().split("\n")
    (tmp_path / LOCK).write_text("\n".join([process, host, str(int(start) - 1), *rest]))
    with occupied(tmp_path):
        pass


def test_a_lock_is_one_for_all_links_to_its_folder(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to("scratch")
    with occupied(tmp_path / "run"), pytest.raises(ValueError, match="is at work"), occupied(tmp_path / "scratch"):
        pass
    assert (tmp_path / "run").is_symlink()


def test_a_folder_made_for_nothing_is_removed(tmp_path):
    with occupied(tmp_path / "new" / "run"):
        assert [path.name for path in (tmp_path / "new" / "run").iterdir()] == [LOCK]
    assert not (tmp_path / "new" / "run").exists()
    with occupied(tmp_path / "kept"):
        (tmp_path / "kept" / "file").touch()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["file"]
