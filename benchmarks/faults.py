"""Kill ranks of training runs at random moments, start them again, and compare with runs that were never killed.

    python benchmarks/faults.py [--kills 60] [--seed 0] [--output FILE]

A kill is a SIGKILL of one rank or of all: while they start, at a random moment of training, or before the n-th
file-system call of a save. The other ranks are then ended, as a launcher does, and all are started again with
``--resume auto``. Ranks are forked from this process, which has loaded everything, so that a start costs a second
and not five. CI runs a few kills of this.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from rich.console import Console
from rich.table import Table

import adabatch.training.launch
import adabatch.training.loop
from adabatch.checkpoints.folders import complete_checkpoints
from adabatch.checkpoints.saving import CheckpointSaver
from adabatch.reporting.metrics import TIMED
from adabatch.settings import Settings, load_settings

MODEL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 264,
}

CHECKPOINT_INTERVAL = 48
BUDGET = 768

MODES: dict[str, dict[str, Any]] = {
    "FSDP2, 2 ranks": {"parallel": "fsdp", "ranks": 2},
    "FSDP2, 2 ranks, saves in the background": {"parallel": "fsdp", "ranks": 2, "async_checkpoints": True},
    "DDP, 2 ranks": {"parallel": "ddp", "ranks": 2},
    "FSDP2, 4 ranks": {"parallel": "fsdp", "ranks": 4, "micro_batch": 1},
}


def settings_for(mode: str, folder: Path, output: str) -> Settings:
    """The settings of a run of this mode."""
    return load_settings(overrides=overrides(folder, output) | MODES[mode])


def overrides(folder: Path, output: str) -> dict[str, Any]:
    """A run of some forty steps on a model of a few thousand parameters."""
    return {
        "model": str(folder / "model.json"),
        "data": str(folder / "text.txt"),
        "cache": str(folder / "cache"),
        "sequence_length": 16,
        "samples": BUDGET,
        "initial_batch": 8,
        "micro_batch": 2,
        "max_micro_batch": 4,
        "max_batch": 16,
        "eta": 0.3,
        "warmup_samples": 64,
        "validation_interval": 128,
        "validation_samples": 4,
        "checkpoint_interval": CHECKPOINT_INTERVAL,
        "keep": 2,
        "threads": 1,
        "device": "cpu",
        "resume": "auto",
        "output": str(folder / output),
    }


def write_inputs(folder: Path) -> None:
    """The model's configuration and a text with something to learn."""
    (folder / "model.json").write_text(json.dumps(MODEL))
    words = random.Random(0).choices(["norm", "test", "batch", "grows", "as", "noise", "does", "\n"], k=20_000)
    (folder / "text.txt").write_text(" ".join(words))


# ---------------------------------------------------------------------------------------------- ranks


def free_port() -> str:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start_ranks(settings: Settings, log: Path, sabotage: dict[int, Callable[[], None]]) -> list[int]:
    """Fork the ranks; their process ids. A rank's sabotage is called in it before it begins."""

    def train(rank: int) -> int:
        # drawing takes longer than the run
        adabatch.training.launch.save_figures = lambda records, folder: [folder]
        sabotage.get(rank, lambda: None)()
        return adabatch.training.launch.launch(settings)

    environments = environments_of(settings.parallel.ranks)
    return [fork(partial(train, rank), log, own) for rank, own in enumerate(environments)]


def environments_of(ranks: int) -> list[dict[str, str]]:
    """The variables that a launcher sets for each rank, with a free port."""
    shared = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def fork(command: Callable[[], int], log: Path, environment: Mapping[str, str]) -> int:
    """Run the command in a fork of this process, with its exit code; the fork's process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    if process := os.fork():
        return process
    code = 1
    try:
        os.environ.update(environment)
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = command()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(processes: list[int], seconds: float) -> dict[int, int]:
    """Exit codes of those that ended in time (negative: the signal that ended them)."""
    ended: dict[int, int] = {}
    deadline = time.monotonic() + seconds
    while len(ended) < len(processes) and time.monotonic() < deadline:
        for process in set(processes) - set(ended):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                ended[process] = os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return ended


def end(processes: list[int], ended: dict[int, int]) -> None:
    """Kill the processes that are left, as a launcher does."""
    left = [process for process in processes if process not in ended]
    for process in left:
        os.kill(process, signal.SIGKILL)
    for process in left:
        os.waitpid(process, 0)


def die_in_save(save: int, operation: int) -> Callable[[], None]:
    """A sabotage: SIGKILL before the n-th file-system call in saves, from the given save on (counted from 1)."""

    def install() -> None:
        saves = calls = 0
        saving = False
        write = CheckpointSaver._write

        def watched_write(self: CheckpointSaver, *arguments: Any) -> None:
            nonlocal saves, saving
            saves, saving = saves + 1, True
            write(self, *arguments)
            saving = False

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **names: Any) -> Any:
                nonlocal calls
                if saving and saves >= save:
                    calls += 1
                    if calls == operation:
                        os.write(2, f"killed in a save before {function.__name__}{arguments}\n".encode())
                        os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **names)

            return call

        CheckpointSaver._write = watched_write  # type: ignore[method-assign]
        for name in ("fsync", "replace", "mkdir", "unlink", "rmdir", "open"):
            setattr(os, name, counted(getattr(os, name)))

    return install


# ---------------------------------------------------------------------------------------------- faults


@dataclass
class Tally:
    """What was injected into the runs of a mode, and what came of it."""

    mode: str
    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    most_lost: int = 0
    """Samples that had to be trained on again after a kill, at most."""
    faults: list[str] = field(default_factory=list)


def run_to_end(settings: Settings, log: Path) -> None:
    """Start the ranks and let them finish."""
    processes = start_ranks(settings, log, {})
    ended = wait(processes, 240)
    end(processes, ended)
    if sorted(ended.values()) != [0] * len(processes):
        raise RuntimeError(f"a run without faults ended with {ended}:\n{log.read_text()[-4000:]}")


def attack(settings: Settings, log: Path, chance: random.Random, report: Tally) -> bool:
    """Start the ranks and kill; False if they finished before."""
    ranks = settings.parallel.ranks
    kind = chance.choice(["save", "save", "training", "training", "start"])
    victim = chance.randrange(ranks + 1)  # the last: all of them
    before = samples_done(settings)
    sabotage = {}
    if kind == "save":
        victim = chance.choice([0, 0, 0, *range(1, ranks)])  # the main rank does most of a save
        operations = 60 if victim == 0 else 10
        sabotage[victim] = die_in_save(chance.randint(1, 3), chance.randint(1, operations))
    processes = start_ranks(settings, log, sabotage)
    if kind == "save":
        ended = wait(processes[victim : victim + 1], 120)
    else:
        ended = _kill_at_random(kind, settings, processes, victim, before, chance)
    killed = -signal.SIGKILL in ended.values()
    if killed:
        ended |= wait([process for process in processes if process not in ended], 0.05)
    else:
        ended |= wait([process for process in processes if process not in ended], 120)
    end(processes, ended)
    if killed:
        report.kills[kind] += 1
        lost = samples_done(settings) - samples_saved(settings)
        report.most_lost = max(report.most_lost, lost)
    elif sorted(ended.values()) != [0] * ranks:
        report.faults.append(f"not killed, but ended with {sorted(ended.values())}")
    return killed


def _kill_at_random(
    kind: str, settings: Settings, processes: list[int], victim: int, before: int, chance: random.Random
) -> dict[int, int]:
    """SIGKILL one rank or all of them while they start, or after a random time of training."""
    if kind == "start":
        ended = wait(processes, chance.uniform(0, 1.5))
    else:
        deadline = time.monotonic() + 120
        ended = {}
        while samples_done(settings) == before and len(ended) < len(processes) and time.monotonic() < deadline:
            ended |= wait([process for process in processes if process not in ended], 0.02)
        ended |= wait([process for process in processes if process not in ended], chance.uniform(0, 1.0))
    victims = processes if victim == len(processes) else [processes[victim]]
    for process in victims:
        if process not in ended:
            os.kill(process, signal.SIGKILL)
    return ended | wait([process for process in victims if process not in ended], 30)


def samples_done(settings: Settings) -> int:
    """Samples of the last whole record; only the end of the file is read."""
    path = Path(settings.run.output) / "metrics.jsonl"
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    return int(json.loads(lines[-2])["samples"]) if len(lines) > 1 else 0


def samples_saved(settings: Settings) -> int:
    """Samples of the newest complete checkpoint."""
    complete = complete_checkpoints(Path(settings.run.output) / "checkpoints")
    return int(json.loads((complete[-1] / "progress.json").read_text())["samples"]) if complete else 0


def metrics(settings: Settings) -> list[dict[str, Any]]:
    """The whole records of a run, without what is measured in seconds."""
    path = Path(settings.run.output) / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{name: value for name, value in record.items() if name not in TIMED} for record in records]


def differences(settings: Settings, reference: Settings) -> Iterator[str]:
    """In what a run that was killed differs from one that was not; nothing, it is hoped."""
    steps = [record["step"] for record in metrics(settings)]
    if steps != list(range(1, len(steps) + 1)):
        yield f"records are missing or doubled: steps {steps}"
    if metrics(settings) != metrics(reference):
        yield "the records differ"
    mine, other = ((Path(s.run.output) / "checkpoints") for s in (settings, reference))
    last, expected = complete_checkpoints(mine)[-1], complete_checkpoints(other)[-1]
    for file in sorted(path.name for path in expected.iterdir()):
        if file in ("complete.json", "progress.json"):
            continue
        if (last / file).read_bytes() != (expected / file).read_bytes():
            yield f"the last checkpoint's {file} differs"
    progress = [json.loads((path / "progress.json").read_text()) for path in (last, expected)]
    for name in ("step", "samples", "schedule", "skipped", "learning_rate"):
        if progress[0][name] != progress[1][name]:
            yield f"{name} differs"


def attack_mode(mode: str, kills: int, folder: Path, chance: random.Random, kills_a_run: int) -> Tally:
    """Kill runs of a mode until there were n kills, and compare each run with one that was not killed."""
    report, log = Tally(mode), folder / "log.txt"
    reference = settings_for(mode, folder, f"{mode} reference")
    run_to_end(reference, log)
    while report.kills.total() < kills:
        settings = settings_for(mode, folder, f"{mode} {report.runs}")
        report.runs += 1
        for _ in range(kills_a_run):
            if report.kills.total() == kills or not attack(settings, log, chance, report):
                break
        run_to_end(settings, log)
        report.faults += [f"run {report.runs}: {text}" for text in differences(settings, reference)]
    return report


def table(reports: list[Tally], seed: int, seconds: float) -> Table:
    """What was injected, what was lost."""
    title = f"seed {seed}, torch {torch.__version__}; a checkpoint every {CHECKPOINT_INTERVAL} of {BUDGET} samples"
    made = Table(title=f"python benchmarks/faults.py: {title}; {seconds / 60:.0f} minutes")
    for name in ("mode", "runs", "kills", "while starting", "in training", "in a save", "samples redone, at most"):
        made.add_column(name, justify="left" if name == "mode" else "right")
    made.add_column("differences")
    for report in reports:
        kinds = [str(report.kills[kind]) for kind in ("start", "training", "save")]
        counts = [str(report.runs), str(report.kills.total()), *kinds, str(report.most_lost)]
        made.add_row(report.mode, *counts, "; ".join(report.faults) or "none")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60, help="in all, shared over the modes")
    parser.add_argument("--kills-a-run", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--folder", type=Path, help="where to work; kept if given")
    parser.add_argument("--output", type=Path, help="write the table here too")
    options = parser.parse_args()
    started = time.monotonic()
    chance = random.Random(options.seed)
    shares = [len(range(index, options.kills, len(options.modes))) for index in range(len(options.modes))]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        write_inputs(folder)
        reports = [
            attack_mode(mode, kills, folder, chance, options.kills_a_run)
            for mode, kills in zip(options.modes, shares, strict=True)
        ]
    for file in [None, *([options.output.open("w")] if options.output else [])]:
        Console(file=file, width=150).print(table(reports, options.seed, time.monotonic() - started))
    raise SystemExit(any(report.faults for report in reports))


if __name__ == "__main__":
    main()
