"""`adabatch train` as a user meets it: bad input, interruption, two ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from adabatch.reporting.metrics import read_metrics
from adabatch.training.launch import DIVERGED
from tests.support.command import COMMAND

SMALL = (
    "--samples 64 --initial-batch 8 --micro-batch 2 --warmup-samples 16 "
    "--validation-samples 4 --sequence-length 32"
)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("too short")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--eta 0", "eta must be a positive number, but is 0.0"),
        ("--eta -1", "eta must be a positive number"),
        ("--eta 1", "take --eta below 1, or --estimator debiased"),
        ("--eta 1e200", "from 1e-06 to 1e+06, but is 1e+200"),
        ("--estimator paper --eta 2", "take --eta below 0.866, more groups"),
        ("--initial-batch 8 --max-batch 4", "maximum batch 4 is below the initial batch 8"),
        ("--parallel fsdp --ranks 3", "cannot be made from 3 ranks x micro-batches of 1: take a multiple of 3"),
        ("--initial-batch 6 --micro-batch 4", "take a multiple of 4, such as 4 or 8"),
        ("--initial-batch 1", "needs at least 2 groups"),
        ("--data {texts}/missing.txt", "no file or folder"),
        ("--data {texts}/empty.txt", "is empty"),
        ("--data {texts}/short.txt", "less than one sequence of 256"),
        ("--preset gigantic", "the preset 'gigantic' is not known: take one of ablation"),
        ("--model gigantic", "neither a built-in architecture"),
        ("--sequence-length 2048", "2048 is above the maximum of the model demo, 1024"),
        ("--estimator best", "take one of paper, unbiased, debiased"),
        ("--config {texts}/missing.toml", "does not exist"),
        ("--resume {texts}", "no complete checkpoint"),
        ("--tokenizer {texts}/missing.json", "tokenizer"),
        ("--samples 0", "--samples must be 1 or more, but is 0"),
        ("--ranks 2", "--parallel single runs 1 rank"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, texts, arguments, message):
    adabatch.refuses(message, "train", *arguments.format(texts=texts).split(), "--output", texts / "run")
    assert not (texts / "run").exists()


def test_divergence_has_its_own_exit_code(adabatch, tmp_path):
    wild = "--lr 1e30 --min-lr 0 --warmup-samples 0 --max-skipped 2"
    options = f"--preset demo --threads 1 --samples 64 --validation-interval 0 {wild} --output {tmp_path / 'run'}"
    done = adabatch("train", *options.split())
    assert done.code == DIVERGED == 3
    assert "Error: training diverged: loss or gradient were not finite for 3 steps in a row" in done.err
    assert "Traceback" not in done.err
    assert [r["skipped"] for r in read_metrics(tmp_path / "run")] == [0, 1, 2, 3]


def test_a_gpu_that_is_absent(adabatch, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    adabatch.refuses("a GPU was asked for", "train", "--device", "cuda", "--output", tmp_path / "run")


def test_an_earlier_run_is_not_overwritten_unasked(adabatch, tmp_path):
    arguments = ["train", *SMALL.split(), "--output", tmp_path]
    assert adabatch(*arguments).code == 0
    adabatch.refuses("holds an earlier run", *arguments)
    assert adabatch(*arguments, "--overwrite").code == 0
    assert adabatch(*arguments, "--resume", "auto").code == 0  # nothing left to do


def test_no_traceback_reaches_the_terminal(tmp_path):
    done = subprocess.run(
        [*COMMAND, "train", "--eta", "0"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: eta must be a positive number")
    assert "Traceback" not in done.stderr + done.stdout


def test_loading_the_commands_loads_nothing_heavy():
    code = (
        "import sys, typer; from adabatch.commands.application import app;"
        "group = typer.main.get_command(app); names = group.list_commands(None);"
        "assert all([group.get_command(None, name) for name in names]);"
        "heavy = {'torch', 'numpy', 'sympy', 'transformers', 'matplotlib'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.distributed
def test_two_ranks_from_one_command_and_ctrl_c(tmp_path):
    """Start two ranks under FSDP2, interrupt them as a terminal does, and read what they left."""
    process, metrics = train_two_ranks("fsdp", tmp_path / "run"), tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 5, process)
    error = interrupted(process)
    assert "interrupted; the metrics so far are in" in error
    assert "Traceback" not in error
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_ctrl_c_while_the_ranks_start(tmp_path, seconds):
    """So long after the first rank's process is there, in the middle of its imports: no traceback from any."""
    process = train_two_ranks("ddp", tmp_path / "run")
    wait_for(lambda: started_ranks(process), process)
    time.sleep(seconds)
    assert interrupted(process) == f"interrupted; the metrics so far are in {tmp_path}/run/metrics.jsonl\n"


def train_two_ranks(parallel: str, output: Path) -> subprocess.Popen[str]:
    """A run that does not end by itself."""
    arguments = ["train", *SMALL.split(), "--samples", "1000000", "--parallel", parallel, "--ranks", "2"]
    command = [*COMMAND, *arguments, "--output", str(output)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)


def interrupted(process: subprocess.Popen[str]) -> str:
    """What a command says that a terminal's Ctrl-C ends with exit code 130 and no process left."""
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert not still_running(process.pid)
    return error


def started_ranks(process) -> int:
    """How many processes of ranks there are."""
    children = psutil.Process(process.pid).children()
    return sum("spawn_main" in " ".join(child.cmdline()) for child in children)


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def still_running(group: int) -> bool:
    """Whether a process of the group is left a moment later."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True
