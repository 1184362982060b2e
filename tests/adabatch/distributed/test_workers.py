"""A pool whose work fails says so once: nothing of its threads shows, and no worker is waited for."""

from __future__ import annotations

import subprocess
import sys

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
