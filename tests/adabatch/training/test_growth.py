"""Which ranks are started after which, with what they are told; and what is refused before any is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adabatch.exit_codes import DIVERGED, OTHER_RANKS, USER_ERROR
from adabatch.schedules import Constant
from adabatch.schedules.coupling import Coupling
from adabatch.settings import load_settings
from adabatch.training import growth
from adabatch.training.checks import Start
from adabatch.training.growth import follow_batch
from adabatch.training.run_folder import WANTED_RANKS

GIVEN = {"ranks_at": "64:2,256:4", "parallel": "fsdp", "initial_batch": 8, "max_batch": 512}


class Starts:
    """A launch whose ranks take some steps, save, and end with a code; what each was started with."""

    def __init__(self, folder: Path, *script: tuple[int, int, int]) -> None:
        self.folder, self.script, self.ranks, self.steps = folder, list(script), [], 0
        self.batch, self.world_size, self.told = 8, 0, []

    def __call__(self, settings, start, ranks):
        self.ranks.append(ranks)
        self.told.append((settings.run.resume, start.refused_ranks, start.paused_at is not None))
        steps, code, self.batch = self.script.pop(0)
        with (self.folder / "metrics.jsonl").open("a") as file:
            for step in range(self.steps + 1, self.steps + steps + 1):
                file.write(json.dumps({"step": step, "samples": 8 * step}) + "\n")
        self.steps += steps
        self.world_size = ranks
        return code

    def progress(self, path):
        return {"schedule": {"batch_size": self.batch}, "world_size": self.world_size}


@pytest.fixture
def follow(tmp_path, monkeypatch):
    """Follows the batch through a script; the exit code and the starts."""
    tmp_path.joinpath("metrics.jsonl").touch()

    def run(*script, allocated=0, **changes):
        starts = Starts(tmp_path, *script)
        monkeypatch.setattr(growth, "find_checkpoint", lambda *_: tmp_path if starts.steps else None)
        monkeypatch.setattr(growth, "saved_progress", starts.progress)
        settings = load_settings(overrides=GIVEN | {"output": str(tmp_path)} | changes)
        start = Start(Constant(starts.batch), Coupling, allocated=allocated)  # type: ignore[arg-type]
        code = follow_batch(settings, start, starts)
        assert starts.script == []
        return code, starts

    return run


def test_ranks_follow_the_batch_up_and_down(follow):
    code, starts = follow((3, OTHER_RANKS, 64), (2, OTHER_RANKS, 256), (2, OTHER_RANKS, 20), (1, 0, 20))
    assert (code, starts.ranks) == (0, [1, 2, 4, 1])
    assert starts.told == [("never", (), False), *[("auto", (), True)] * 3]


@pytest.mark.parametrize("code", [137, 1, USER_ERROR, 4, 75])
def test_ranks_that_take_no_step_are_given_up(follow, code, capsys):
    ended, starts = follow((3, OTHER_RANKS, 64), (0, code, 64), (5, OTHER_RANKS, 256), (1, 0, 256))
    assert (ended, starts.ranks) == (0, [1, 2, 1, 4])
    assert starts.told[2:] == [("auto", (2,), True)] * 2
    said = capsys.readouterr().err
    assert said.startswith("2 ranks took no step (")
    assert said.endswith("): the run continues with 1, as before\n")


@pytest.mark.parametrize(
    "script",
    [
        [(3, 137, 8)],  # before the batch grew
        [(3, OTHER_RANKS, 64), (1, 137, 64)],  # later than at the start
        [(3, OTHER_RANKS, 64), (0, 143, 64)],  # stopped by the user
        [(3, OTHER_RANKS, 64), (0, DIVERGED, 64)],
        [(3, OTHER_RANKS, 64), (0, 1, 64), (0, 137, 64)],  # nor can the former ones be started
    ],
)
def test_other_ends_are_the_run_s(follow, script):
    assert follow(*script)[0] == script[-1][1]


def test_a_run_that_resumes_has_the_ranks_of_its_next_batch(follow, tmp_path):
    tmp_path.joinpath("metrics.jsonl").write_text('{"step": 1, "samples": 8}\n')
    code, starts = follow((1, OTHER_RANKS, 300), (1, 0, 300))
    assert (code, starts.ranks) == (0, [1, 4])


def wanted(folder: Path) -> str | None:
    """What a job's script finds."""
    return (folder / WANTED_RANKS).read_text() if (folder / WANTED_RANKS).exists() else None


class Jobs:
    """Jobs of a run: each knows what the ones before have left."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.starts = Starts(folder)
        (folder / "metrics.jsonl").touch()
        monkeypatch.setattr(growth, "find_checkpoint", lambda *_: folder if self.starts.steps else None)
        monkeypatch.setattr(growth, "saved_progress", self.starts.progress)

    def __call__(self, allocated: int, *script: tuple[int, int, int]) -> tuple[int, list[int], str | None]:
        """The exit code, the ranks that were started, and what the job's script finds."""
        self.starts.script, self.starts.ranks, self.starts.told = list(script), [], []
        settings = load_settings(overrides=GIVEN | {"output": str(self.folder), "resume": "auto"})
        start = Start(Constant(8), Coupling, allocated=allocated)  # type: ignore[arg-type]
        code = follow_batch(settings, start, self.starts)
        assert self.starts.script == []
        return code, self.starts.ranks, wanted(self.folder)


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    return Jobs(tmp_path, monkeypatch)


def test_a_job_ends_for_one_with_the_ranks_of_the_next_batch(jobs, capsys):
    assert jobs(1, (3, OTHER_RANKS, 64)) == (OTHER_RANKS, [1], "2\n")
    assert "gets 2 ranks, and 1 are allocated: start the same command in a job with 2 (" in capsys.readouterr().err
    assert jobs(2, (3, OTHER_RANKS, 20)) == (OTHER_RANKS, [2], "1\n")
    assert jobs(1, (3, 143, 20)) == (143, [1], None)
    assert jobs(1, (3, 0, 20)) == (0, [1], None)


def test_ranks_that_no_job_can_have_are_done_without_until_the_next_threshold(jobs, capsys):
    jobs(1, (3, OTHER_RANKS, 64))
    assert jobs(1, (3, 143, 70)) == (143, [1], "2\n")
    assert jobs.starts.told == [("auto", (2,), False)]
    assert "2 ranks were asked for, and 1 are allocated: the run continues with these" in capsys.readouterr().err
    assert jobs(1, (3, OTHER_RANKS, 256)) == (OTHER_RANKS, [1], "4\n")
    assert jobs(4, (1, 0, 256)) == (0, [4], None)
    assert jobs.starts.told == [("auto", (), True)]


def test_a_number_that_was_asked_for_is_forgotten_where_all_can_be_started(jobs):
    jobs(1, (3, OTHER_RANKS, 64))
    assert jobs(0, (3, 143, 64)) == (143, [2], None)
    assert jobs(1) == (OTHER_RANKS, [], "2\n")


def test_a_job_of_another_size_than_the_batch_gets_asks_before_it_starts_ranks(jobs):
    jobs(1, (3, 143, 300))
    assert jobs(2) == (OTHER_RANKS, [], "4\n")


def test_ranks_that_die_at_the_start_of_a_larger_job_leave_it_to_the_former_number(jobs, capsys):
    jobs(1, (3, OTHER_RANKS, 64))
    assert jobs(2, (0, 137, 64), (3, OTHER_RANKS, 256)) == (OTHER_RANKS, [2, 1], "4\n")
    assert "2 ranks took no step (it was stopped by SIGKILL): the run continues with 1" in capsys.readouterr().err
    assert jobs(4, (1, OTHER_RANKS, 20)) == (OTHER_RANKS, [4], "1\n")
    assert jobs(1, (0, 137, 20)) == (137, [1], None), "a smaller job has no room for the former number"


TRAIN = ["train", "--preset", "demo", "--parallel", "fsdp", "--initial-batch", 16, "--max-batch", 128]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ranks-at", "64:2,256:4"], "gives 4 ranks to batches from 256 on, but none is larger than 128: lower"),
        (["--ranks-at", "64:2,32:4"], "--ranks-at must ascend in batches and in ranks"),
        (["--ranks-at", "64:32"], "an initial batch of 16 cannot be made from 32 ranks x micro-batches of 1"),
        (
            ["--ranks-at", "64:2", "--ranks-allocated", 4],
            "--ranks-allocated 4 is none of the numbers of ranks",
        ),
        (["--ranks-allocated", 4], "ranks that the run can have (1): ask the scheduler for one of these, or give"),
        (["--ranks-at", "64:2", "--parallel", "single"], "--parallel single runs 1 rank, but 2 were asked for"),
        (["--ranks-at", "64:4", "--tensor-parallel", 2], "1 ranks cannot make teams of 2 tensor-parallel ranks"),
        (["--ranks-at", "64:4", "--parallel", "hsdp"], "1 ranks cannot make 2 replicas of equal size"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(words, message, adabatch, tmp_path):
    adabatch.refuses(message, *TRAIN, *words, "--output", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_torchrun_is_refused(adabatch, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    for words in (["--ranks-at", "64:2"], ["--ranks-allocated", 1]):
        adabatch.refuses("under torchrun ranks follow the nodes that join", *TRAIN, *words)
