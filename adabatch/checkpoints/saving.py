"""Saving: snapshot, write to a temporary folder, sync, rename, mark as complete; in the background on request."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed._state_dict_utils import _copy_state_dict, _create_cpu_state_dict
from torch.distributed.checkpoint.api import CheckpointException

from adabatch.checkpoints.errors import CheckpointError, raise_on_all_ranks
from adabatch.checkpoints.folders import (
    CONTENTS,
    COSTS,
    PROGRESS,
    TEMPORARY,
    find_checkpoint,
    prune,
    put_in_place,
    rank_file,
    remove_checkpoint,
    step_folder,
    write_marker,
)
from adabatch.checkpoints.random_states import random_states
from adabatch.checkpoints.storage import TensorWriter
from adabatch.checkpoints.tensors import (
    Optimizers,
    TensorsByName,
    has_state,
    named_parameters,
    named_tensors,
    quiet,
)
from adabatch.distributed.parallel import DistributedContext, lost_peer
from adabatch.files import checksum, sync, write_json

__all__ = ["CheckpointSaver", "SaveCost"]


@dataclass(frozen=True)
class SaveCost:
    """What a save cost: training stood still for ``blocked`` of ``seconds``, and ``bytes`` were written."""

    step: int
    blocked: float
    seconds: float
    bytes: int


@dataclass(frozen=True)
class _Snapshot:
    """All that a save writes, as it was at a step boundary."""

    step: int
    tensors: TensorsByName
    progress: dict[str, Any]
    of_rank: dict[str, Any]
    sync_first: Path | None
    started: float


class CheckpointSaver:
    """Saves checkpoints into a folder; all ranks make one and call it alike.

    Args:
        folder: the run's ``checkpoints`` folder.
        ranks: this process among the others.
        keep: how many complete checkpoints stay; 0 keeps all.
        asynchronous: copy the state and write it in a thread of its own, while training continues. A save in
            flight is finished before the next one begins.
        keep_best: the checkpoint with the lowest validation loss stays too.

    Attributes:
        costs: of the saves so far (main rank only), also appended to ``costs.jsonl`` in the folder.
    """

    def __init__(
        self,
        folder: Path,
        ranks: DistributedContext,
        keep: int = 0,
        asynchronous: bool = False,
        keep_best: bool = False,
    ) -> None:
        self.folder, self.ranks, self.asynchronous = folder, ranks, asynchronous
        self.keep, self.keep_best = keep, keep_best
        self.costs: list[SaveCost] = []
        self._group: dist.ProcessGroup | None = None
        self._thread: threading.Thread | None = None
        self._copy: TensorsByName | None = None
        self._failure: CheckpointError | None = None

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: Optimizers,
        progress: dict[str, Any],
        of_rank: dict[str, Any] | None = None,
        sync_first: Path | None = None,
    ) -> None:
        """Save at a step boundary; all ranks call it.

        Args:
            step: names the checkpoint.
            model: wrapped or not.
            optimizer: its whole state is saved.
            progress: JSON of the main rank: schedule, counters, settings; floats survive exactly.
            of_rank: JSON of this rank; the states of its random number generators are added.
            sync_first: a file that must reach the disk before the checkpoint counts (the metrics so far).

        Raises:
            CheckpointError: on all ranks, if this save or the one before it could not be written.
        """
        started = time.perf_counter()
        self.wait()
        self._communicate()
        tensors = named_tensors(model, optimizer) if has_state(optimizer) else named_parameters(model)
        own = {"random": random_states(), **(of_rank or {})}
        if self.asynchronous:
            tensors = self._copied(tensors)
        snapshot = _Snapshot(step, tensors, progress, own, sync_first, started)
        if not self.asynchronous:
            self._write(snapshot, None)
            return
        blocked = time.perf_counter() - started
        # A daemon: a process that fails elsewhere must not wait for peers that are gone.
        self._thread = threading.Thread(target=self._work, args=(snapshot, blocked), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the save in flight, if there is one.

        Raises:
            CheckpointError: if it failed.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _copied(self, tensors: TensorsByName) -> TensorsByName:
        """A copy on the CPU, in the memory of the copy before; without optimizer state a smaller one."""
        if self._copy is None or self._copy.keys() != tensors.keys():
            self._copy = _create_cpu_state_dict(tensors)
        return _copy_state_dict(tensors, self._copy)

    def _communicate(self) -> None:
        """A group of its own where training uses the default one at the same time, or that one is not gloo."""
        if self.ranks.world_size == 1 or self._group is not None:
            return
        if self.asynchronous or dist.get_backend() != "gloo":
            self._group = dist.new_group(backend="gloo")

    def _work(self, snapshot: _Snapshot, blocked: float) -> None:
        try:
            self._write(snapshot, blocked)
        except CheckpointError as error:
            self._failure = error

    def _write(self, snapshot: _Snapshot, blocked: float | None) -> None:
        """The whole save; a failure on any rank is one on all, and leaves no temporary folder."""
        path = step_folder(self.folder, snapshot.step)
        temporary = path.with_name(path.name + TEMPORARY)
        ranks, main = self.ranks, self.ranks.is_main
        try:
            raise_on_all_ranks(lambda: _make_empty(temporary) if main else None, ranks, self._group)
            self._write_tensors(temporary, snapshot.tensors)
            sums = raise_on_all_ranks(lambda: self._write_own(temporary, snapshot.of_rank), ranks, self._group)
            files = {name: entry for by_rank in sums for name, entry in by_rank.items()}
            raise_on_all_ranks(lambda: self._complete(temporary, path, snapshot, files), ranks, self._group)
            if main:
                self._account(snapshot, blocked, files)
        except (CheckpointException, OSError, RuntimeError) as error:
            raise self._explained(error, snapshot.step, temporary) from error

    def _write_tensors(self, temporary: Path, tensors: TensorsByName) -> None:
        with quiet():
            dcp.save(
                tensors,
                storage_writer=TensorWriter(temporary),
                process_group=self._group,
                no_dist=self.ranks.world_size == 1,
            )

    def _write_own(self, temporary: Path, of_rank: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """This rank's own file, and the checksums of what this rank wrote."""
        own = rank_file(temporary, self.ranks.rank)
        write_json(own, of_rank)
        files = [own, *temporary.glob(f"__{self.ranks.rank}_*")]
        if self.ranks.is_main:
            files.append(temporary / CONTENTS)
        return {path.name: checksum(path) for path in files}

    def _complete(
        self, temporary: Path, path: Path, snapshot: _Snapshot, files: dict[str, dict[str, Any]]
    ) -> None:
        """Rename and mark; the checkpoint counts from the moment its marker is there."""
        if not self.ranks.is_main:
            return
        if snapshot.sync_first is not None:
            with suppress(OSError):  # moved, deleted or on a disk that fails: the checkpoint is worth more
                sync(snapshot.sync_first)
        write_json(temporary / PROGRESS, snapshot.progress)
        files[PROGRESS] = checksum(temporary / PROGRESS)
        remove_checkpoint(path)  # of a save that was cut short
        put_in_place(temporary, path)
        write_marker(path, files)
        prune(self.folder, self.keep, self.keep_best)

    def _account(self, snapshot: _Snapshot, blocked: float | None, files: dict[str, dict[str, Any]]) -> None:
        seconds = time.perf_counter() - snapshot.started
        size = sum(entry["bytes"] for entry in files.values())
        cost = SaveCost(snapshot.step, seconds if blocked is None else blocked, seconds, size)
        self.costs.append(cost)
        with suppress(OSError), (self.folder / COSTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(cost)) + "\n")

    def _explained(self, error: BaseException, step: int, temporary: Path) -> CheckpointError:
        """The failure as one message, and the temporary folder removed."""
        causes = [str(error)]
        if isinstance(error, CheckpointException):
            causes = [f"rank {rank}: {failure!r}" for rank, (failure, _) in error.failures.items()]
        if lost_peer(error):
            causes = ["another rank is gone"]
        with suppress(OSError):
            if shutil.disk_usage(self.folder).free < 1 << 20:
                causes.insert(0, f"no space left on the device of {self.folder}")
        if self.ranks.is_main:
            with suppress(OSError):
                remove_checkpoint(temporary)
        last = find_checkpoint("auto", self.folder)
        intact = f"the last complete checkpoint is {last}" if last else "there is no complete checkpoint yet"
        return CheckpointError(
            f"the checkpoint of step {step} could not be written ({'; '.join(causes)}); {intact}: fix the cause "
            "and resume with --resume auto"
        )


def _make_empty(folder: Path) -> None:
    remove_checkpoint(folder)
    folder.mkdir(parents=True, exist_ok=True)
