"""What preparing and streaming a corpus cost: counted per rank, and timed.

    python benchmarks/data_loading.py [--megabytes 64] [--output FILE]

The corpus is source text of the standard library as 64 gzipped JSON-lines files, as large web corpora are stored,
read through the streaming loader of `datasets`. Counts (bytes tokenized by each rank, bytes tokenized before the
first sample after resuming) do not depend on what else the machine does; times do.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adabatch.data.corpus import open_corpus
from adabatch.data.local_files import stdlib_files
from adabatch.data.streaming import StreamedSamples
from adabatch.data.tokenizer import ByteTokenizer
from adabatch.settings import DataSettings

FILES, LENGTH = 64, 256


def write_corpus(folder: Path, size: int) -> int:
    """64 files of about `size` bytes of text in all, cut from the standard library again and again."""
    texts = [file.path.read_text(errors="replace") for file in stdlib_files()]
    pieces = [text[i : i + 2000] for text in texts for i in range(0, len(text), 2000)]
    (folder / "en").mkdir(parents=True)
    written = 0
    for number in range(FILES):
        with gzip.open(folder / "en" / f"train.{number:05}.json.gz", "wt", compresslevel=1) as file:
            here = 0
            for index in range(number * 7919, 10**9):
                if here >= size / FILES:
                    break
                text = pieces[index % len(pieces)]
                file.write(json.dumps({"text": text, "number": index}) + "\n")
                here += len(text.encode())
            written += here
    card = "configs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/train.*\n"
    (folder / "README.md").write_text(f"---\n{card}---\n")
    return written


class Counting(ByteTokenizer):
    """Counts the bytes that it tokenizes."""

    bytes = 0

    def encode(self, texts: Sequence[bytes]) -> list[Any]:
        """The bytes, counted."""
        self.bytes += sum(map(len, texts))
        return super().encode(texts)


def open_stream(settings: DataSettings) -> tuple[StreamedSamples, Counting]:
    """The stream with a tokenizer that counts."""
    train, counting = open_corpus(settings).train, Counting()
    assert isinstance(train, StreamedSamples)
    return StreamedSamples(replace(train._stream, tokenizer=counting)), counting


def shares(settings: DataSettings, samples: int) -> Iterator[str]:
    """What each of J ranks tokenizes for the same samples."""
    yield f"\ntokenized by each rank for {samples} samples of {LENGTH} bytes (32 shards, buffer 4096):"
    for ranks in (1, 2, 4, 3):
        sizes, states = [], []
        for rank in range(ranks):
            stream, counting = open_stream(settings)
            for start in range(0, samples, 16 * ranks):
                stream.take(range(start + rank, min(start + 16 * ranks, samples), ranks))
            sizes.append(counting.bytes / 1e6)
            states.append(stream.state_dict())
        resumed, counting = open_stream(settings)
        resumed.load_state_dict(states, samples)
        resumed.take(range(samples, samples + 32))
        listed = ", ".join(f"{size:.1f}" for size in sizes)
        yield (
            f"  {ranks} ranks: {listed} MB; resuming on 1 rank tokenizes {counting.bytes / 1e6:.1f} MB before "
            f"all its shards have given a sample; state {len(json.dumps(states)) / ranks / 1e3:.0f} kB per rank"
        )


def preparing(settings: DataSettings, size: int) -> Iterator[str]:
    """What `adabatch prepare` costs, by tokenizer and number of processes."""
    yield f"\npreparing {size / 1e6:.0f} MB, the command as a whole:"
    for tokenizer in ("bytes", "bpe"):
        for processes in (1, 2):
            with tempfile.TemporaryDirectory() as cache:
                options = ["--data", str(settings.data), "--data-config", "en", "--cache", cache]
                options += ["--tokenizer", tokenizer, "--processes", str(processes)]
                if tokenizer == "bpe":
                    _, used, _ = prepared([*options, "--streaming"])
                    yield f"  bpe: training the tokenizer takes {used:.1f} CPU seconds"
                seconds, used, tokens = prepared(options)
                yield (
                    f"  {tokenizer}, {processes} processes: {seconds:.1f} s, CPU {used:.1f} s, "
                    f"{tokens / used / 1e6:.2f} M tokens a CPU second"
                )


def prepared(options: list[str]) -> tuple[float, float, int]:
    """Seconds, CPU seconds and tokens of the command with these options."""
    began, used = time.perf_counter(), cpu_seconds()
    command = [sys.executable, "-m", "adabatch", "prepare", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    tokens = int(done.stdout.split()[0].replace(",", ""))
    return time.perf_counter() - began, cpu_seconds() - used, tokens


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_memory() -> str:
    """Of this process so far."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=64)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [f"# python benchmarks/data_loading.py --megabytes {arguments.megabytes:g}"]
    with tempfile.TemporaryDirectory() as folder:
        size = write_corpus(Path(folder) / "corpus", int(arguments.megabytes * 1e6))
        settings = DataSettings(
            data=str(Path(folder) / "corpus"),
            data_config="en",
            streaming=True,
            sequence_length=LENGTH,
            cache=str(Path(folder) / "cache"),
        )
        lines.append(f"# {FILES} gzipped JSON-lines files, {size / 1e6:.0f} MB of text")
        before = peak_memory()
        for line in shares(settings, int(size / LENGTH / 4)):
            print(line, flush=True)
            lines.append(line)
        lines.append(f"  peak memory of a process: {before} before, {peak_memory()} with all 32 shards open")
        for line in preparing(settings, size):
            print(line, flush=True)
            lines.append(line)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
