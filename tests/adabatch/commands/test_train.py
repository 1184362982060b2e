"""`adabatch train` as a user meets it: bad input, interruption, two ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from adabatch.exit_codes import DIVERGED
from adabatch.reporting.metrics import read_metrics
from tests.support.command import COMMAND, still_running
from tests.support.forked_runs import ForkedRun

SMALL = (
    "--samples 64 --initial-batch 8 --micro-batch 2 --warmup-samples 16 "
    "--validation-samples 4 --sequence-length 32 --threads 1"
)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("too short")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--eta 0", "--eta must be from 1e-06 to 1,000,000, but is 0.0: take --eta between about 0.05 and 1"),
        ("--eta -1", "--eta must be from 1e-06 to 1,000,000"),
        ("--estimator unbiased", "take --eta below 1, or --estimator debiased"),
        ("--eta 1e200", "from 1e-06 to 1,000,000, but is 1e+200"),
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
        ("--samples 0", "--samples must be from 1 to 1,000,000,000,000, but is 0"),
        ("--ranks 2", "--parallel single runs 1 rank"),
        ("--schedule exchange --lr-scaling sqrt", "leave out --lr-scaling sqrt"),
        ("--schedule exchange --lr-path constant", "the learning rate never falls"),
        ("--batch-floor norm-test", "is that rule itself: leave out --batch-floor"),
        ("--schedule constant --batch-floor norm-test", "is that rule alone: take --schedule norm-test"),
        ("--schedule constant --noise-limit 1", "never goes beyond the first one, 4, so that the noise limit"),
        ("--max-batch 4 --noise-limit 1", "raise --max-batch"),
        ("--noise-limit -1", "--noise-limit must be 0 (no limit) or from 1e-06 to 1,000,000, but is -1.0"),
        ("--noise-limit-scale weighted", "of the noise limit, which is off: add --noise-limit 1"),
        ("--noise-limit 1 --noise-limit-scale weighted", "by the weighted scale needs at least 8 groups"),
        ("--schedule goodput --samples 300", "in a step, 3, but the first batch is 4: raise --samples to at"),
        ("--schedule goodput --step-time 1", "--step-time takes T0,T1"),
        ("--schedule goodput --goodput-kappa 0", "--goodput-kappa must be from 0.01 to 100, but is 0.0"),
        ("--schedule late", "above the first one, 4, but it was not given: give --switch-batch"),
        ("--schedule late --switch-batch 2", "above the first one, 4, but it is 2: raise --switch-batch"),
        ("--schedule late --switch-batch 8 --switch-at 1.5", "--switch-at must be above 0 and below 1, but is"),
        ("--schedule late --switch-batch 99 --samples 6 --warmup-samples 0", "no step begins between the switch"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, texts, arguments, message):
    adabatch.refuses(message, "train", *arguments.format(texts=texts).split(), "--output", texts / "run")
    assert not (texts / "run").exists()


def test_a_noise_limit_below_the_first_batch_is_one_warning(adabatch, tmp_path):
    limited = "--schedule linear-ramp --ramp-samples 64 --max-batch 16 --noise-limit 1000 --model tiny --threads 1"
    options = [*SMALL.split(), *limited.split(), "--samples", 96, "--validation-interval", 0]
    done = adabatch("train", *options, "--output", tmp_path / "run")
    assert done.code == 0
    assert done.err.count("the noise limit B/1000^2 (trace) is below the first batch of 8 after") == 1
    batches = [record["batch_size"] for record in read_metrics(tmp_path / "run")]
    assert max(batches[:3]) > 8  # three steps measure B
    assert set(batches[3:]) == {8}


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
    arguments = ["train", *SMALL.split(), "--model", "tiny", "--no-figures", "--output", tmp_path]
    assert adabatch(*arguments).code == 0
    adabatch.refuses("holds an earlier run", *arguments)
    assert adabatch(*arguments, "--overwrite").code == 0
    assert adabatch(*arguments, "--resume", "auto").code == 0  # nothing left to do


def test_no_traceback_reaches_the_terminal(tmp_path):
    done = subprocess.run(
        [*COMMAND, "train", "--eta", "0"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --eta must be from 1e-06 to 1,000,000")
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
    metrics, log = tmp_path / "run" / "metrics.jsonl", tmp_path / "log"
    run = ForkedRun(two_ranks("fsdp", tmp_path / "run"), log)
    try:
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 5, run)
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(60) == 130, log.read_text()
    finally:
        run.kill()
    assert not still_running(run.pid)
    error = log.read_text()
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    assert f"stopped by SIGINT after step {len(records)} (" in error
    assert f"to resume: adabatch train --config {tmp_path}/run/config.toml --resume auto\n" in error
    assert "Traceback" not in error
    (marker,) = (tmp_path / "run" / "checkpoints").glob("step-*/complete.json")
    assert marker.parent.name == f"step-{len(records):08}"


@pytest.mark.slow
@pytest.mark.distributed
def test_ctrl_c_while_the_ranks_start(tmp_path):
    """In the middle of their imports: no traceback from any."""
    process = train_two_ranks("ddp", tmp_path / "run")
    wait_for(lambda: started_ranks(process), process)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    assert ended(process, 130).startswith("SIGINT: ending")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.distributed
def test_ranks_that_import_end_with_a_launcher_that_is_killed(tmp_path):
    process = train_two_ranks("ddp", tmp_path / "run")
    wait_for(lambda: len(started_ranks(process)) == 2, process)
    ranks = started_ranks(process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(ranks) == 2
    assert psutil.wait_procs(ranks, timeout=10)[1] == []


def two_ranks(parallel: str, output: Path) -> list[str]:
    """A run that does not end by itself."""
    arguments = ["train", *SMALL.split(), "--samples", "1000000", "--parallel", parallel, "--ranks", "2"]
    return [*arguments, "--output", str(output)]


def train_two_ranks(parallel: str, output: Path) -> subprocess.Popen[str]:
    """In processes of its own."""
    command = [*COMMAND, *two_ranks(parallel, output)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    return subprocess.Popen(
        command,
        start_new_session=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=heard,
    )


def ended(process: subprocess.Popen[str], code: int) -> str:
    """What a command says that a signal ends with this exit code and no process left."""
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code, error
    assert not still_running(process.pid)
    return error


def started_ranks(process) -> list[psutil.Process]:
    """The processes of ranks that there are."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise AssertionError(
                process.log.read_text() if isinstance(process, ForkedRun) else process.communicate()
            )
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)  # else its ranks would train on for hours
            raise AssertionError("nothing happened")
        time.sleep(0.1)
