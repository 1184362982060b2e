"""A pool whose work fails says so once: nothing of its threads shows, and no worker is waited for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil

SCRIPT = """
import time
from adabatch.distributed.workers import worker_pool

def work(number):
    time.sleep(60 if number == 4 else 0.1)
    if number == 3:
        raise ValueError("refused")

if __name__ == "__main__":
    for numbers in (*[range(200)] * 8, ()):  # the pool's threads race
        try:
            with worker_pool(2) as pool:
                list(pool.map(work, numbers))
                raise ValueError("nothing to do")
        except ValueError as error:
            print(error, flush=True)
"""


def test_an_error_is_all_that_is_seen(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == (8 * "refused\n" + "nothing to do\n", "")


STARTING = """
import time
from adabatch.distributed.signals import end_at_once, listening
from adabatch.distributed.workers import worker_pool

if __name__ == "__main__":
    with listening(end_at_once), worker_pool(2, len, "x" * 10**6) as pool:
        pool.submit(time.sleep, 60).result()
"""
"""Its workers get more than a pipe holds, so that starting one lasts until that reads."""


def test_an_interrupt_while_workers_start_ends_them_without_a_traceback(tmp_path):
    (tmp_path / "starting.py").write_text(STARTING)
    process = subprocess.Popen([sys.executable, tmp_path / "starting.py"], stderr=subprocess.PIPE, text=True)
    while not any("spawn_main" in " ".join(child.cmdline()) for child in psutil.Process(process.pid).children()):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "stopped by SIGINT\n"
    assert process.returncode == 130
