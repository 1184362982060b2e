"""What tokenizing costs: training from JSON lines next to the cache, and MB/s next to `tokenizers` alone.

    python benchmarks/streaming_speed.py --output benchmarks/streaming_speed.txt
    python benchmarks/streaming_speed.py --sizes 134k --blocks 4 --megabytes 4       # does it run?

Two ranks under FSDP2 (gloo), a thread each, train one model on the same text with the same BPE tokenizer: a block
of steps from the cached tokens, a block from the stream, and so on in turns. CPU seconds are those of a rank with
all of its threads; the ratios are of the sums over all blocks, as a stream's buffers are filled in bursts.

Tokenizing in one process, by CPU seconds: the library's `encode_batch_fast` on texts in memory, and what `adabatch
prepare` does from the JSON lines to the tokens on disk; with two processes the CPU seconds of both.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from data_loading import cpu_seconds, prepared
from printing import print_and_write
from trainer_speed import LENGTH, MICRO_BATCHES, MODEL, SIZES

from adabatch.data.corpus import Corpus, open_corpus
from adabatch.data.documents import Document
from adabatch.data.local_files import stdlib_files
from adabatch.data.samples import SampleSource
from adabatch.data.tasks import encode_documents
from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import Settings, load_settings
from adabatch.training.loop import training_step
from adabatch.training.opening import open_run

RANKS = 2
BLOCK = 20
"""Steps of a block of the smallest model; larger ones take fewer."""


def write_lines(path: Path, size: int) -> list[str]:
    """JSON lines with about this many bytes of text, in pieces of up to 4,000 characters; the texts."""
    texts, written = [], 0
    with path.open("w") as file:
        for source in stdlib_files():
            whole = source.path.read_text(errors="replace")
            for start in range(0, len(whole), 4000):
                texts.append(whole[start : start + 4000])
                file.write(json.dumps({"text": texts[-1]}) + "\n")
                written += len(texts[-1].encode())
            if written > size:
                break
    return texts


def settings_of(folder: Path, size: str, streaming: bool) -> Settings:
    """Of a run on two ranks; the batch stays."""
    architecture, micro_batch = SIZES[size]
    model = folder / f"{size}.json"
    model.write_text(json.dumps(architecture | MODEL | {"vocab_size": 4096, "model_type": "llama"}))
    batch = RANKS * MICRO_BATCHES * micro_batch
    values = {
        "model": str(model),
        "data": str(folder / "lines.jsonl"),
        "tokenizer": "bpe",
        "cache": str(folder / "cache"),
        "streaming": streaming,
        "sequence_length": LENGTH,
        "schedule": "constant",
        "initial_batch": batch,
        "max_batch": batch,
        "micro_batch": micro_batch,
        "max_micro_batch": micro_batch,
        "ranks": RANKS,
        "parallel": "fsdp",
        "samples": 10**9,
        "warmup_samples": 0,
        "output": str(folder / "run"),
    }
    return load_settings("demo", overrides=values)


class InTurns(SampleSource):
    """A rank's own samples one after another, however many steps another source has taken in between."""

    length = None

    def __init__(self, source: SampleSource, rank: int) -> None:
        self.source, self.next = source, rank

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """As many of the next samples."""
        first, self.next = self.next, self.next + RANKS * len(positions)
        return self.source.take(range(first, self.next, RANKS))

    def describe(self) -> dict[str, Any]:
        """That of the source."""
        return self.source.describe()


def on_rank(rank: int, folder: str, size: str, blocks: int, block: int) -> None:
    """Train in turns; the main rank leaves the seconds."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(f"{folder}/store-{size}", RANKS), rank=rank, world_size=RANKS
    )
    cached = settings_of(Path(folder), size, streaming=False)
    run = open_run(cached, DistributedContext(rank, RANKS))
    streamed = open_corpus(settings_of(Path(folder), size, streaming=True).data)
    corpora: dict[str, Corpus] = {
        name: replace(corpus, train=InTurns(corpus.train, rank))
        for name, corpus in (("cached", run.corpus), ("streamed", streamed))
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in corpora}
    for number in range(blocks + 1):
        for name in sorted(corpora, reverse=bool(number % 2)):
            run.corpus = corpora[name]
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(block):
                training_step(run)
            seconds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    if rank == 0:
        Path(folder, "seconds.json").write_text(json.dumps({name: each[1:] for name, each in seconds.items()}))
    dist.barrier()
    dist.destroy_process_group()


def training(folder: Path, sizes: Sequence[str], blocks: int) -> Iterator[str]:
    """The rows of steps."""
    yield "size   CPU ms per step, cached   streamed   ratio   wall: cached   streamed   ratio"
    for size in sizes:
        block = max(2, BLOCK * 134 // int(size.replace("k", "").replace("m", "000")))
        multiprocessing.start_processes(on_rank, (str(folder), size, blocks, block), RANKS, start_method="spawn")
        seconds = json.loads((folder / "seconds.json").read_text())
        (cpu, wall), (own_cpu, own_wall) = (
            [1000 * sum(column) / (blocks * block) for column in zip(*seconds[name], strict=True)]
            for name in ("cached", "streamed")
        )
        yield (
            f"{size:6} {cpu:23.1f} {own_cpu:10.1f} {own_cpu / cpu:7.3f} {wall:14.1f} {own_wall:10.1f} "
            f"{own_wall / wall:7.3f}"
        )


def tokenizing(folder: Path, texts: Sequence[str], rounds: int) -> Iterator[str]:
    """The rows of MB/s."""
    tokenizer = open_corpus(settings_of(folder, "134k", streaming=True).data).tokenizer
    backend, size = tokenizer._backend, sum(len(text.encode()) for text in texts) / 1e6  # type: ignore[attr-defined]
    batches = [texts[start : start + 256] for start in range(0, len(texts), 256)]

    def library() -> None:
        for batch in batches:
            backend.encode_batch_fast(batch, add_special_tokens=False)

    def in_memory() -> None:
        for batch in batches:
            encode_documents([Document(text.encode()) for text in batch], tokenizer)

    used: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, work in (("tokenizers alone", library), ("and its tokens as an array", in_memory)):
            start = time.process_time()
            work()
            used.setdefault(name, []).append(time.process_time() - start)
        for processes in (1, 2):
            with tempfile.TemporaryDirectory() as cache:
                file = Path(cache, "tokenizer.json")
                file.write_text(str(tokenizer.definition()))
                options = ["--data", str(folder / "lines.jsonl"), "--cache", cache, "--tokenizer", str(file)]
                start = cpu_seconds()
                prepared([*options, "--streaming"])
                opening = cpu_seconds() - start
                start = cpu_seconds()
                prepared([*options, "--processes", str(processes)])
                name = f"adabatch prepare, {processes} processes"
                used.setdefault(name, []).append(cpu_seconds() - start - opening)
    yield "tokenizing                          MB per CPU second"
    for name, seconds in used.items():
        yield f"{name:35} {size / median(seconds):17.2f}"


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["134k", "20m"], choices=SIZES)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(words)
    lines = [f"# python benchmarks/streaming_speed.py {' '.join(words if words is not None else sys.argv[1:])}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = write_lines(folder / "lines.jsonl", int(1e6 * options.megabytes))
        measured = training(folder, options.sizes, options.blocks), tokenizing(folder, texts, options.rounds)
        print_and_write(chain(lines, *measured), options.output)


if __name__ == "__main__":
    main()
