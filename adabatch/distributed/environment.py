"""What a launcher such as torchrun says about this rank, read and checked in one place."""

from __future__ import annotations

import os

__all__ = ["world_size_of_launcher"]

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
NEEDED = ("RANK", "WORLD_SIZE")


def world_size_of_launcher() -> int:
    """The number of ranks, where a launcher has set ``RANK``.

    Raises:
        ValueError: a variable is missing or is not a number that fits the others.
    """
    given = {name: os.environ.get(name) for name in NUMBERS}
    for name, value in given.items():
        if (value is None and name in NEEDED) or (value is not None and not value.isdecimal()):
            what = "is missing" if value is None else f"is {value!r}, which is not a number of 0 or more"
            raise ValueError(f"RANK is set, but {name} {what}: start with torchrun, or unset RANK to train alone")
    rank, world_size = (int(str(given[name])) for name in NEEDED)
    if not rank < world_size:
        raise ValueError(f"RANK {rank} is not below WORLD_SIZE {world_size}: start with torchrun")
    return world_size
