"""The ranks of the tests: what they return, and what becomes of those that fail or die."""

import os
import signal
from pathlib import Path

import pytest
import torch.distributed as dist

from tests.support import spawning
from tests.support.spawning import RankPool

pytestmark = pytest.mark.distributed


def crash(rank, world_size, folder, times):
    """Rank 1 dies of a segmentation fault n times."""
    tries = len(list(Path(folder).iterdir())) if rank == 1 else 0
    if rank == 1 and tries < times:
        Path(folder, str(tries)).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return rank


def fail(rank, world_size):
    raise ValueError("this is wrong")


def test_a_crash_is_tried_once_more_and_a_failure_is_not(tmp_path):
    with RankPool(2) as pool:
        with pytest.warns(RuntimeWarning, match="rank 1 died of a segmentation fault; tried once more"):
            assert pool.run(crash, str(tmp_path), 1) == [0, 1]
        with pytest.warns(RuntimeWarning), pytest.raises(AssertionError, match="rank 1 died"):
            pool.run(crash, str(tmp_path), 3)
        with pytest.raises(AssertionError, match="this is wrong"):
            pool.run(fail)
        assert pool.run(crash, str(tmp_path), 0) == [0, 1]  # new ranks


def another_group(rank, world_size):
    """This rank's process, which has one more process group from here on."""
    dist.new_group()
    return os.getpid()


def test_ranks_with_many_process_groups_are_started_again(monkeypatch):
    with RankPool(2) as pool:
        first, then = pool.run(another_group), pool.run(another_group)
        assert then == first
        monkeypatch.setattr(spawning, "MOST_THREADS", 0)
        assert pool.run(another_group) == first  # its result is not lost
        assert not set(pool.run(another_group)) & set(first)
