"""Ranks that are started again must not take what their predecessors left in the store for their own.

torch's elastic launcher keeps one store over all restarts and gives its keys no name of the attempt, so that a
rank may read the address at which a dead rank once listened. The attempts have no common number either: each node
counts its own restarts. So the ranks of one start agree on a name, and put all that they share under it.
"""

from __future__ import annotations

import json
import time
import uuid

import torch.distributed as dist

__all__ = ["rendezvous"]

PAUSE = 0.02
"""Seconds between two looks at the store."""


def rendezvous(store: dist.Store, rank: int, world_size: int, timeout: float) -> dist.Store:
    """The part of the store that belongs to this start; all ranks of it call this.

    Each rank leaves a token of this start. Rank 0 announces a name together with the tokens that it has seen; a
    rank takes the name once its own token is among them, and so never from an old announcement.

    Args:
        store: shared with the ranks of earlier starts.
        rank: this one.
        world_size: ranks of this start.
        timeout: seconds to wait for the others.

    Raises:
        RuntimeError: if they do not come in time.

    >>> rendezvous(dist.HashStore(), rank=0, world_size=1, timeout=1).set("a", "b")
    """
    token, deadline = uuid.uuid4().hex, time.monotonic() + timeout
    store.set(f"rendezvous/{rank}", token)
    while time.monotonic() < deadline:
        name = _host(store, token, world_size) if rank == 0 else _join(store, rank, token)
        if name is not None:
            return dist.PrefixStore(name, store)
        time.sleep(PAUSE)
    raise RuntimeError(f"rank {rank} waited {timeout:g} s for the other ranks to start")


def _host(store: dist.Store, name: str, world_size: int) -> str | None:
    """Announce the name with the tokens there are; the name itself once all others have taken it."""
    keys = [f"rendezvous/{rank}" for rank in range(world_size)]
    if store.check(keys):
        store.set("rendezvous", json.dumps([name, [store.get(key).decode() for key in keys]]))
    return name if store.add(f"rendezvous/joined/{name}", 0) == world_size - 1 else None


def _join(store: dist.Store, rank: int, token: str) -> str | None:
    """The name that is announced, if it is to a start that this rank belongs to."""
    if not store.check(["rendezvous"]):
        return None
    name, tokens = json.loads(store.get("rendezvous"))
    if token not in tokens[rank : rank + 1]:
        return None
    store.add(f"rendezvous/joined/{name}", 1)
    return str(name)
