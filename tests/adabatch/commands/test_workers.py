"""Commands that share work: a stop signal ends all their processes with one line, and none outlives its parent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.command import COMMAND, still_running
from theory.l1.theorem3 import certificate_files

CERTIFICATE = next(path for path in certificate_files() if path.name == "beta1_0.9_beta2_0.95_variance_0.3.npz")
COMMANDS = {
    "attack": (["theorem-1", "--eta", "0.1", "--processes", "2"], ""),
    "verify-bounds": (["--processes", "2", "--output", "report"], "; the same command continues the work"),
    "prove": (["certificates", CERTIFICATE.name], ""),
}


def members(group: int) -> int:
    """How many processes of a group run Python's workers."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                found += b"spawn_main" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_worker_is_left(name, number, tmp_path):
    shutil.copy(CERTIFICATE, tmp_path)
    words, advice = COMMANDS[name]
    process = subprocess.Popen(
        [*COMMAND, name, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while members(process.pid) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2)  # they are at work
    if number == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, number)  # as a terminal does: to all of them
    _, error = process.communicate(timeout=60)
    assert not still_running(process.pid)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert error == f"stopped by SIGINT{advice}\n"
