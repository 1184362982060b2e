"""One run in a folder, and nothing of anybody else's lost there.

Two starts at about the same moment, with the same output: exactly one trains, the other is refused with exit code
2, and the folder holds one run. ``--overwrite`` in folders that hold other files too, in 20 layouts: each of them
is there afterwards, to the byte.

    python benchmarks/run_folders.py --seed 0 > benchmarks/run_folders.txt
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from adabatch.settings import load_settings

SMALL: dict[str, Any] = {
    "model": "tiny",
    "data": "words.txt",
    "schedule": "constant",
    "initial_batch": 4,
    "max_batch": 4,
    "sequence_length": 64,
    "warmup_samples": 4,
    "validation_interval": 0,
    "checkpoint_interval": 40,
    "threads": 1,
    "device": "cpu",
}
STEPS = 40
APART = 0.5
"""Seconds that two starts lie apart at most; the run takes longer."""


def words(folder: Path) -> Path:
    """A text to train on."""
    (folder / "words.txt").write_text("some words of a text that is nobody's\n" * 3000)
    return folder / "words.txt"


# Two starts at once


@dataclass(frozen=True)
class Pair:
    """Two starts: what each is told about an earlier run, its seed, and by how much the second one is later."""

    resume: tuple[str, str]
    overwrite: tuple[bool, bool]
    apart: float
    real: bool

    @classmethod
    def draw(cls, chance: random.Random, real: bool) -> Pair:
        """Any two starts."""
        resume = chance.choice(("never", "auto")), chance.choice(("never", "auto"))
        overwrite = chance.random() < 0.5, chance.random() < 0.5
        return cls(resume, overwrite, chance.choice((0.0, chance.uniform(0, APART))), real)


def start(settings: dict[str, Any], folder: Path, log: Path, at: float) -> None:
    """A start in a process of its own, which has loaded the trainer, at a moment of the monotonic clock."""
    from adabatch.training.launch import launch

    os.chdir(folder)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    time.sleep(max(0.0, at - time.monotonic()))
    try:
        code = launch(load_settings(overrides=settings))
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        code = 2
    sys.stderr.flush()
    os._exit(code)


def command(settings: dict[str, Any]) -> list[str]:
    """The same start as a command."""
    words = [sys.executable, "-m", "adabatch", "train"]
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def forked(settings: dict[str, Any], folder: Path, log: Path, at: float = 0.0) -> BaseProcess:
    """A start in a process forked from one that has loaded the trainer, which saves its seconds of imports."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["adabatch.training.launch", "transformers.models.llama.modeling_llama"])
    process = context.Process(target=start, args=(settings, folder, log, at))
    process.start()
    return process


def outcome(pair: Pair, folder: Path) -> tuple[list[int], list[str]]:
    """The exit codes, and what each said."""
    both = [
        SMALL
        | {"samples": 4 * STEPS, "output": "run", "seed": seed, "resume": pair.resume[seed], "figures": False}
        | {"overwrite": pair.overwrite[seed]}
        for seed in (0, 1)
    ]
    logs = [folder / f"{seed}.log" for seed in (0, 1)]
    if pair.real:
        processes = []
        for settings, log in zip(both, logs, strict=True):
            with log.open("wb") as file:
                processes.append(subprocess.Popen(command(settings), cwd=folder, stdout=file, stderr=file))
            time.sleep(pair.apart)
        codes = [process.wait() for process in processes]
    else:
        at = time.monotonic() + 0.3
        started = [
            forked(settings, folder, log, at + seed * pair.apart)
            for seed, (settings, log) in enumerate(zip(both, logs, strict=True))
        ]
        for process in started:
            process.join()
        codes = [int(process.exitcode or 0) for process in started]
    return codes, [log.read_text() for log in logs]


def problems(pair: Pair, folder: Path) -> Iterator[str]:
    """In what two starts differ from one that trains and one that is refused."""
    codes, said = outcome(pair, folder)
    if sorted(codes) != [0, 2]:
        yield f"exit codes {codes}: {' | '.join(text[-300:] for text in said)}"
        return
    winner = codes.index(0)
    refusal = said[1 - winner].strip().splitlines()[-1]
    if "is at work in run" not in refusal or " on " not in refusal:
        yield f"refused with {refusal!r}"
    steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    if steps != list(range(1, STEPS + 1)):
        yield f"records of steps {steps}"
    seeds = {
        json.loads(path.read_text())["settings"]["data"]["seed"]
        for path in (folder / "run" / "checkpoints").glob("*/progress.json")
    }
    if seeds != {winner}:
        yield f"checkpoints of seeds {seeds}, but seed {winner} has trained"


# Overwriting among other files


def write(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or f"the content of {path.name}")


FILES: dict[str, str] = {
    "a project": "notes.md thesis/one.tex src/train.py .git/HEAD requirements.txt launch/robot.xml",
    "a file in every folder": "mine.txt checkpoints/mine.txt checkpoints/step-00000010/mine.txt figures/mine.txt "
    "tensorboard/mine.txt",
    "names near a run's": "metrics.jsonl.backup metrics-old.jsonl config.toml~ my-config.toml tokenizer.json.orig "
    "checkpoints/step-00000010.tar checkpoints/step-best/weights.pt checkpoints/costs.jsonl.1 "
    "checkpoints/old-step-00000010/progress.json",
    "figures of others": "figures/training-final.png figures/my-training.png figures/training.svg "
    "figures/moments.png.bak figures/layers.tex",
    "TensorBoard files of others": "tensorboard/events.out.tfevents.1700000000.host.17.0 "
    "tensorboard/other/events.out.tfevents.1700000000.host.18.0",
    "files in a checkpoint": "checkpoints/step-00000010/evaluation.json checkpoints/step-00000010/__init__.py "
    "checkpoints/step-00000010/rank-of-results.json checkpoints/step-00000010/model.safetensors "
    "checkpoints/step-00000010/sub/progress.json",
    "hidden files": ".env .cache/x figures/.DS_Store checkpoints/.keep",
    "another run below": "second/config.toml second/metrics.jsonl second/adabatch-run.json "
    "second/checkpoints/step-00000010/progress.json",
    "an export below": "export/config.json export/model.safetensors export/tokenizer.json "
    "export/adabatch-export.json",
    "folders with a run's names": "figures/layers.png/x figures/runs.png tokenizer/vocabulary.txt log.txt launch",
    "folders near checkpoints": "checkpoints/step-00000010-good/progress.json checkpoints/quarantined/x "
    "checkpoints/step-10/note checkpoints/epoch-1/progress.json",
}
"""Layouts of nothing but files."""


def linked_output(folder: Path) -> None:
    write(folder.parent / "scratch" / "mine.txt")
    folder.symlink_to(folder.parent / "scratch")


def linked_checkpoints(folder: Path) -> None:
    write(folder.parent / "scratch" / "mine.txt")
    folder.mkdir()
    (folder / "checkpoints").symlink_to("../scratch")


def linked_figures(folder: Path) -> None:
    write(folder.parent / "paper" / "figure-1.png")
    folder.mkdir()
    (folder / "figures").symlink_to(folder.parent / "paper")


def linked_checkpoint(folder: Path) -> None:
    write(folder.parent / "archive" / "step-00000030" / "complete.json")
    write(folder.parent / "archive" / "step-00000030" / "progress.json")
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best").symlink_to(folder.parent / "archive" / "step-00000030")


def empty_folders(folder: Path) -> None:
    for name in ("plans", "checkpoints/plans", "figures/plans", "data/raw"):
        (folder / name).mkdir(parents=True)


def strange_names(folder: Path) -> None:
    for name in ("[bold]x[/bold]", "a b", "näme", "step-*", "new\nline", "-rf", "$HOME", "metrics.jsonl "):
        write(folder / name, "strange")


def read_only(folder: Path) -> None:
    write(folder / "results.csv")
    (folder / "results.csv").chmod(0o400)
    write(folder / "locked" / "results.csv")
    (folder / "locked").chmod(0o500)


def links_elsewhere(folder: Path) -> None:
    write(folder.parent / "data.txt")
    folder.mkdir()
    (folder / "data.txt").symlink_to("../data.txt")
    (folder / "gone").symlink_to("nowhere")
    (folder / "up").symlink_to("..")


def own_configuration(folder: Path) -> None:
    """Files with a run's names that were there before the first run: kept under another name."""
    write(folder / "config.toml", "[tool]\nname = 'something else'\n")
    write(folder / "tokenizer.json", "{}")


OTHERS: dict[str, Callable[[Path], None]] = {
    "a link as output": linked_output,
    "a link as checkpoints": linked_checkpoints,
    "a link as figures": linked_figures,
    "a link to a checkpoint": linked_checkpoint,
    "empty folders": empty_folders,
    "strange names": strange_names,
    "read-only files": read_only,
    "links elsewhere": links_elsewhere,
    "files from before the run": own_configuration,
}

LAYOUTS = (*FILES, *OTHERS)


def lay_out(layout: str, folder: Path) -> None:
    """Make the layout of this name in a folder that is not there yet."""
    for name in FILES.get(layout, "").split():
        write(folder / name)
    if layout in OTHERS:
        OTHERS[layout](folder)


def contents(root: Path) -> dict[str, str | None]:
    """All that lies below a folder, by path: a file's content, a link's target, None for a folder."""
    found: dict[str, str | None] = {}
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place) / name
            kept = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes().hex()
            found[str(path.relative_to(root))] = kept
    return found


def lost(before: dict[str, str | None], after: dict[str, str | None]) -> list[str]:
    """What is neither where it was nor kept next to it under the name of a copy."""
    missing = object()
    return [
        path
        for path, content in before.items()
        if after.get(path, missing) != content and after.get(f"{path}.before", missing) != content
    ]


def overwritten(layout: str, root: Path, train: Callable[[Path, bool], None]) -> tuple[int, list[str]]:
    """Make a layout, train in it, and again with ``--overwrite``; the number of others' files, and those lost.

    Args:
        layout: its name.
        root: an empty folder.
        train: is called with the output, and whether to overwrite.
    """
    lay_out(layout, root / "run")
    foreign = contents(root)
    train(root / "run", False)
    train(root / "run", True)
    return len(foreign), lost(foreign, contents(root))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=50, help="two starts at once")
    parser.add_argument("--real", type=int, default=10, help="of these, as commands; the others are forked")
    options = parser.parse_args()
    chance, failures = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ADABATCH_CACHE"] = str(Path(scratch) / "cache")
        kinds: Counter[str] = Counter()
        good: Counter[str] = Counter()
        for number in range(options.pairs):
            pair, folder = Pair.draw(chance, number < options.real), Path(scratch) / f"pair-{number}"
            folder.mkdir()
            words(folder)
            found = list(problems(pair, folder))
            kind = (
                f"{'commands' if pair.real else 'forked'}, {'at once' if pair.apart == 0 else 'up to 0.5 s apart'}"
            )
            kinds[kind] += 1
            good[kind] += not found
            for problem in found:
                print(f"pair {number}, {pair}: {problem}", file=sys.stderr)
            shutil.rmtree(folder)
        print(f"two starts with one output (seed {options.seed})            pairs  exactly one trains")
        for kind, count in sorted(kinds.items()):
            print(f"{kind:56} {count:5} {good[kind]:19}")
            failures += count - good[kind]
        print(f"\n{'--overwrite among other files':56} files   lost")

        def train(output: Path, overwrite: bool) -> None:
            settings = SMALL | {"samples": 40, "output": "run", "overwrite": overwrite, "tensorboard": True}
            settings |= {"data": str(words(Path(scratch))), "tokenizer": "bpe", "vocabulary_size": 300}
            process = forked(settings, output.parent, Path(scratch) / "log.txt")
            process.join()
            assert process.exitcode == 0, (Path(scratch) / "log.txt").read_text()

        for layout in LAYOUTS:
            root = Path(scratch) / layout
            root.mkdir()
            files, gone = overwritten(layout, root, train)
            print(f"{layout:56} {files:5} {len(gone):6}")
            failures += len(gone)
            with contextlib.suppress(OSError):
                (root / "run" / "locked").chmod(0o700)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
