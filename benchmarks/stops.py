"""End runs by random signals, resume them until they are done, and compare with undisturbed ones.

    python benchmarks/stops.py [--signals 200] [--seed 0] [--folder FOLDER] [--output FILE]

INT, TERM, HUP, USR1 and KILL reach runs of one and of two ranks at random moments, while they start, train or
save: the process that was started, one rank, or all processes. After the first four, every finished step must be
in a checkpoint; after KILL, at most a checkpoint interval may be lost. Every run is then resumed to its end, and
its records and its last checkpoint must be those of a run that nothing happened to, bit for bit. In every fifth
run the command is started as a user does; in the others it is forked from this process, which has loaded
everything, and two ranks are its own. With ``--folder``, a benchmark that was ended is continued. CI takes a few
signals of this.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import faults
import psutil
import torch
from rich.console import Console
from rich.table import Table

import adabatch.commands
import adabatch.training.launch
from adabatch.settings import Settings, load_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL)
MOMENTS = ("start", "training", "training", "saving")
SIGNALS_A_RUN = 5
REAL_EVERY = 5
SAMPLES = 2 * faults.BUDGET
"""Of a run, so that most of its signals find it at work."""
REAL_START = 8.0
"""Seconds that a command takes to its first step, roughly: it imports torch."""
PATIENCE = 240.0
LARGEST_LOSS = faults.CHECKPOINT_INTERVAL + 16
"""Samples that a KILL may cost: a checkpoint interval and the batch that crossed it."""


@dataclass
class Ending:
    """One signal and what came of it."""

    ranks: int
    real: bool
    signal: str
    moment: str
    target: str
    code: int = 0
    lost: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Started:
    """A command that was started, or its two ranks, which are forked here."""

    def __init__(self, settings: Settings, log: Path, real: bool) -> None:
        self.real, self.ranks = real, settings.parallel.ranks
        self._command: subprocess.Popen[bytes] | None = None
        self._codes: dict[int, int] = {}
        if real:
            with log.open("ab") as file:
                self._command = subprocess.Popen(
                    [sys.executable, "-m", "adabatch", *words(settings)],
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                    preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored in the background
                )
            self.processes = [self._command.pid]
        else:
            launched = [own | {"TORCHELASTIC_RUN_ID": "none"} for own in faults.environments_of(2)]
            environments = launched if self.ranks > 1 else [{}]
            self.processes = [faults.fork(partial(_command, settings), log, own) for own in environments]

    def running(self) -> bool:
        """Whether nothing has ended yet."""
        return not self._look()

    def _look(self) -> dict[int, int]:
        if self._command is not None:
            code = self._command.poll()
            return {} if code is None else {self._command.pid: code}
        for process in self.processes:
            if process not in self._codes:
                found, status = os.waitpid(process, os.WNOHANG)
                if found:
                    self._codes[process] = os.waitstatus_to_exitcode(status)
        return self._codes

    def send(self, number: int, target: str, chance: random.Random) -> None:
        """Send a signal to the process that was started, to one rank, or to all."""
        if self._command is not None and target == "one rank" and self.ranks > 1:
            ranks = ranks_of(self._command.pid)
            victims = [chance.choice(ranks)] if len(ranks) == 2 else self.processes
        elif self._command is not None and target == "all":
            return os.killpg(self._command.pid, number)
        elif target == "one rank":
            victims = [chance.choice(self.processes)]
        else:
            victims = self.processes
        for process in victims:
            if process not in self._codes:
                os.kill(process, number)
        return None

    def wait(self, number: int = 0) -> list[int]:
        """The exit codes, when all have ended; as a launcher does, the end of one rank ends the others."""
        deadline, passed_on = time.monotonic() + PATIENCE, False
        while len(self._look()) < len(self.processes):
            if time.monotonic() > deadline:
                self._kill()
                return [-1]
            if self._codes and any(self._codes.values()) and not passed_on:
                passed_on = True
                left = [process for process in self.processes if process not in self._codes]
                stop = signal.SIGKILL if -signal.SIGKILL in self._codes.values() else number or signal.SIGTERM
                for process in left:
                    os.kill(process, stop)
            time.sleep(0.005)
        return list(self._look().values())

    def _kill(self) -> None:
        for process in self.processes:
            if process not in self._codes:
                os.kill(process, signal.SIGKILL)
        if self._command is not None:
            self._command.wait()

    def left(self) -> int:
        """Processes of the command that are there some seconds after it has ended."""
        if self._command is None:
            return 0
        processes = [process for process in psutil.process_iter() if _session(process) == self._command.pid]
        return len(psutil.wait_procs(processes, timeout=10)[1])


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else -1
    except (OSError, psutil.Error):
        return -1


def ranks_of(launcher: int) -> list[int]:
    """The processes of the ranks that a command has started, if it is there."""
    try:
        children = psutil.Process(launcher).children()
        return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def _command(settings: Settings) -> int:
    """What the command does, in this process; its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["adabatch", *words(settings)]
    try:
        adabatch.commands.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def words(settings: Settings) -> list[str]:
    """The command line of a run: its settings are those of a file."""
    return ["train", "--config", f"{settings.run.output}.toml", "--resume", "auto"]


def settings_for(ranks: int, folder: Path, output: str, samples: int = SAMPLES) -> Settings:
    """As in benchmarks/faults.py, of one rank or two; the file that the command reads is written too."""
    mode = {"parallel": "fsdp", "ranks": 2} if ranks == 2 else {"parallel": "single"}
    overrides = faults.overrides(folder, output) | mode | {"figures": False, "samples": samples}
    (folder / f"{output}.toml").write_text(_toml(overrides))
    return load_settings(overrides=overrides)


def _toml(overrides: dict[str, Any]) -> str:
    from adabatch.settings import options

    lines: dict[str, list[str]] = {}
    sections = {item.name: section for section, item, _ in options()}
    for name, value in overrides.items():
        lines.setdefault(sections[name], []).append(f"{name} = {json.dumps(value)}")
    return "\n".join(f"[{section}]\n" + "\n".join(of_section) for section, of_section in lines.items()) + "\n"


# ---------------------------------------------------------------------------------------------- signals


def end_once(
    settings: Settings, log: Path, real: bool, start_seconds: float, chance: random.Random
) -> Ending | None:
    """Start the run and send a signal; None if it was done before."""
    ranks = settings.parallel.ranks
    number, moment = chance.choice(SIGNALS), chance.choice(MOMENTS)
    target = chance.choice(["what was started", "all", *(["one rank"] if ranks > 1 else [])])
    ending = Ending(ranks, real, number.name, moment, target)
    records, saved, size = faults.metrics(settings), faults.samples_saved(settings), log.stat().st_size
    started = Started(settings, log, real)
    _wait_for(moment, settings, started, start_seconds, chance)
    sent = time.monotonic()
    if not started.running():
        _require_done(started.wait(), ending)
        return ending if ending.faults else None
    started.send(number, target, chance)
    codes = started.wait(number)
    ending.seconds = time.monotonic() - sent
    ending.code = max(codes, key=abs)
    if set(codes) == {0}:
        return None  # it had just finished
    allowed = {0, 128 + number, -number} if number == signal.SIGKILL or moment == "start" else {0, 128 + number}
    if number == signal.SIGKILL:
        allowed |= {1, 128 + number}  # a rank that lost the other
    if not set(codes) <= allowed:
        ending.faults.append(f"{number.name} in {moment}: exit codes {codes}")
    after, saved_after = faults.metrics(settings), faults.samples_saved(settings)
    ending.lost = faults.samples_done(settings) - saved_after
    if number == signal.SIGKILL:
        if after != records and ending.lost > LARGEST_LOSS:
            ending.faults.append(f"KILL in {moment}: {ending.lost} samples lost")
    elif after != records and ending.lost:
        ending.faults.append(f"{number.name} in {moment}: {ending.lost} samples lost")
    elif after == records and saved_after < saved:
        ending.faults.append(f"{number.name} in {moment}: a checkpoint is gone")
    if started.left():
        ending.faults.append(f"{number.name} in {moment}: a process is left")
    with log.open("rb") as file:
        file.seek(size)
        said = file.read().decode(errors="replace")
    if number != signal.SIGKILL and "Traceback" in said:
        ending.faults.append(f"{number.name} in {moment}: a traceback: {said[-2000:]}")
    return ending


def _require_done(codes: Sequence[int], ending: Ending) -> None:
    if set(codes) != {0}:
        ending.faults.append(f"without a signal: exit codes {codes}")


def _wait_for(
    moment: str, settings: Settings, started: Started, start_seconds: float, chance: random.Random
) -> None:
    """Return at a random moment of this kind, or when the run ends."""
    if moment == "start":
        wait_until(lambda: not started.running(), chance.uniform(0, start_seconds))
        return
    before = faults.samples_done(settings)
    # Records of a run that was killed are cut when it resumes: the count may fall first.
    wait_until(lambda: not started.running() or faults.samples_done(settings) > before, PATIENCE)
    if moment == "training":
        wait_until(lambda: not started.running(), chance.uniform(0, 0.4))
    else:
        checkpoints = Path(settings.run.output) / "checkpoints"
        wait_until(lambda: not started.running() or any(checkpoints.glob("step-*.tmp")), PATIENCE, pause=0.002)
        time.sleep(chance.uniform(0, 0.02))


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.01) -> None:
    """Wait for the condition, but no longer than this."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(pause)


@dataclass
class Chain:
    """A run that was ended some times and then resumed to its end."""

    endings: list[Ending]
    faults: list[str]


def end_and_resume(
    name: str, reference: Settings, real: bool, folder: Path, start_seconds: float, chance: random.Random
) -> Chain:
    """End a run some times, resume it to its end, and compare."""
    log = folder / "log.txt"
    settings = settings_for(reference.parallel.ranks, folder, name)
    shutil.rmtree(settings.run.output, ignore_errors=True)
    endings = []
    for _ in range(SIGNALS_A_RUN):
        ending = end_once(settings, log, real, start_seconds, chance)
        if ending is None:
            break
        endings.append(ending)
    codes = Started(settings, log, real).wait()
    found = [] if set(codes) == {0} else [f"{name}: resumed to its end, exit codes {codes}"]
    found += [f"{name}: {text}" for text in faults.differences(settings, reference)] if not found else []
    if not found:
        shutil.rmtree(settings.run.output)
    return Chain(endings, found)


def attack(signals: int, seed: int, folder: Path, real_every: int) -> list[Chain]:
    """Run after run until there were n signals; what a benchmark that was ended has done is read."""
    results, log = folder / "results.jsonl", folder / "log.txt"
    log.touch()
    lines = results.read_text().splitlines() if results.exists() else []
    chains = [_chain(line) for line in lines]
    references = [settings_for(ranks, folder, f"reference {ranks}") for ranks in (1, 2)]
    seconds = [run_to_end(reference, log) for reference in references]
    while sum(len(chain.endings) for chain in chains) < signals:
        number = len(chains)
        which, real = number % 2, bool(real_every) and number % real_every == 0
        chance, name = random.Random(f"{seed}, {number}"), f"run {number}"
        start_seconds = REAL_START if real else seconds[which]
        chains.append(end_and_resume(name, references[which], real, folder, start_seconds, chance))
        with results.open("a") as file:
            file.write(json.dumps(asdict(chains[-1])) + "\n")
        print(f"{name}: {len(chains[-1].endings)} signals", *chains[-1].faults, file=sys.stderr, flush=True)
    return chains


def run_to_end(settings: Settings, log: Path) -> float:
    """Run without a signal; the seconds to its first step."""
    shutil.rmtree(settings.run.output, ignore_errors=True)
    began, started = time.monotonic(), Started(settings, log, real=False)
    wait_until(lambda: not started.running() or faults.samples_done(settings) > 0, PATIENCE)
    seconds = time.monotonic() - began
    codes = started.wait()
    if set(codes) != {0}:
        raise RuntimeError(f"a run without signals ended with {codes}:\n{log.read_text()[-4000:]}")
    return seconds


def _chain(line: str) -> Chain:
    values = json.loads(line)
    return Chain([Ending(**ending) for ending in values["endings"]], values["faults"])


def table(chains: Sequence[Chain], seed: int, real_every: int) -> Table:
    """By signal: how often, when, and what was lost."""
    endings = [ending for chain in chains for ending in chain.endings]
    real = sum(ending.real for ending in endings)
    wrong = sum(bool(chain.faults) for chain in chains)
    title = (
        f"python benchmarks/stops.py --seed {seed} --real-every {real_every}: {len(endings)} signals, {real} of "
        "them to commands started as "
        f"by a user; torch {torch.__version__}; a checkpoint every {faults.CHECKPOINT_INTERVAL} of "
        f"{SAMPLES} samples; {len(chains)} runs resumed to their end, {wrong} of them "
        "other than an undisturbed one"
    )
    made = Table(title=title)
    names = ("1 rank", "2 ranks", "starting", "in training", "in a save", "to one rank", "samples redone, at most")
    for name in ("signal", *names, "longest end, s", "faults"):
        made.add_column(name, justify="left" if name in ("signal", "faults") else "right")
    for number in SIGNALS:
        of_signal = [ending for ending in endings if ending.signal == number.name]
        moments = Counter(ending.moment for ending in of_signal)
        made.add_row(
            number.name,
            *(str(sum(ending.ranks == ranks for ending in of_signal)) for ranks in (1, 2)),
            *(str(moments[moment]) for moment in ("start", "training", "saving")),
            str(sum(ending.target == "one rank" for ending in of_signal)),
            str(max((ending.lost for ending in of_signal), default=0)),
            f"{max((ending.seconds for ending in of_signal), default=0):.1f}",
            "; ".join(text for ending in of_signal for text in ending.faults) or "none",
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real-every", type=int, default=REAL_EVERY, help="0: all runs are forked")
    parser.add_argument("--folder", type=Path, help="where to work; kept, and continued, if given")
    parser.add_argument("--output", type=Path, help="write the table here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        faults.write_inputs(folder)
        chains = attack(options.signals, options.seed, folder, options.real_every)
    for file in [None, *([options.output.open("w")] if options.output else [])]:
        Console(file=file, width=150).print(table(chains, options.seed, options.real_every))
    raise SystemExit(any(chain.faults or any(e.faults for e in chain.endings) for chain in chains))


if __name__ == "__main__":
    main()
