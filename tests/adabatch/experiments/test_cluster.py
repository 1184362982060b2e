"""Runs as jobs: submitted, submitted again where a job ends early, waited for where one is at work already."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from adabatch.exit_codes import USER_ERROR
from adabatch.experiments.cluster import Cluster, ClusterJob, parse_options
from adabatch.experiments.request import Request
from adabatch.experiments.run import ExperimentRun
from adabatch.experiments.runner import Processes, execute
from adabatch.locks import occupied
from adabatch.settings import Settings, load_settings


class Job:
    """One that has ended with a code, or was killed."""

    job_id = "1"

    def __init__(self, code: int | None) -> None:
        self.code, self.cancelled = code, False

    def done(self) -> bool:
        return True

    def result(self) -> int:
        if self.code is None:
            raise RuntimeError("no result: the job was killed")
        return self.code

    def cancel(self) -> None:
        self.cancelled = True


class Executor:
    """Ends jobs with these codes, one after the other; the run is finished after one of code 0."""

    def __init__(self, run: Run, *codes: int | None) -> None:
        self.run, self.codes, self.submitted = run, list(codes), 0

    def submit(self, fn, *args, **kwargs):
        self.submitted += 1
        code = self.codes.pop(0)
        self.run.done = code == 0
        return Job(code)


class Run:
    name = "a run"

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.done = folder, folder / "log.txt", False

    def resolved(self) -> Settings:
        return Settings()

    def finished(self) -> bool:
        return self.done


@pytest.mark.parametrize(
    ("codes", "exitcode", "submitted"),
    [((0,), 0, 1), ((None, 0), 0, 2), ((1, 143, 0), 0, 3), ((1, 1, 1), 1, 3), ((USER_ERROR,), USER_ERROR, 1)],
)
def test_a_job_that_ends_early_is_submitted_again(codes, exitcode, submitted, tmp_path, capsys):
    run = Run(tmp_path)
    executor = Executor(run, *codes)
    job = ClusterJob(run, tmp_path, executor, retries=2)  # type: ignore[arg-type]
    while job.is_alive():
        pass
    assert (job.exitcode, executor.submitted) == (exitcode, submitted)
    assert capsys.readouterr().err.count("submitted again") == submitted - 1


def test_a_job_whose_run_is_not_finished_has_failed(tmp_path):
    """Exit code 0, and yet samples are missing."""
    run = Run(tmp_path)
    executor = Executor(run, 0)
    job = ClusterJob(run, tmp_path, executor, retries=0)  # type: ignore[arg-type]
    run.done = False
    assert not job.is_alive()
    assert job.exitcode == 1


def test_a_folder_at_work_is_waited_for(tmp_path):
    run = Run(tmp_path)
    executor = Executor(run, 0)
    with occupied(tmp_path):
        job = ClusterJob(run, tmp_path, executor, retries=1)  # type: ignore[arg-type]
        assert job.is_alive()
        job.terminate()  # not ours to end
    assert executor.submitted == 0
    assert job.is_alive()  # it ended without finishing the run: submitted
    assert executor.submitted == 1
    assert not job.is_alive()
    assert job.exitcode == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slurm", {}, r"refuses the cluster 'slurm' .*see --cluster"),
        ("nonesuch", {}, "refuses the cluster 'nonesuch'"),
        ("local", {"timeout_minutes": 3}, "refuses the cluster 'local' .*timeout_minutes"),
    ],
)
def test_what_submitit_refuses_is_one_line(name, options, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # without srun
    with pytest.raises(ValueError, match=message) as refused, Cluster(name, tmp_path, options).opened():
        raise AssertionError
    assert "\n" not in str(refused.value)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with (
        pytest.raises(ValueError, match=r"pip install 'adabatch\[cluster\]'"),
        Cluster("local", tmp_path, {}).opened(),
    ):
        raise AssertionError


@pytest.mark.parametrize("text", ["timeout_min", "=3", "timeout_min=", "timeout_min=3,gpu"])
def test_options_are_pairs(text):
    with pytest.raises(ValueError, match="is not name=value"):
        parse_options(text)


def test_a_request_has_processes_or_a_cluster(tmp_path):
    def request(cluster, options, processes=0):
        return Request(Settings(), tmp_path, 1, processes, False, False, "adabatch compare", cluster, options)

    assert request("", "").backend() == Processes(0)
    backend = request("slurm", "timeout_min=5", 3).backend()
    assert backend == Cluster("slurm", tmp_path, {"timeout_min": 5}, 3)
    assert request("slurm", "").backend().place(Settings(), 40).text == "16 jobs at once on the cluster 'slurm'"
    with pytest.raises(ValueError, match="name the cluster too"):
        request("", "timeout_min=5").backend()


def settings_of(seed: int) -> Settings:
    changes = {"samples": 1600, "seed": seed, "schedule": "constant", "checkpoint_interval": 160}
    changes |= {"validation_interval": 0, "warmup_samples": 16, "sequence_length": 32, "initial_batch": 8}
    return load_settings("comparison", overrides=changes)


@pytest.mark.slow
def test_killed_jobs_are_continued(tmp_path, capfd):
    """A run in a job of the local cluster, which is killed once it has a checkpoint."""
    runs = [ExperimentRun("seed-0", tmp_path, lambda: settings_of(0))]
    killed = []

    def kill() -> None:
        while not killed:
            if any(tmp_path.glob("runs/*/checkpoints/*/complete.json")):
                for process in psutil.Process().children(recursive=True):
                    if "submitit" in " ".join(process.cmdline()) and not process.children():
                        process.send_signal(signal.SIGKILL)
                        killed.append(process.pid)
                        break
            time.sleep(0.02)

    threading.Thread(target=kill, daemon=True).start()
    execute(runs, Cluster("local", tmp_path, {}))
    assert all(run.finished() for run in runs)
    assert len(killed) == 1
    assert "its job ended early" in capfd.readouterr().err
    for run in runs:
        assert [record["samples"] for record in run.records()] == list(range(8, 1608, 8))
    assert os.listdir(tmp_path / "jobs")
