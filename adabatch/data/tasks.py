"""The work of preparing a corpus, cut into tasks that several processes share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from adabatch.cores import visible_cores
from adabatch.data.documents import CONTEXT, PIECE, Document, Part, Source, batches, cut_document
from adabatch.data.tokenizer import Tokenizer, token_type
from adabatch.distributed.workers import worker_pool
from adabatch.files import new_file, write_json

__all__ = [
    "Progress",
    "Task",
    "TokenCount",
    "cut_tasks",
    "encode_documents",
    "run_tasks",
    "write_tokens",
]

Progress = Callable[[int, int, int], None]
"""Is called with (tasks done, tasks in all, tokens so far)."""

TASK_BYTES = 16 * 2**20  # with another number, FORMAT must change: work is resumed by the tasks' names
DOCUMENTS_AT_ONCE = 256
BYTES_AT_ONCE = 4 * 2**20  # some seconds of work, in which no interrupt is heard


@dataclass(frozen=True)
class TokenCount:
    """What is known about some tokens."""

    tokens: int = 0
    bytes: int = 0
    """Bytes of the text that they stand for."""
    missing: int = 0
    """Nulls in place of texts."""
    sha256: str = ""


@dataclass(frozen=True)
class Task:
    """Some neighbouring parts of one source."""

    name: str
    """Different for each task of a corpus, and the same whenever the corpus is prepared."""
    parts: Sequence[Part]

    def path(self, folder: Path, ending: str) -> Path:
        """Where its ``tokens`` are written, and, once they are whole, their count and hash as ``json``."""
        return folder / f"{self.name}.{ending}"

    def count(self, folder: Path) -> TokenCount | None:
        """What it wrote, perhaps in a process that was interrupted later; None if it is not done."""
        try:
            return TokenCount(**json.loads(self.path(folder, "json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):  # not there, or damaged
            return None


Work = Callable[[Task], TokenCount]


def cut_tasks(sources: Sequence[Source], validation: bool) -> list[Task]:
    """The work in order, a task about 16 MB of text (one part, where the size is unknown or greater)."""
    groups: list[list[Part]] = []
    for source in sources:
        size = TASK_BYTES
        for part in source.parts(validation):
            if size >= TASK_BYTES:
                groups.append([])
                size = 0
            groups[-1].append(part)
            size += part.size or TASK_BYTES
    name = "validation" if validation else "train"
    return [Task(f"{name}-{number:06}", tuple(parts)) for number, parts in enumerate(groups)]


def encode_documents(documents: Sequence[Document], tokenizer: Tokenizer) -> npt.NDArray[Any]:
    """The tokens of some documents, with the end-of-document token after each; of missing ones none."""
    end = np.array([tokenizer.end_of_document], np.min_scalar_type(tokenizer.size))
    present = [document for document in documents if not document.missing]
    short = [document.text for document in present if not _in_pieces(document)]
    whole = iter(tokenizer.encode(short)) if short else iter(())
    blocks = [end[:0]]
    for document in present:
        if _in_pieces(document):
            blocks += [tokenizer.encode_piece(piece) for piece in cut_document(document, PIECE, CONTEXT)]
        else:
            blocks.append(next(whole))
        blocks += [end] * document.ends
    return np.concatenate(blocks)


def _in_pieces(document: Document) -> bool:
    return bool(document.before or document.after or len(document.text) > 2 * PIECE)


def write_tokens(
    file: BinaryIO, parts: Iterable[Part], tokenizer: Tokenizer, limit: int | None = None
) -> TokenCount:
    """Write the tokens of all documents, the first `limit` if there are more.

    The bytes of the documents around the limit are counted in proportion to their tokens that are kept.
    """
    tokens, size, missing, digest = 0, 0, 0, hashlib.sha256()
    documents = chain.from_iterable(part.read() for part in parts)
    for batch, _ in batches(documents, DOCUMENTS_AT_ONCE, BYTES_AT_ONCE):
        block = encode_documents(batch, tokenizer)
        kept = block if limit is None else block[: limit - tokens]
        data = kept.astype(token_type(tokenizer.size)).tobytes()
        file.write(data)
        digest.update(data)
        tokens += len(kept)
        missing += sum(document.missing for document in batch)
        size += sum(len(document.text) for document in batch) * len(kept) // max(len(block), 1)
        if tokens == limit:
            break
    return TokenCount(tokens, size, missing, digest.hexdigest())


def run_tasks(
    tasks: Sequence[Task],
    folder: Path,
    tokenizer: Tokenizer,
    processes: int,
    progress: Progress | None = None,
) -> None:
    """Do the tasks that are not done yet, in this many processes (0: one per core).

    Raises:
        ValueError: a document cannot be read.
    """
    before = [task.count(folder) for task in tasks]
    left = [task for task, count in zip(tasks, before, strict=True) if count is None]
    tokens = sum(count.tokens for count in before if count is not None)
    done = len(tasks) - len(left)
    processes = min(processes or visible_cores(), len(left))
    work = partial(_write_task, folder, tokenizer)
    results = map(work, left) if processes <= 1 else _in_processes(work, left, processes)
    for count in results:
        done, tokens = done + 1, tokens + count.tokens
        if progress is not None:
            progress(done, len(tasks), tokens)


def _write_task(folder: Path, tokenizer: Tokenizer, task: Task) -> TokenCount:
    """Write the tokens of a task, and then that it is done."""
    with new_file(task.path(folder, "tokens")) as file:
        count = write_tokens(file, task.parts, tokenizer)
    write_json(task.path(folder, "json"), asdict(count))
    return count


_work: Work
"""What this process does with a task, if it is one that :func:`_in_processes` started."""


def _in_processes(work: Work, tasks: Sequence[Task], processes: int) -> Iterator[TokenCount]:
    """The counts of the tasks as they are done."""
    with worker_pool(processes, _start_worker, work) as pool:
        for future in as_completed([pool.submit(_do, task) for task in tasks]):
            yield future.result()


def _start_worker(work: Work) -> None:
    """Turn this process into a worker."""
    global _work
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes share the cores already
    _work = work


def _do(task: Task) -> TokenCount:
    return _work(task)
