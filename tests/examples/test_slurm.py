"""The scripts for SLURM, under a scheduler that is three small programs: it signals jobs and starts them again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

SCRIPTS = sorted((ROOT / "examples" / "slurm").iterdir())
GROWING, ONE_NODE, SEVERAL_NODES = SCRIPTS
BIN = Path(sys.executable).parent

SCHEDULER = f"""#!{sys.executable}
# sbatch OPTIONS SCRIPT ARGUMENTS, srun COMMAND, scontrol show hostnames|requeue: a job whose nodes are all this
# machine. In its first start its tasks get FAKE_SIGNAL, else that of #SBATCH --signal, once FAKE_LIMIT has five
# lines. A job that is submitted from within a job follows it, unless it asks for more GPUs than FAKE_GPUS.
import json, os, signal, subprocess, sys, time
from pathlib import Path

folder, name, words = Path(os.environ["FAKE_SLURM"]), Path(sys.argv[0]).name, sys.argv[1:]


def sbatch(*words):
    if "SLURM_JOB_ID" in os.environ:
        (gpus,) = [int(word.partition("=")[2]) for word in words if word.startswith("--gpus-per-node=")]
        if gpus > int(os.environ.get("FAKE_GPUS", "4")):
            sys.exit("sbatch: error: Batch job submission failed: Requested node configuration is not available")
        (folder / "submitted").write_text(json.dumps(words))
        return
    starts = 0
    while words:
        code, starts = job(starts, *words)
        words = json.loads((folder / "submitted").read_text()) if (folder / "submitted").exists() else ()
        (folder / "submitted").unlink(missing_ok=True)
    (folder / "starts").write_text(str(starts))
    sys.exit(code)


def job(starts, *words):
    gpus = "1"
    if words[0].startswith("--gpus-per-node="):
        gpus, words = words[0].partition("=")[2], words[1:]
    script, *arguments = words
    lines = [line.split() for line in Path(script).read_text().splitlines() if line.startswith("#SBATCH --")]
    given = dict(words[1].removeprefix("--").partition("=")[::2] for words in lines)
    assert "requeue" in given and given["open-mode"] == "append"
    nodes = os.environ.get("FAKE_NODES", given["nodes"])
    names = dict(JOB_ID="7", JOB_NODELIST="node[1-9]", JOB_NUM_NODES=nodes, GPUS_ON_NODE=gpus)
    environment = os.environ | {{f"SLURM_{{key}}": value for key, value in names.items()}}
    number = os.environ.get("FAKE_SIGNAL", given["signal"].partition("@")[0])
    limit = Path(os.environ.get("FAKE_LIMIT", "/nothing"))
    while True:
        (folder / "requeued").unlink(missing_ok=True)
        starts += 1
        job = subprocess.Popen(["bash", script, *arguments], env=environment)
        while job.poll() is None:
            if number and starts == 1 and limit.is_file() and limit.read_bytes().count(b"\\n") > 4:
                for task in (folder / "tasks").read_text().split():
                    os.killpg(int(task), getattr(signal, "SIG" + number))
                number = ""
            time.sleep(0.02)
        if starts > 5 or not (folder / "requeued").exists():
            return job.returncode, starts


def srun(*command):
    tasks = [
        subprocess.Popen(command, start_new_session=True, env=os.environ | {{"SLURM_PROCID": str(number)}})
        for number in range(int(os.environ["SLURM_JOB_NUM_NODES"]))
    ]
    (folder / "tasks").write_text(" ".join(str(task.pid) for task in tasks))
    sys.exit(max(code if code >= 0 else 128 - code for code in [task.wait() for task in tasks]))


def scontrol(verb, *rest):
    if verb == "requeue":
        assert rest == (os.environ["SLURM_JOB_ID"],)
        (folder / "requeued").touch()
    else:
        assert (verb, *rest) == ("show", "hostnames", os.environ["SLURM_JOB_NODELIST"])
        print("localhost\\n" * int(os.environ["SLURM_JOB_NUM_NODES"]), end="")


dict(sbatch=sbatch, srun=srun, scontrol=scontrol)[name](*words)
"""

TRAINER = """#!/usr/bin/env bash
# In place of adabatch and torchrun: notes its arguments, saves or asks for ranks if told to, ends with the next
# of the codes.
echo "$(basename "$0") $*" >> "$FAKE_SLURM/calls"
code=$(head -n 1 "$FAKE_SLURM/codes")
sed -i 1d "$FAKE_SLURM/codes"
if [ "${code#saved }" != "$code" ]; then
  mkdir -p "$FAKE_SLURM/run/checkpoints/step-$(wc -l < "$FAKE_SLURM/calls")"
  touch "$FAKE_SLURM/run/checkpoints/step-$(wc -l < "$FAKE_SLURM/calls")/complete.json"
elif [ "${code#wants }" != "$code" ]; then
  mkdir -p "$FAKE_SLURM/run"
  echo "${code#wants }" > "$FAKE_SLURM/run/wanted_ranks"
  exit 76
fi
exit "${code#saved }"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Submits a script, and waits for the job's end: its exit code, its starts, and its output."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "srun", "scontrol"):
        (programs / name).write_text(SCHEDULER)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), str(BIN), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))

    def submit(script: Path, *arguments: str) -> tuple[int, int, str]:
        done = subprocess.run(["sbatch", script, *arguments], capture_output=True, text=True, check=False)
        assert (tmp_path / "starts").exists(), done.stderr
        return done.returncode, int((tmp_path / "starts").read_text()), done.stdout + done.stderr

    return submit


@pytest.fixture
def trainer(tmp_path, slurm):
    """Puts the trainer of these exit codes in the place of the real one; its calls come back."""
    (tmp_path / "codes").write_text("")
    for name in ("adabatch", "torchrun"):
        (tmp_path / "bin" / name).write_text(TRAINER)
        (tmp_path / "bin" / name).chmod(0o755)

    def calls(*codes: str) -> Path:
        (tmp_path / "codes").write_text("\n".join(codes) + "\n")
        return tmp_path / "calls"

    return calls


@pytest.mark.parametrize(
    ("codes", "ended"),
    [
        (("138", "143", "0"), (0, 3)),  # the time limit came near; preempted
        (("5", "0"), (0, 2)),  # --time-limit
        (("2",), (2, 1)),  # a mistake in the settings
        (("3",), (3, 1)),  # it diverged
    ],
)
def test_one_node_queues_again_what_was_stopped(slurm, trainer, codes, ended):
    calls = trainer(*codes)
    assert slurm(ONE_NODE, "--data", "a b", "--output", "out")[:2] == ended
    assert set(calls.read_text().splitlines()) == {
        "adabatch train --data a b --output out --ranks 1 --resume auto"
    }


@pytest.mark.parametrize(
    ("codes", "ended"),
    [(("saved 1", "0"), (0, 2)), (("saved 1", "1"), (1, 2)), (("1",), (1, 1)), (("saved 0",), (0, 1))],
)
def test_several_nodes_queue_again_what_has_saved(slurm, trainer, monkeypatch, tmp_path, codes, ended):
    calls = trainer(*codes)
    monkeypatch.setenv("FAKE_NODES", "1")  # the one call of a start takes a code
    assert slurm(SEVERAL_NODES, str(tmp_path / "run"), "--data", "a b")[:2] == ended
    (call,) = set(calls.read_text().splitlines())
    assert call.startswith("torchrun --nnodes 1 --nproc-per-node 1 ")
    assert " --rdzv-id 7 --rdzv-endpoint localhost:20007 " in call
    assert call.endswith(f"-m adabatch train --data a b --output {tmp_path / 'run'} --resume auto")


@pytest.mark.parametrize(
    ("codes", "allocated", "ended"),
    [
        (("wants 2", "wants 4", "0"), [1, 2, 4], (0, 3)),
        (("wants 4", "wants 1", "0"), [1, 4, 1], (0, 3)),
        (("wants 8", "wants 2", "0"), [1, 1, 2], (0, 2)),  # no node has 8
        (("wants 2", "138", "143", "0"), [1, 2, 2, 2], (0, 4)),
        (("wants 2", "2"), [1, 2], (2, 2)),
    ],
)
def test_a_growing_run_has_jobs_of_the_size_it_asks_for(slurm, trainer, tmp_path, codes, allocated, ended):
    calls, output = trainer(*codes), tmp_path / "run"
    code, starts, said = slurm(GROWING, str(output), "--data", "a b")
    assert (code, starts) == ended, said
    command = f"adabatch train --data a b --output {output} --ranks-allocated {{}} --resume auto"
    assert calls.read_text().splitlines() == [command.format(number) for number in allocated]
    assert ("Requested node configuration is not available" in said) == ("wants 8" in codes)


@pytest.mark.parametrize("script", [GROWING, SEVERAL_NODES])
def test_scripts_that_need_the_output_folder_ask_for_it(slurm, trainer, script):
    code, starts, said = slurm(script)
    assert (code != 0, starts) == (True, 1)
    assert "name the output folder" in said


SIZES = {
    "samples": 400,
    "warmup-samples": 16,
    "initial-batch": 4,
    "max-batch": 4,
    "micro-batch": 2,
    "sequence-length": 16,
    "threads": 1,
}
SMALL = [f"--{name}={value}" for name, value in SIZES.items()]
SMALL += ["--model=tiny", "--validation-interval=0", "--device=cpu", "--no-figures"]


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(("script", "number"), [(ONE_NODE, "USR1"), (SEVERAL_NODES, "TERM")])
def test_a_job_that_is_signalled_resumes_in_its_next_start(slurm, monkeypatch, tmp_path, script, number):
    """The time limit, by the script's own signal; preemption under torchrun (of two nodes with FAKE_NODES=2)."""
    output = tmp_path / "run"
    monkeypatch.setenv("FAKE_LIMIT", str(output / "metrics.jsonl"))
    if number == "TERM":
        monkeypatch.setenv("FAKE_SIGNAL", number)
        monkeypatch.setenv("FAKE_NODES", os.environ.get("FAKE_NODES", "1"))
        arguments = [str(output), *SMALL, "--parallel", "fsdp"]
    else:
        arguments = [*SMALL, "--output", str(output)]
    code, starts, said = slurm(script, *arguments)
    assert (code, starts) == (0, 2), said
    assert f"stopped by SIG{number} after step " in said
    assert "resumed from" in said
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [record["samples"] for record in records] == list(range(4, 404, 4))


@pytest.mark.slow
@pytest.mark.distributed
def test_a_run_grows_from_job_to_job_and_goes_on_where_no_job_can_be_had(slurm, monkeypatch, tmp_path):
    """From 1 GPU to 2, and not to 4, which no node has."""
    monkeypatch.setenv("FAKE_GPUS", "2")
    monkeypatch.setenv("FAKE_SIGNAL", "")
    output = tmp_path / "run"
    growth = [
        "--samples=200",
        "--schedule=linear-ramp",
        "--ramp-samples=160",
        "--max-batch=16",
        "--ranks-at=8:2,12:4",
    ]
    code, starts, said = slurm(GROWING, str(output), *SMALL, *growth, "--parallel=fsdp", "--micro-batch=1")
    assert (code, starts) == (0, 2), said
    assert "the next batch gets 4 ranks, and 2 are allocated" in said
    assert "4 ranks were asked for, and 2 are allocated: the run continues with these" in said
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    assert records[-1]["samples"] >= 200
    assert [record["ranks"] for record in records] == [1 + (record["batch_size"] >= 8) for record in records]
    assert [record["step"] for record in records if record.get("pause_seconds")] == [
        next(record["step"] for record in records if record["ranks"] == 2)
    ]


def test_shellcheck_finds_nothing():
    program = shutil.which("shellcheck", path=os.pathsep.join([str(BIN), os.environ["PATH"]]))
    if program is None:
        pytest.skip("shellcheck is not installed (the extra [dev] has it)")
    done = subprocess.run([program, *SCRIPTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
