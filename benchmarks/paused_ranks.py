"""Stop processes of a run for longer than its timeout, let them continue, and compare with an undisturbed run.

    python benchmarks/paused_ranks.py [--pauses 20] [--seed 0] [--output FILE]

SIGSTOP reaches one rank, all ranks, or all processes of a run of two ranks, at a random moment of training;
SIGCONT follows after more than ``--timeout``: of one rank before its peer, which waits for it, would give up. The
watchdog must leave all of them alone: the run ends with exit code 0 and the records of one that was never stopped,
whose ranks are forked from this process.
CI takes two pauses of this.
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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import faults
import stops
from rich.console import Console
from rich.table import Table

from adabatch.settings import Settings

KINDS = {"one rank": (1.02, 1.2), "all processes": (1.1, 2.0), "all ranks": (1.1, 2.0)}
"""Who is stopped, and for how long at least and at most, in timeouts. A rank that waits ends after 1.5."""


@dataclass(frozen=True)
class Pause:
    """One stop, and what came of it."""

    kind: str
    seconds: float
    fault: str


def start(settings: Settings, log: Path, timeout: float) -> subprocess.Popen[bytes]:
    """The command, with two ranks, in a session of its own."""
    with log.open("wb") as file:
        command = [sys.executable, "-m", "adabatch", *stops.words(settings), "--timeout", str(timeout)]
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)


def pause(kind: str, settings: Settings, log: Path, timeout: float, chance: random.Random) -> Pause:
    """Train to the end with one pause."""
    process, seconds = start(settings, log, timeout), timeout * chance.uniform(*KINDS[kind])
    moment = chance.randint(1, 20)
    stops.wait_until(lambda: process.poll() is not None or len(faults.metrics(settings)) >= moment, stops.PATIENCE)
    ranks = stops.ranks_of(process.pid)
    if process.poll() is not None or len(ranks) != 2:
        return Pause(kind, 0.0, f"ended before: exit code {process.poll()}: {log.read_text()[-1000:]}")
    chosen = {"one rank": [chance.choice(ranks)], "all ranks": ranks, "all processes": [*ranks, process.pid]}[kind]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for each in chosen:
            os.kill(each, number)
        if number == signal.SIGSTOP:
            time.sleep(seconds)
    code = process.wait(stops.PATIENCE)
    return Pause(kind, seconds, f"exit code {code}: {log.read_text()[-1000:]}" if code else "")


def pauses(count: int, timeout: float, samples: int, seed: int, folder: Path) -> Iterator[Pause]:
    """This many runs, each with a pause."""
    log, chance = folder / "log.txt", random.Random(seed)
    reference = stops.settings_for(2, folder, "reference", samples)
    stops.run_to_end(reference, log)
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        settings = stops.settings_for(2, folder, f"run {number}", samples)
        one = pause(kind, settings, log, timeout, chance)
        different = "" if one.fault else "; ".join(faults.differences(settings, reference))
        yield Pause(one.kind, one.seconds, one.fault or different)


def table(done: list[Pause], timeout: float, seed: int) -> Table:
    """By kind: how many, how long, and what went wrong."""
    made = Table(
        title=f"python benchmarks/paused_ranks.py --seed {seed}: --timeout {timeout:g}, 2 ranks under FSDP2"
    )
    for name in ("stopped", "times", "seconds, from", "to", "not as undisturbed"):
        made.add_column(name, justify="left" if name == "stopped" else "right")
    times = Counter(one.kind for one in done)
    for kind in times:
        seconds = [one.seconds for one in done if one.kind == kind]
        wrong = [one.fault for one in done if one.kind == kind and one.fault]
        cells = (str(times[kind]), f"{min(seconds):.1f}", f"{max(seconds):.1f}", "; ".join(wrong) or "0")
        made.add_row(kind, *cells)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pauses", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=10.0, help="of the runs, in seconds")
    parser.add_argument("--samples", type=int, default=stops.SAMPLES, help="of a run, at least 200")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the table here too")
    options, done = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as scratch:
        faults.write_inputs(Path(scratch))
        for one in pauses(options.pauses, options.timeout, options.samples, options.seed, Path(scratch)):
            done.append(one)
            print(f"{one.kind} for {one.seconds:.1f} s {one.fault}", file=sys.stderr, flush=True)
            if options.output:  # after each: a benchmark that is ended has a table of what was done
                with options.output.open("w") as file:
                    Console(file=file, width=120).print(table(done, options.timeout, options.seed))
    Console(width=120).print(table(done, options.timeout, options.seed))
    raise SystemExit(any(one.fault for one in done))


if __name__ == "__main__":
    main()
