"""Interrupt commands at random moments, as Ctrl-C in a terminal does, and see how they end.

    python benchmarks/interrupts.py [--times 40] [--seed 0] [--output FILE]

Each command is first run to the moment at which it has something to show. Then it is started again and again, and
all of its processes receive SIGINT somewhere between its start and a little after that moment: most of it is spent
on imports. A command ends well with exit code 130 (or of SIGINT itself, before Python listens), without a
traceback and without a process left. Exit code 1 if one does not end.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0
"""Seconds after which a command counts as one that did not hear the interrupt."""
BEYOND = 1.3
"""The last moment of an interrupt, in times of that at which the command has something to show."""
NOISE = ("Traceback", "Exception ignored", "terminate called", "lost sys.stderr")


@dataclass(frozen=True)
class Command:
    """Words, in which FOLDER stands for an empty folder, and the pattern of a file that shows it at work."""

    words: str
    sign: str


COMMANDS = {
    "train, 1 process": Command(
        "train --preset demo --samples 1000000 --parallel single --output FOLDER/run", "run/metrics.jsonl"
    ),
    "train, 2 ranks": Command(
        "train --preset demo --samples 1000000 --parallel fsdp --ranks 2 --output FOLDER/run", "run/metrics.jsonl"
    ),
    "prepare, 2 processes": Command("prepare --cache FOLDER/cache --processes 2", "cache/corpora/*/corpus.json"),
    "compare": Command("compare --quick --output FOLDER/out", "out/runs/*/*/*/metrics.jsonl"),
    "verify-bounds": Command("verify-bounds --quick --output FOLDER/out", "out/report.json"),
}


@dataclass
class Outcome:
    """How often one command was interrupted, and how it ended."""

    times: int = 0
    over: int = 0
    loud: list[str] = field(default_factory=list)
    deaf: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@contextmanager
def started(command: Command, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process group of its own, killed at the end if it is still there."""
    words = [word.replace("FOLDER", str(folder)) for word in command.words.split()]
    with said(folder).open("wb") as error:
        process = subprocess.Popen(
            [sys.executable, "-m", "adabatch", *words],
            cwd=folder,
            env=os.environ | {"ADABATCH_CACHE": str(folder.parent / "cache")},
            stdout=subprocess.DEVNULL,
            stderr=error,
            start_new_session=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored in the background
        )
    try:
        yield process
    finally:
        send(process, signal.SIGKILL)
        process.wait()


def said(folder: Path) -> Path:
    """What the command wrote to the error stream."""
    return folder / "stderr.txt"


def send(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to all processes of the group (0: none); whether there is a process."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within this many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def seconds_to_sign(command: Command, folder: Path) -> float:
    """How long the command takes until it has something to show."""
    began = time.monotonic()
    with started(command, folder) as process:
        if not wait_until(lambda: any(folder.glob(command.sign)) or process.poll() is not None, 300):
            raise RuntimeError(f"adabatch {command.words} showed nothing within 300 s")
        if process.poll():
            raise RuntimeError(f"adabatch {command.words} failed:\n{said(folder).read_text()}")
    return time.monotonic() - began


def interrupt(command: Command, folder: Path, moment: float, outcome: Outcome) -> None:
    """Interrupt the command this many seconds after its start."""
    outcome.times += 1
    with started(command, folder) as process:
        time.sleep(moment)
        if process.poll() is not None or not send(process, signal.SIGINT):
            outcome.over += 1
            return
        began = time.monotonic()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            outcome.deaf.append(f"at {moment:.2f} s")
            return
        outcome.seconds.append(time.monotonic() - began)
        left = not wait_until(lambda: not send(process, 0), 30)
        error = said(folder).read_text(errors="replace")
        ended_well = process.returncode in (130, -signal.SIGINT)
        if left or not ended_well or any(noise in error for noise in NOISE):
            what = f"at {moment:.2f} s, exit code {process.returncode}{', a process left' if left else ''}"
            outcome.loud.append(f"{what}:\n{error[-1500:]}")


def table_of(outcomes: dict[str, Outcome]) -> Table:
    """A row for each command."""
    table = Table("command", "interrupts", "over before", "ended well", "loud", "deaf", "median s", "longest s")
    for name, o in outcomes.items():
        well = o.times - o.over - len(o.loud) - len(o.deaf)
        times = [f"{median(o.seconds):.1f}", f"{max(o.seconds):.1f}"] if o.seconds else ["", ""]
        table.add_row(name, *map(str, (o.times, o.over, well, len(o.loud), len(o.deaf))), *times)
    return table


def main() -> int:
    """Interrupt every command this many times and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=40, help="interrupts of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=COMMANDS, action="append", help="this command; may be repeated")
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    given = parser.parse_args()
    chance, outcomes = random.Random(given.seed), {}
    with tempfile.TemporaryDirectory() as name:
        for command in given.only or COMMANDS:
            outcome = outcomes[command] = Outcome()
            folders = (Path(tempfile.mkdtemp(dir=name)) for _ in range(given.times + 1))
            last = BEYOND * seconds_to_sign(COMMANDS[command], next(folders))
            for folder in folders:
                interrupt(COMMANDS[command], folder, chance.uniform(0.05, last), outcome)
            print(f"{command}: interrupted within {last:.1f} s of its start", file=sys.stderr)
            for what in outcome.loud + outcome.deaf:
                print(f"{command}, {what}", file=sys.stderr)
    with open(given.output or os.devnull, "w", encoding="utf-8") as file:
        for console in (Console(width=110), Console(width=110, file=file)):
            console.print(table_of(outcomes))
    return int(any(outcome.deaf for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
