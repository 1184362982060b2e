"""Command lines with bad values, paths and permissions: each ends well, or with one line that says what to do.

    python benchmarks/command_lines.py [--forked 2000] [--started 100] [--seed 0] [--only N] [--output FILE]

Draws command lines over all commands, from one seed. Each has its own folder with good, damaged, unreadable and
unwritable files, and is right but for one to three changes: values, options, paths, the environment, the encoding
of the terminal. Most run in forks of this process, which has loaded everything; some in a process of their own.
Where this process is root, half of them run as another user (where that user can read Python's own files).

A line passes if it ends within 60 s, without a traceback, with an exit code that docs/reliability.md allows; an
exit code of 2 goes with exactly one line on standard error, which begins with "Error: ". What grows with a number
(samples, ranks) is not asked to train for hours: such options get values that are to be refused, or --dry-run.
CI runs a few lines of this.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import typing
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from rich.console import Console
from rich.table import Table

from adabatch.commands import main as adabatch
from adabatch.commands.application import COMMANDS

LIMIT = 60.0
"""Seconds that a line may take."""

OTHER_USER = 65534
"""The user id of lines that do not run as root: nobody, with a group of the same number."""


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


TINY = words(
    "--model tiny --data good.txt --sequence-length 32 --initial-batch 4 --max-batch 8 --warmup-samples 4 "
    "--validation-interval 0 --validation-samples 2 --threads 1"
)
TRAIN = [*TINY, *words("--samples 8 --schedule constant --no-figures --output out/run")]
EXPERIMENT = [*TINY, *words("--samples 64 --report-only --seeds 1 --output out/experiment")]

RIGHT: dict[str, list[list[str]]] = {
    "train": [[*TRAIN, "--dry-run"], TRAIN, [*TRAIN, "--plan-ranks", "2"]],
    "compare": [EXPERIMENT],
    "ablate": [EXPERIMENT],
    "branch": [words("run --at 4 --factors 0.5,1 --samples 4 --report-only --output out/branch")],
    "plot": [["run", "--output", "figures"], ["run/metrics.jsonl"]],
    "runs": [["run"], [".", "--sort", "loss", "--format", "csv"]],
    "evaluate": [["run", "--threads", "1"], words("run --threads 1 --data good.txt --sequence-length 16")],
    "worth": [["loop.jsonl", "--saturation", "16", "--output", "figures"], ["loop.jsonl", "--json"]],
    "optimum": [words("--tasks 1 --optimizer sgd --iterations 1 --duration 0.01 --output optimum.json")],
    "export": [["run", "--to", "exported"], ["run/checkpoints", "--to", "exported"]],
    "export-schedule": [
        ["run"],
        words("run --format megatron --batches-only --output schedule.txt"),
        words("run --format json --doublings"),
    ],
    "prepare": [
        ["--data", "good.txt", "--sequence-length", "32", "--processes", "1"],
        words("--data good.txt:0.5 --data good.jsonl:0.5 --sequence-length 32 --processes 1"),
    ],
    "claims": [[], ["--json"], ["--show", "Thm B.1"]],
    "covers": [["run"], ["--preset", "demo"], ["--config", "good.toml"]],
    "prove": [["L5"], ["L5", "--show"]],
    "verify-bounds": [["--quick", "--experiment", "sign-descent", "--seeds", "1", "--output", "out/report"]],
    "attack": [
        words("sgd --seconds 0.1 --processes 1 --steps 2 --output out/attack"),
        words("--replay instance.json --exact --output out/attack"),
    ],
    "list": [["bounds"], ["experiments"]],
}
"""Lines that are right, by command."""

WEIGHTS = {"train": 8, "prepare": 4, "plot": 3, "export": 3, "covers": 3, "compare": 2, "ablate": 2}
"""How often a command is drawn, where not once."""

LONG = words("--compile --run --full --write-docs --quick --report-only --no-report-only --dry-run --plane")
"""Flags that would change how long a line takes; the last ones are in the right lines where they belong."""

GROWING = words(
    "--samples --validation-samples --sequence-length --initial-batch --max-batch --micro-batch --max-micro-batch "
    "--ranks --parallel --replicas --tensor-parallel --vocabulary-size --streaming-validation-tokens --processes "
    "--seeds --steps --experiment --threads --model --preset --tokenizer --data --resume --allow --max-restarts "
    "--objective --optimizer --noise --bound --rule --tasks --iterations --duration --seconds"
)
"""Options that get only values that are to be refused where a line trains, prepares or measures."""

NUMBERS = ["", *words("x -1 -0.5 nan inf -inf 1e999 ² 0x10 1,5"), "9" * 30, str(-(2**63)), "[1]"]
LARGE = ["1e200", "1e308", str(2**62), str(2**31), "1000000000000", "1000000", "1e-200"]
SMALL = ["0", "1", "2", "0.5", "1.0", "3", "7"]
TEXTS = [
    "",
    " ",
    "x",
    "[red]",
    "[/]",
    ":bug:",
    "\x07bell",
    "é字η",
    "a\nb",
    "-",
    "--",
    "none",
    "None",
    "1",
    "\t",
    "%s{}",
]
NAMES = words("stdlibb stdlib tiny tinny demo l1 norm-test gpt2x owner/name auto never bpe")
PATHS = words(
    "good.txt empty.txt short.txt unreadable.txt binary.bin latin.txt good.jsonl bad.jsonl dangling loop a-file "
    "a-file/below locked locked/below unwritable unwritable/below missing missing/below empty-folder "
    "[red]x[/blue].txt $x$.txt ~nouser/x ~/x /proc/x /proc/self/mem /dev/null /dev/full /dev/zero/x / . .. run "
    "run/metrics.jsonl run/checkpoints damaged-0 damaged-1 damaged-2 damaged-3 damaged-4 good.toml wrong.toml "
    "loop.jsonl instance.json binary.toml unreadable.toml config.json bad-config.json list-config.json "
    "good.txt:1 good.txt:0.5 zero-config.json dynamic-config.json tokenizer.json one-unreadable exported out"
)
PATHS += ["n" * 300, "a/" * 3000, "x\udcff", "", "\u200b", "good.txt/", "sub folder/é.txt"]

ENVIRONMENTS: list[dict[str, str | None]] = [
    {"ADABATCH_CACHE": "a-file"},
    {"ADABATCH_CACHE": "unwritable"},
    {"ADABATCH_CACHE": "locked/x"},
    {"ADABATCH_CACHE": "/proc/x"},
    {"ADABATCH_CACHE": "~nouser/x"},
    {"ADABATCH_CACHE": "n" * 300},
    {"ADABATCH_CACHE": ""},
    {"ADABATCH_CACHE": None, "HOME": None},
    {"ADABATCH_CACHE": None, "HOME": "/nonexistent"},
    {"ADABATCH_CACHE": None, "HOME": ""},
    {"HOME": None},
    {"TMPDIR": "unwritable"},
    {"TMPDIR": "missing"},
    {"RANK": "0"},
    {"RANK": "x", "WORLD_SIZE": "1"},
    {"RANK": "0", "WORLD_SIZE": "-3"},
    {"RANK": "0", "WORLD_SIZE": ""},
    {"RANK": "5", "WORLD_SIZE": "2"},
    {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "x"},
    {"COLUMNS": "x"},
    {"COLUMNS": "1"},
    {"MPLCONFIGDIR": "unwritable"},
]
ENCODINGS = ["utf-8", "utf-8", "utf-8", "cp1252", "latin-1", "ascii"]

VERDICTS = {"verify-bounds", "attack", "prove", "claims"}
"""Commands that end with 1 where a verdict does not come out."""


@dataclass(frozen=True)
class Line:
    """A command line and where it runs.

    Attributes:
        words: after ``adabatch``.
        environment: variables that are set, or unset by None.
        encoding: of the terminal.
        user: the user id; None: this process's own.
        forked: in a fork of this process, or in a process of its own.
    """

    words: tuple[str, ...]
    environment: tuple[tuple[str, str | None], ...] = ()
    encoding: str = "utf-8"
    user: int | None = None
    forked: bool = True

    @property
    def command(self) -> str:
        """The command's name, if it has one."""
        return next((word for word in self.words if word in COMMANDS), "none")


@dataclass
class Ended:
    """How a line ended; ``wrong`` is empty if as it should."""

    line: Line
    code: int | None
    out: str
    err: str
    seconds: float
    wrong: str = field(init=False)

    def __post_init__(self) -> None:
        self.wrong = _wrong(self)


def _wrong(ended: Ended) -> str:
    """What is the matter with an end."""
    if ended.code is None:
        return "hang"
    if "Traceback" in ended.err or "Traceback" in ended.out:
        return "traceback"
    allowed = {0, 2} | ({1} if ended.line.command in VERDICTS else set())
    if ended.code not in allowed:
        return f"exit code {ended.code}"
    lines = [line for line in ended.err.splitlines() if line.strip() and not line.startswith("warning: ")]
    if ended.code == 2 and ended.line.words and (len(lines) != 1 or not lines[0].startswith("Error: ")):
        return "not one line"
    return ""


def options_of(command: str) -> dict[str, Any]:
    """The options of a command, each with the type of its value; those of flags with bool."""
    module = importlib.import_module(f"adabatch.commands.{command.replace('-', '_')}")
    function = getattr(module, command.replace("-", "_"))
    found: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind, info = typing.get_args(parameter.annotation)[:2]
        if type(info).__name__ != "OptionInfo":
            continue
        kinds = [part for part in (kind, *typing.get_args(kind)) if part in (bool, int, float, Path)]
        own = [text for text in (info.default, *(info.param_decls or ())) if str(text).startswith("--")]
        for names in own or [f"--{parameter.name.replace('_', '-')}"]:
            found.update(dict.fromkeys(names.split("/"), kinds[0] if kinds else str))
    return found


def draw(seed: int, number: int, other_user: bool, forked: bool = True) -> Line:
    """The line of this number.

    Args:
        seed: of all lines.
        number: of the line.
        other_user: whether half of them run as another user.
        forked: whether it runs in a fork.
    """
    numbers = random.Random(f"{seed} {number}")
    command = numbers.choices(COMMANDS, [WEIGHTS.get(name, 1) for name in COMMANDS])[0]
    words, environment = list(numbers.choice(RIGHT[command])), {}
    long = command == "prepare" or not {"--dry-run", "--plan-ranks", "--report-only"} & set(words)
    options = {name: kind for name, kind in options_of(command).items() if name not in LONG}
    for _ in range(numbers.choice([1, 1, 1, 2, 2, 3])):
        change = numbers.choice(["option"] * 6 + ["path"] * 4 + ["environment"] * 2 + ["odd"])
        if change == "option" and options:
            name = numbers.choice(sorted(options))
            words += [name] if options[name] is bool else [name, _value(numbers, name, options[name], long)]
        elif change == "path":
            _set_path(numbers, words)
        elif change == "environment":
            environment.update(numbers.choice(ENVIRONMENTS))
        else:
            odd = ["--unknown", "-x", "--", numbers.choice(TEXTS), numbers.choice(PATHS), "--help", "--version"]
            words.insert(numbers.randrange(len(words) + 1), numbers.choice(odd))
    position = 0 if numbers.random() < 0.02 else None
    whole = [*words, command][::-1] if position == 0 and not long else [command, *words]
    user = OTHER_USER if other_user and numbers.random() < 0.5 else None
    return Line(tuple(whole), tuple(environment.items()), numbers.choice(ENCODINGS), user, forked)


def _value(numbers: random.Random, name: str, kind: type, long: bool) -> str:
    if kind in (int, float):
        return numbers.choice(NUMBERS if long and name in GROWING else NUMBERS + LARGE + SMALL)
    if long and name in GROWING:
        return numbers.choice(["", "x/y/z", "missing/below", "n" * 300, "[red]", "a-file/below", "stdlibb"])
    return numbers.choice(PATHS if kind is Path else PATHS + TEXTS + NAMES + NUMBERS)


def _set_path(numbers: random.Random, words: list[str]) -> None:
    """Another path in place of one that the line has."""
    places = [place for place, word in enumerate(words) if word in PATHS or "/" in word or "." in word]
    if places:
        words[numbers.choice(places)] = numbers.choice(PATHS)


def furnish(folder: Path, run: Path | None) -> None:
    """Put the files into a folder that lines name; ``run``: a finished run to copy.

    Permissions are set by :func:`close_off`, once the folder belongs to the line's user.
    """
    folder.mkdir()
    text = "Some words of a text that is long enough to train on.\n" * 200
    contents: dict[str, str | bytes] = {
        "good.txt": text,
        "empty.txt": "",
        "short.txt": "short",
        "unreadable.txt": text,
        "binary.bin": bytes(range(256)) * 40,
        "latin.txt": "é".encode("latin-1") * 5000,
        "loop.jsonl": LOOP,
        "instance.json": json.dumps(INSTANCE),
        "good.jsonl": json.dumps({"text": text}) + "\n",
        "bad.jsonl": '{"text": 3}\nnot json\n',
        "a-file": "x",
        "[red]x[/blue].txt": text,
        "$x$.txt": text,
        "good.toml": "[schedule]\neta = 0.5\n",
        "wrong.toml": "[schedule]\neta = 'x'\n[nothing]\n",
        "binary.toml": b"\xff\xfe\x00",
        "unreadable.toml": "",
        "config.json": json.dumps(SMALL_MODEL),
        "dynamic-config.json": json.dumps(
            SMALL_MODEL | {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}
        ),
        "zero-config.json": json.dumps(SMALL_MODEL | {"hidden_size": 0, "num_attention_heads": 0}),
        "bad-config.json": "{",
        "list-config.json": "[1]",
        "tokenizer.json": "{}",
        "sub folder/é.txt": text,
        "one-unreadable/a.txt": text,
        "one-unreadable/b.txt": text,
        "locked/a.txt": text,
        "unwritable/a.txt": text,
    }
    for number, line in enumerate(("{}", '{"step": "x"}', '{"step": null, "samples": 1}', "[1]", SHORT_RECORD)):
        contents[f"damaged-{number}/metrics.jsonl"] = line + "\n"
        contents[f"damaged-{number}/config.toml"] = "[run]\noutput = '.'\n"
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "dangling").symlink_to("nowhere/at/all")
    (folder / "loop").symlink_to("loop")
    for name in ("empty-folder", "home"):
        (folder / name).mkdir()
    if run is not None:
        shutil.copytree(run, folder / "run")


LOOP = "".join(
    json.dumps(
        {
            "step": step,
            "samples": samples,
            "batch_size": 16 if step % 2 else 32,
            "trace": 10.0 + step % 7,
            "squared_norm": 2.0 + step % 5,
            "seconds": 0.1 if step % 2 else 0.15,
        }
    )
    + "\n"
    for step, samples in ((step, 24 * step + 8 * (step % 2)) for step in range(1, 81))
)
"""The steps of another loop, for ``worth``."""

INSTANCE = {"bound": "sgd", "optimizer": "sgd", "smoothness": 2.0, "step_size": 0.25, "eta": 0.5, "width": 1.0}
INSTANCE |= {"first": 2.0, "slopes": [2.0, 2.0], "below": [[0.5, 0.5]], "above": [[0.5, 0.5]]}
"""Of one step, for ``attack``."""

SHORT_RECORD = '{"step": 1, "samples": 4, "loss": null}'

SMALL_MODEL = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 264,
}


def close_off(folder: Path) -> None:
    """Take away the permissions that lines are to meet without; root does not notice."""
    for name in ("unreadable.txt", "unreadable.toml", "one-unreadable/b.txt", "locked"):
        (folder / name).chmod(0)
    (folder / "unwritable").chmod(0o555)


@dataclass
class Running:
    """A line that runs in a folder of its own."""

    line: Line
    folder: Path
    process: int
    started: float

    @classmethod
    def start(cls, line: Line, folder: Path, run: Path | None = None) -> Running:
        """Furnish the folder and start the line there; ``run``: a finished run that the folder gets a copy of."""
        furnish(folder, run)
        if line.user is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, line.user, line.user, follow_symlinks=False)
        close_off(folder)
        return cls(line, folder, os.fork() or _child(line, folder), time.monotonic())

    def ended(self) -> Ended | None:
        """How it ended; None while it runs. After the limit it is ended with its group."""
        done, status = os.waitpid(self.process, os.WNOHANG)
        seconds = time.monotonic() - self.started
        if not done and seconds < LIMIT:
            return None
        if not done:
            os.killpg(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        code = os.waitstatus_to_exitcode(status) if done else None
        out, err = (path.read_bytes().decode("utf-8", errors="replace") for path in _outputs(self.folder))
        return Ended(self.line, code, out, err, seconds)

    def wait(self) -> Ended:
        """How it ended, when it has."""
        while (end := self.ended()) is None:
            time.sleep(0.01)
        return end

    def remove(self) -> None:
        """Its folder and what it printed."""
        for path in _outputs(self.folder):
            path.unlink()
        for name in ("locked", "unwritable"):
            (self.folder / name).chmod(0o755)
        shutil.rmtree(self.folder)


def _outputs(folder: Path) -> tuple[Path, Path]:
    return folder.with_suffix(".out"), folder.with_suffix(".err")


def run_all(lines: Iterable[tuple[int, Line]], base: Path, run: Path, at_once: int) -> Iterator[tuple[int, Ended]]:
    """Run lines, some at once; each with its number as it ends."""
    waiting, running = iter(lines), {}
    while True:
        while len(running) < at_once and (following := next(waiting, None)) is not None:
            running[following[0]] = Running.start(following[1], base / f"line-{following[0]}", run)
        if not running:
            return
        for number, active in list(running.items()):
            if (end := active.ended()) is not None:
                del running[number]
                active.remove()
                yield number, end
        time.sleep(0.005)


def _child(line: Line, folder: Path) -> NoReturn:
    """The process of a line: this one's fork, or a start of its own from there."""
    code = 70
    try:
        os.setsid()
        for number, path in enumerate(_outputs(folder), 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        own = {"ADABATCH_CACHE": str(folder / "cache"), "HOME": str(folder / "home"), "COLUMNS": "200"}
        for name, value in (own | dict(line.environment)).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None
        if line.user is not None:
            os.setgroups([])
            os.setgid(line.user)
            os.setuid(line.user)
        if not line.forked:
            os.environ["PYTHONIOENCODING"] = line.encoding
            os.execv(sys.executable, [sys.executable, "-m", "adabatch", *line.words])
        sys.stdout = open(1, "w", encoding=line.encoding, closefd=False)  # noqa: SIM115  # until the end
        sys.stderr = open(2, "w", encoding=line.encoding, closefd=False, errors="backslashreplace")  # noqa: SIM115
        sys.argv = ["adabatch", *line.words]
        code = 0
        adabatch()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def load_everything() -> None:
    """Import what the commands import when they run, so that forks need not, nor read Python's own files."""
    for name in (*COMMANDS, "application", "options"):
        importlib.import_module(f"adabatch.commands.{name.replace('-', '_')}")
    for name in (
        "adabatch.training.train",
        "adabatch.training.launch",
        "adabatch.planning.report",
        "adabatch.experiments.comparison.compare",
        "adabatch.experiments.ablation.ablate",
        "adabatch.experiments.branching.branch",
        "adabatch.reporting.overlays",
        "adabatch.experiments.run_table",
        "adabatch.evaluation.tasks",
        "adabatch.evaluation.text_loss",
        "adabatch.export",
        "adabatch.data.progress",
        "theory.coverage",
        "proofs.claims_report",
        "proofs.report",
        "simulate.verify_bounds",
        "matplotlib.backends.backend_agg",
        "matplotlib.backends.backend_pdf",
        "transformers.models.llama.modeling_llama",
        "datasets",
        "tomli_w",
        "torch.distributed",
    ):
        importlib.import_module(name)


def trained_run(folder: Path) -> Path:
    """A small finished run with a checkpoint, for plot, export and covers."""
    ended = Running.start(Line(("train", *TRAIN)), folder).wait()
    if ended.code != 0:
        raise SystemExit(f"the run that lines are given could not be trained: {ended.err}")
    return folder / "out" / "run"


def table(ends: list[Ended]) -> Table:
    """By command, how lines ended."""
    columns = ("command", "lines", "as another user", "started", "succeeded", "refused", "wrong", "longest (s)")
    shown = Table(*columns, title="Generated command lines", box=None)
    rows = [(name, [end for end in ends if end.line.command == name]) for name in (*COMMANDS, "none")]
    for name, own in [*((name, own) for name, own in rows if own), ("all", ends)]:
        codes = Counter(end.code for end in own if not end.wrong)
        users = sum(end.line.user is not None for end in own)
        started = sum(not end.line.forked for end in own)
        wrong = sum(bool(end.wrong) for end in own)
        numbers = (len(own), users, started, codes[0] + codes[1], codes[2], wrong)
        shown.add_row(name, *map(str, numbers), f"{max(end.seconds for end in own):.1f}")
    return shown


def can_read_python(user: int) -> bool:
    """Whether another user can start this Python with these packages."""
    code = "import adabatch, torch"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            user=user,
            group=user,
            extra_groups=[],
            check=False,
            capture_output=True,
            cwd="/",
        )
    except OSError:
        return False
    return done.returncode == 0


def main(arguments: list[str] | None = None) -> int:
    """Run the lines and print the table; the exit code is 1 if a line is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forked", type=int, default=2000, help="lines in forks of this process")
    parser.add_argument("--started", type=int, default=100, help="further lines, in processes of their own")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="lines that run at the same time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run the line of this number and show all that it prints")
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    given = parser.parse_args(arguments)
    other_user = os.getuid() == 0 and can_read_python(OTHER_USER)
    load_everything()
    gc.freeze()  # forks then share memory
    ends: list[Ended] = []
    numbers = range(given.forked + given.started) if given.only is None else [given.only]
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o777)
        run = trained_run(base / "first")
        lines = ((number, draw(given.seed, number, other_user, number < given.forked)) for number in numbers)
        for number, end in run_all(lines, base, run, given.at_once):
            ends.append(end)
            if end.wrong or given.only is not None:
                print(f"{number}: {end.wrong or 'right'}, exit code {end.code}: {end.line}", flush=True)
                print((end.out + end.err)[-3000:] if given.only is not None else end.err[-600:], flush=True)
    console = Console(record=True, width=120, markup=False)
    console.print(
        f"python benchmarks/command_lines.py --forked {given.forked} --started {given.started} "
        f"--seed {given.seed}",
        soft_wrap=True,
    )
    console.print(f"user {os.getuid()}{' and user ' + str(OTHER_USER) if other_user else ''}")
    console.print(table(ends))
    kinds = Counter(end.wrong for end in ends if end.wrong)
    console.print(f"wrong: {dict(kinds) if kinds else 'none'}")
    if given.output is not None:
        given.output.write_text(console.export_text(), encoding="utf-8")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
