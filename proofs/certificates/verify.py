r"""Verifies a certificate for all states and laws, with directed rounding, and records the result.

Problem:
    The certificate inequality (:mod:`theory.l1.theorem3`) for all |z| <= C_m, s >= 0 and all two-point laws.

Algorithm:
    - **Boxes.** Each cell of the potential's grid is a box of states; s in [0, s_min] is one row of boxes, with s
      from 0, where h does not depend on s; above s_max rows of height 0.15 in log s follow up to s_T.
    - **s >= s_T.** With p = Cm + max_z h(z, s_max) - min_z h(z, s_max) + J: from s >= s_max / b2 on s' is in the
      tail too, E sqrt(b2 s + c X^2) <= sqrt(b2 s + c) + sqrt(c) sd(X), so that the margin is at least
      C (sqrt(s) - sqrt(b2 s + c)) - p + (lambda - C sqrt(c)) sd(X); the first term grows with s. For the kind
      variance, E sqrt(b2 s + c X^2) <= sqrt(b2 s + c + c Var X) <= sqrt(b2 s + c) + c Var X / (2 sqrt(b2 s + c)).
    - **Laws.** :mod:`proofs.certificates.branching`, with atoms from next to 1 to infinity in closed form.

    Boxes are settled in tasks of :data:`TASK`, on several processes. Finished tasks are written to
    ``name.partial.jsonl`` next to the certificate, where an interrupted run is continued.

Guarantee:
    If :func:`verify` returns, the inequality holds with its lambda and J: rounding is outwards everywhere.

Example:
    $ adabatch prove certificates
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from proofs.certificates.atoms import Boxes, Inequality
from proofs.certificates.branching import RefusedError, settle
from proofs.certificates.intervals import Enclosure
from proofs.certificates.leaves import confirmed
from theory.l1.theorem3 import Certificate, Kind, load_certificate
from theory.l1.verification import Verification, file_hash, record_path

__all__ = ["Done", "Pool", "cover", "tail_end", "verify", "verify_boxes", "verify_file"]

Pool = Callable[[int], AbstractContextManager[Executor]]
"""Makes workers of a number of processes."""

TASK = 64
"""Boxes of a task."""
TAIL_ROW = 0.15
"""Height of the boxes above s_max, in log s."""
CONFIRMED = 2
"""Settled leaves of each task that are confirmed in ball arithmetic."""


def tail_end(inequality: Inequality) -> float:
    """log s_T: from there on the margin is positive in closed form.

    Raises:
        RefusedError: for the kind l1 if lambda <= C sqrt(c).
    """
    certificate = inequality.certificate
    slope, noise = Enclosure.of(certificate.tail_slope), Enclosure.of(certificate.noise_weight)
    if certificate.kind is Kind.L1 and not float((noise - slope * inequality.c.sqrt()).low) > 0:
        raise RefusedError("lambda is at most C sqrt(c): take a larger lambda")
    last = certificate.values[:, -1]
    p = (
        inequality.reach
        + float(last.max())
        - float(last.min())
        + certificate.gain
        + 4 * inequality.potential.error
    )
    log_s = float(certificate.log_s_grid[-1] - np.log(certificate.beta2)) + 1e-9
    while True:
        s = Enclosure.of(log_s).exp()
        later = (inequality.b2 * s + inequality.c).sqrt()
        enough = float((slope * (s.sqrt() - later)).low) >= p * (1 + 1e-12)
        if certificate.kind is Kind.VARIANCE:
            enough &= float((slope * inequality.c / later * Enclosure.of(0.5)).high) <= certificate.noise_weight
        if enough:
            return log_s
        log_s += TAIL_ROW
        if log_s > 100:
            raise RefusedError("the potential's tail is too flat: s_T is beyond exp(100)")


def cover(inequality: Inequality) -> Boxes:
    """Boxes that cover all states below s_T."""
    certificate = inequality.certificate
    z, inner = certificate.z_grid.copy(), certificate.log_s_grid
    z[0], z[-1] = min(z[0], -inequality.reach), max(z[-1], inequality.reach)
    rows = int(np.ceil((tail_end(inequality) - inner[-1]) / TAIL_ROW)) + 1
    t = np.concatenate([[-np.inf], inner, inner[-1] + TAIL_ROW * np.arange(1, rows + 1)])
    z1, t1 = (part.ravel() for part in np.meshgrid(z[:-1], t[:-1]))
    z2, t2 = (part.ravel() for part in np.meshgrid(z[1:], t[1:]))
    return Boxes(z1, z2, t1, t2)


@dataclass(frozen=True)
class _Task:
    path: Path
    noise_weight: float
    gain: float
    number: int


@dataclass(frozen=True)
class Done:
    """One finished task."""

    number: int
    boxes: int
    pairs: int
    leaves: int
    cpu_seconds: float


@lru_cache(maxsize=1)
def _prepared(path: Path, noise_weight: float, gain: float) -> tuple[Inequality, Boxes]:
    certificate = replace(load_certificate(path, recorded=False), noise_weight=noise_weight, gain=gain)
    inequality = Inequality(certificate)
    return inequality, cover(inequality)


def _run(task: _Task) -> Done:
    inequality, boxes = _prepared(task.path, task.noise_weight, task.gain)
    return verify_boxes(inequality, boxes.take(slice(task.number * TASK, (task.number + 1) * TASK)), task.number)


def verify_boxes(inequality: Inequality, boxes: Boxes, number: int = 0) -> Done:
    """Settle boxes, and confirm some of their leaves.

    Raises:
        RefusedError: with the state and the law of a violation, or the box that could not be settled.
    """
    start = time.process_time()
    outcome = settle(inequality, boxes, keep=CONFIRMED, seed=number)
    for leaf in outcome.leaves:
        if not confirmed(inequality.certificate, leaf):
            raise RefusedError(f"ball arithmetic does not confirm {leaf}")
    return Done(number, outcome.boxes, outcome.pairs, len(outcome.leaves), time.process_time() - start)


def verify(certificate: Certificate) -> Done:
    """Settle all states of a certificate, in this process.

    Raises:
        RefusedError: see :func:`verify_boxes`.
    """
    inequality = Inequality(certificate)
    return verify_boxes(inequality, cover(inequality))


def verify_file(
    path: Path,
    noise_weight: float | None = None,
    gain: float | None = None,
    processes: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
    pool: Pool = ProcessPoolExecutor,
) -> Verification:
    """Verify a certificate's file with its own numbers or others, and write the record next to it.

    Args:
        path: an ``.npz`` file.
        noise_weight: lambda, at least the file's.
        gain: J, at most the file's.
        processes: how many to use.
        progress: called with the number of finished tasks and of all.
        pool: of workers, from their number.

    Raises:
        RefusedError: see :func:`verify_boxes`; no record is left then.
    """
    certificate = load_certificate(path, recorded=False)
    noise_weight = certificate.noise_weight if noise_weight is None else noise_weight
    gain = certificate.gain if gain is None else gain
    record_path(path).unlink(missing_ok=True)
    sha256 = file_hash(path)
    header = {"sha256": sha256, "noise_weight": noise_weight, "gain": gain, "task": TASK}
    _, boxes = _prepared(path, noise_weight, gain)
    total = -(-len(boxes.z1) // TASK)
    partial = path.with_suffix(".partial.jsonl")
    done = _resumed(partial, header)
    tasks = [_Task(path, noise_weight, gain, k) for k in range(total) if k not in done]
    with partial.open("w", encoding="utf-8") as file, _removed_if_refused(partial):
        for entry in (header, *map(vars, done.values())):
            file.write(json.dumps(entry) + "\n")
        for result in _results(tasks, processes, pool):
            done[result.number] = result
            file.write(json.dumps(vars(result)) + "\n")
            file.flush()
            progress(len(done), total)
    verified = replace(certificate, noise_weight=noise_weight, gain=gain)
    parts = done.values()
    record = Verification(
        sha256=sha256,
        noise_weight=noise_weight,
        gain=gain,
        largest_eta=verified.largest_eta,
        boxes=sum(part.boxes for part in parts),
        pairs=sum(part.pairs for part in parts),
        leaves=sum(part.leaves for part in parts),
        cpu_seconds=round(sum(part.cpu_seconds for part in parts), 1),
    )
    temporary = record_path(path).with_suffix(".json.tmp")
    temporary.write_text(record.text(), encoding="utf-8")
    temporary.replace(record_path(path))
    partial.unlink()
    return record


@contextmanager
def _removed_if_refused(partial: Path) -> Iterator[None]:
    try:
        yield
    except RefusedError:
        partial.unlink()
        raise


def _resumed(partial: Path, header: dict[str, Any]) -> dict[int, Done]:
    """The tasks that an interrupted run of the same verification has finished."""
    lines = partial.read_text(encoding="utf-8").splitlines() if partial.is_file() else []
    if not lines or json.loads(lines[0]) != header:
        return {}
    finished = []
    for line in lines[1:]:
        try:
            finished.append(Done(**json.loads(line)))
        except json.JSONDecodeError:  # the line that was being written
            break
    return {part.number: part for part in finished}


def _results(tasks: Sequence[_Task], processes: int, pool: Pool) -> Iterator[Done]:
    if processes <= 1:
        yield from map(_run, tasks)
        return
    with pool(processes) as workers:
        yield from workers.map(_run, tasks)
