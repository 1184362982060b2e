"""What a BPE on text without spaces costs, by its size: DNA, and JSON on one line. And how soon Ctrl-C ends it.

    python benchmarks/bpe_size.py [--megabytes 16 64 256] [--output benchmarks/bpe_size.txt]

Each row is one `adabatch prepare --tokenizer bpe` of a file of random text. Times of the processor count all
processes and do not depend much on what else the machine does; the memory is that of the largest process. Then the
largest file is prepared again and interrupted, as a terminal does it, while the tokenizer is trained and while the
text is tokenized.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

SEED = 15
MEGABYTE = 2**20
AFTER = 3.0  # seconds of a phase before it is interrupted
SETTLE = 2.0  # seconds in which the processes below a command end after it


def dna(random: np.random.Generator) -> Iterator[bytes]:
    """Random bases, about a megabyte at a time."""
    while True:
        yield np.frombuffer(b"ACGT", np.uint8)[random.integers(4, size=MEGABYTE)].tobytes()


def one_line_json(random: np.random.Generator) -> Iterator[bytes]:
    """Records with random numbers and names, about a megabyte at a time, all on one line."""
    letters = np.frombuffer(b"etaoinshrdlucmfw", np.uint8)
    yield b"["
    while True:
        numbers = random.integers(2**53, size=(12_000, 2)).tolist()
        names = letters[random.integers(16, size=(12_000, 10))]
        records = [
            {"id": number, "name": name.tobytes().decode(), "hash": f"{other:x}"}
            for (number, other), name in zip(numbers, names, strict=True)
        ]
        yield json.dumps(records, separators=(",", ":"))[1:-1].encode() + b","


KINDS: dict[str, Callable[[np.random.Generator], Iterator[bytes]]] = {"DNA": dna, "one-line JSON": one_line_json}


def write(path: Path, kind: str, megabytes: int) -> None:
    """A file of this many megabytes."""
    left = megabytes * MEGABYTE
    with path.open("wb") as file:
        for piece in KINDS[kind](np.random.default_rng(SEED)):
            left -= file.write(piece[:left])
            if not left:
                return


def command(data: Path, cache: Path) -> list[str]:
    """Prepare this file."""
    options = ["--data", str(data), "--tokenizer", "bpe", "--cache", str(cache)]
    return [sys.executable, "-m", "adabatch", "prepare", *options]


def measure(kind: str, megabytes: int) -> str:
    """A row of the table, measured in a process that starts nothing else: its children are the command's."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "text.txt"
        write(data, kind, megabytes)
        start = time.monotonic()
        subprocess.run(command(data, Path(folder) / "cache"), check=True, capture_output=True)
        seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return (
        f"{kind:14}{megabytes:6}{seconds:10.0f}{seconds / megabytes:10.2f}{processor:10.0f}"
        f"{processor / megabytes:10.2f}{memory:10.0f}"
    )


def interrupt(kind: str, megabytes: int, phase: str) -> str:
    """How long the command takes to end after an interrupt in a phase of its work, and what it says."""
    with tempfile.TemporaryDirectory() as folder:
        data, cache = Path(folder) / "text.txt", Path(folder) / "cache"
        write(data, kind, megabytes)
        process = subprocess.Popen(
            command(data, cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        begun = {
            "training": lambda: any("bpe_training" in line for line in _command_lines()),
            "tokenizing": lambda: any(cache.glob("corpora/unfinished-*/*.tmp")),
        }[phase]
        while not begun():
            if process.poll() is not None:
                return f"{kind:14}{phase}: it ended by itself"
            time.sleep(0.05)
        time.sleep(AFTER)
        descendants = psutil.Process().children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        start = time.monotonic()
        said, _ = process.communicate()
        seconds = time.monotonic() - start
        left = _left(descendants)
        last = (said.strip().splitlines() or ["nothing"])[-1]
        traceback = "a traceback" if "Traceback" in said else "no traceback"
    return (
        f"{kind:14}{phase:12} ended after {seconds:4.1f} s, exit code {process.returncode}, {left} processes "
        f"left, {traceback}: {last}"
    )


def _command_lines() -> list[str]:
    """Of the processes that descend from this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


def _left(processes: list[psutil.Process]) -> int:
    """How many of them are there some seconds later, and not only their exit codes."""
    alive = psutil.wait_procs(processes, timeout=SETTLE)[1]
    return sum(process.status() != psutil.STATUS_ZOMBIE for process in alive)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(measure(options.row[0], int(options.row[1])))
        return
    lines = [f"$ python {shlex.join(sys.argv)}", ""]
    lines += [f"{'text':14}{'MB':>6}{'s':>10}{'s/MB':>10}{'CPU s':>10}{'CPU s/MB':>10}{'peak MB':>10}"]
    print("\n".join(lines), flush=True)

    def add(line: str) -> None:
        lines.append(line)
        print(line, flush=True)
        if options.output:
            options.output.write_text("\n".join(lines) + "\n")

    for megabytes in options.megabytes:
        for kind in KINDS:
            row = [sys.executable, __file__, "--row", kind, str(megabytes)]
            add(subprocess.run(row, check=True, capture_output=True, text=True).stdout.rstrip())
    add("")
    for kind in KINDS:
        for phase in ("training", "tokenizing"):
            add(interrupt(kind, max(options.megabytes), phase))


if __name__ == "__main__":
    main()
