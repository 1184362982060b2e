"""What a process is given before it trains."""

import pytest
import torch

from adabatch.distributed.parallel import process_group
from adabatch.settings import ParallelSettings


@pytest.mark.parametrize(("local_ranks", "given", "threads"), [(1, 0, 6), (2, 0, 3), (12, 0, 1), (2, 5, 5)])
def test_the_cores_that_a_process_may_use_are_shared(monkeypatch, local_ranks, given, threads):
    """A scheduler may give fewer than the machine has."""
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local_ranks))
    before = torch.get_num_threads()
    try:
        with process_group(ParallelSettings(threads=given)):
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
