"""The states of all random number generators of a process, as JSON."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

__all__ = ["random_states", "restore_random_states", "seed_generators", "seed_of_share"]


def random_states() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators (the CPU's, and this process's GPU's if it has one).

    >>> before = random_states()
    >>> first = random.random(), np.random.rand(), float(torch.rand(()))
    >>> restore_random_states(before)
    >>> first == (random.random(), np.random.rand(), float(torch.rand(())))
    True
    """
    kind, keys, *rest = np.random.get_state(legacy=True)
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state().numpy().tobytes().hex()
    return states


def seed_generators(seed: int) -> None:
    """Begin Python's and NumPy's generators by the run's seed; torch's begins where the model is built.

    Python seeds its own from the machine's entropy otherwise, so that a run started again would not be the same.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)


def seed_of_share(seed: int, data_parallel_rank: int) -> None:
    """Begin torch's generators by the rank's share of the samples, where the model, alike on all ranks, is built.

    Else all ranks would drop the same units: noise that their mean does not lessen, and that no norm test sees.
    The first rank's stay as they are.

    Args:
        seed: of the run.
        data_parallel_rank: whose samples they are; ranks of one tensor-parallel team drop the same units.
    """
    if data_parallel_rank:
        states = np.random.SeedSequence([seed, data_parallel_rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(states[0]))


def restore_random_states(states: dict[str, Any]) -> None:
    """Set all generators to saved states; a GPU's only where there is one."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(_bytes(states["torch"]))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(states["cuda"]))


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
